"""Trend following: long after a fast average has crossed above a slow one, flat below."""

from __future__ import annotations

import numpy as np

from trader.codes import Direction
from trader.domain.market import Candles, FloatArray
from trader.domain.signal import Signals
from trader.strategy.base import Strategy
from trader.strategy.indicators import (
    EMA,
    RESOLUTION_FRAC,
    BoolArray,
    average_true_range,
    bars_since,
    ema_memory_bars,
    rolling_mean_std,
    rolling_sum,
    wilder_memory_bars,
)
from trader.strategy.levels import levels
from trader.strategy.parameters import flag, number, number_or_none, whole
from trader.units import timeframe_ns

#: confidence at the smallest efficiency that is accepted; it rises as efficiency does
_CONFIDENCE_AT_THRESHOLD = 0.6


class EmaTrendStrategy(Strategy):
    """Rides a trend from its beginning until the averages say that it is over.

    LONG for `fresh_bars` after the fast exponential average has crossed above the slow one, if prices have
    moved efficiently: the distance that they made in `efficiency_period` candles, as a fraction of the way that they
    went, is at least `min_efficiency` (efficiency ratio, Perry J. Kaufman, Smarter Trading, 1995). With
    `trend_timeframe`, only if the last closed candle of that timeframe is above the mean of its last `trend_period` as
    well. FLAT while the fast average is below. Confidence: 0.6 at the smallest efficiency, and by as much more as the
    efficiency is above it, up to 1.

    Parameters
    ----------
    symbol : str, optional
        The one symbol it is for; None: every symbol it is configured for.
    timeframe : str, optional
        The timeframe it needs; None: whatever the market has.
    fast, slow : int
        Candles that the averages are over, 2 <= fast < slow <= 500.
    fresh_bars : int
        Candles after a cross in which it may still be followed, 0 to 1000.
    efficiency_period : int
        Candles over which efficiency is measured, 2 to 1000.
    min_efficiency : float
        Smallest efficiency, 0 to 0.99.
    atr_period : int
        Candles that the average true range is over, 2 to 500.
    stop_atrs : float, optional
        Stop this many average true ranges from the close, 0.1 to 100; None: the default of section `exits`.
    target_atrs : float, optional
        The same for the target.
    trend_timeframe : str, optional
        A longer timeframe that must agree, as in 1h; None: none.
    trend_period : int
        Candles of the longer timeframe that its mean is over, 2 to 500.
    short : bool
        Whether a cross below is followed as well: SHORT, where section `risk` allows it.

    Raises
    ------
    ValueError
        When a parameter is out of its range.
    """

    name = "ema_trend"

    def __init__(
        self,
        symbol: str | None = None,
        timeframe: str | None = None,
        fast: int = 20,
        slow: int = 50,
        fresh_bars: int = 5,
        efficiency_period: int = 20,
        min_efficiency: float = 0.25,
        atr_period: int = 14,
        stop_atrs: float | None = 2.5,
        target_atrs: float | None = 6.0,
        trend_timeframe: str | None = None,
        trend_period: int = 50,
        short: bool = False,
    ) -> None:
        super().__init__(symbol, timeframe)
        self.fast, self.slow = whole("fast", fast, 2, 500), whole("slow", slow, 2, 500)
        if self.fast >= self.slow:
            raise ValueError(f"needs fast < slow, was fast {fast}, slow {slow}")
        self.fresh_bars = whole("fresh_bars", fresh_bars, 0, 1000)
        self.efficiency_period = whole("efficiency_period", efficiency_period, 2, 1000)
        self.min_efficiency = number("min_efficiency", min_efficiency, 0, 0.99)
        self.atr_period = whole("atr_period", atr_period, 2, 500)
        self.stop_atrs = number_or_none("stop_atrs", stop_atrs, 0.1, 100)
        self.target_atrs = number_or_none("target_atrs", target_atrs, 0.1, 100)
        self.trend_timeframe = trend_timeframe
        self.trend_period = whole("trend_period", trend_period, 2, 500)
        self.short = flag("short", short)
        if trend_timeframe is not None:
            timeframe_ns(trend_timeframe)
            self.timeframes = {trend_timeframe: self.trend_period + 1}
        self.warmup_bars = max(self.slow, self.efficiency_period, self.atr_period) + 1
        self.lookback_bars = self.fresh_bars + max(
            ema_memory_bars(self.slow), wilder_memory_bars(self.atr_period), self.efficiency_period + 1
        )

    def signals(self, candles: Candles) -> Signals:
        """Return one opinion per candle."""
        close = candles.close
        rising, falling, spread = self.crossed(close)
        efficiency = self.efficiency(close)
        above, below = self._longer_trend(candles)
        strong = efficiency >= self.min_efficiency
        long = rising & (bars_since(falling) <= self.fresh_bars) & strong & above
        short = falling & (bars_since(rising) <= self.fresh_bars) & strong & below & self.short
        direction = np.zeros(len(close), np.int8)
        direction[falling] = Direction.FLAT
        if self.short:
            direction[rising] = Direction.FLAT
        direction[long], direction[short] = Direction.LONG, Direction.SHORT
        depth = np.minimum(_CONFIDENCE_AT_THRESHOLD + (efficiency - self.min_efficiency), 1.0)
        confidence = np.where(long | short, depth, direction == Direction.FLAT)
        atr = average_true_range(candles, self.atr_period)
        stop, target = levels(close, atr, direction, self.stop_atrs, self.target_atrs)
        return Signals(direction, confidence, stop, target, spread)

    def crossed(self, close: FloatArray) -> tuple[BoolArray, BoolArray, FloatArray]:
        """Return where the fast average is above the slow one, where below, and by which fraction of the price.

        Parameters
        ----------
        close : ndarray of float64, shape (bars,)
            Closing prices [quote per base].
        """
        spread = (EMA(close, self.fast) - EMA(close, self.slow)) / close
        return spread > RESOLUTION_FRAC, spread < -RESOLUTION_FRAC, spread

    def efficiency(self, close: FloatArray) -> FloatArray:
        """Return the distance that prices made as a fraction of the way that they went, 0..1; 0 if they stood still.

        Parameters
        ----------
        close : ndarray of float64, shape (bars,)
            Closing prices [quote per base].
        """
        period = self.efficiency_period
        if len(close) <= period:
            return np.full(len(close), np.nan)
        efficiency = np.full(len(close), np.nan)
        way = rolling_sum(np.abs(np.diff(close)), period)[period - 1 :]
        distance = np.abs(close[period:] - close[:-period])
        efficiency[period:] = distance / np.maximum(way, RESOLUTION_FRAC * close[period:])
        return np.where(efficiency > 1, 1.0, efficiency)

    def note(self, candles: Candles, i: int) -> str:
        """Return both averages and the efficiency."""
        close = candles.close
        fast, slow = EMA(close, self.fast)[i], EMA(close, self.slow)[i]
        return f"EMA({self.fast}) {fast:.8g}, EMA({self.slow}) {slow:.8g}, efficiency {self.efficiency(close)[i]:.2f}"

    # where the longer timeframe allows a long, and where a short
    def _longer_trend(self, candles: Candles) -> tuple[BoolArray, BoolArray]:
        if self.trend_timeframe is None:
            anywhere = np.ones(len(candles), np.bool_)
            return anywhere, anywhere
        longer = self.longer(candles, self.trend_timeframe)
        mean, _ = rolling_mean_std(longer.candles.close, self.trend_period)
        side = longer.at_bars(longer.candles.close / mean - 1)
        return side > RESOLUTION_FRAC, side < -RESOLUTION_FRAC
