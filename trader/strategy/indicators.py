"""Indicators: TA-Lib's, without what its Python wrapper costs per call, and a few that it lacks.

All are causal: value i is made of inputs 0 to i. What remembers everything that ever was (an exponential average)
says below how soon it has forgotten it, so that a window gives what the whole history gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from trader.domain.market import Candles, FloatArray, IntArray
from trader.strategy.bare_talib import talib

_Indicator = TypeVar("_Indicator", bound=Callable[..., Any])

BoolArray = npt.NDArray[np.bool_]

#: an average forgets by (1 - share) a bar; after this many times 1/share bars what is left is exp(-40), less than a
#: float64 can show beside 1
_LIFETIMES = 40

#: the smallest difference between prices that means anything, as a fraction of the price: far above the noise of
#: rounding, far below any tick
RESOLUTION_FRAC = 1e-9


# TA-Lib looks at each argument for two data frame libraries first, which takes longer than a short RSI
def _bare(function: Any) -> Any:
    return getattr(function, "__wrapped__", function)


class Memory:
    """What indicators have said of arrays that nobody can write, for whoever asks many strategies about the same ones.

    Parameters
    ----------
    room_bytes : int
        What is remembered at most; the oldest is forgotten first.
    """

    def __init__(self, room_bytes: int) -> None:
        self._room = room_bytes
        self._kept: dict[Any, tuple[Any, tuple[FloatArray, ...] | FloatArray]] = {}

    def recall(self, function: Callable[..., Any], values: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Return a copy of what a function says of values; computed when it is not known yet."""
        given = (*values, *named.values())
        if any(isinstance(one, np.ndarray) and one.flags.writeable for one in given):
            return function(*values, **named)
        # an array goes by its identity, and is kept, so that no other can get it
        name = (function, *named, *(("array", id(one)) if isinstance(one, np.ndarray) else one for one in given))
        found = self._kept.get(name)
        if found is None:
            found = self._kept[name] = given, function(*values, **named)
            self._room -= _size(found[1])
            while self._room < 0 and self._kept:
                self._room += _size(self._kept.pop(next(iter(self._kept)))[1])
        said = found[1]
        return tuple(one.copy() for one in said) if isinstance(said, tuple) else said.copy()


def _size(said: tuple[FloatArray, ...] | FloatArray) -> int:
    return sum(one.nbytes for one in said) if isinstance(said, tuple) else said.nbytes


_memory: Memory | None = None


@contextmanager
def remembering(memory: Memory | None) -> Iterator[None]:
    """Let indicators look into a memory before they compute anything; None: into none."""
    global _memory  # noqa: PLW0603 - what is asked in between are other people's strategies, which know no memory
    before, _memory = _memory, memory
    try:
        yield
    finally:
        _memory = before


def _recalled(function: _Indicator) -> _Indicator:
    @wraps(function)
    def recalled(*values: Any, **named: Any) -> Any:
        return function(*values, **named) if _memory is None else _memory.recall(function, values, named)

    return cast("_Indicator", recalled)


RSI = _recalled(_bare(talib.RSI))
EMA = _recalled(_bare(talib.EMA))
ATR = _recalled(_bare(talib.ATR))
MAX = _recalled(_bare(talib.MAX))
MIN = _recalled(_bare(talib.MIN))


def ema_memory_bars(period: int) -> int:
    """Return after how many bars an exponential average over `period` has forgotten what was before."""
    return _LIFETIMES * (period + 1) // 2 + period


def wilder_memory_bars(period: int) -> int:
    """Return after how many bars an average of Wilder's (RSI, ATR) has forgotten what was before."""
    return _LIFETIMES * period + 1


