"""Faults 6, 10, 12, 13, 24 and 26: company that the service did not ask for."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.service import REPOSITORY
from tests.faults.memory import MemoryLimit
from tests.faults.stage import alive, busy_config, run_python, seconds_until
from trader.codes import ServiceState, WorkerState


@pytest.mark.slow
def test_fault_06_dashboard_dies(fault):
    """Restarted with backoff; trading does not notice."""
    fault.is_(
        6,
        "dashboard dies",
        done="SIGKILL to the dashboard while the engine trades",
        expected="restart with backoff, fence open all the time, trading goes on",
    )
    for trial in fault.trials():
        stage = trial.stage(busy_config())
        stage.up_and_trading()
        others = {role: stage.pid(role) for role in ("engine", "monitor")}
        stage.send("dashboard", signal.SIGKILL)
        started = time.monotonic()
        while not stage.is_ready("dashboard", 1):
            assert stage.lease_left_s() > 0
            assert stage.clear_left_s() > 0
            assert time.monotonic() - started < 90
            time.sleep(0.01)
        fault.recovered(time.monotonic() - started)
        stage.trades_again()
        assert {role: stage.pid(role) for role in others} == others
    fault.happened("restarted; the fence never closed; same engine and monitor")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fault_06_dashboard_port_is_taken(fault):
    """Five tries, then given up: the service is degraded and trades on."""
    fault.is_(
        6,
        "dashboard's port taken",
        done="another program listens on the dashboard's port before the service starts",
        expected="restarts with backoff, FATAL after 5, service DEGRADED with the reason, trading goes on",
    )
    for trial in fault.trials(1):
        with socket.socket() as stranger:
            stranger.bind(("127.0.0.1", 0))
            stranger.listen()
            port = stranger.getsockname()[1]
            stage = trial.stage({**busy_config(), "dashboard": {"port": port}})
            stage.start()
            stage.after(lambda: stage.state() is ServiceState.DEGRADED, "a degraded service")
            stage.trades_again()
            engine = stage.pid("engine")
            stage.after(lambda: stage.worker("dashboard")["state"] == WorkerState.FATAL, "the end of tries", 180)
            assert stage.worker("dashboard")["restarts"] == 5
            assert str(port) in stage.text()
            assert stage.state() is ServiceState.DEGRADED
            fault.recovered(stage.trades_again())
            assert stage.pid("engine") == engine
            stage.verified()
            assert stage.stop() == 0
    fault.happened("given up after 5 restarts, the port named in the log; degraded; entries went on all the time")


def test_fault_10_second_instance(fault):
    """Whichever way it is started: exit 75 or 70 before any order, and the first one does not notice."""
    fault.is_(
        10,
        "second instance by hand",
        done="`trader run` again: same folder, a link to it, another runtime folder; engine's lock held by hand",
        expected="exit 75 naming the holder, before any order; the first one trades on; no engine without its lock",
    )
    for trial in fault.trials():
        stage = trial.stage(busy_config())
        stage.up_and_trading()
        pids = stage.pids()
        link = trial.folder / "link"
        link.symlink_to(stage.folder)
        command = [sys.executable, "-m", "trader", "run", "--config", str(stage.config_file), "--data-dir"]
        other_runtime = trial.folder / "run"
        other_runtime.mkdir(mode=0o700)
        for folder, more in (
            (stage.folder, {}),
            (link, {}),
            (stage.folder, {"RUNTIME_DIRECTORY": str(other_runtime)}),
        ):
            started = time.monotonic()
            second = subprocess.run(
                [*command, str(folder)],
                env={**stage.environment(), **more},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            fault.recovered(time.monotonic() - started)
            assert second.returncode == 75, second.stderr
            assert str(stage.pid("supervisor")) in second.stderr
        assert stage.pids() == pids
        stage.trades_again()
        stage.verified()
        assert stage.stop() == 0
        holder = subprocess.Popen(["flock", str(stage.paths.engine_lock), "sleep", "60"], start_new_session=True)
        try:
            seconds_until(lambda: locked(stage.paths.engine_lock), "the lock by hand", 10)
            fills = stage.fill_count()
            assert stage.run(60) == 75, stage.text()[-2000:]
            assert stage.fill_count() == fills
        finally:
            os.killpg(holder.pid, signal.SIGKILL)
            holder.wait()
    fault.happened("75 each time, naming the process; the first one traded on (the time is the one to the refusal)")


def locked(path: Path) -> bool:
    """Tell whether somebody holds a lock."""
    return subprocess.run(["flock", "--nonblock", str(path), "true"], check=False).returncode != 0


@pytest.mark.slow
def test_fault_12_stale_and_foreign_segments(fault):
    """What an earlier run, another version or a stranger left behind is refused by readers and made anew."""
    fault.is_(
        12,
        "stale, foreign, old-layout segment",
        done="left-over, foreign and cut segments before the start and in the next generation's place",
        expected="readers refuse them by name; the service makes its own; restart of the engine works over them",
    )
    for trial in fault.trials():
        stage = trial.stage(busy_config())
        stage.up_and_trading()
        stage.send("supervisor", signal.SIGKILL)
        stage.wait(5)
        left = sorted(stage.paths.runtime_dir.glob("*.shm"))
        assert left, "the dead run left its segments"
        gone = stage.command("status")
        assert gone.returncode == 1
        assert "died without cleaning up" in gone.stdout + gone.stderr
        for path in left:  # now as another version, or a stranger, would have written them
            data = bytearray(path.read_bytes())
            for _ in range(8):
                data[trial.rng.randrange(0, 256)] ^= 0xFF
            path.write_bytes(data)
        refused = stage.command("status")
        assert refused.returncode == 1
        assert "seg-supervisor-1.shm" in refused.stdout + refused.stderr
        (stage.paths.runtime_dir / "seg-engine-9.shm").symlink_to("/etc/passwd")
        (stage.paths.runtime_dir / "seg-monitor-1.shm").write_bytes(b"short")
        stage.up()
        (stage.paths.runtime_dir / "seg-engine-2.shm").write_bytes(os.urandom(4096))
        started = time.monotonic()
        stage.send("engine", signal.SIGKILL)
        stage.after(lambda: stage.is_ready("engine", 1), "the second generation over a foreign file")
        fault.recovered(time.monotonic() - started)
        stage.trades_again()
        stage.verified()
        assert Path("/etc/passwd").stat().st_size > 0
    fault.happened("refused by name, removed at the start, and replaced under a running service")


def test_fault_13_status_tool_attaches_and_exits(fault):
    """Looking at a running service, and dying while looking, changes nothing."""
    fault.is_(
        13,
        "status tool attaches and exits",
        done="`trader status` and readers that attach every segment, ended in order, by exception and by SIGKILL",
        expected="segments, processes and fence as before; a reader can not write",
    )
    for trial in fault.trials():
        stage = trial.stage(busy_config())
        stage.up_and_trading()
        pids = stage.pids()
        before = inodes(stage.paths.runtime_dir)
        assert stage.command("status").returncode == 0
        for ending in ("sys.exit(0)", "raise KeyError('x')", "os.kill(os.getpid(), 9)", "segment.words[40] = 1"):
            done = run_python(
                "-c", ATTACH.format(folder=stage.paths.runtime_dir, ending=ending), env=stage.environment()
            )
            assert "attached 4" in done.stdout, done.stderr
            if "words" in ending:
                assert "read-only" in done.stderr
        assert inodes(stage.paths.runtime_dir) == before
        assert stage.pids() == pids
        fault.recovered(stage.trades_again())
    fault.happened("same segments, same processes; writing through a reader's map is refused")


ATTACH = """
import os, sys
from pathlib import Path
from trader.state.segment import Segment
found = [Segment.attach(path) for path in sorted(Path("{folder}").glob("*.shm"))]
print("attached", len(found), flush=True)
segment = found[0]
{ending}
"""


def inodes(folder: Path) -> dict[str, int]:
    """Return the files of a folder."""
    return {path.name: path.stat().st_ino for path in folder.iterdir()}


@pytest.mark.slow
def test_fault_24_out_of_memory(fault):
    """The kernel's own killer takes the dashboard first; the service lives on."""
    fault.is_(
        24,
        "out of memory",
        done="the kernel's OOM killer, called by a memory limit on all processes of the service together",
        expected="the dashboard is the first victim (oom_score_adj), a worker's death like any other; trading goes on",
    )
    for trial in fault.trials():
        stage = trial.stage(busy_config())
        with MemoryLimit() as limit:
            stage.start()
            limit.add(stage.pid("supervisor"))
            stage.after(stage.is_whole, "the whole service", 150)
            stage.trades_again()
            scores = {role: int(Path(f"/proc/{pid}/oom_score").read_text()) for role, pid in stage.pids().items()}
            assert max(scores, key=scores.__getitem__) == "dashboard", scores
            others = {role: stage.pid(role) for role in ("engine", "monitor")}
            dashboard = stage.pid("dashboard")
            limit.press(list(stage.pids().values()), victim_gone=lambda: not alive(dashboard))
            assert not alive(dashboard)
        started = time.monotonic()
        assert stage.process.poll() is None
        stage.after(lambda: stage.is_ready("dashboard", 1), "another dashboard")
        fault.recovered(time.monotonic() - started)
        stage.trades_again()
        assert {role: stage.pid(role) for role in others} == others
        stage.verified()
    fault.happened(f"{limit.how}: the dashboard was killed and restarted; engine, monitor and fence untouched")


@pytest.mark.slow
def test_fault_26_process_id_is_reused(fault):
    """A stranger that gets a dead engine's number is never shot in its place."""
    fault.is_(
        26,
        "PID reused between check and kill",
        done="a hung engine dies after its SIGABRT, and a stranger gets its number at once (PID namespace)",
        expected="pidfd: the SIGKILL that was due goes to nobody, the stranger lives, a new engine starts",
    )
    for trial in fault.trials():
        folder = trial.folder / "service"
        trial.folder.mkdir(parents=True)
        command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(
            [*command, "-m", "tests.faults.reused_pid", str(folder)],
            env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        seen = json.loads(done.stdout.splitlines()[-1])
        assert seen["stranger_pid"] == seen["engine_pid"]
        assert seen["stranger_lives"]
        assert seen["new_engine_pid"] not in (0, seen["engine_pid"])
        fault.recovered(seen["recovery_s"])
        shutil.rmtree(folder, ignore_errors=True)
    fault.happened("the stranger with the dead engine's number lived on; the next engine traded")
