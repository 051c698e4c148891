"""Faults that need a real systemd: 7, 8, 9, 14, 15, 16, 21, 22 and 25, on the installed service."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.faults.stage import seconds_until
from tests.systemd.box import BoxError
from tests.systemd.conftest import DEFAULT, Trader, box, installed, trader

__all__ = ["box", "installed", "trader"]  # fixtures

pytestmark = [pytest.mark.systemd, pytest.mark.slow, pytest.mark.timeout(900)]

WATCHDOG_S, RESTART_S = 15.0, 5.0
CGROUP = "/sys/fs/cgroup/system.slice/trader.service/cgroup.procs"
PING = """
import os, socket, time
open("{cgroup}", "w").write(str(os.getpid()))
line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
while True:
    line.sendto(b"WATCHDOG=1", "/run/systemd/notify")
    time.sleep(0.5)
"""


def status(service: Trader) -> dict:
    """Return the document of `trader status`, or an empty one."""
    try:
        return json.loads(service.command("status", "--json"))
    except (BoxError, ValueError):
        return {}


def workers(service: Trader) -> dict[str, int]:
    """Return the process ids of the workers that are up."""
    return {row["role"]: row["pid"] for row in status(service).get("workers", []) if row["state"] == "ready"}


def is_whole(service: Trader) -> bool:
    """Tell whether everything runs."""
    return status(service).get("state") == "running" and len(workers(service)) == 3


def market_time(service: Trader) -> str:
    """Return how far the engine is."""
    return (status(service).get("account") or {}).get("market_time") or ""


def market_moves(service: Trader, timeout_s: float = 60.0) -> float:
    """Return after how long the market has gone on."""
    before = market_time(service)
    return seconds_until(lambda: market_time(service) > before, "the market to go on", timeout_s, 0.1)


def verified(service: Trader) -> None:
    """Fail unless the audit finds nothing."""
    done = service.box.run("trader", "verify", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def lives(service: Trader, pid: int) -> bool:
    """Tell whether a process in the box runs (a zombie does not)."""
    stat = service.box.run("cat", f"/proc/{pid}/stat", check=False).stdout
    return bool(stat) and stat.rpartition(")")[2].split()[0] != "Z"


def restarted(service: Trader, old_main: str, timeout_s: float = 100.0) -> float:
    """Return after how long a new supervisor has everything up."""
    return seconds_until(
        lambda: service.show("MainPID") not in ("0", old_main) and is_whole(service), "a new service", timeout_s, 0.1
    )


@pytest.mark.parametrize("name", ["KILL", "SEGV"])
def test_fault_07_supervisor_dies_under_systemd(fault, trader, name):
    """Everything is gone at once; systemd starts it again; nothing of the old run is left."""
    fault.is_(
        7,
        f"supervisor SIG{name}, systemd",
        done=f"SIG{name} to the main process of the installed service",
        expected="workers dead at once, restart after RestartSec=5, READY, ledger goes on",
    )
    trader.systemctl("start", "trader")
    for trial in fault.trials():
        time.sleep(trial.rng.uniform(0, 2))
        old, main, before = workers(trader), trader.show("MainPID"), market_time(trader)
        trader.box.run("kill", f"-{name}", main)
        seconds_until(lambda: not any(lives(trader, pid) for pid in old.values()), "the workers' death", 5, 0.01)
        fault.recovered(restarted(trader, main))
        assert market_time(trader) >= before
        verified(trader)
        trader.systemctl("reset-failed", "trader")
    fault.happened("no worker left at the next look; restarted and READY; market time went on; audit clean")


def test_fault_08_supervisor_is_stopped_under_systemd(fault, trader):
    """The watchdog ends what nothing in the service could end."""
    fault.is_(
        8,
        "supervisor hung, systemd",
        done="SIGSTOP to the main process of the installed service",
        expected=f"watchdog after {WATCHDOG_S:g} s, restart, READY",
    )
    trader.systemctl("start", "trader")
    for _ in fault.trials():
        main, since = trader.show("MainPID"), trader.now()
        trader.box.run("kill", "-STOP", main)
        fault.recovered(restarted(trader, main))
        assert "Watchdog timeout" in trader.journal("--since", since)
        verified(trader)
        trader.systemctl("reset-failed", "trader")
    fault.happened("aborted by the watchdog, restarted, READY; audit clean")


SELF_REPORT = """
import sys
if sys.orig_argv[-3:] == ["-m", "trader", "run"]:
    import os
    from trader.supervisor.station import Station
    tick = Station.tick
    def contradiction(self, now_ns, *, judge):
        if os.path.exists("/var/lib/trader/contradiction"):
            raise RuntimeError("two engines at once")
        tick(self, now_ns, judge=judge)
    Station.tick = contradiction
