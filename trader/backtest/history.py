"""Candles of a backtest: the replay's own files, laid out as the tape that compiled code plays.

The rows are what is kept of the candles. A column that a strategy looks at is copied once, when it looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from trader.config.sections import MarketConfig
from trader.core.history import Tape
from trader.core.records import CANDLE
from trader.domain.instrument import Instrument
from trader.domain.market import Candles, FloatArray, IntArray
from trader.errors import ConfigError
from trader.market.replay import ReplayFeed

_COLUMNS = ("open_ns", "open", "high", "low", "close", "volume")


class Look(Candles):
    """Candles whose columns are copied out of a history's rows when they are first looked at; nobody may write them."""

    __slots__ = ("_made", "_rows", "_where")
    _made: dict[str, npt.NDArray[Any]]
    _rows: npt.NDArray[np.void]
    _where: IntArray | slice

    def __init__(self, symbol: str, timeframe: str, rows: npt.NDArray[np.void], where: IntArray | slice) -> None:
        place: dict[str, Any] = {"symbol": symbol, "timeframe": timeframe, "_rows": rows, "_where": where, "_made": {}}
        for name, value in place.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(range(*self._where.indices(len(self._rows))) if isinstance(self._where, slice) else self._where)

    def __reduce__(self) -> tuple[Any, ...]:
        return Candles, (self.symbol, self.timeframe, *(self._column(name) for name in _COLUMNS))

    def _column(self, name: str) -> npt.NDArray[Any]:
        made: npt.NDArray[Any] | None = self._made.get(name)
        if made is None:
            made = np.ascontiguousarray(self._rows[name][self._where])
            made.flags.writeable = False
            self._made[name] = made
        return made


def _look_at(name: str) -> property:
    return property(lambda self: self._column(name))


for _name in _COLUMNS:
    setattr(Look, _name, _look_at(_name))


@dataclass(frozen=True, slots=True)
class History:
    """Candles of all symbols in the order they are played, and what trading them needs to know."""

    symbols: tuple[str, ...]  #: by slot
    timeframe: str  #: as in 5m
    timeframe_ns: int
    instruments: tuple[Instrument, ...]  #: by slot
    rows: npt.NDArray[np.void]  #: dtype CANDLE, by close and slot; those before `since` are for warming up
    first: int  #: the first row that is played
    starts: IntArray  #: first row of each moment, counted from `first`, and the number of rows that are played
    #: what was asked of it once and may be asked again
    kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def tape(self) -> Tape:
        """What is played."""
        return Tape(self.rows[self.first :], self.starts)

    @property
    def start_ns(self) -> int:
        """Market time just before the first candle that is played [ns UTC]."""
        return int(self.rows["close_ns"][self.first]) - self.timeframe_ns

    @property
    def end_ns(self) -> int:
        """Close of the last candle [ns UTC]."""
        return int(self.rows["close_ns"][-1])

    @property
    def bars(self) -> int:
        """How many candles are played."""
        return len(self.rows) - self.first

    @property
    def times_ns(self) -> IntArray:
        """When each moment is [ns UTC]."""
        times: IntArray | None = self.kept.get("times")
        if times is None:
            close_ns = self.rows["close_ns"][self.first :]
            times = self.kept["times"] = close_ns[self.starts[:-1]] if len(self.symbols) > 1 else close_ns.copy()
        return times

    def rows_of(self, slot: int) -> IntArray | slice:
        """Return where a symbol's candles are among all rows: a slice where they follow in equal steps."""
        if len(self.symbols) == 1:
            return slice(0, len(self.rows))
        where: IntArray | slice | None = self.kept.get(slot)
        if where is None:
            where = self.kept[slot] = _steps(np.flatnonzero(self.rows["slot"] == slot))
        return where

    def candles(self, slot: int, skipped: int = 0) -> Candles:
        """Return a symbol's candles, those for warming up too; their columns are read-only, and the same each time.

        Parameters
        ----------
        slot : int
            Index of the symbol.
        skipped : int
            How many of the first ones to leave out.
        """
        found: Candles | None = self.kept.get((slot, skipped))
        if found is None:
            where = self.rows_of(slot)
            if isinstance(where, slice):
                where = slice(where.start + skipped * (where.step or 1), where.stop, where.step)
            else:
                where = where[skipped:]
            found = self.kept[slot, skipped] = Look(self.symbols[slot], self.timeframe, self.rows, where)
        return found

    def closes(self, slot: int) -> tuple[IntArray, FloatArray]:
        """Return when a symbol's played candles closed and at which price."""
        candles = self.candles(slot)
        inside = int(np.searchsorted(candles.open_ns, self.start_ns))
        return candles.open_ns[inside:] + self.timeframe_ns, candles.close[inside:]

    def before(self, slot: int, bars: int) -> Candles:
        """Return a symbol's last candles before the first one that is played, at most so many."""
        candles = self.candles(slot)
        end = int(np.searchsorted(candles.open_ns, self.start_ns))
        columns = (getattr(candles, name)[max(end - bars, 0) : end] for name in _COLUMNS)
        return Candles(candles.symbol, candles.timeframe, *columns)

    def between(self, since_ns: int, until_ns: int) -> History:
        """Return the same history, played from one open to another only; what is before stays for warming up.

        Parameters
        ----------
        since_ns, until_ns : int
            First open, and the end of those that are played [ns UTC].

        Raises
        ------
        ConfigError
            When there is no candle in between.
        """
        return lay_out(self.symbols, self.timeframe, self.timeframe_ns, self.instruments, self.rows, since_ns, until_ns)


