"""Performance history, `metrics.db`: derived, written by the monitor, read by dashboard and commands.

The last days are rows. Older ones are packed: every value of every snapshot, to the bit, in a few kilobytes a day,
and beside them one row an hour for charts. So a year of snapshots each minute takes some megabytes and nothing is
forgotten, and any range answers at once.

Unlike the ledger it may be lost: a damaged file, or one of a newer version, is put aside and history begins
anew. It stands beside the ledger because the processes that read it must not know each other.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from trader.clock import NS_PER_DAY, NS_PER_S, format_utc, utc_ns
from trader.ledger.packing import Column, pack, unpack

#: in the file's header: says that it is performance history of ours
APPLICATION_ID = 0x74724D78
NS_PER_HOUR = 3600 * NS_PER_S

#: whole days that stay rows; older ones are packed
KEEP_DAYS = 2
#: days that one write packs at most: a monitor must not be silent for long
PACKED_AT_ONCE = 16
#: a chart of more days is drawn from hours
MOST_UNPACKED_DAYS = 60
#: changes of health that are remembered
MOST_CHANGES = 20_000


class Snapshot(NamedTuple):
    """Performance at one moment of market time; amounts in quote currency."""

    time_ns: int  #: market time [ns UTC]
    equity: float
    cash: float
    gross_exposure: float
    drawdown_frac: float
    realised_pnl: float
    open_positions: int
    round_trips: int
    # None where whoever took it did not know
    daily_pnl: float | None = None
    day_trades: int | None = None
    win_frac: float | None = None
    max_drawdown_frac: float | None = None
    cycles: int | None = None
    decisions: int | None = None


class HealthChange(NamedTuple):
    """A health check that went from one state to another."""

    recorded_ns: int  #: wall clock [ns UTC]
    name: str
    level: str
    text: str


class Traded(NamedTuple):
    """A round trip that somebody recorded who has no ledger."""

    exit_ns: int  #: [ns UTC]
    entry_ns: int  #: [ns UTC]
    symbol: str
    strategy: str
    exit_reason: str
    pnl: float  #: net of fees [quote]
    fees: float  #: [quote]


_VERSION_1 = """
CREATE TABLE snapshots (
    time_ns INTEGER PRIMARY KEY,
    equity REAL NOT NULL, cash REAL NOT NULL, gross_exposure REAL NOT NULL, drawdown_frac REAL NOT NULL,
    realised_pnl REAL NOT NULL, open_positions INTEGER NOT NULL, round_trips INTEGER NOT NULL,
    daily_pnl REAL, day_trades INTEGER, win_frac REAL, max_drawdown_frac REAL, cycles INTEGER, decisions INTEGER
) STRICT;
CREATE TABLE health (
    health_id INTEGER PRIMARY KEY, recorded_ns INTEGER NOT NULL, name TEXT NOT NULL, level TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
"""

_VERSION_2 = """
CREATE TABLE hours (
    hour INTEGER PRIMARY KEY, count INTEGER NOT NULL, last_ns INTEGER NOT NULL, last_equity REAL NOT NULL,
    last_drawdown_frac REAL NOT NULL, min_equity REAL NOT NULL, max_equity REAL NOT NULL,
    worst_drawdown_frac REAL NOT NULL
) STRICT;
CREATE TABLE packed (
    day INTEGER NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (day, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE trades (
    trade_id INTEGER PRIMARY KEY, exit_ns INTEGER NOT NULL, entry_ns INTEGER NOT NULL, symbol TEXT NOT NULL,
    strategy TEXT NOT NULL, exit_reason TEXT NOT NULL, pnl REAL NOT NULL, fees REAL NOT NULL
) STRICT;
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
"""

#: MIGRATIONS[v] takes a file of version v to v + 1; an entry is never edited once it was released
MIGRATIONS: tuple[str, ...] = (_VERSION_1, _VERSION_2)
VERSION = len(MIGRATIONS)

_NAMES = Snapshot._fields
_COLUMNS = ", ".join(_NAMES)
_INSERT = f"INSERT OR IGNORE INTO snapshots ({_COLUMNS}) VALUES ({', '.join('?' * len(_NAMES))})"  # noqa: S608
#: columns that are whole numbers in every row; the others are packed as floats, NaN for NULL
_WHOLE = ("time_ns", "open_positions", "round_trips")

_UNUSABLE = frozenset(
    {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA}
)


def is_unusable(error: sqlite3.Error) -> bool:
    """Tell whether an error says that the file itself is wrong, rather than the disk or the moment."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF in _UNUSABLE if code is not None else not isinstance(error, sqlite3.OperationalError)


class MetricsStore:
    """The monitor's way to write history.

    Parameters
    ----------
    path : Path
        Where the file is.
    connection : sqlite3.Connection
        As `open` makes it.
    put_aside : Path, optional
        Where a file that could not be used was moved to.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, put_aside: Path | None = None) -> None:
        self.put_aside = put_aside
        self._path = path
        self._connection = connection
        self._inode = path.stat().st_ino

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or make the file; one that can't be used is put aside, never deleted.

        Parameters
        ----------
        path : Path
            `InstancePaths.metrics`.

        Returns
        -------
        MetricsStore
            Ready to write; `put_aside` tells of a file that was moved away.
        """
        try:
            return cls(path, _open(path))
        except sqlite3.Error as error:
            if not is_unusable(error):
                raise  # locked, full or unwritable: nothing is wrong with the file
            aside = move_aside(path)
            return cls(path, _open(path), aside)

    @property
    def is_there(self) -> bool:
        """Whether the file that is written is still the one at its place."""
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def last_time_ns(self) -> int:
        """Return the market time of the last snapshot [ns UTC]; 0: none yet."""
        found = [
            self._connection.execute(f"SELECT max({column}) FROM {table}").fetchone()[0] or 0  # noqa: S608 - our own
            for table, column in (("snapshots", "time_ns"), ("hours", "last_ns"))
        ]
        return int(max(found))

    def append(
        self, snapshots: Iterable[Snapshot], health: Iterable[HealthChange] = (), trades: Iterable[Traded] = ()
    ) -> None:
        """Write in one transaction, then pack what is old; a moment that is there already stays as it is."""
        with self._transaction():
            self._connection.executemany(_INSERT, snapshots)
            self._connection.executemany(
                "INSERT INTO health (recorded_ns, name, level, text) VALUES (?, ?, ?, ?)", health
            )
            self._connection.executemany(
                "INSERT INTO trades (exit_ns, entry_ns, symbol, strategy, exit_reason, pnl, fees) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                trades,
            )
            self._connection.execute(
                "DELETE FROM health WHERE health_id <= (SELECT max(health_id) FROM health) - ?", (MOST_CHANGES,)
            )
        self.pack_old_days(PACKED_AT_ONCE)

    def remember(self, key: str, value: float | str) -> None:
        """Keep a fact; the first value that a key was given stays."""
        with self._transaction():
            self._connection.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (key, value))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:  # a full disk has ended it already
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def pack_old_days(self, most: int) -> None:
        """Pack days that are old enough, at most so many."""
        bounds = self._connection.execute("SELECT min(time_ns), max(time_ns) FROM snapshots").fetchone()
        if bounds[0] is None:
            return
        before_ns = (bounds[1] // NS_PER_DAY - KEEP_DAYS) * NS_PER_DAY
        for _ in range(most):
            first = self._connection.execute("SELECT min(time_ns) FROM snapshots").fetchone()[0]
            if first >= before_ns:
                return
            self._pack(first // NS_PER_DAY)

    def _pack(self, day: int) -> None:
        bounds = (day * NS_PER_DAY, (day + 1) * NS_PER_DAY - 1)
        found = self._connection.execute(
            f"SELECT {_COLUMNS} FROM snapshots WHERE time_ns BETWEEN ? AND ? ORDER BY time_ns",  # noqa: S608
            bounds,
        ).fetchall()
        columns = self._with_packed(day, _columns(found, _NAMES))
        with self._transaction():
            self._connection.executemany(
                "INSERT OR REPLACE INTO packed VALUES (?, ?, ?)", [(day, name, pack(columns[name])) for name in _NAMES]
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO hours VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _hours(columns)
            )
            self._connection.execute("DELETE FROM snapshots WHERE time_ns BETWEEN ? AND ?", bounds)

    def _with_packed(self, day: int, columns: dict[str, Column]) -> dict[str, Column]:
        """Return a day's columns with what was packed of it before: a clock that was set back brings it twice."""
        rows = self._connection.execute("SELECT name, data FROM packed WHERE day = ?", (day,)).fetchall()
        if not rows:
            return columns
        packed = {name: unpack(data, "i8" if name in _WHOLE else "f8") for name, data in rows}
        joined = {name: np.concatenate([packed[name], columns[name]]) for name in _NAMES}
        _, first = np.unique(joined["time_ns"], return_index=True)
        return {name: column[first] for name, column in joined.items()}


def _hours(columns: dict[str, Column]) -> Iterator[tuple[Any, ...]]:
    times, equity, drawdown = columns["time_ns"], columns["equity"], columns["drawdown_frac"]
    hours = times // NS_PER_HOUR
    starts = np.flatnonzero(np.diff(hours, prepend=hours[0] - 1))
    ends = np.append(starts[1:], len(hours))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        part = equity[start:end]
        yield (
            int(hours[start]), end - start, int(times[end - 1]), float(part[-1]), float(drawdown[end - 1]),
            float(part.min()), float(part.max()), float(drawdown[start:end].max()),
        )  # fmt: skip


def _columns(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> dict[str, Column]:
    """Return rows of snapshots as columns; NULL is NaN."""
    found: dict[str, Column] = {}
    for index, name in enumerate(names):
        values = [row[index] for row in rows]
        if name in _WHOLE:
            found[name] = np.array(values, np.int64)
        else:
            found[name] = np.array([np.nan if value is None else value for value in values], np.float64)
    return found


class MetricsReader:
    """Reads history while the monitor writes it, and when no service runs.

    Parameters
    ----------
    path : Path
        `InstancePaths.metrics`; may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    def equity(self, since_ns: int = 0, until_ns: int = 2**62, points: int = 1000) -> list[tuple[int, float, float]]:
        """Return the equity curve, thinned to about `points` moments, oldest first.

        Parameters
        ----------
        since_ns, until_ns : int
            Range of market time [ns UTC], both inclusive.
        points : int
            How many moments at most, plus the one that a bucket's edge may add.

        Returns
        -------
        list of (time_ns, equity, drawdown_frac)
            The last snapshot of each of `points` equal spans of time; empty without history. Over more than
            two months, of packed days the last snapshot of an hour.
        """
        with self._snapshot():
            bounds = self.bounds(since_ns, until_ns)
            if bounds is None:
                return []
            first, last = bounds
            if last - first > MOST_UNPACKED_DAYS * NS_PER_DAY:
                times, equity, drawdown = self._by_hours(first, last)
            else:
                found = self.series(since_ns, until_ns, ("time_ns", "equity", "drawdown_frac"))
                times, equity, drawdown = found["time_ns"], found["equity"], found["drawdown_frac"]
        if not len(times):
            return []
        first, span = int(times[0]), (int(times[-1]) - int(times[0])) // max(1, points) + 1
        buckets = (times - first) // span
        ends = np.append(np.flatnonzero(np.diff(buckets)), len(times) - 1)
        return list(zip(times[ends].tolist(), equity[ends].tolist(), drawdown[ends].tolist(), strict=True))

    def bounds(self, since_ns: int = 0, until_ns: int = 2**62) -> tuple[int, int] | None:
        """Return the first and the last moment of a range that there is history of, to the hour in packed days."""
        rows = self._rows(
            "SELECT min(first), max(last) FROM ("
            "SELECT min(time_ns) AS first, max(time_ns) AS last FROM snapshots WHERE time_ns BETWEEN ?1 AND ?2 "
            "UNION ALL SELECT max(min(hour) * ?3, ?1), min(max(last_ns), ?2) FROM hours "
            "WHERE hour BETWEEN ?1 / ?3 AND ?2 / ?3 AND last_ns >= ?1)",
            (since_ns, until_ns, NS_PER_HOUR),
        )
        return (int(rows[0][0]), int(rows[0][1])) if rows and rows[0][0] is not None else None

    def series(
        self, since_ns: int = 0, until_ns: int = 2**62, names: Sequence[str] = ("time_ns", "equity")
    ) -> dict[str, Column]:
        """Return every snapshot of a range as columns, oldest first.

        Parameters
        ----------
        since_ns, until_ns : int
            Range of market time [ns UTC], both inclusive.
        names : sequence of str
            Fields of `Snapshot`.

        Returns
        -------
        dict of ndarray
            int64 or float64 by name, all of one length; NaN for what was not known.
        """
        bounded = since_ns > 0 or until_ns < 2**62
        wanted = tuple(dict.fromkeys((*(("time_ns",) if bounded else ()), *names)))
        with self._snapshot():
            rows = self._rows(
                f"SELECT {', '.join(wanted)} FROM snapshots WHERE time_ns BETWEEN ? AND ? ORDER BY time_ns",  # noqa: S608
                (since_ns, until_ns),
            )
            parts = [*self._packed(since_ns, until_ns, wanted), _columns(rows, wanted)]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in wanted}
        if not bounded:
            return {name: joined[name] for name in names}
        inside = (joined["time_ns"] >= since_ns) & (joined["time_ns"] <= until_ns)
        return {name: joined[name][inside] for name in names}

    def last(self) -> Snapshot | None:
        """Return the newest snapshot, or None without history."""
        rows = self._rows(f"SELECT {_COLUMNS} FROM snapshots ORDER BY time_ns DESC LIMIT 1", ())  # noqa: S608
        return Snapshot(*rows[0]) if rows else None

    def trades(self) -> list[Traded]:
        """Return the round trips that were recorded here, oldest first."""
        rows = self._rows(f"SELECT {', '.join(Traded._fields)} FROM trades ORDER BY exit_ns, trade_id", ())  # noqa: S608
        return [Traded(*row) for row in rows]

    def health(self, limit: int = 100) -> list[HealthChange]:
        """Return the last changes of health, newest first."""
        rows = self._rows("SELECT recorded_ns, name, level, text FROM health ORDER BY health_id DESC LIMIT ?", (limit,))
        return [HealthChange(*row) for row in rows]

    def remembered(self, key: str) -> Any:
        """Return a fact that was kept, or None."""
        rows = self._rows("SELECT value FROM meta WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _by_hours(self, first_ns: int, last_ns: int) -> tuple[Column, Column, Column]:
        rows = self._rows(
            "SELECT last_ns, last_equity, last_drawdown_frac FROM hours WHERE hour BETWEEN ?1 / ?3 AND ?2 / ?3 "
            "AND last_ns BETWEEN ?1 AND ?2 UNION ALL "
            "SELECT * FROM (SELECT time_ns, equity, drawdown_frac FROM snapshots WHERE time_ns BETWEEN ?1 AND ?2) "
            "ORDER BY 1",
            (first_ns, last_ns, NS_PER_HOUR),
        )
        return (
            np.array([row[0] for row in rows], np.int64),
            np.array([row[1] for row in rows]),
            np.array([row[2] for row in rows]),
        )

    def _packed(self, since_ns: int, until_ns: int, names: Sequence[str]) -> list[dict[str, Column]]:
        marks = ", ".join("?" * len(names))
        rows = self._rows(
            f"SELECT day, name, data FROM packed WHERE day BETWEEN ? AND ? AND name IN ({marks}) ORDER BY day",  # noqa: S608
            (since_ns // NS_PER_DAY, until_ns // NS_PER_DAY, *names),
        )
        days: dict[int, dict[str, Column]] = {}
        for day, name, data in rows:
            days.setdefault(day, {})[name] = unpack(data, "i8" if name in _WHOLE else "f8")
        return list(days.values())

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Let queries inside see one state: a day is packed between two others."""
        connection = self._connect()
        if connection is None or connection.in_transaction:
            yield
            return
        try:
            connection.execute("BEGIN")
        except sqlite3.DatabaseError:
            yield
            return
        try:
            yield
        finally:
            if self._connection is connection:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")

    def _rows(self, statement: str, arguments: Sequence[Any]) -> list[Any]:
        connection = self._connect()
        if connection is None:
            return []
        try:
            return connection.execute(statement, arguments).fetchall()
        except sqlite3.DatabaseError:  # being made, being replaced, or damaged: the monitor sees to it
            self.close()
            return []

    def _connect(self) -> sqlite3.Connection | None:
        found = self._connection
        if found is not None and found.in_transaction:
            return found
        try:
            inode = self._path.stat().st_ino
        except OSError:
            self.close()
            return None
        if found is not None and inode == self._inode:
            return found
        self.close()
        location = f"{self._path.absolute().as_uri()}?mode=ro"
        try:
            opened = sqlite3.connect(location, uri=True, timeout=1.0, isolation_level=None, check_same_thread=False)
        except sqlite3.OperationalError:
            return None
        self._connection, self._inode = opened, inode
        return opened


def move_aside(path: Path) -> Path:
    """Move a file that can't be used, with what SQLite keeps beside it; return where to."""
    aside = path.with_name(f"{path.name}.unusable-{format_utc(utc_ns(), 'seconds').replace(':', '')}")
    number = 1
    while aside.exists():
        number += 1
        aside = aside.with_name(f"{aside.name.partition('+')[0]}+{number}")
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    path.rename(aside)
    return aside


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
        if version > VERSION or (version and owner != APPLICATION_ID):
            raise sqlite3.DatabaseError(f"{path}: version {version} of application {owner:#x} is not ours to write")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA journal_size_limit=4194304")
        if version < VERSION:
            steps = "".join(MIGRATIONS[version:])
            stamps = f"PRAGMA application_id={APPLICATION_ID};PRAGMA user_version={VERSION};"
            connection.executescript(f"BEGIN IMMEDIATE;{steps}{stamps}COMMIT;")
        for table in ("snapshots", "hours", "packed", "health", "trades", "meta"):
            connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()  # noqa: S608 - names are our own
    except BaseException:
        connection.close()
        raise
    return connection