"""


def test_fault_08_supervisor_contradicts_itself_under_systemd(fault, trader):
    """What the supervisor finds impossible it reports itself: WATCHDOG=trigger, without waiting for the watchdog."""
    fault.is_(
        8,
        "supervisor broken, systemd",
        done="the supervisor's own loop breaks (an exception in a tick)",
        expected="lease revoked, WATCHDOG=trigger, SIGABRT with a traceback at once, restart, READY",
    )
    site = trader.box.run(
        "/opt/trader/venv/bin/python", "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"
    ).stdout.strip()
    hook, start, cause = f"{site}/contradiction.py", f"{site}/contradiction.pth", "/var/lib/trader/contradiction"
    for path, text in ((hook, SELF_REPORT), (start, "import contradiction\n")):
        trader.box.run("sh", "-c", 'printf %s "$1" >"$2"; chmod a+r "$2"', "sh", text, path)
    try:
        trader.systemctl("start", "trader")
        for _ in fault.trials():
            main, since = trader.show("MainPID"), trader.now()
            trader.box.run("touch", cause)
            seconds_until(lambda: trader.show("MainPID") != main, "the end of the supervisor")
            trader.box.run("rm", "-f", cause)
            fault.recovered(restarted(trader, main))
            text = trader.journal("--since", since)
            assert "Watchdog request" in text or "Watchdog timeout" not in text, text[-3000:]
            assert "ended by watchdog" in text, text[-3000:]
            verified(trader)
            trader.systemctl("reset-failed", "trader")
    finally:
        trader.box.run("rm", "-f", hook, start, cause)
    fault.happened("aborted at once by its own report, restarted, READY; audit clean")


def test_fault_09_another_pinger(fault, trader):
    """Pings from any other process of the unit count for nothing."""
    fault.is_(
        9,
        "hang masked by another pinger",
        done="a process in the unit's own cgroup sends WATCHDOG=1 twice a second; SIGSTOP to the supervisor",
        expected="impossible: NotifyAccess=main; aborted as in 8; no worker has NOTIFY_SOCKET",
    )
    trader.systemctl("start", "trader")
    for pid in workers(trader).values():
        environment = trader.box.run("cat", f"/proc/{pid}/environ").stdout
        assert "NOTIFY_SOCKET" not in environment
        assert "WATCHDOG" not in environment
    for _ in fault.trials(1):
        main, since = trader.show("MainPID"), trader.now()
        trader.box.run("sh", "-c", '/usr/bin/python3 -c "$1" >/dev/null 2>&1 &', "sh", PING.format(cgroup=CGROUP))
        seconds_until(lambda: "WATCHDOG=1" in trader.box.run("pgrep", "-fa", "-u", "0", "python3").stdout, "the pinger")
        trader.box.run("kill", "-STOP", main)
        fault.recovered(restarted(trader, main))
        text = trader.journal("--since", since)
        assert "Watchdog timeout" in text
    fault.happened("the watchdog fired in spite of the pings; no worker could have pinged")


def test_fault_14_crash_loop_under_systemd(fault, trader):
    """Five starts in a quarter of an hour, then failed, and it stays down."""
    fault.is_(
        14,
        "crash loop, systemd",
        done="a strategy that kills the engine at its first candle, installed as the service's own",
        expected="exit 70, five starts in 15 min, then failed with an alert; stays down until reset-failed",
    )
    site = trader.box.run(
        "/opt/trader/venv/bin/python", "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"
    ).stdout.strip()
    source = Path(__file__).with_name("strategies.py").read_text(encoding="utf-8")
    trader.box.run("sh", "-c", 'printf %s "$1" >"$2"', "sh", source, f"{site}/faulty.py")
    trader.box.run("chmod", "a+r", f"{site}/faulty.py")
    text, count = re.subn(r"^( *- use:).*$", r"\1 faulty:Dying", DEFAULT, flags=re.MULTILINE)
    assert count == 1
    trader.configure(re.sub(r"^( *params:).*$", r"\1 {die: true}", text, count=1, flags=re.MULTILINE))
    for _ in fault.trials(1):
        since, started = trader.now(), time.monotonic()
        trader.box.run("systemctl", "start", "trader", check=False)
        seconds_until(lambda: trader.show("ActiveState") == "failed", "failed", 300, 0.5)
        took = time.monotonic() - started
        assert trader.show("NRestarts") == "5"
        assert trader.show("ExecMainStatus") == "70"
        journal = trader.journal("--since", since)
        assert "died too often" in journal
        time.sleep(RESTART_S + 3)
        assert trader.show("ActiveState") == "failed"
        alert = trader.box.run("journalctl", "-t", "trader-alert", "--no-pager", "-o", "cat", "--since", since).stdout
        assert "trader" in alert, "no alert"
        trader.configure(DEFAULT)
        trader.systemctl("reset-failed", "trader")
        started = time.monotonic()
        trader.systemctl("start", "trader")
        assert is_whole(trader)
        fault.recovered(time.monotonic() - started)
        verified(trader)
    fault.happened(f"failed after 5 starts in {took:.0f} s, one alert; stayed down; repaired and reset it starts")


def test_fault_15_invalid_configuration_at_start_under_systemd(fault, trader):
    """Exit 78 once; systemd does not try again."""
    fault.is_(
        15,
        "invalid configuration, systemd",
        done="systemctl start with a broken file, after a clean stop",
        expected="start fails, exit 78, no restart; repaired it starts",
    )
    for _ in fault.trials():
        trader.configure(DEFAULT.replace("max_open_positions: 5", "max_open_positions: many"))
        failed = trader.box.run("systemctl", "start", "trader", check=False)
        assert failed.returncode != 0
        assert trader.show("ExecMainStatus") == "78"
        time.sleep(RESTART_S + 2)
        assert trader.show("NRestarts") == "0"
        assert trader.show("ActiveState") == "failed"
        trader.configure(DEFAULT)
        started = time.monotonic()
        trader.systemctl("start", "trader")
        fault.recovered(time.monotonic() - started)
        trader.systemctl("stop", "trader")
    fault.happened("78 once, no second try; repaired it starts (the time is that of the start)")


def test_fault_16_invalid_configuration_on_reload_under_systemd(fault, trader):
    """`systemctl reload` fails, names line and key in the journal, and the service is untouched."""
    fault.is_(
        16,
        "invalid reload, systemd",
        done="systemctl reload with a broken file",
        expected="the job fails with FILE:LINE in the journal, service untouched",
    )
    trader.systemctl("start", "trader")
    pids, main = workers(trader), trader.show("MainPID")
    for _ in fault.trials():
        since = trader.now()
        trader.configure(DEFAULT.replace("max_open_positions: 5", "max_open_positions: many"))
        failed = trader.box.run("systemctl", "reload", "trader", check=False)
        assert failed.returncode != 0
        assert re.search(r"trader\.yaml:\d+: risk\.max_open_positions", trader.journal("--since", since))
        assert (workers(trader), trader.show("MainPID")) == (pids, main)
        trader.configure(DEFAULT)
        started = time.monotonic()
        trader.systemctl("reload", "trader")
        fault.recovered(time.monotonic() - started)
        assert trader.show("ActiveState") == "active"
    fault.happened("job failed, line and key in the journal, same processes (the time is that of a good reload)")


def test_fault_21_journald_is_stalled(fault, trader):
    """Logging drops and counts; neither loop nor market waits for it."""
    fault.is_(
        21,
        "journald stalled",
        done="SIGSTOP to systemd-journald for 12 s while the service logs at DEBUG, then SIGCONT",
        expected="trading goes on, fence open, nobody killed; what was dropped is counted",
    )
    trader.configure(
        re.sub(r"^( *level:) *INFO", r"\1 DEBUG", DEFAULT, flags=re.MULTILINE).replace("speed: 60 ", "speed: 3000 ")
    )
    trader.systemctl("start", "trader")
    pids, main = workers(trader), trader.show("MainPID")
    for _ in fault.trials():
        journald = trader.box.run("pidof", "systemd-journald").stdout.split()[0]
        trader.box.run("kill", "-STOP", journald)
        try:
            started = time.monotonic()
            while time.monotonic() - started < 12:
                market_moves(trader)
                assert status(trader)["lease_s"] > 0
        finally:
            trader.box.run("kill", "-CONT", journald)
        dropped = sum(row["log_dropped"] or 0 for row in status(trader)["workers"])
        assert (workers(trader), trader.show("MainPID")) == (pids, main)
        fault.recovered(market_moves(trader))
    verified(trader)
    fault.happened(f"market and lease went on all the time; same processes; {dropped} records dropped and counted")


def test_fault_22_pid_1_is_slow(fault, trader):
    """A systemd that does not read for 10 s costs nothing."""
    fault.is_(
        22,
        "PID 1 slow",
        done="SIGSTOP to systemd itself for 10 s, then SIGCONT",
        expected="the supervisor's loop goes on, no restart",
    )
    trader.systemctl("start", "trader")
    pids, main = workers(trader), trader.show("MainPID")
    init = trader.box._init
    for _ in fault.trials():
        os.kill(init, signal.SIGSTOP)
        try:
            started = time.monotonic()
            while time.monotonic() - started < 10:
                market_moves(trader)
                assert status(trader)["lease_s"] > 0
        finally:
            os.kill(init, signal.SIGCONT)
        fault.recovered(market_moves(trader))
        time.sleep(2)
        assert (workers(trader), trader.show("MainPID")) == (pids, main)
        assert trader.show("NRestarts") == "0"
    fault.happened("lease and market went on while systemd stood still; same processes; no restart")


def test_fault_25_key_is_missing_or_rotated(fault, trader):
    """A missing key fails the start before anything runs; a new one comes with a restart; neither is ever printed."""
    fault.is_(
        25,
        "key missing, key rotated",
        done="LoadCredential of a file that is missing; then there; then another key in it, reload, restart",
        expected="243/CREDENTIALS at start; a reload disturbs nothing, a restart brings the new key; none is printed",
    )
    folder, key = "/etc/systemd/system/trader.service.d", "/etc/trader/api_key"
    old, new = "key-4711-one", "key-4712-two"
    box = trader.box
    box.run("mkdir", "-p", folder)
    box.run("sh", "-c", f"printf '[Service]\\nLoadCredential=api_key:{key}\\n' >{folder}/60-key.conf")
    with_key = re.sub(r"^( *api_key:) *null.*$", r"\1 {credential: api_key}", DEFAULT, flags=re.MULTILINE)
    assert with_key != DEFAULT
    try:
        trader.configure(with_key)
        box.run("systemctl", "daemon-reload")
        box.run("rm", "-f", key)
        for _ in fault.trials(1):
            since = trader.now()
            failed = box.run("systemctl", "start", "trader", check=False)
            assert failed.returncode != 0
            assert trader.show("ExecMainStatus") == "243", trader.show("ExecMainStatus")
            box.run("systemctl", "stop", "trader", check=False)
            box.run("sh", "-c", f"umask 077; printf {old} >{key}")
            box.run("systemctl", "reset-failed", "trader", check=False)
            started = time.monotonic()
            trader.systemctl("start", "trader")
            fault.recovered(time.monotonic() - started)
            credential = "/run/credentials/trader.service/api_key"
            assert box.run("cat", credential).stdout == old
            box.run("sh", "-c", f"printf {new} >{key}")
            main = trader.show("MainPID")
            trader.systemctl("reload", "trader")
            assert trader.show("MainPID") == main
            assert is_whole(trader)
            handed_out = box.run("cat", credential).stdout
            warned = "credentials.api_key: another secret is there" in trader.journal("--since", since)
            assert warned == (handed_out == new), "systemd has handed out the new key, and nobody was told"
            trader.systemctl("restart", "trader")
            assert box.run("cat", credential).stdout == new
            for word in (old, new):
                assert word not in trader.journal("--since", since)
    finally:
        box.run("rm", "-f", f"{folder}/60-key.conf", key)
        box.run("systemctl", "daemon-reload")
    fault.happened("243 at start without the key; the restart handed out the new one; the journal has neither")
