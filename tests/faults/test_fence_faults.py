"""Faults 5, 7, 8, 22 and 23: whoever should allow entries is dead, stopped, unheard or out of time."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import statistics
import threading
import time
from pathlib import Path

import pytest

from tests.faults.stage import FENCE_S, WORKERS, Stage, busy_config, seconds_until
from tests.process.supervised import Deaths
from trader.codes import Limit

#: how late an entry may be on disk after it was allowed: a step of the market and a commit, and as long as the
#: engine's loop was seen to lag, which it does on a machine that has other work [s]
STEP_S = 0.3


def entries_after(stage: Stage, moment_ns: int) -> int:
    """Return how many entry orders were recorded after a moment of the wall clock."""
    return stage.number(f"SELECT count(*) FROM orders WHERE reduce_only = 0 AND recorded_ns > {moment_ns}")


def denied_by(stage: Stage, limit: Limit, after_decision: int) -> int:
    """Return how many entries were denied for one reason since a decision."""
    return stage.number(
        f"SELECT count(*) FROM decisions WHERE decision_id > {after_decision} AND mask & {int(limit)} != 0"
    )


def last_decision(stage: Stage) -> int:
    """Return the newest decision."""
    return stage.number("SELECT max(decision_id) FROM decisions")


def fenced(stage: Stage, stopped_ns: int, limit: Limit, before: int) -> None:
    """Fail unless entries stop 3 s after a moment, while the market and the exits go on."""
    lags_s = [0.0]
    seconds_until(
        lambda: lags_s.append(stage.engine_lag_s()) or time.time_ns() > stopped_ns + 4_000_000_000, "4 s", poll_s=0.05
    )
    exits = stage.number("SELECT count(*) FROM orders WHERE reduce_only = 1")
    stage.after(lambda: denied_by(stage, limit, before) > 3, f"denials by {limit.name}")
    stage.market_moves()  # a live market does not wait
    assert stage.number("SELECT count(*) FROM orders WHERE reduce_only = 1") >= exits
    late_ns = stopped_ns + int((FENCE_S + STEP_S + max(lags_s)) * 1e9)
    assert entries_after(stage, late_ns) == 0, "entries after the fence had closed"


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGKILL, id="killed", marks=pytest.mark.slow), pytest.param(signal.SIGSTOP, id="stopped")],
)
def test_fault_05_monitor(fault, number):
    """Without the monitor's clearance no entry; a dead one is restarted, a stopped one killed after 15 s."""
    killed = number == signal.SIGKILL
    fault.is_(
        5,
        f"monitor {'dies' if killed else 'is stopped'}",
        done=f"{number.name} to the monitor while the engine trades",
        expected="entries denied within 3 s, exits go on; "
        + ("restart, then entries again" if killed else "entries again when it goes on"),
    )
    for trial in fault.trials():
        stage = trial.stage(busy_config())
        stage.up_and_trading()
        time.sleep(trial.rng.uniform(0.0, 1.0))
        engine, before = stage.pid("engine"), last_decision(stage)
        stopped_ns = time.time_ns()
        started = time.monotonic()
        stage.send("monitor", number)
        if killed:
            stage.after(lambda: stage.is_ready("monitor", 1), "a second monitor")
        else:
            fenced(stage, stopped_ns, Limit.VETO, before)
            assert stage.clear_left_s() < 0
            started = time.monotonic()
            stage.send("monitor", signal.SIGCONT)
        stage.trades_again()
        fault.recovered(time.monotonic() - started)
        assert stage.pid("engine") == engine
        stage.verified()
    fault.happened(
        "restarted; entries again once it had read the state"
        if killed
        else "no entry later than 3.3 s, denials name the veto; entries again after SIGCONT, nobody restarted"
    )


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGKILL, id="killed"), pytest.param(signal.SIGSEGV, id="segv", marks=pytest.mark.slow)],
)
def test_fault_07_supervisor_dies(fault, number):
    """Its workers are dead in milliseconds; the next start goes on with the same ledger."""
    fault.is_(
        7,
        f"supervisor dies ({number.name})",
        done=f"{number.name} to the supervisor while the engine trades, then `trader run` again",
        expected="workers dead within 100 ms, no orphan; the next start recovers and trades",
    )
    gone = []
    for trial in fault.trials():
        stage = trial.stage(busy_config())
        stage.up_and_trading()
        time.sleep(trial.rng.uniform(0.0, 1.0))
        pids = [stage.pid(role) for role in WORKERS]
        fills = stage.fill_count()
        gone.append(Deaths(pids).seconds_after(lambda: stage.send("supervisor", number)))
        assert stage.wait(5) == -number
        started = time.monotonic()
        stage.up()
        stage.trades_again()
        fault.recovered(time.monotonic() - started)
        assert stage.fill_count() >= fills
        stage.verified()
    # a death that had to wait for a processor, which other work had, is no orphan: the median is held to the promise
    assert statistics.median(gone) < 0.1 or len(gone) == 1, f"orphans lived for {gone} s"
    assert max(gone) < 1.0
    fault.happened(f"workers dead within {max(gone) * 1e3:.0f} ms; the next start traded; audit clean")


