"""The ledger's files: what may be opened, what must not be touched, and a reserve for a full disk.

A ledger is judged before the first byte of it is written, and by a connection that can't write. What
SIGKILL leaves behind (a write-ahead log with an unfinished tail) is whole; what lost committed pages is not.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from trader.errors import LedgerDamaged, LedgerError, LedgerTooNew, LedgerUnwritable, TraderError
from trader.ledger import layouts
from trader.ledger.layouts import Layout
from trader.ledger.schema import APPLICATION_ID, VERSION
from trader.ledger.seals import broken_rows, count_problems

RESERVE_BYTES = 4 << 20
_HEADER = struct.Struct(">16s2s2B76s")
_MAGIC = b"SQLite format 3\0"
_WAL_HEADER = struct.Struct(">8I")
_WAL_FRAME = struct.Struct(">6I")
ADVICE = "it was not touched; stop the service, move its folder aside as evidence and restore a copy"

_UNWRITABLE = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PERM,
    }
)
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})


def wal_path(path: Path) -> Path:
    """Return the write-ahead log of a ledger."""
    return path.with_name(path.name + "-wal")


def shm_path(path: Path) -> Path:
    """Return the index of a ledger's write-ahead log."""
    return path.with_name(path.name + "-shm")


def translated(error: sqlite3.Error, path: Path) -> TraderError:
    """Return the error of ours that SQLite's means."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _UNWRITABLE:
        return LedgerUnwritable(f"{path} can not be written: {error}; what is to be written is kept and tried again")
    if code in _DAMAGED:
        return LedgerDamaged(f"{path} is damaged: {error}; {ADVICE}")
    return LedgerError(f"{path}: {error}")


def exists(path: Path) -> bool:
    """Tell whether a ledger has begun here.

    Raises
    ------
    LedgerDamaged
        When only a write-ahead log is left: a new ledger beside it would swallow it.
    """
    if path.exists():
        return True
    wal = wal_path(path)
    if wal.exists() and wal.stat().st_size > 0:
        raise LedgerDamaged(f"{path} is gone, but its write-ahead log {wal.name} is there; {ADVICE}")
    return False


def check(path: Path) -> dict[str, str]:
    """Prove that a ledger of this format, or of an earlier one, is whole without writing a byte of it.

    Parameters
    ----------
    path : Path
        An existing ledger that no one writes.

    Returns
    -------
    dict
        What it says of itself: instance, currency, capital, mode, format.

    Raises
    ------
    LedgerDamaged
        When something is wrong with its header, its pages, its rows or its write-ahead log.
    LedgerTooNew
        When a newer version of trader wrote it.
    LedgerUnwritable
        When it can't be read now.
    """
    _check_header(path)
    _check_wal(path)
    had_index = shm_path(path).exists()
    try:
        with closing(_connect_to_look(path)) as connection:
            layout = _check_version(connection, path)
            _check_pages(connection, path)
            return _check_rows(connection, path, layout)
    except TraderError:
        if not had_index:
            shm_path(path).unlink(missing_ok=True)
        raise


def _connect_to_look(path: Path) -> sqlite3.Connection:
    # Without a log there is nothing to recover, and `immutable` makes no side files at all.
    wal = wal_path(path)
    mode = "mode=ro" if wal.exists() and wal.stat().st_size else "immutable=1"
    try:
        return sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise translated(error, path) from error


def _check_header(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
    if not head:
        raise LedgerDamaged(f"{path} is empty: it was cut off; {ADVICE}")
    if len(head) < _HEADER.size or not head.startswith(_MAGIC):
        raise LedgerDamaged(f"{path} does not begin as a ledger does; {ADVICE}")
    _, _, write_version, read_version, _ = _HEADER.unpack(head)
    if (write_version, read_version) != (2, 2):
        raise LedgerDamaged(f"{path} says that it has no write-ahead log, which every ledger has; {ADVICE}")


def _check_version(connection: sqlite3.Connection, path: Path) -> Layout:
    with _reading(path):
        return read_layout(connection, path)


def read_layout(connection: sqlite3.Connection, path: Path) -> Layout:
    """Return the layout of a ledger.

    Raises
    ------
    LedgerDamaged
        When it is no ledger, or has tables that its format never had.
    LedgerTooNew
        When a newer version of trader wrote it.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = layouts.read_version(connection)
    if application != APPLICATION_ID:
        raise LedgerDamaged(f"{path} is no ledger of trader (application id {application:#x}); {ADVICE}")
    if version > VERSION:
        raise LedgerTooNew(
            f"{path} has format {version}, and this trader knows formats up to {VERSION}; it was not touched: "
            f"install the trader that wrote it again, or put back the copy of format {VERSION} that was kept beside it"
        )
    if version < 1:
        raise LedgerDamaged(f"{path} has format {version}, which never was; {ADVICE}")
    found = layouts.find(connection)
    if found is None:
        raise LedgerDamaged(f"{path} does not have the tables of format {version}; {ADVICE}")
    return found


