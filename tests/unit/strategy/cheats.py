"""Strategies that know what nobody can know, and others that are wrong in their own ways."""

from __future__ import annotations

import numpy as np

from trader.codes import RuleKind
from trader.domain.invalidation import Invalidation, parse
from trader.domain.signal import Signals
from trader.strategy.base import Strategy
from trader.strategy.indicators import EMA


class Cheat(Strategy):
    """Goes long where its reading is high."""

    name = "cheat"
    lookback_bars = 50

    def reading(self, candles):
        """Return a number per candle; what is above 1 is bought."""
        raise NotImplementedError

    def signals(self, candles):
        """Return one opinion per candle."""
        reading = self.reading(candles)
        long = reading > 1
        none = np.full(len(candles), np.nan)
        return Signals(long.astype(np.int8), np.where(long, 0.9, 0.0), none, none, np.zeros(len(candles)))


class NegativeShift(Cheat):
    """Buys before the rare candle that jumps: close[i + 1] stands at i."""

    name = "negative_shift"
    jump_frac = 0.005

    def reading(self, candles):
        """Return how far the next candle goes, in jumps."""
        following = np.append(candles.close[1:], np.nan)
        return (following / candles.close - 1) / self.jump_frac


class CentredWindow(Cheat):
    """Smooths with a window that has half of its candles in the future."""

    name = "centred_window"

    def reading(self, candles):
        """Return whether the smoothed price turns up."""
        smooth = np.convolve(candles.close, np.full(9, 1 / 9), mode="same")
        return np.where(smooth > candles.close * 1.002, 2.0, 0.0)


class WholeSeries(Cheat):
    """Normalises with mean and deviation of all candles that there will ever be."""

    name = "whole_series"

    def reading(self, candles):
        """Return how many deviations below the mean the price is."""
        close = candles.close
        return (close.mean() - close) / (close.std() + 1e-12)


class Repainter(Cheat):
    """Marks the lowest price so far, and takes the mark away when a lower one comes."""

    name = "repainter"

    def reading(self, candles):
        """Return 2 at the low."""
        reading = np.zeros(len(candles))
        if len(candles):
            reading[candles.low.argmin()] = 2.0
        return reading


class Forgetful(Cheat):
    """Honest, but asks for fewer candles than its average remembers."""

    name = "forgetful"
    lookback_bars = 60

    def reading(self, candles):
        """Return whether the price is above a long average."""
        return np.where(candles.close > EMA(candles.close, 40), 2.0, 0.0)


class Remembering(Cheat):
    """Says something else each time it is asked."""

    name = "remembering"

    def __init__(self, symbol=None, timeframe=None):
        super().__init__(symbol, timeframe)
        self.asked = 0

    def reading(self, candles):
        """Return 2 every other time."""
        self.asked += 1
        return np.full(len(candles), 2.0 * (self.asked % 2))


class Writing(Cheat):
    """Mends its candles."""

    name = "writing"

    def reading(self, candles):
        """Write into the past."""
        candles.close[0] = 1.0
        return candles.close


class Unsure(Cheat):
    """Has a confidence that is no number now and then."""

    name = "unsure"

    def signals(self, candles):
        """Return NaN for every tenth minute."""
        none = np.full(len(candles), np.nan)
        confidence = np.where(candles.open_ns // (60 * 10**9) % 10 == 0, np.nan, 0.5)
        return Signals(np.ones(len(candles), np.int8), confidence, none, none, none)


class Prophet(Cheat):
    """Has honest opinions, and rules that know the next candle."""

    name = "prophet"

    def signals(self, candles):
        """Go long every hundredth minute, with a stop at the next close."""
        none = np.full(len(candles), np.nan)
        direction = (candles.open_ns // (60 * 10**9) % 100 == 0).astype(np.int8)
        following = np.append(candles.close[1:], 1.0)
        rules = {
            int(bar): (Invalidation(RuleKind.CLOSE_BELOW, float(following[bar])),) for bar in np.flatnonzero(direction)
        }
        return Signals(direction, direction * 0.9, none, none, none, rules)


class Unruly(Cheat):
    """Brings a rule that looks at an indicator that it does not name."""

    name = "unruly"

    def signals(self, candles):
        """Go long every tenth minute."""
        none = np.full(len(candles), np.nan)
        direction = (candles.open_ns // (60 * 10**9) % 10 == 0).astype(np.int8)
        rules = {int(bar): (parse("RSI(3) above 90"),) for bar in np.flatnonzero(direction)}
        return Signals(direction, direction * 0.9, none, none, none, rules)
