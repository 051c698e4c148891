"""A story in a PID namespace of its own: `reused_pid FOLDER` prints what it saw as one JSON document.

The engine is stopped until the supervisor has sent its SIGABRT, then killed, and its number given to a stranger
before the SIGKILL of the supervisor is due.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.faults.stage import Stage, alive, busy_config
from trader.codes import WorkerState


def become_stranger(pid: int) -> subprocess.Popen[bytes]:
    """Start a process that has a certain number."""
    for _ in range(200):
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1), encoding="ascii")
        stranger = subprocess.Popen(["sleep", "60"])
        if stranger.pid == pid:
            return stranger
        stranger.kill()
        stranger.wait()
    raise AssertionError(f"nobody gets number {pid}")


def main(folder: Path) -> dict[str, object]:
    """Live through it."""
    stage = Stage(folder, busy_config(), random.Random(1))
    try:
        stage.up_and_trading()
        pid = stage.pid("engine")
        os.kill(pid, signal.SIGSTOP)
        stage.after(lambda: stage.worker("engine")["state"] == WorkerState.KILLING, "the SIGABRT")
        os.kill(pid, signal.SIGKILL)
        started = time.monotonic()
        stage.after(lambda: not Path(f"/proc/{pid}").exists(), "the engine's end")
        stranger = become_stranger(pid)
        stage.after(lambda: stage.is_ready("engine", 1), "a new engine")
        stage.trades_again()
        recovery_s = time.monotonic() - started
        time.sleep(max(0.0, 4.0 - recovery_s))
        seen = {
            "engine_pid": pid,
            "stranger_pid": stranger.pid,
            "stranger_lives": stranger.poll() is None and alive(pid),
            "new_engine_pid": stage.pid("engine"),
            "recovery_s": recovery_s,
        }
        stranger.kill()
        stranger.wait()
    finally:
        stage.clean_up()
    return seen


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
