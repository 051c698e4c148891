"""Log files that several processes write at once, with rotation, and without a lock per line.

A line is one write to a descriptor opened with O_APPEND, which the kernel keeps whole. Only rotation
takes a lock. Whoever still holds the old file writes on into it, under its new name: nothing is lost.
The standard library's RotatingFileHandler loses lines here, and a lock per line costs more
than the line.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trader.clock import NS_PER_DAY, format_utc, utc_ns

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class SharedFile(logging.Handler):
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
        self.failed = 0  #: records that could not be written
        self.last_error = ""
        self._path = path
        self._descriptor = -1
        self._inode = (-1, -1)
        self._torn = False  # the last write was cut short: end its line first

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; never raises."""
        try:
            self._write(self.format(record).encode("utf-8", "backslashreplace") + b"\n")
        except Exception as error:  # noqa: BLE001 - logging must not stop trading, whatever breaks
            self.failed += 1
            self.last_error = f"{self._path.name}: {getattr(error, 'strerror', None) or error}"

    def close(self) -> None:
        """Close the file."""
        self._close()
        super().close()

    def due(self, status: os.stat_result, more: int) -> bool:
        """Tell whether the file must be rotated before `more` bytes are written."""
        raise NotImplementedError

    def rotate(self, status: os.stat_result) -> None:
        """Move the file away; called by one process at a time."""
        raise NotImplementedError

    def _write(self, line: bytes) -> None:
        status = self._current()
        if self.due(status, len(line)):
            self._rotate_once(len(line))
            self._current()
        if self._torn:
            line = b"\n" + line
        written = os.write(self._descriptor, line)
        self._torn = written < len(line)
        if self._torn:
            raise OSError("the disk is full")

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
