"""RSI mean reversion: long when oversold, flat when overbought."""

from __future__ import annotations

import numpy as np

from trader.domain.market import Candles, FloatArray, IntArray
from trader.domain.signal import Signals
from trader.strategy.base import Strategy
from trader.strategy.indicators import RSI, nans, wilder_memory_bars
from trader.strategy.parameters import number, whole

#: confidence at the threshold, and how much it rises until half of the threshold
_CONFIDENCE_AT_THRESHOLD = 0.6
_CONFIDENCE_RISE = 0.4

#: after so many periods without a single move what is left of the last ones is no reading of anything
_PERIODS_STILL = 4

#: an RSI below is 0: all that is in it are the traces of moves long ago
_NOTHING = 1e-9


class SimpleRSIStrategy(Strategy):
    """Buys what has fallen fast and sells it when it has risen fast.

    RSI below `oversold`: LONG, with a confidence of 0.6 at the threshold that rises to 1 at half of
    it. RSI above `overbought`: FLAT. Else no opinion. RSI as in J. Welles Wilder, New Concepts in
    Technical Trading Systems (1978), section VI, computed by TA-Lib.

    Parameters
    ----------
    symbol : str, optional
        The one symbol it is for; None: every symbol it is configured for.
    timeframe : str, optional
        The timeframe it needs; None: whatever the market has.
    period : int
        Candles that the RSI averages over, 2 to 1000.
    oversold, overbought : float
        Thresholds, 0 < oversold < overbought < 100.

    Raises
    ------
    ValueError
        When a parameter is out of its range.
    """

    name = "simple_rsi"

    def __init__(
        self,
        symbol: str | None = None,
        timeframe: str | None = None,
        period: int = 14,
        oversold: float = 30.0,
        overbought: float = 70.0,
    ) -> None:
        super().__init__(symbol, timeframe)
        self.period = whole("period", period, 2, 1000)
        self.oversold = number("oversold", oversold, 0, 100)
        self.overbought = number("overbought", overbought, 0, 100)
        if not 0 < self.oversold < self.overbought < 100:
            raise ValueError(f"needs 0 < oversold < overbought < 100, was oversold {oversold}, overbought {overbought}")
        self._still_bars = _PERIODS_STILL * period
        self.lookback_bars = max(250, wilder_memory_bars(period) + self._still_bars)
        self.warmup_bars = period + 1
        # confidence = 0.6 + rise * (oversold - rsi), in one multiplication per bar
        self._rise = 2 * _CONFIDENCE_RISE / self.oversold
        self._highest = _CONFIDENCE_AT_THRESHOLD + self._rise * self.oversold

    def signals(self, candles: Candles) -> Signals:
        """Return one opinion per candle."""
        rsi = self.rsi(candles.close)
        long = rsi < self.oversold
        flat = rsi > self.overbought
        one = flat.view(np.int8)
        direction = long.view(np.int8) + one + one  # LONG is 1, FLAT is 2; cheaper than any choice
        depth = np.minimum(self._highest - self._rise * rsi, 1.0)
        none = nans(len(rsi))
        return Signals(direction, np.where(long, depth, flat), none, none, rsi)

    def note(self, candles: Candles, i: int) -> str:
        """Return the RSI and the threshold it is to be compared with."""
        rsi = float(self.rsi(candles.close)[i])
        if np.isnan(rsi):
            return f"no RSI({self.period}) yet"
        if rsi < self.oversold:
            return f"RSI({self.period}) {rsi:.1f} < {self.oversold:g}"
        if rsi > self.overbought:
            return f"RSI({self.period}) {rsi:.1f} > {self.overbought:g}"
        return f"RSI({self.period}) {rsi:.1f}"

    def rsi(self, close: FloatArray) -> FloatArray:
        """Return the RSI of each bar, 0..100; NaN where there is none.

        Parameters
        ----------
        close : ndarray of float64, shape (bars,)
            Closing prices [quote per base].
        """
        rsi: FloatArray = RSI(close, self.period)
        if np.count_nonzero(rsi < _NOTHING):
            rsi = self._mend_zeros(close, rsi)
        if np.count_nonzero(close[1:] == close[:-1]) >= self._still_bars:
            rsi[_age_of_last_move(close) >= self._still_bars] = np.nan
        return rsi

    # TA-Lib says 0, the deepest oversold there is, when prices did not move at all, and also when they moved by
    # less than 1e-14. Scaled prices show which small moves were real; a market that stands still has no RSI.
    def _mend_zeros(self, close: FloatArray, rsi: FloatArray) -> FloatArray:
        zero = rsi < _NOTHING
        rsi = np.where(zero, RSI(close / close[0], self.period), rsi)
        rsi[zero & (_age_of_last_move(close) >= self.period)] = np.nan
        return rsi


# for how many bars each close has been the same
def _age_of_last_move(close: FloatArray) -> IntArray:
    bars = np.arange(len(close))
    moved = np.append(True, close[1:] != close[:-1])
    return bars - np.maximum.accumulate(np.where(moved, bars, 0))
