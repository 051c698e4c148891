"""Locks on the data folder: one supervisor, one engine, however they were started.

flock and not a PID file: the kernel drops it with the last descriptor of a dead process.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from trader.errors import AlreadyRunning, TraderError


class LockFile:
    """A file held exclusively for as long as this process lives, or until `release`."""

    def __init__(self, path: Path, holder: str) -> None:
        self.path = path
        self._holder = holder
        self._descriptor = -1

    def take(self) -> None:
        """Take the lock, without waiting.

        Raises
        ------
        AlreadyRunning
            When another process holds it.
        TraderError
            When the file can not be opened.
        """
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise TraderError(f"{self.path} can not be opened: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            who = f" (process {pid})" if pid.isdigit() else ""
            raise AlreadyRunning(
                f"another {self._holder}{who} holds {self.path}: stop it first, or use another data folder"
            ) from error
        with suppress(OSError):  # the number only helps a reader; a full disk must not keep the lock from us
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; the file stays, since removing it would let two processes in."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
