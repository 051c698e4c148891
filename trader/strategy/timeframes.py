"""Longer timeframes, made of the market's own candles: only what has closed, and the same wherever it is computed.

A longer candle is a pure function of the candles that a strategy is given. There is nothing to keep, so live, replay
and backtest see the same ones and a restart loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trader.domain.market import Candles, FloatArray, IntArray
from trader.units import timeframe_ns

_DAY_NS = 86_400 * 10**9

#: weeks begin on Mondays, as they do at exchanges; the epoch was a Thursday
_WEEK_NS, _FIRST_MONDAY_NS = 7 * _DAY_NS, 4 * _DAY_NS


@dataclass(frozen=True, slots=True)
class Longer:
    """Closed candles of a longer timeframe, and which of them was the last closed one at each bar."""

    candles: Candles
    last: IntArray  #: index into `candles` for each bar of the base; -1: none had closed yet; shape (bars,)

    def at_bars(self, values: FloatArray) -> FloatArray:
        """Return what a series over the longer candles was at each bar of the base; NaN before the first.

        Parameters
        ----------
        values : ndarray of float64, shape (longer candles,)
            For example an average of `candles.close`.

        Returns
        -------
        ndarray of float64, shape (bars,)
            The value of the last candle that had closed when the bar closed.
        """
        if not len(values):
            return np.full(len(self.last), np.nan)
        found = values[self.last]
        found[self.last < 0] = np.nan
        return found


def bars_per_candle(base: str, timeframe: str) -> int:
    """Return how many candles of the base make one of a longer timeframe.

    Parameters
    ----------
    base, timeframe : str
        As in 5m and 1h.

    Raises
    ------
    ValueError
        When the longer one is no multiple of the base.
    """
    count, rest = divmod(timeframe_ns(timeframe), timeframe_ns(base))
    if rest or count < 1:
        raise ValueError(f"{timeframe} is no multiple of the market's timeframe, {base}")
    return count


def lengthen(candles: Candles, timeframe: str) -> Longer:
    """Return the closed candles of a longer timeframe.

    Candles begin on the grid that exchanges use (UTC midnight, Monday for weeks). One that has candles missing
    is made of those that are there; one without any does not exist. It has closed as soon as a bar closes at its end or
    later. The first one is left out unless its first bar is there: it could be half of a candle.

    Parameters
    ----------
    candles : Candles
        Of the market's timeframe, oldest first.
    timeframe : str
        A multiple of theirs.

    Returns
    -------
    Longer
        The closed candles, and which one was the last at each bar.

    Raises
    ------
    ValueError
        When the timeframe is no multiple of the candles'.
    """
    bars_per_candle(candles.timeframe, timeframe)
    length_ns, base_ns = timeframe_ns(timeframe), timeframe_ns(candles.timeframe)
    grid_ns = _FIRST_MONDAY_NS if length_ns % _WEEK_NS == 0 else 0
    open_ns = candles.open_ns
    number = (open_ns - grid_ns) // length_ns
    starts = np.flatnonzero(np.diff(number, prepend=number[:1] - 1))
    starts_ns = number[starts] * length_ns + grid_ns
    if len(starts) and starts_ns[0] != open_ns[0]:
        starts, starts_ns = starts[1:], starts_ns[1:]
    last = np.searchsorted(starts_ns + length_ns, open_ns + base_ns, side="right") - 1
    closed = int(last[-1]) + 1 if len(last) else 0
    return Longer(_made(candles, timeframe, starts, starts_ns, closed), last)


# the first `closed` candles; each ends where the next one starts
def _made(candles: Candles, timeframe: str, starts: IntArray, starts_ns: IntArray, closed: int) -> Candles:
    if not closed:
        empty = np.empty(0)
        return Candles(candles.symbol, timeframe, np.empty(0, np.int64), empty, empty, empty, empty, empty)
    ends = np.append(starts, len(candles))[1 : closed + 1]
    starts = starts[:closed]
    past = int(ends[-1])
    return Candles(
        candles.symbol,
        timeframe,
        starts_ns[:closed],
        candles.open[starts],
        np.maximum.reduceat(candles.high[:past], starts),
        np.minimum.reduceat(candles.low[:past], starts),
        candles.close[ends - 1],
        np.add.reduceat(candles.volume[:past], starts),
    )
