"""Breakout: long when prices leave their bands after a quiet time, flat when they fall back to the middle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trader.codes import Direction
from trader.domain.market import Candles, FloatArray
from trader.domain.signal import Signals
from trader.strategy.base import Strategy
from trader.strategy.indicators import (
    RESOLUTION_FRAC,
    average_true_range,
    bars_since,
    rolling_mean_std,
    wilder_memory_bars,
)
from trader.strategy.levels import levels
from trader.strategy.parameters import flag, number, number_or_none, whole

#: confidence at the band, and how much it rises until one average true range beyond it
_CONFIDENCE_AT_BAND = 0.6
_CONFIDENCE_RISE = 0.4


@dataclass(frozen=True, slots=True)
class Bands:
    """Bollinger's bands, and the half width of Keltner's channel [quote per base]."""

    middle: FloatArray
    half: FloatArray  #: half the width of the bands
    keltner_half: FloatArray
    atr: FloatArray


class BollingerBreakoutStrategy(Strategy):
    """Buys a break out of the Bollinger bands that follows a squeeze.

    The bands are `deviations` standard deviations around the mean of `period` closes (John Bollinger, Bollinger on
    Bollinger Bands, 2001), the Keltner channel is `keltner_atrs` average true ranges around the same mean. While the
    bands are inside the channel the market is squeezed. LONG when the close is above the upper band and a squeeze was
    at most `squeeze_bars` candles ago. FLAT when the close is below the mean. Confidence: 0.6 at the
    band, 1 from one average true range above it on.

    Parameters
    ----------
    symbol : str, optional
        The one symbol it is for; None: every symbol it is configured for.
    timeframe : str, optional
        The timeframe it needs; None: whatever the market has.
    period : int
        Candles that mean, deviation and true range are over, 2 to 500.
    deviations : float
        Half the width of the bands [standard deviations], 0.1 to 10.
    keltner_atrs : float
        Half the width of the channel [average true ranges], 0.1 to 10.
    squeeze_bars : int, optional
        Candles that a squeeze may be ago, 0 to 1000; None: a squeeze is not needed.
    stop_atrs : float, optional
        Stop this many average true ranges from the close, 0.1 to 100; None: the default of section `exits`.
    target_atrs : float, optional
        The same for the target.
    short : bool
        Whether a break below is followed as well: SHORT, where section `risk` allows it.

    Raises
    ------
    ValueError
        When a parameter is out of its range.
    """

    name = "bollinger_breakout"

    def __init__(
        self,
        symbol: str | None = None,
        timeframe: str | None = None,
        period: int = 20,
        deviations: float = 2.0,
        keltner_atrs: float = 1.5,
        squeeze_bars: int | None = 6,
        stop_atrs: float | None = 2.0,
        target_atrs: float | None = 4.0,
        short: bool = False,
    ) -> None:
        super().__init__(symbol, timeframe)
        self.period = whole("period", period, 2, 500)
        self.deviations = number("deviations", deviations, 0.1, 10)
        self.keltner_atrs = number("keltner_atrs", keltner_atrs, 0.1, 10)
        self.squeeze_bars = None if squeeze_bars is None else whole("squeeze_bars", squeeze_bars, 0, 1000)
        self.stop_atrs = number_or_none("stop_atrs", stop_atrs, 0.1, 100)
        self.target_atrs = number_or_none("target_atrs", target_atrs, 0.1, 100)
        self.short = flag("short", short)
        self.warmup_bars = self.period + 1
        self.lookback_bars = wilder_memory_bars(self.period) + self.period + (self.squeeze_bars or 0)

    def signals(self, candles: Candles) -> Signals:
        """Return one opinion per candle."""
        close = candles.close
        bands = self.bands(candles)
        tiny = RESOLUTION_FRAC * close
        away = close - bands.middle
        ready = self._squeezed(bands, tiny)
        long = ready & (away > bands.half + tiny)
        short = ready & (away < -bands.half - tiny) & self.short
        direction = np.zeros(len(close), np.int8)
        direction[away < -tiny] = Direction.FLAT
        if self.short:
            direction[away > tiny] = Direction.FLAT
        direction[long], direction[short] = Direction.LONG, Direction.SHORT
        beyond = (np.abs(away) - bands.half) / (bands.atr + tiny)
        depth = np.minimum(_CONFIDENCE_AT_BAND + _CONFIDENCE_RISE * beyond, 1.0)
        confidence = np.where(long | short, depth, direction == Direction.FLAT)
        stop, target = levels(close, bands.atr, direction, self.stop_atrs, self.target_atrs)
        return Signals(direction, confidence, stop, target, away / (bands.half + tiny))

    def bands(self, candles: Candles) -> Bands:
        """Return bands and channel; NaN where there are too few candles.

        Parameters
        ----------
        candles : Candles
            Of one symbol.
        """
        middle, deviation = rolling_mean_std(candles.close, self.period)
        atr = average_true_range(candles, self.period)
        return Bands(middle, self.deviations * deviation, self.keltner_atrs * atr, atr)

    def note(self, candles: Candles, i: int) -> str:
        """Return the close and the bands."""
        bands = self.bands(candles)
        low, high = bands.middle[i] - bands.half[i], bands.middle[i] + bands.half[i]
        return f"close {candles.close[i]:.8g}, bands {low:.8g} to {high:.8g} around {bands.middle[i]:.8g}"

    def _squeezed(self, bands: Bands, tiny: FloatArray) -> np.ndarray:
        if self.squeeze_bars is None:
            return np.ones(len(tiny), np.bool_)
        return bars_since(bands.half < bands.keltner_half + tiny) <= self.squeeze_bars
