"""A strategy whose signals bring invalidations of every kind, for the tests of parity."""

from __future__ import annotations

import numpy as np

from trader.codes import Direction, RuleKind
from trader.domain.invalidation import Gauge, Invalidation
from trader.domain.market import Candles
from trader.domain.signal import Signals
from trader.strategy.base import Strategy
from trader.strategy.indicators import MAX, MIN, nans, previous
from trader.units import timeframe_ns


class Ruled(Strategy):
    """Follows new highs and lows of two days, and says with each when it was wrong."""

    name = "ruled"
    lookback_bars = 60
    warmup_bars = 50
    gauges = (Gauge.of("4h"), Gauge.of("1h", 7))

    def signals(self, candles: Candles) -> Signals:
        """Return one opinion per candle."""
        close = candles.close
        highest, lowest = previous(MAX(candles.high, 48)), previous(MIN(candles.low, 48))
        direction = np.zeros(len(close), np.int8)
        direction[close > highest] = Direction.LONG
        direction[close < lowest] = Direction.SHORT
        rules = {int(bar): self.rules(direction[bar], float(close[bar])) for bar in np.flatnonzero(direction)}
        none = nans(len(close))
        return Signals(direction, np.where(direction, 0.9, 0.0), none, none, close, rules)

    def rules(self, direction: int, close: float) -> tuple[Invalidation, ...]:
        """Return what makes an opinion pointless."""
        four_hours, hour = timeframe_ns("4h"), timeframe_ns("1h")
        day = Invalidation(RuleKind.AGE_OVER, frame_ns=timeframe_ns("30h"))
        if direction == Direction.LONG:
            return (
                Invalidation(RuleKind.CLOSE_BELOW, close * 0.993, four_hours),
                Invalidation(RuleKind.RSI_ABOVE, 82.5, four_hours, 14),
                Invalidation(RuleKind.RSI_BELOW, 31.0, hour, 7),
                day,
            )
        return (
            Invalidation(RuleKind.CLOSE_ABOVE, close * 1.004),
            Invalidation(RuleKind.RSI_BELOW, 20.5, four_hours, 14),
            day,
        )

    def note(self, candles: Candles, i: int) -> str:
        """Return the close."""
        return f"close {candles.close[i]:g} is beyond two days"
