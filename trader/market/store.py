"""The store of recent candles: each symbol's last few hundred, ready as contiguous arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trader.core.records import CANDLE
from trader.domain.market import Candles

_PRICES = ("open", "high", "low", "close", "volume")

#: words of a record, and where its prices are: every field has eight bytes
_WORDS = CANDLE.itemsize // 8
_FIRST_PRICE = CANDLE.names.index("open") if CANDLE.names else 0


class CandleStore:
    """The last `capacity` closed candles of each slot.

    Rows are written into buffers of twice the capacity; when one is full its last half moves to
    the front, so that appending costs constant time on average and a window is always one
    contiguous slice.

    Parameters
    ----------
    symbols : sequence of str
        Symbols by slot.
    timeframe : str
        Timeframe of the candles, as in 5m.
    capacity : int
        Candles that a window can reach back, > 0.
    """

    def __init__(self, symbols: Sequence[str], timeframe: str, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, was {capacity}")
        self.symbols = tuple(symbols)
        self.timeframe = timeframe
        self.capacity = capacity
        shape = (len(self.symbols), 2 * capacity)
        self._open_ns = np.zeros(shape, np.int64)
        self._prices = np.full((len(_PRICES), *shape), np.nan)
        self._ends = np.zeros(len(self.symbols), np.int64)
        self._last_open_ns = np.full(len(self.symbols), np.iinfo(np.int64).min)

    def append(self, candles: npt.NDArray[np.void] | np.void) -> int:
        """Add the candles of one event; a candle that is not newer than the slot's last is left out.

        What is delivered twice (after a restart, or by a venue) so does no harm.

        Parameters
        ----------
        candles : ndarray of CANDLE
            At most one per slot, or a single record.

        Returns
        -------
        int
            How many were new.
        """
        rows = np.atleast_1d(candles)
        slots = rows["slot"]
        open_ns = rows["open_ns"]
        newer = open_ns > self._last_open_ns[slots]
        if not newer.all():
            rows, slots, open_ns = rows[newer], slots[newer], open_ns[newer]
        at = self._ends[slots]
        full = at == 2 * self.capacity
        if full.any():
            for slot in slots[full]:
                self._make_room(int(slot))
            at = self._ends[slots]
        self._open_ns[slots, at] = self._last_open_ns[slots] = open_ns
        self._prices[:, slots, at] = _matrix(rows)
        self._ends[slots] = at + 1
        return len(rows)

    def load(self, slot: int, candles: Candles) -> None:
        """Replace what the store holds of a slot by the last candles of a history.

        Parameters
        ----------
        slot : int
            Index of the symbol.
        candles : Candles
            From `Feed.history`.
        """
        keep = min(len(candles), self.capacity)
        cut = slice(len(candles) - keep, None)
        self._open_ns[slot, :keep] = candles.open_ns[cut]
        for column, field in zip(self._prices, _PRICES, strict=True):
            column[slot, :keep] = getattr(candles, field)[cut]
        self._ends[slot] = keep
        self._last_open_ns[slot] = candles.open_ns[-1] if keep else np.iinfo(np.int64).min

    def count(self, slot: int) -> int:
        """Return how many candles a window of this slot can have."""
        return min(int(self._ends[slot]), self.capacity)

    def window(self, slot: int, bars: int) -> Candles:
        """Return the last `bars` candles of a slot, or as many as there are.

        Parameters
        ----------
        slot : int
            Index of the symbol.
        bars : int
            How many, at most, >= 0.

        Returns
        -------
        Candles
            Views, valid until the next `append` or `load`.
        """
        end = int(self._ends[slot])
        cut = slice(end - min(bars, end, self.capacity), end)
        o, h, l, c, v = self._prices[:, slot, cut]
        return Candles(self.symbols[slot], self.timeframe, self._open_ns[slot, cut], o, h, l, c, v)

    # a slot's newest candles move to the front of its buffer, over the ones that no window reaches
    def _make_room(self, slot: int) -> None:
        for column in (self._open_ns, *self._prices):
            column[slot, : self.capacity] = column[slot, self.capacity :]
        self._ends[slot] = self.capacity


# prices of records as one matrix, shape (5, rows): one assignment instead of five
def _matrix(rows: npt.NDArray[np.void]) -> npt.NDArray[np.float64]:
    words = np.ascontiguousarray(rows).view(np.float64).reshape(-1, _WORDS)
    return words[:, _FIRST_PRICE : _FIRST_PRICE + len(_PRICES)].T