def _steps(where: IntArray) -> IntArray | slice:
    """Return ascending places as a slice, where they are one."""
    if len(where) < 2:
        return where
    step = int(where[1] - where[0])
    if where[-1] - where[0] == step * (len(where) - 1) and (np.diff(where) == step).all():
        return slice(int(where[0]), int(where[-1]) + 1, step)
    return where


def load(config: MarketConfig) -> History:
    """Read, validate and lay out the candles of a replay's configuration.

    Parameters
    ----------
    config : MarketConfig
        Its source must be replay.

    Raises
    ------
    ConfigError
        When the section does not say what to replay.
    MarketDataError
        Naming what is wrong in each file, with its row.
    """
    feed = ReplayFeed(config)
    candles = feed.read()
    rows = merge(candles, feed.timeframe_ns)
    return lay_out(feed.symbols, feed.timeframe, feed.timeframe_ns, feed.instruments, rows, *feed.bounds_ns)


def from_candles(candles: Sequence[Candles], instruments: Sequence[Instrument], timeframe_ns: int) -> History:
    """Lay out candles that are in memory, valid, one after another by slot.

    Parameters
    ----------
    candles : sequence of Candles
        By slot.
    instruments : sequence of Instrument
        By slot.
    timeframe_ns : int
        Length of a candle [ns].
    """
    symbols = tuple(one.symbol for one in candles)
    rows = merge(candles, timeframe_ns)
    forever = int(np.iinfo(np.int64).max)
    return lay_out(symbols, candles[0].timeframe, timeframe_ns, tuple(instruments), rows, 0, forever)


def lay_out(
    symbols: tuple[str, ...],
    timeframe: str,
    timeframe_ns: int,
    instruments: tuple[Instrument, ...],
    rows: npt.NDArray[np.void],
    since_ns: int,
    until_ns: int,
) -> History:
    """Return the history whose rows open from one moment up to before another.

    Parameters
    ----------
    symbols, timeframe, timeframe_ns, instruments, rows
        As in `History`.
    since_ns, until_ns : int
        First open, and the end of those that are played [ns UTC].

    Raises
    ------
    ConfigError
        When there is no candle in between.
    """
    first, end = (int(at) for at in np.searchsorted(rows["open_ns"], (since_ns, until_ns)))
    if first == end:
        raise ConfigError("there is no candle between market.since and market.until")
    close_ns = rows["close_ns"][first:end]
    if len(symbols) == 1:
        starts = np.arange(end - first + 1, dtype=np.int64)
    else:
        begins = np.flatnonzero(close_ns[1:] != close_ns[:-1]) + 1
        starts = np.concatenate(([0], begins, [end - first])).astype(np.int64)
    return History(symbols, timeframe, timeframe_ns, instruments, rows[:end], first, starts)


def merge(candles: Sequence[Candles], timeframe_ns: int) -> npt.NDArray[np.void]:
    """Return the candles of all slots as CANDLE records by close, then slot."""
    count = sum(map(len, candles))
    rows = np.empty(count, CANDLE)
    if len(candles) == 1:
        rows["slot"] = 0
        for name in _COLUMNS:
            rows[name] = getattr(candles[0], name)
    else:
        open_ns = np.concatenate([one.open_ns for one in candles])
        order = np.argsort(open_ns, kind="stable")  # equal times stay in the order of slots
        rows["slot"] = np.repeat(np.arange(len(candles)), [len(one) for one in candles])[order]
        rows["open_ns"] = open_ns[order]
        for name in _COLUMNS[1:]:
            rows[name] = np.concatenate([getattr(one, name) for one in candles])[order]
    rows["close_ns"] = rows["open_ns"] + timeframe_ns
    return rows
