"""Market data: closed candles, and the event that delivers them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Candles:
    """Closed candles of one symbol, oldest first; gaps stay gaps.

    All arrays are one-dimensional, C-contiguous and of one length.
    """

    symbol: str
    timeframe: str  #: as in 5m
    open_ns: IntArray  #: start of each candle [ns UTC], strictly rising
    open: FloatArray  #: [quote per base]
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray  #: [base]

    def __len__(self) -> int:
        return len(self.open_ns)


@dataclass(frozen=True, slots=True)
class MarketEvent:
    """Candles of one or more symbols that closed at the same moment."""

    time_ns: int  #: when they closed [ns UTC, market time]
    candles: npt.NDArray[np.void]  #: records of `trader.core.records.CANDLE`, ascending by slot
