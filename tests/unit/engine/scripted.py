"""Strategies that say what a test tells them to."""

from __future__ import annotations

import numpy as np

from trader.codes import Direction
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


class Broken(Strategy):
    """Raises whenever it is asked."""

    name = "broken"

    def signals(self, candles: Candles) -> Signals:
        """Raise."""
        raise ZeroDivisionError("as written")
