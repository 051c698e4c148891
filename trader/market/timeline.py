"""A timeline: the candles of all symbols in one record array, in the order they are delivered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from trader.core.records import CANDLE
from trader.domain.market import Candles, MarketEvent

#: events whose times are converted at once: keeps the lists of Python integers short
_BATCH = 4096


class Timeline:
    """Candles of all slots sorted by close and slot, with the bounds of each moment worked out ahead.

    Parameters
    ----------
    candles : sequence of Candles
        One per slot, each strictly rising.
    timeframe : str
        Their timeframe, as in 5m.
    timeframe_ns : int
        The same [ns].
    """

    def __init__(self, candles: Sequence[Candles], timeframe: str, timeframe_ns: int) -> None:
        self._symbols = tuple(one.symbol for one in candles)
        self._timeframe = timeframe
        rows = np.concatenate([to_records(slot, one, timeframe_ns) for slot, one in enumerate(candles)])
        self.records: npt.NDArray[np.void] = rows[np.lexsort((rows["slot"], rows["close_ns"]))]
        self.times, starts = np.unique(self.records["close_ns"], return_index=True)
        self._bounds = np.append(starts, len(rows))

    def events(self, after_ns: int, until_ns: int) -> Iterator[MarketEvent]:
        """Yield the events with a close above `after_ns` and not above `until_ns`, in order."""
        first, end = (int(i) for i in np.searchsorted(self.times, (after_ns, until_ns), side="right"))
        records = self.records
        for batch in range(first, end, _BATCH):
            stop = min(batch + _BATCH, end)
            times = self.times[batch:stop].tolist()
            bounds = self._bounds[batch : stop + 1].tolist()
            for time_ns, start, past in zip(times, bounds[:-1], bounds[1:], strict=True):
                yield MarketEvent(time_ns, records[start:past])

    def history(self, slot: int, until_ns: int, bars: int) -> Candles:
        """Return the last `bars` candles of a slot that closed at or before `until_ns` (copies)."""
        moments = int(np.searchsorted(self.times, until_ns, side="right"))
        before = self.records["slot"][: self._bounds[moments]]
        rows = np.flatnonzero(before == slot)
        return from_records(
            self._symbols[slot], self._timeframe, self.records[rows[len(rows) - min(bars, len(rows)) :]]
        )


def to_records(slot: int, candles: Candles, timeframe_ns: int) -> npt.NDArray[np.void]:
    """Return candles of one slot as records of `trader.core.records.CANDLE`."""
    rows = np.empty(len(candles), CANDLE)
    rows["slot"] = slot
    rows["open_ns"] = candles.open_ns
    rows["close_ns"] = candles.open_ns + timeframe_ns
    for field in ("open", "high", "low", "close", "volume"):
        rows[field] = getattr(candles, field)
    return rows


def from_records(symbol: str, timeframe: str, rows: npt.NDArray[np.void]) -> Candles:
    """Return records of one slot as candles, in contiguous copies."""
    columns = (np.ascontiguousarray(rows[field]) for field in ("open_ns", "open", "high", "low", "close", "volume"))
    return Candles(symbol, timeframe, *columns)
