"""Signals: what strategies say, before risk and before any order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trader.codes import Direction
from trader.domain.invalidation import Invalidation


@dataclass(frozen=True, slots=True)
class Signals:
    """One opinion per candle, computed causally: bar i knows nothing of bar i + 1.

    A NaN stop or target means: the configured default.
    """

    direction: npt.NDArray[np.int8]  #: `Direction` codes, shape (bars,)
    confidence: npt.NDArray[np.float64]  #: 0..1, shape (bars,)
    stop_price: npt.NDArray[np.float64]  #: [quote per base], NaN: default; shape (bars,)
    target_price: npt.NDArray[np.float64]  #: [quote per base], NaN: default; shape (bars,)
    value: npt.NDArray[np.float64]  #: the reading it follows from, for example the RSI; shape (bars,)
    #: by index of a bar whose opinion opens something: what would make it pointless, up to four rules
    invalidations: Mapping[int, tuple[Invalidation, ...]] = field(default_factory=dict)


class Signal(NamedTuple):
    """A strategy's opinion on one symbol at one closed candle.

    A tuple, because one is made for each strategy, symbol and candle: a frozen dataclass takes four times as long.
    """

    strategy: str
    symbol: str
    time_ns: int  #: close of the candle it was made on [ns UTC]
    price: float  #: close of that candle [quote per base]
    direction: Direction
    confidence: float  #: 0..1
    stop_price: float  #: NaN: default
    target_price: float  #: NaN: default
    value: float = float("nan")  #: the reading it follows from, for example the RSI
    note: str = ""  #: why, in a few words
    invalidations: tuple[Invalidation, ...] = ()  #: what would make it pointless; up to four rules
