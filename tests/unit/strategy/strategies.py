"""Strategies of somebody else, good and bad, for the registry's tests."""

from __future__ import annotations

import numpy as np

from trader.domain.signal import Signals
from trader.strategy.base import Strategy


class Always(Strategy):
    """Says what it was told to say."""

    name = "always"

    def __init__(self, symbol=None, timeframe=None, direction=0, confidence=0.0, stop=np.nan, target=np.nan, extra=0):
        super().__init__(symbol, timeframe)
        self.answer = (direction, confidence, stop, target)
        self.extra = extra
        self.noted = 0

    def signals(self, candles):
        """Return the same opinion for each candle."""
        columns = (np.full(len(candles) + self.extra, value) for value in self.answer)
        return Signals(*columns, np.full(len(candles), 42.0))

    def note(self, candles, i):
        """Count how often it was asked why."""
        self.noted += 1
        return f"told so at {candles.close[i]:g}"


class Raising(Always):
    """Breaks when it is asked."""

    def signals(self, candles):
        """Divide by zero."""
        raise ZeroDivisionError(f"no idea about {len(candles)} candles")


class Careless(Always):
    """Breaks when it is built."""

    def __init__(self):
        raise RuntimeError("no model file")


class Blind(Always):
    """Wants no candles at all."""

    lookback_bars = 0


class Unfinished(Strategy):
    """Has no opinion to give."""


class NoStrategy:
    """Something else."""