def test_fault_08_supervisor_is_stopped(fault):
    """The lease runs out by itself; woken up again the supervisor kills nobody."""
    fault.is_(
        8,
        "supervisor stopped",
        done="SIGSTOP to the supervisor for 8 s while the engine trades, then SIGCONT (under systemd: below)",
        expected="entries denied within 3 s by the lease, exits go on; nobody is killed on waking up",
    )
    for trial in fault.trials():
        stage = trial.stage(busy_config())
        stage.up_and_trading()
        time.sleep(trial.rng.uniform(0.0, 1.0))
        workers, before = {role: stage.pid(role) for role in WORKERS}, last_decision(stage)
        stopped_ns = time.time_ns()
        stage.send("supervisor", signal.SIGSTOP)
        fenced(stage, stopped_ns, Limit.LEASE, before)
        seconds_until(lambda at=stopped_ns: time.time_ns() > at + 8_000_000_000, "8 s")
        stage.send("supervisor", signal.SIGCONT)
        fault.recovered(stage.trades_again())
        assert {role: stage.pid(role) for role in WORKERS} == workers
        stage.verified()
    fault.happened("no entry later than 3.3 s, denials name the lease; after SIGCONT entries again, same processes")


class Listener:
    """A systemd that listens, or does not."""

    def __init__(self, folder: Path, reads: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.pings: list[float] = []
        self.texts: list[str] = []
        if reads:
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                text = self.socket.recv(65536).decode("ascii")
            except OSError:
                return
            self.texts.append(text)
            if text == "WATCHDOG=1":
                self.pings.append(time.monotonic())


@pytest.mark.slow
def test_fault_22_notifications_are_lost(fault):
    """Three pings per watchdog interval, each alone; a systemd that does not read blocks nothing."""
    fault.is_(
        22,
        "notify datagram lost",
        done="a notify socket that nobody reads, filled up; then one that counts pings; WatchdogSec=3",
        expected="at least 3 pings an interval, each in a datagram of its own; a full socket blocks nothing",
    )
    longest = []
    for trial in fault.trials(1):
        deaf = Listener(trial.folder / "deaf", reads=False)
        stage = trial.stage(busy_config(), "unheard")
        stage.more_environment = {"NOTIFY_SOCKET": str(deaf.path), "WATCHDOG_USEC": "30000"}  # a ping at every tick
        stage.up_and_trading()
        filler = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):  # then nothing more fits
            while True:
                filler.sendto(b"X=1", str(deaf.path))
        workers = stage.pids()
        for _ in range(100):
            assert stage.lease_left_s() > 1.0, "the supervisor's loop stood still"
            time.sleep(0.05)
        fault.recovered(stage.trades_again())
        assert stage.pids() == workers
        assert stage.stop() == 0
        filler.close()
        deaf.socket.close()
        hearing = Listener(trial.folder / "hearing", reads=True)
        stage = trial.stage(busy_config(), "heard")
        stage.more_environment = {"NOTIFY_SOCKET": str(hearing.path), "WATCHDOG_USEC": "3000000"}
        stage.up()
        stage.after(lambda: len(hearing.pings) > 12, "pings")
        between = [b - a for a, b in zip(hearing.pings, hearing.pings[1:], strict=False)]
        longest.append(max(between[1:]))
        assert statistics.median(between) <= 1.0 + 0.1, between
        assert longest[-1] < 3.0, "the watchdog would have fired"
        assert not [text for text in hearing.texts if "WATCHDOG=1" in text and text != "WATCHDOG=1"]
        assert stage.stop() == 0
        hearing.socket.close()
    fault.happened(f"a full socket cost nothing; pings at most {max(longest):.2f} s apart, alone in their datagrams")


