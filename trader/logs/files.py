"""Log files that several processes write at once, with rotation, and without a lock per line.

What waits is written at once: one write of whole lines to a descriptor opened with O_APPEND, which the kernel
keeps together. Only rotation takes a lock. Whoever still holds the old file writes on into it, under its new name:
nothing is lost. The standard library's RotatingFileHandler loses lines here, and a lock per line costs more than
the line.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from trader.clock import NS_PER_DAY, format_utc, utc_ns
from trader.logs.sinks import Sink

#: most that one write takes, so that a rotation by another process is noticed soon
CHUNK_BYTES = 1 << 16

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class SharedFile(Sink):
    """Appends records to a file that other processes append to as well.

    A file that was deleted or moved is made anew; a disk that is full costs the records that
    don't fit, which are counted, and nothing else.

    Parameters
    ----------
    path : Path
        The file; its folder exists.
    level : int
        Lowest level that is written.
    """

    def __init__(self, path: Path, level: int) -> None:
        super().__init__(level)
        self._path = path
        self._descriptor = -1
        self._inode = (-1, -1)
        self._torn = False  # the last write was cut short: end its line first

    def take(self, records: Sequence[logging.LogRecord]) -> None:
        """Write records; never raises."""
        lines = []
        for record in self.wanted(records):
            try:
                lines.append(self.format(record).encode("utf-8", "backslashreplace") + b"\n")
            except Exception as error:  # noqa: BLE001 - logging must not stop trading, whatever breaks
                self.lose(1, self._path.name, error)
        written = 0
        try:
            while written < len(lines):
                written += self._write(lines, written)
        except OSError as error:
            self.lose(len(lines) - written, self._path.name, error)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; never raises."""
        self.take([record])

    def close(self) -> None:
        """Close the file."""
        self._close()
        super().close()

    def due(self, status: os.stat_result, more: int) -> bool:
        """Tell whether the file must be rotated before `more` bytes are written."""
        raise NotImplementedError

    def room(self, status: os.stat_result) -> int:  # noqa: ARG002 - for files of any size
        """Return how many bytes may be written before the file is looked at again."""
        return CHUNK_BYTES

    def rotate(self, status: os.stat_result) -> None:
        """Move the file away; called by one process at a time."""
        raise NotImplementedError

    def _write(self, lines: list[bytes], first: int) -> int:
        """Write as many lines as belong into the file now, at least one; return how many are on their way whole."""
        status = self._current()
        if self.due(status, len(lines[first])):
            self._rotate_once(len(lines[first]))
            status = self._current()
        chunk = lines[first : first + self._fitting(lines, first, self.room(status))]
        was_torn = self._torn
        data = b"\n" * was_torn + b"".join(chunk)
        written = os.write(self._descriptor, data)
        self._torn = not data[:written].endswith(b"\n")
        if written == len(data):
            return len(chunk)
        # a full disk took a part: what is not whole yet is tried once more, which says why
        whole = data[:written].count(b"\n") - was_torn
        if whole <= 0 and was_torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return max(whole, 0)

    def _fitting(self, lines: list[bytes], first: int, room: int) -> int:
        count, size = 1, len(lines[first])
        while first + count < len(lines) and size + len(lines[first + count]) <= room:
            size += len(lines[first + count])
            count += 1
        return count

    def _current(self) -> os.stat_result:
        try:
            status = self._path.lstat()
            if (status.st_dev, status.st_ino) == self._inode:
                return status
        except FileNotFoundError:
            pass
        self._close()
        self._descriptor = os.open(self._path, _FLAGS, 0o640)
        status = os.fstat(self._descriptor)
        self._inode = (status.st_dev, status.st_ino)
        self._torn = False
        return status

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._inode = -1, (-1, -1)

    def _rotate_once(self, more: int) -> None:
        with _try_lock(self._path.parent / ".rotate.lock") as locked:
            if not locked:
                return  # another process rotates, or hangs in it: write on, the file may grow over its size
            try:
                status = self._path.lstat()
            except FileNotFoundError:
                return
            if self.due(status, more):  # not yet done by another
                self.rotate(status)


class SizedFile(SharedFile):
    """A log file that is kept under a size, with numbered older ones beside it.

    Parameters
    ----------
    path : Path
        The file.
    level : int
        Lowest level that is written.
    max_bytes : int
        Size at which it becomes `path.1`.
    backups : int
        How many older ones are kept.
    """

    def __init__(self, path: Path, level: int, *, max_bytes: int, backups: int) -> None:
        super().__init__(path, level)
        self._max_bytes = max_bytes
        self._backups = backups

    def due(self, status: os.stat_result, more: int) -> bool:
        """Tell whether `more` bytes would not fit."""
        return status.st_size > 0 and status.st_size + more > self._max_bytes

    def room(self, status: os.stat_result) -> int:
        """Return what is left of the size."""
        return min(CHUNK_BYTES, self._max_bytes - status.st_size)

    def rotate(self, status: os.stat_result) -> None:  # noqa: ARG002 - the size does not matter any more
        """Shift every older file by one; the oldest goes."""
        for number in range(self._backups - 1, 0, -1):
            _move(self._numbered(number), self._numbered(number + 1))
        _move(self._path, self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class DailyFile(SharedFile):
    """A log file per UTC day; the file's own time of change says which day it holds.

    Parameters
    ----------
    path : Path
        Today's file; older ones are named `path.2024-01-03`.
    level : int
        Lowest level that is written.
    days : int
        How many older ones are kept.
    """

    def __init__(self, path: Path, level: int, *, days: int) -> None:
        super().__init__(path, level)
        self._days = days

    def due(self, status: os.stat_result, more: int) -> bool:  # noqa: ARG002 - any size
        """Tell whether the file holds an earlier day."""
        return status.st_size > 0 and status.st_mtime_ns // NS_PER_DAY < utc_ns() // NS_PER_DAY

    def rotate(self, status: os.stat_result) -> None:
        """Name the file by its day, and delete what is too old."""
        day = format_utc(status.st_mtime_ns)[:10]
        aside = self._path.with_name(f"{self._path.name}.{day}")
        number = 1
        while aside.exists():  # a clock that was set back made this day twice
            aside = self._path.with_name(f"{self._path.name}.{day}.{number}")
            number += 1
        _move(self._path, aside)
        oldest = format_utc(utc_ns() - self._days * NS_PER_DAY)[:10]
        for old in self._path.parent.glob(f"{self._path.name}.????-??-??*"):
            if old.name[len(self._path.name) + 1 :][:10] < oldest:
                old.unlink(missing_ok=True)


@contextmanager
def _try_lock(path: Path) -> Iterator[bool]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _move(source: Path, target: Path) -> None:
    with suppress(FileNotFoundError):
        source.replace(target)
