"""A memory limit around the processes of a service that the kernel's OOM killer enforces, where one can be had."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
#: as in the unit (MemoryMax=): the kernel weighs oom_score_adj by the size of the limit [bytes]
LIMIT = 2 << 30
#: the last of it is filled slowly, so that one victim is enough [bytes]
SLOW = 24 << 20
#: fills a file on a tmpfs, which is charged to the group but is nobody's own memory: never the victim itself
HOG = """
import os, sys, time
from pathlib import Path
Path(sys.argv[1]).write_text('0')
with open(sys.argv[2], 'wb', buffering=0) as file:
    for _ in range(int(sys.argv[3]) >> 20):
        file.write(b'x' * (1 << 20))
    while True:
        file.write(b'x' * (1 << 16))
        time.sleep(0.005)
"""


class MemoryLimit:
    """A group for processes; it is gone afterwards."""

    def __init__(self) -> None:
        self._pids: list[int] = []
        self._group = self._make()
        self._file = Path("/dev/shm") / f"trader-fault-{os.getpid()}"
        self.how = "memory cgroup, OOM killer" if self._group else "SIGKILL to the highest oom_score (no memory cgroup)"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.unlink(missing_ok=True)
        if self._group is None:
            return
        self._limit(None)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            for pid in (self._group / "cgroup.procs").read_text().split():
                with contextlib.suppress(OSError):
                    (self._group.parent / "cgroup.procs").write_text(pid)
            with contextlib.suppress(OSError):
                self._group.rmdir()
                return
            time.sleep(0.05)

    def add(self, pid: int) -> None:
        """Take a process in, and with it all that it starts from now on."""
        self._pids.append(pid)
        if self._group is not None:
            (self._group / "cgroup.procs").write_text(str(pid))

    def press(self, pids: list[int], victim_gone: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Use up the memory until a process of the group has been killed for it.

        Parameters
        ----------
        pids : list of int
            Processes in the group.
        victim_gone : callable
            Whether it has happened.
        timeout_s : float
            For how long to go on [s].
        """
        if self._group is None:
            worst = max(pids, key=lambda pid: int(Path(f"/proc/{pid}/oom_score").read_text()))
            os.kill(worst, signal.SIGKILL)
            return
        room = max(LIMIT - self._usage(), 32 << 20)
        self._limit(self._usage() + room)
        command = [sys.executable, "-c", HOG, str(self._group / "cgroup.procs"), str(self._file), str(room - SLOW)]
        hog = subprocess.Popen(command)
        deadline = time.monotonic() + timeout_s
        try:
            while time.monotonic() < deadline and not victim_gone():
                time.sleep(0.001)
        finally:
            self._limit(None)
            hog.kill()
            hog.wait()

    @staticmethod
    def _make() -> Path | None:
        for base, needed in ((V1, "memory.limit_in_bytes"), (V2, "memory.max")):
            group = base / f"trader-fault-{os.getpid()}"
            with contextlib.suppress(OSError):
                group.mkdir()
                if (group / needed).exists():
                    return group
                group.rmdir()
        return None

    def _usage(self) -> int:
        assert self._group is not None
        for name in ("memory.usage_in_bytes", "memory.current"):
            if (self._group / name).exists():
                return int((self._group / name).read_text())
        return 0

    def _limit(self, limit: int | None) -> None:
        assert self._group is not None
        for name, none in (("memory.limit_in_bytes", "-1"), ("memory.max", "max")):
            if (self._group / name).exists():
                (self._group / name).write_text(none if limit is None else str(limit))
