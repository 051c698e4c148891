"""Validation of candle files: what is impossible is refused, by file and row, before anything trades on it.

Gaps are no error: exchanges have outages, and a made-up candle would be traded on.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from trader.clock import NS_PER_S, format_utc
from trader.domain.market import Candles
from trader.errors import MarketDataError
from trader.units import timeframe_ns

_HOUR_NS = 3600 * NS_PER_S

#: 1970-01-01 and 2200-01-01 [ns]: a time outside is a unit that was misread
_EARLIEST_NS, _LATEST_NS = 0, 7_258_118_400 * NS_PER_S

#: from how many candles on a file without two neighbours must be of another timeframe
_FEW = 3

_FIELDS = ("open", "high", "low", "close", "volume")

Mask = npt.NDArray[np.bool_]


def validate_candles(source: str, candles: Candles) -> None:
    """Refuse candles that can not be.

    Parameters
    ----------
    source : str
        File that they are from, for the message.
    candles : Candles
        In the file's order.

    Raises
    ------
    MarketDataError
        Naming the first bad row (the first candle is row 1), what is wrong with it, and how many
        more rows are.
    """
    if not len(candles):
        raise MarketDataError(f"{source}: no candle in it")
    bad = np.zeros(len(candles), np.bool_)
    first: tuple[int, str] | None = None
    for mask, text in _faults(candles):
        bad |= mask
        row = int(mask.argmax())
        if mask[row] and (first is None or row < first[0]):
            first = (row, text)
    if first is not None:
        raise MarketDataError(_message(source, candles, *first, int(bad.sum()) - 1))
    _refuse_other_timeframe(source, candles)


# a mask of bad rows and the fault's text, the most telling fault of a row first
def _faults(candles: Candles) -> Iterator[tuple[Mask, str]]:
    for field in _FIELDS:
        column = getattr(candles, field)
        yield np.isnan(column), f"{field} is NaN"
        yield np.isinf(column), f"{field} is infinite"
    for field in ("open", "high", "low", "close"):
        yield getattr(candles, field) <= 0, f"{field} is not positive"
    yield candles.volume < 0, "volume is negative"
    yield candles.high < candles.low, "high is below low"
    yield candles.high < np.maximum(candles.open, candles.close), "high is below open or close"
    yield candles.low > np.minimum(candles.open, candles.close), "low is above open or close"
    yield from _time_faults(candles)


def _time_faults(candles: Candles) -> Iterator[tuple[Mask, str]]:
    length_ns = timeframe_ns(candles.timeframe)
    open_ns = candles.open_ns
    yield (open_ns < _EARLIEST_NS) | (open_ns >= _LATEST_NS), "its time is before 1970 or after 2200"
    step_ns = np.diff(open_ns, prepend=open_ns[0] - length_ns)
    yield step_ns == 0, "its time is the same as the row's before it"
    yield step_ns < 0, "its time is before the row's before it: candles must be in order, oldest first"
    # longer candles start where their venue's day starts, so only their distance is known
    grid_ns = 0 if length_ns <= _HOUR_NS else int(open_ns[0])
    yield (open_ns - grid_ns) % length_ns != 0, f"its time is not on the grid of {candles.timeframe} candles"


def _message(source: str, candles: Candles, row: int, text: str, more: int) -> str:
    numbers = ", ".join(f"{field} {float(getattr(candles, field)[row])!r}" for field in _FIELDS)
    open_ns = int(candles.open_ns[row])
    when = format_utc(open_ns) if _EARLIEST_NS <= open_ns < _LATEST_NS else f"{open_ns} ns"
    others = f"; {more} more rows are wrong" if more > 1 else "; one more row is wrong" if more else ""
    return f"{source}: row {row + 1}: {text} ({when}, {numbers}){others}"


# a file of 1h candles passes for 5m candles with gaps, unless somebody notices that there is nothing but gaps
def _refuse_other_timeframe(source: str, candles: Candles) -> None:
    if len(candles) < _FEW:
        return
    shortest_ns = int(np.diff(candles.open_ns).min())
    if shortest_ns > timeframe_ns(candles.timeframe):
        raise MarketDataError(
            f"{source}: row 2: no two candles are {candles.timeframe} apart, the nearest are"
            f" {shortest_ns // NS_PER_S} s apart: these are candles of another timeframe"
        )
