"""The installed service under a real systemd: start, reload, faults, stop."""

from __future__ import annotations

import json
import re

import pytest

from tests.systemd.box import BoxError
from tests.systemd.conftest import DEFAULT, eventually

pytestmark = pytest.mark.systemd

LIMIT = re.compile(r"^( *max_open_positions:) *\d+", re.MULTILINE)


def with_limit(limit: object) -> str:
    """Return the default configuration with another limit."""
    text, count = LIMIT.subn(rf"\1 {limit}", DEFAULT)
    assert count == 1
    return text


def worker_pids(trader):
    """Return the workers' process ids by role, of those that are up."""
    status = json.loads(trader.box.run("trader", "status", "--json").stdout)
    return {worker["role"]: worker["pid"] for worker in status["workers"] if worker["state"] == "ready"}


def is_whole(trader):
    """Tell whether the service runs with all its workers."""
    try:
        return {"engine", "monitor", "dashboard"} <= set(worker_pids(trader))
    except (BoxError, ValueError):  # not there to be asked
        return False


def test_start_returns_once_ready_and_the_journal_has_no_error(trader):
    """READY, a STATUS with equity and mode, and nothing at level error."""
    since = trader.now()
    trader.systemctl("start", "trader")
    assert trader.show("ActiveState") == "active"
    assert trader.show("SubState") == "running"
    assert is_whole(trader)
    status = eventually(lambda: "equity" in trader.show("StatusText") and trader.show("StatusText"), "a status")
    assert "paper" in status
    assert "position" in status
    assert trader.journal("-p", "err", "--since", since) == ""


def test_reload_applies_a_changed_limit(trader):
    """`systemctl reload` returns when the limit is in force."""
    trader.systemctl("start", "trader")
    pids = worker_pids(trader)
    trader.configure(with_limit(3))
    trader.systemctl("reload", "trader")
    assert "max_open_positions: 5 -> 3" in trader.journal()
    assert trader.show("ActiveState") == "active"
    assert worker_pids(trader) == pids


def test_reload_of_a_broken_file_fails_visibly(trader):
    """Systemctl fails, the journal names line and key, and the service runs on."""
    trader.systemctl("start", "trader")
    trader.configure(with_limit("many"))
    failed = trader.box.run("systemctl", "reload", "trader", check=False)
    assert failed.returncode != 0
    assert re.search(r"trader\.yaml:\d+: risk\.max_open_positions", trader.journal())
    assert trader.show("ActiveState") == "active"
    assert is_whole(trader)


@pytest.mark.parametrize("role", ["engine", "monitor", "dashboard"])
def test_killed_worker_is_replaced(trader, role):
    """The unit stays active, the other workers stay the same."""
    trader.systemctl("start", "trader")
    before = worker_pids(trader)
    main = trader.show("MainPID")
    trader.box.run("kill", "-KILL", str(before[role]))
    eventually(lambda: is_whole(trader) and worker_pids(trader)[role] != before[role], f"a new {role}")
    after = worker_pids(trader)
    assert {other: pid for other, pid in after.items() if other != role} == {
        other: pid for other, pid in before.items() if other != role
    }
    assert trader.show("MainPID") == main


@pytest.mark.parametrize("signal", ["KILL", "SEGV", "HUP"])
def test_killed_supervisor_is_restarted_by_systemd(trader, signal):
    """No worker of the old run is left; SIGHUP is a reload and kills nobody."""
    trader.systemctl("start", "trader")
    old_main = trader.show("MainPID")
    old = worker_pids(trader)
    trader.box.run("kill", f"-{signal}", old_main)
    if signal == "HUP":
        eventually(lambda: "reloaded" in trader.journal(), "the reload")
        assert trader.show("MainPID") == old_main
        return
    eventually(lambda: trader.show("MainPID") not in ("0", old_main) and is_whole(trader), "a new service")
    for pid in old.values():
        assert trader.box.run("kill", "-0", str(pid), check=False).returncode != 0


def test_hung_supervisor_is_aborted_by_the_watchdog(trader):
    """SIGSTOP of the supervisor: nothing in it can help, systemd does."""
    trader.systemctl("start", "trader")
    old_main = trader.show("MainPID")
    trader.box.run("kill", "-STOP", old_main)
    eventually(lambda: trader.show("MainPID") not in ("0", old_main) and is_whole(trader), "a new service")
    assert "Watchdog timeout" in trader.journal()


def test_invalid_configuration_does_not_loop(trader):
    """Exit 78 once, and systemd leaves it."""
    trader.configure(with_limit("many"))
    failed = trader.box.run("systemctl", "start", "trader", check=False)
    assert failed.returncode != 0
    assert trader.show("ExecMainStatus") == "78"
    assert trader.show("NRestarts") == "0"
    assert trader.show("ActiveState") == "failed"


def test_second_instance_by_hand_is_refused(trader):
    """Exit 75, and the service does not notice."""
    trader.systemctl("start", "trader")
    second = trader.box.run("trader", "run", check=False)
    assert second.returncode == 75
    assert is_whole(trader)


def test_stop_is_clean_and_leaves_nothing(trader):
    """Exit 0, no process, no shared memory; a stopped service says so."""
    since = trader.now()
    trader.systemctl("start", "trader")
    trader.systemctl("stop", "trader")
    assert trader.show("Result") == "success"
    assert trader.show("ExecMainStatus") == "0"
    assert trader.box.run("pgrep", "-u", "trader", check=False).stdout == ""
    assert trader.box.run("test", "-e", "/run/trader", check=False).returncode == 1
    assert trader.box.run("trader", "status", check=False).returncode == 1
    assert trader.journal("-p", "err", "--since", since) == ""


def test_restart_continues_with_the_same_ledger(trader):
    """Nothing starts over."""
    trader.systemctl("start", "trader")
    eventually(lambda: json.loads(trader.command("decisions", "--json")), "a decision")
    trader.systemctl("restart", "trader")
    assert is_whole(trader)
    assert trader.box.run("trader", "verify", check=False).returncode == 0
