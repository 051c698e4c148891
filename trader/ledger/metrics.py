"""Performance history, `metrics.db`: derived, written by the monitor, read by dashboard and commands.

Unlike the ledger it may be lost: a damaged file, or one of a newer version, is put aside and history begins
anew. It stands beside the ledger because the processes that read it must not know each other.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

from trader.clock import format_utc, utc_ns

#: in the file's header: says that it is performance history of ours
APPLICATION_ID = 0x74724D78


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
    # of the account as it was when the snapshot was written; None for one that was caught up later
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

#: MIGRATIONS[v] takes a file of version v to v + 1; an entry is never edited once it was released
MIGRATIONS: tuple[str, ...] = (_VERSION_1,)
VERSION = len(MIGRATIONS)

_COLUMNS = ", ".join(Snapshot._fields)
_INSERT = f"INSERT OR IGNORE INTO snapshots ({_COLUMNS}) VALUES ({', '.join('?' * len(Snapshot._fields))})"  # noqa: S608


class MetricsStore:
    """The monitor's way to write history.

    Parameters
    ----------
    connection : sqlite3.Connection
        As `open` makes it.
    put_aside : Path, optional
        Where a file that could not be used was moved to.
    """

    def __init__(self, connection: sqlite3.Connection, put_aside: Path | None = None) -> None:
        self._connection = connection
        self.put_aside = put_aside

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
            return cls(_open(path))
        except sqlite3.OperationalError:
            raise  # locked, full or unwritable: nothing is wrong with the file
        except sqlite3.DatabaseError:
            aside = path.with_name(f"{path.name}.unusable-{format_utc(utc_ns(), 'seconds').replace(':', '')}")
            for suffix in ("-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
            path.rename(aside)
            return cls(_open(path), aside)

    def last_time_ns(self) -> int:
        """Return the market time of the last snapshot [ns UTC]; 0: none yet."""
        row = self._connection.execute("SELECT max(time_ns) FROM snapshots").fetchone()
        return int(row[0] or 0)

    def append(self, snapshots: Iterable[Snapshot], health: Iterable[HealthChange] = ()) -> None:
        """Write snapshots and health changes in one transaction; a moment that is there already stays as it is."""
        with self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany(_INSERT, snapshots)
            self._connection.executemany(
                "INSERT INTO health (recorded_ns, name, level, text) VALUES (?, ?, ?, ?)", health
            )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


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
            The last snapshot of each of `points` equal spans of time; empty without history.
        """
        bounds = self._rows(
            "SELECT min(time_ns), max(time_ns) FROM snapshots WHERE time_ns BETWEEN ? AND ?", (since_ns, until_ns)
        )
        if not bounds or bounds[0][0] is None:
            return []
        first, last = bounds[0]
        span = (last - first) // max(1, points) + 1
        # with one max() in it, SQLite takes the other columns from the row that has the maximum
        return self._rows(
            "SELECT max(time_ns), equity, drawdown_frac FROM snapshots WHERE time_ns BETWEEN ? AND ? "
            "GROUP BY (time_ns - ?) / ? ORDER BY time_ns",
            (first, last, first, span),
        )

    def last(self) -> Snapshot | None:
        """Return the newest snapshot, or None without history."""
        rows = self._rows(f"SELECT {_COLUMNS} FROM snapshots ORDER BY time_ns DESC LIMIT 1", ())  # noqa: S608
        return Snapshot(*rows[0]) if rows else None

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _rows(self, statement: str, arguments: tuple[int, ...]) -> list[Any]:
        connection = self._connect()
        if connection is None:
            return []
        try:
            return connection.execute(statement, arguments).fetchall()
        except sqlite3.DatabaseError:  # being made, being replaced, or damaged: the monitor sees to it
            self.close()
            return []

    def _connect(self) -> sqlite3.Connection | None:
        try:
            inode = self._path.stat().st_ino
        except OSError:
            self.close()
            return None
        if inode != self._inode:
            self.close()
        if self._connection is None:
            try:
                self._connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)
            except sqlite3.OperationalError:
                return None
            self._inode = inode
        return self._connection


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
        if version > VERSION or (version and owner != APPLICATION_ID):
            raise sqlite3.DatabaseError(f"{path}: version {version} of application {owner:#x} is not ours to write")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        if version < VERSION:
            steps = "".join(MIGRATIONS[version:])
            stamps = f"PRAGMA application_id={APPLICATION_ID};PRAGMA user_version={VERSION};"
            connection.executescript(f"BEGIN IMMEDIATE;{steps}{stamps}COMMIT;")
        connection.execute("SELECT max(time_ns) FROM snapshots").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection
