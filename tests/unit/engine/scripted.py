"""Strategies that say what a test tells them to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trader.codes import Direction
from trader.domain.invalidation import Gauge, Invalidation, parse
from trader.domain.market import Candles
from trader.domain.signal import Signals
from trader.strategy.base import Strategy


class Scripted(Strategy):
    """Says LONG or FLAT on candles whose hour of the day is listed, else HOLD."""

    name = "scripted"
    lookback_bars = 50

    def __init__(
        self,
        long_hours: tuple[int, ...] = (),
        flat_hours: tuple[int, ...] = (),
        confidence: float = 0.9,
        name: str = "scripted",
        short_hours: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.name = name
        self._long, self._flat, self._confidence = list(long_hours), list(flat_hours), confidence
        self._short = list(short_hours)

    def signals(self, candles: Candles) -> Signals:
        """Return one opinion per candle, by the hour it opened at."""
        hours = candles.open_ns // 3_600_000_000_000 % 24
        direction = np.full(len(candles), int(Direction.HOLD), np.int8)
        direction[np.isin(hours, self._long)] = int(Direction.LONG)
        direction[np.isin(hours, self._flat)] = int(Direction.FLAT)
        direction[np.isin(hours, self._short)] = int(Direction.SHORT)
        nan = np.full(len(candles), np.nan)
        return Signals(direction, np.full(len(candles), self._confidence), nan, nan, hours.astype(float))


class Patient(Scripted):
    """Looks back further."""

    lookback_bars = 400


class Ruled(Scripted):
    """Says with each opinion what would make it pointless."""

    gauges = (Gauge.of("", 3), Gauge.of("2h", 5))

    def signals(self, candles: Candles) -> Signals:
        """Return one opinion per candle, each with rules of every kind."""
        signals = super().signals(candles)
        rules = {
            int(bar): self.rules(int(signals.direction[bar]), float(candles.close[bar]))
            for bar in np.flatnonzero(signals.direction)
        }
        return replace(signals, invalidations=rules)

    def rules(self, direction: int, close: float) -> tuple[Invalidation, ...]:
        """Return the rules of one opinion."""
        price = f"close below {close * 0.985!r} on 3h" if direction > 0 else f"close above {close * 1.01!r}"
        return tuple(map(parse, (price, "RSI(3) above 90", "RSI(5) below 12 on 2h", "age over 9h")))

    def note(self, candles: Candles, i: int) -> str:
        """Return the hour."""
        return f"hour {candles.open_ns[i] // 3_600_000_000_000 % 24}"


class Broken(Strategy):
    """Raises whenever it is asked."""

    name = "broken"

    def signals(self, candles: Candles) -> Signals:
        """Raise."""
        raise ZeroDivisionError("as written")
