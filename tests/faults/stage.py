"""The service on the stage of a fault: ways to look at it from outside while it is hurt, and to hurt it."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.acceptance.service import Service
from tests.faults.strategies import TRIGGER
from trader.clock import boottime_ns
from trader.codes import Role, ServiceState, WorkerState
from trader.config.sections import Config
from trader.errors import TraderError
from trader.state.paths import InstancePaths, locate
from trader.state.reader import StateReader

WORKERS = ("engine", "monitor", "dashboard")
#: leases and clearances are worth this long without renewal [s]
FENCE_S = 3.0
T = TypeVar("T")


def busy_config(
    use: str = "Busy", speed: float = 240.0, params: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """Return a configuration that trades all the time: several orders a second, and nothing halts it by losses."""
    return {
        "market": {"source": "simulated", "speed": speed, "seed": 7, "stale_after_seconds": 3600},
        "strategies": [{"use": f"tests.faults.strategies:{use}", "params": params or {}}],
        "engine": {"loop_interval_seconds": 60, "max_new_positions_per_cycle": 3},
        "risk": {"max_daily_trades": 1_000_000, "max_daily_loss_frac": 1.0, "max_drawdown_frac": 1.0},
        "execution": {"fee_rate_frac": 0.0, "slippage_bps": 0.0},
        "dashboard": {"port": 0},
        **more,
    }


def alive(pid: int) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def seconds_until(condition: Callable[[], Any], what: str, timeout_s: float = 60.0, poll_s: float = 0.002) -> float:
    """Return after how long a condition came true; fail when it does not in time."""
    started = time.monotonic()
    while time.monotonic() - started < timeout_s:
        if condition():
            return time.monotonic() - started
        time.sleep(poll_s)
    raise AssertionError(f"not within {timeout_s:g} s: {what}")


class Stage(Service):
    """A service of its own, with its shared memory at hand."""

    def __init__(self, folder: Path, config: dict[str, Any], rng: random.Random) -> None:
        super().__init__(folder, config)
        self.rng = rng
        self.paths: InstancePaths = locate(folder, Config())
        self.reader = StateReader(self.paths)
        self.trigger_file = folder / "trigger"
        self.more_environment: dict[str, str] = {}

    def environment(self) -> dict[str, str]:
        """Return the service's environment: nothing of ours, and where faults are asked for."""
        drop = ("RUNTIME_DIRECTORY", "STATE_DIRECTORY", "LOGS_DIRECTORY", "CACHE_DIRECTORY", "NUMBA_CACHE_DIR")
        kept = {name: value for name, value in super().environment().items() if name not in drop}
        return {**kept, TRIGGER: str(self.trigger_file), **self.more_environment}

    # ------------------------------------------------------------------ looking

    def look(self, read: Callable[[StateReader], T]) -> T | None:
        """Return what shared memory says, or None when it says nothing now."""
        try:
            return read(self.reader)
        except TraderError:
            return None

    def worker(self, role: str) -> dict[str, int]:
        """Return one row of the worker table; zeros while there is none."""
        rows = self.look(lambda reader: reader.workers())
        if rows is None:
            return dict.fromkeys(("pid", "generation", "state", "restarts", "exit_code"), 0)
        row = rows[Role[role.upper()]]
        return {name: int(row[name]) for name in row.dtype.names}

    def state(self) -> ServiceState | None:
        """Return the service's state."""
        record = self.look(lambda reader: reader.service())
        return None if record is None else ServiceState(int(record["state"]))

    def service_number(self, field: str) -> int:
        """Return one number of the service record."""
        record = self.look(lambda reader: reader.service())
        return -1 if record is None else int(record[field])

    def is_ready(self, role: str, after_generation: int = 0) -> bool:
        """Tell whether a worker of a later generation is there to work."""
        row = self.worker(role)
        return row["generation"] > after_generation and row["state"] == WorkerState.READY

    def is_whole(self) -> bool:
        """Tell whether everything runs."""
        return self.state() is ServiceState.RUNNING and all(self.is_ready(role) for role in WORKERS)

    def lease_left_s(self) -> float:
        """Return how long entries are still allowed by the supervisor [s]."""
        until_ns = self.look(lambda reader: reader.lease_until_ns()) or 0
        return (until_ns - boottime_ns()) / 1e9

    def clear_left_s(self) -> float:
        """Return how long entries are still allowed by the monitor [s]."""
        until_ns = self.look(lambda reader: reader.clear_until_ns()) or 0
        return (until_ns - boottime_ns()) / 1e9

    def engine_lag_s(self) -> float:
        """Return how much later than due the engine's loop came to its last beat [s]."""
        beat = self.look(lambda reader: reader.beat("engine"))
        return 0.0 if beat is None else int(beat["loop_lag_ns"]) / 1e9

    def market_ns(self) -> int:
        """Return how far the engine is."""
        beat = self.look(lambda reader: reader.beat("engine"))
        return 0 if beat is None else int(beat["market_ns"])

    def market_moves(self, timeout_s: float = 60.0) -> float:
        """Return after how long the market has gone on [s]."""
        before = self.market_ns()
        return self.after(lambda: self.market_ns() > before, "the market to go on", timeout_s)

    def number(self, query: str, default: int = 0) -> int:
        """Return one number from the ledger."""
        try:
            rows = self.rows(query)
        except Exception:  # the ledger is just being made
            return default
        return int(rows[0][0] or 0) if rows else default

    def entries(self) -> int:
        """Return how many entry orders there are."""
        return self.number("SELECT count(*) FROM orders WHERE reduce_only = 0")

    def fill_count(self) -> int:
        """Return how many fills there are."""
        return self.number("SELECT count(*) FROM fills")

    # ------------------------------------------------------------------ waiting

    def after(self, condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> float:
        """Return after how many seconds a condition came true, while the service lives."""
        started = time.monotonic()
        while time.monotonic() - started < timeout_s:
            if condition():
                return time.monotonic() - started
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode} before {what}:\n{self.text()[-4000:]}")
            time.sleep(0.005)
        raise AssertionError(f"not within {timeout_s:g} s: {what}; its output:\n{self.text()[-4000:]}")

    def up(self, timeout_s: float = 150.0) -> float:
        """Start it and return the seconds until everything runs."""
        self.start()
        return self.after(self.is_whole, "the whole service", timeout_s)

    def up_and_trading(self, entries: int = 2) -> None:
        """Start it and wait until it trades."""
        self.up()
        before = self.entries()
        self.after(lambda: self.entries() >= before + entries, f"{entries} entries")

    def trades_again(self, timeout_s: float = 60.0) -> float:
        """Return the seconds until another entry is made."""
        before = self.entries()
        return self.after(lambda: self.entries() > before, "another entry", timeout_s)

    # ------------------------------------------------------------------ hurting

    def pid(self, role: str) -> int:
        """Return the process id of a role."""
        if role == "supervisor":
            assert self.process is not None
            return self.process.pid
        return self.worker(role)["pid"]

    def pids(self) -> dict[str, int]:
        """Return all process ids, the supervisor's first."""
        return {role: pid for role in ("supervisor", *WORKERS) if (pid := self.pid(role))}

    def send(self, role: str, number: signal.Signals) -> None:
        """Send a signal to one process."""
        os.kill(self.pid(role), number)

    def trigger(self, what: str) -> None:
        """Ask a strategy for its fault."""
        fresh = self.trigger_file.with_suffix(".new")
        fresh.write_text(what, encoding="ascii")
        fresh.rename(self.trigger_file)

    def verified(self) -> None:
        """Fail unless the audit finds nothing."""
        done = self.command("verify")
        assert done.returncode == 0, done.stdout + done.stderr

    def clean_up(self) -> None:
        """Leave no process and no shared memory."""
        pids = list(self.pids().values()) if self.process is not None and self.process.poll() is None else []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.kill()
        for pid in pids[1:]:
            seconds_until(lambda: not alive(pid), f"process {pid} to die", 5)
        shutil.rmtree(self.paths.runtime_dir, ignore_errors=True)


def run_python(*arguments: str, env: dict[str, str], timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Run Python with arguments and return what it printed."""
    return subprocess.run(
        [sys.executable, *arguments], env=env, capture_output=True, text=True, timeout=timeout_s, check=False
    )
