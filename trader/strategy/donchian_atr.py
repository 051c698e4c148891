"""Channel breakout: long above the highest price of many candles, flat below the lowest of fewer."""

from __future__ import annotations

import numpy as np

from trader.codes import Direction
from trader.domain.market import Candles, FloatArray
from trader.domain.signal import Signals
from trader.strategy.base import Strategy
from trader.strategy.indicators import MAX, MIN, RESOLUTION_FRAC, average_true_range, previous, wilder_memory_bars
from trader.strategy.levels import levels
from trader.strategy.parameters import flag, number_or_none, whole

#: confidence at the channel's edge, and how much it rises until one average true range beyond it
_CONFIDENCE_AT_EDGE = 0.6
_CONFIDENCE_RISE = 0.4


class DonchianAtrStrategy(Strategy):
    """Follows whoever reaches a new high, with a stop as far away as the market is restless.

    LONG when the close is above the highest high of the `entry_period` candles before. FLAT when it is below
    the lowest low of the `exit_period` candles before. The stop is `stop_atrs` average true ranges below the close.
    These are Richard Donchian's channels with the stops of the Turtles (Curtis Faith, Way of the Turtle, 2007).
    Confidence: 0.6 at the edge, 1 from one average true range beyond it on.

    Parameters
    ----------
    symbol : str, optional
        The one symbol it is for; None: every symbol it is configured for.
    timeframe : str, optional
        The timeframe it needs; None: whatever the market has.
    entry_period : int
        Candles whose highest price must be broken, 2 to 2000.
    exit_period : int
        Candles whose lowest price ends it, 2 to 2000.
    atr_period : int
        Candles that the average true range is over, 2 to 500.
    stop_atrs : float, optional
        Stop this many average true ranges from the close, 0.1 to 100; None: the default of section `exits`.
    target_atrs : float, optional
        The same for the target.
    short : bool
        Whether a new low is followed as well: SHORT, where section `risk` allows it.

    Raises
    ------
    ValueError
        When a parameter is out of its range.
    """

    name = "donchian_atr"

    def __init__(
        self,
        symbol: str | None = None,
        timeframe: str | None = None,
        entry_period: int = 20,
        exit_period: int = 10,
        atr_period: int = 20,
        stop_atrs: float | None = 2.0,
        target_atrs: float | None = 6.0,
        short: bool = False,
    ) -> None:
        super().__init__(symbol, timeframe)
        self.entry_period = whole("entry_period", entry_period, 2, 2000)
        self.exit_period = whole("exit_period", exit_period, 2, 2000)
        self.atr_period = whole("atr_period", atr_period, 2, 500)
        self.stop_atrs = number_or_none("stop_atrs", stop_atrs, 0.1, 100)
        self.target_atrs = number_or_none("target_atrs", target_atrs, 0.1, 100)
        self.short = flag("short", short)
        longest = max(self.entry_period, self.exit_period, self.atr_period)
        self.warmup_bars = longest + 1
        self.lookback_bars = max(longest + 1, wilder_memory_bars(self.atr_period) + 1)

    def signals(self, candles: Candles) -> Signals:
        """Return one opinion per candle."""
        close = candles.close
        highest, lowest = self.channel(candles, self.entry_period)
        exit_high, exit_low = self.channel(candles, self.exit_period)
        long = close > highest
        short = (close < lowest) & self.short
        direction = np.zeros(len(close), np.int8)
        direction[close < exit_low] = Direction.FLAT
        if self.short:
            direction[close > exit_high] = Direction.FLAT
        direction[long], direction[short] = Direction.LONG, Direction.SHORT
        atr = average_true_range(candles, self.atr_period)
        beyond = np.maximum(close - highest, lowest - close) / (atr + RESOLUTION_FRAC * close)
        depth = np.minimum(_CONFIDENCE_AT_EDGE + _CONFIDENCE_RISE * beyond, 1.0)
        opens = long | short
        # without an average true range there is neither a measure nor a stop
        direction[opens & np.isnan(atr)] = Direction.HOLD
        confidence = np.where(opens & ~np.isnan(atr), depth, direction == Direction.FLAT)
        stop, target = levels(close, atr, direction, self.stop_atrs, self.target_atrs)
        return Signals(direction, confidence, stop, target, beyond)

    def channel(self, candles: Candles, period: int) -> tuple[FloatArray, FloatArray]:
        """Return the highest and the lowest price of the candles before each bar; NaN where there are too few.

        Parameters
        ----------
        candles : Candles
            Of one symbol.
        period : int
            How many candles before.
        """
        return previous(MAX(candles.high, period)), previous(MIN(candles.low, period))

    def note(self, candles: Candles, i: int) -> str:
        """Return the close and the edges that count."""
        highest, lowest = (edge[i] for edge in self.channel(candles, self.entry_period))
        exit_low = self.channel(candles, self.exit_period)[1][i]
        return f"close {candles.close[i]:.8g}, channel {lowest:.8g} to {highest:.8g}, exit below {exit_low:.8g}"