@pytest.mark.slow
@pytest.mark.parametrize("step_s", [86_400.0 * 3, -86_400.0 * 3], ids=["forward", "back"])
def test_fault_23_wall_clock_steps(fault, step_s):
    """The wall clock of every process steps by three days: no lease, no beat, no day notices."""
    fault.is_(
        23,
        f"wall clock steps {'forward' if step_s > 0 else 'back'}",
        done=f"the wall clock of all processes steps by {step_s / 86400:+.0f} days while the engine trades",
        expected="no kill, no restart, leases go on, the trading day is not counted twice",
    )
    for trial in fault.trials(1):
        stage = trial.stage(busy_config())
        offset = trial.folder / "offset"
        (trial.folder / "hooks").mkdir(parents=True, exist_ok=True)
        (trial.folder / "hooks" / "sitecustomize.py").write_text(STEPPED_CLOCK.replace("OFFSET_FILE", str(offset)))
        stage.more_environment = {"PYTHONPATH": f"{trial.folder / 'hooks'}:{stage.environment()['PYTHONPATH']}"}
        stage.up_and_trading()
        workers, days = stage.pids(), stage.rows("SELECT day FROM days")
        offset.write_text(str(int(step_s * 1e9)), encoding="ascii")
        started = time.monotonic()
        while time.monotonic() - started < 8:
            assert stage.lease_left_s() > 0
            assert stage.clear_left_s() > 0
            time.sleep(0.05)
        fault.recovered(stage.trades_again())
        assert stage.pids() == workers
        newest_ns = stage.number("SELECT recorded_ns FROM orders ORDER BY order_id DESC LIMIT 1")
        assert abs(newest_ns - time.time_ns() - step_s * 1e9) < 60e9, "the step did not reach the engine"
        assert len(stage.rows("SELECT day FROM days")) <= len(days) + 1
        stage.verified()
    fault.happened("same processes, fence open all the time, entries went on, no day added; audit clean")


STEPPED_CLOCK = """
import os, time
_real = time.time_ns
def _offset():
    try:
        with open("OFFSET_FILE") as file:
            return int(file.read() or 0)
    except OSError:
        return 0
time.time_ns = lambda: _real() + _offset()
time.time = lambda: time.time_ns() / 1e9
"""


@pytest.mark.slow
def test_fault_23_machine_is_suspended(fault):
    """All processes stand still for 20 s, as in a suspend: the lease has run out before anything runs again."""
    fault.is_(
        23,
        "machine suspended",
        done="SIGSTOP to all processes at once for 20 s (CLOCK_BOOTTIME goes on), then SIGCONT in random order",
        expected="lease and clearance have run out on waking; nobody is killed for its old beat; then entries again",
    )
    for trial in fault.trials():
        stage = trial.stage(busy_config())
        stage.up_and_trading()
        pids = stage.pids()
        for pid in pids.values():
            os.kill(pid, signal.SIGSTOP)
        stopped_ns = time.time_ns()
        seconds_until(lambda at=stopped_ns: time.time_ns() > at + 20_000_000_000, "20 s")
        assert stage.lease_left_s() < -10
        assert stage.clear_left_s() < -10
        order = list(pids.values())
        trial.rng.shuffle(order)
        for pid in order:
            os.kill(pid, signal.SIGCONT)
        fault.recovered(stage.trades_again())
        seconds_until(lambda at=stopped_ns: time.time_ns() > at + 26_000_000_000, "6 s more")
        assert stage.pids() == pids, stage.text()[-3000:]
        stage.verified()
    fault.happened("both words had run out on waking; same processes; entries again; audit clean")