@_recalled
def rolling_sum(values: FloatArray, period: int) -> FloatArray:
    """Return the sum of the last `period` values at each bar; NaN where there are fewer.

    Sums of 1, 2, 4, ... values are put together, so each window's sum depends on that window alone, to the last
    bit: a running sum would carry its rounding errors along, and a window would differ from the whole history.

    Parameters
    ----------
    values : ndarray of float64, shape (bars,)
        Anything.
    period : int
        Bars in a window, >= 1.

    Returns
    -------
    ndarray of float64, shape (bars,)
        The sums.
    """
    bars = len(values)
    if period > bars:
        return np.full(bars, np.nan)
    block, size, done = values, 1, 0
    total = np.zeros(bars + 1)
    while True:
        if period & size:
            total = total[: bars - done - size + 1] + block[done:]
            done += size
            if done == period:
                return _padded(total, bars)
        block = block[:-size] + block[size:]
        size *= 2


@_recalled
def rolling_mean_std(values: FloatArray, period: int) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation (of a population) of the last `period` values at each bar.

    Means and squares of 1, 2, 4, ... values are merged as in Chan, Golub and LeVeque, Updating Formulae and a Pairwise
    Algorithm for Computing Sample Variances (1979), equation 2.1: nothing cancels, whatever the price level (TA-Lib's
    STDDEV calls everything below 1e-7 zero), and each window's result depends on that window alone.

    Parameters
    ----------
    values : ndarray of float64, shape (bars,)
        Anything.
    period : int
        Bars in a window, >= 1.

    Returns
    -------
    mean, std : ndarray of float64, shape (bars,)
        NaN where there are fewer values than `period`.
    """
    bars = len(values)
    if period > bars:
        return np.full(bars, np.nan), np.full(bars, np.nan)
    mean, squares, size = values, np.zeros(bars), 1
    whole: tuple[FloatArray, FloatArray] | None = None
    done = 0
    while True:
        if period & size:
            cut = bars - done - size + 1
            if whole is None:
                whole = mean, squares
            else:
                whole = _merged(whole[0][:cut], whole[1][:cut], done, mean[done:], squares[done:], size)
            done += size
            if done == period:
                return _padded(whole[0], bars), _padded(np.sqrt(whole[1] / period), bars)
        mean, squares = _merged(mean[:-size], squares[:-size], size, mean[size:], squares[size:], size)
        size *= 2


def _merged(
    mean: FloatArray, squares: FloatArray, count: int, other_mean: FloatArray, other_squares: FloatArray, others: int
) -> tuple[FloatArray, FloatArray]:
    step = other_mean - mean
    total = count + others
    together = squares + other_squares + step * step * (count * others / total)
    return mean + step * (others / total), together


def _padded(values: FloatArray, bars: int) -> FloatArray:
    padded = np.empty(bars)
    padded[: bars - len(values)] = np.nan
    padded[bars - len(values) :] = values
    return padded


def previous(values: FloatArray) -> FloatArray:
    """Return what the values were one bar before; NaN at the first bar."""
    shifted = np.empty(len(values))
    shifted[:1] = np.nan
    shifted[1:] = values[:-1]
    return shifted


def bars_since(mask: BoolArray) -> IntArray:
    """Return how many bars ago the mask was last true, 0 where it is; very many where it never was."""
    bars = np.arange(len(mask))
    return bars - np.maximum.accumulate(np.where(mask, bars, -(10**9)))


def average_true_range(candles: Candles, period: int) -> FloatArray:
    """Return Wilder's average true range [quote per base].

    Source: J. Welles Wilder, New Concepts in Technical Trading Systems (1978), section III; computed by TA-Lib.

    Parameters
    ----------
    candles : Candles
        Of one symbol.
    period : int
        Bars it averages over.
    """
    atr: FloatArray = ATR(candles.high, candles.low, candles.close, period)
    return atr


@lru_cache(maxsize=8)
def nans(bars: int) -> FloatArray:
    """Return an array of NaN, which everybody shares and nobody can write: no stop, no target."""
    array = np.full(bars, np.nan)
    array.flags.writeable = False
    return array