def _check_pages(connection: sqlite3.Connection, path: Path) -> None:
    with _reading(path):
        problems = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
        orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
    if problems != ["ok"]:
        raise LedgerDamaged(f"{path} is damaged: {'; '.join(problems)}; {ADVICE}")
    if orphans:
        raise LedgerDamaged(f"{path} is damaged: rows of {orphans[0][0]} refer to rows that are gone; {ADVICE}")


def _check_rows(connection: sqlite3.Connection, path: Path, layout: Layout) -> dict[str, str]:
    with _reading(path):
        for table in layout.sealed():
            broken = broken_rows(connection, table, layout.columns(table))
            if broken:
                raise LedgerDamaged(f"{path} is damaged: {table} has changed at {', '.join(broken[:5])}; {ADVICE}")
        problems = count_problems(connection, layout.columns("cursor"))
        stored = dict(connection.execute("SELECT key, value FROM meta"))
    if stored.get("format") != str(layout.version):
        problems.append(f"its header says format {layout.version}, its contents format {stored.get('format')}")
    if problems:
        raise LedgerDamaged(f"{path} is damaged: {'; '.join(problems)}; {ADVICE}")
    return stored


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        # A text that isn't UTF-8, a schema that can't be parsed, a table that is gone: all mean damage here.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in _UNWRITABLE:
            raise LedgerUnwritable(f"{path} can not be read now: {error}") from error
        raise LedgerDamaged(f"{path} is damaged: {error}; {ADVICE}") from error


def _check_wal(path: Path) -> None:
    """Refuse a write-ahead log that has lost committed frames.

    SQLite takes the frames up to the first one that isn't valid and forgets the rest without a word.
    That is right for the unfinished tail that a kill leaves, and wrong when a committed frame follows.
    """
    wal = wal_path(path)
    data = wal.read_bytes() if wal.exists() else b""
    if not data.strip(b"\0"):
        return
    if len(data) < _WAL_HEADER.size:
        return  # killed while the very first frame was being written
    header = _WAL_HEADER.unpack_from(data)
    order = "<" if header[0] == 0x377F0682 else ">"
    sums = _wal_sums(data[:24], order, 0, 0)
    if header[0] not in (0x377F0682, 0x377F0683) or sums != header[6:8]:
        if len(data) > _WAL_HEADER.size:
            raise LedgerDamaged(f"{wal} has a damaged header; {ADVICE}")
        return
    _check_frames(wal, data, order, header)


def _check_frames(wal: Path, data: bytes, order: str, header: tuple[int, ...]) -> None:
    size = header[2] + _WAL_FRAME.size
    salts, sums, whole, first_bad = header[4:6], (header[6], header[7]), True, 0
    for number, start in enumerate(range(_WAL_HEADER.size, len(data) - size + 1, size)):
        _, commit, salt_1, salt_2, sum_1, sum_2 = _WAL_FRAME.unpack_from(data, start)
        if (salt_1, salt_2) != salts and whole:
            # frames of the time before the log was begun anew: or a damaged one, which then has followers
            whole, first_bad = False, number
            continue
        if whole:
            sums = _wal_sums(data[start : start + 8], order, *sums)
            sums = _wal_sums(data[start + 24 : start + size], order, *sums)
            if sums != (sum_1, sum_2):
                whole, first_bad = False, number
        elif commit and (salt_1, salt_2) == salts:
            raise LedgerDamaged(
                f"{wal} is damaged at frame {first_bad + 1}: what was committed after it is lost; {ADVICE}"
            )


def _wal_sums(data: bytes, order: str, first: int, second: int) -> tuple[int, int]:
    # SQLite's file format, section 4.2: the checksum algorithm of the write-ahead log
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for index in range(0, len(words), 2):
        first = (first + words[index] + second) & 0xFFFFFFFF
        second = (second + words[index + 1] + first) & 0xFFFFFFFF
    return first, second


class Reserve:
    """Disk space set aside, given back when the disk is full so that exits can still be written down.

    Parameters
    ----------
    path : Path
        The file that holds the space.
    size : int
        How much [bytes].
    """

    def __init__(self, path: Path, size: int = RESERVE_BYTES) -> None:
        self.path = path
        self.size = size
        self.held = path.exists() and path.stat().st_size == size

    def take(self) -> bool:
        """Set the space aside; return whether it is held.

        It is only taken when twice as much is free: a reserve that fills the disk is none.
        """
        if self.held:
            return True
        try:
            space = os.statvfs(self.path.parent)
            if space.f_bavail * space.f_frsize < 2 * self.size:
                return False
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self.size)
            finally:
                os.close(descriptor)
        except OSError:
            self.release()
            return False
        self.held = True
        return True

    def release(self) -> bool:
        """Give the space back; return whether any was held."""
        was_held, self.held = self.held, False
        try:
            self.path.unlink(missing_ok=True)
        except OSError:
            return False
        return was_held
