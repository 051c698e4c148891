"""What the supervisor does about workers that die, hang, or will not start."""

from __future__ import annotations

import os
import signal

from tests.paper_desk import PaperDesk
from tests.process.supervised import Deaths, alive, eventually
from trader.clock import boottime_ns
from trader.codes import WorkerState
from trader.domain.order import OrderState
from trader.ledger.reader import LedgerReader


def test_killed_worker_is_restarted_with_a_new_generation(supervised):
    """SIGKILL of each role: a new process, a new segment, the old segment gone, the others untouched."""
    service = supervised()
    service.up()
    for role in ("engine", "monitor", "dashboard"):
        before = service.worker(role)
        os.kill(before["pid"], signal.SIGKILL)
        after = service.wait_for_worker(role, generation=2, state=WorkerState.READY)
        assert after["pid"] != before["pid"]
        assert (after["restarts"], after["exit_code"]) == (1, -signal.SIGKILL)
        assert service.paths.segment(role, 2).exists()
        assert not service.paths.segment(role, 1).exists()
    service.wait_for("running")
    assert service.ask("pause")["name"] == "pause"


def test_dead_worker_degrades_the_service_but_keeps_the_lease(supervised):
    """While a worker is away the state says so; the lease is the supervisor's own health only."""
    service = supervised(dashboard="Unbootable")
    service.start()
    service.wait_for("degraded")
    eventually(lambda: service.reader.lease_until_ns() > boottime_ns(), "the lease")


def test_blocked_engine_gets_a_traceback_and_is_replaced(supervised):
    """A loop that stands still for 5 s ends with SIGABRT, its Python traceback, and a restart."""
    service = supervised(engine="Blocking")
    service.up()
    service.ask("reload")  # the line is open in both directions before the engine blocks
    first = service.worker("engine")["pid"]
    blocked = _send_and_forget(service, "pause")
    row = service.wait_for_worker("engine", generation=2, state=WorkerState.READY)
    assert row["exit_code"] == -signal.SIGABRT
    assert row["pid"] != first
    assert not alive(first)
    assert "Fatal Python error: Aborted" in service.text
    assert "in command" in service.text  # the frame that blocked
    assert blocked.wait(20) != 0  # the command that did it is told that the engine ended


def _send_and_forget(service, command):
    import subprocess
    import sys

    code = (
        "from pathlib import Path; from trader.process.control import request;"
        f"request(Path({str(service.paths.control_socket)!r}), {command!r}, timeout_s=40)"
    )
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)


def test_stopped_engine_is_killed_and_replaced(supervised):
    """A worker that can't even take SIGABRT gets SIGKILL two seconds later."""
    service = supervised()
    service.up()
    first = service.worker("engine")["pid"]
    os.kill(first, signal.SIGSTOP)
    row = service.wait_for_worker("engine", generation=2, state=WorkerState.READY)
    assert row["exit_code"] in (-signal.SIGKILL, -signal.SIGABRT)
    assert not alive(first)


def test_engine_that_keeps_dying_ends_the_service_with_70(supervised):
    """Three restarts without progress, then systemd decides."""
    service = supervised(engine="Crashing")
    service.start()
    assert service.wait() == 70
    assert "engine died too often, given up" in service.text
    assert service.text.count("engine died:") == 3


def test_engine_that_makes_progress_survives_any_number_of_kills(supervised):
    """Deaths with the market moving on in between don't use up the budget."""
    service = supervised(engine="Trading")
    service.up()
    for generation in range(1, 6):
        row = service.wait_for_worker("engine", generation=generation, state=WorkerState.READY)
        eventually(lambda: service.reader.beat("engine")["market_ns"] > 0, "the market to move")
        os.kill(row["pid"], signal.SIGKILL)
    service.wait_for_worker("engine", generation=6, state=WorkerState.READY)
    eventually(lambda: service.state() == "running", "recovery")


def test_killed_while_stopping_leaves_nobody_behind(supervised):
    """SIGKILL of the supervisor in the middle of a stop takes the stubborn worker too."""
    service = supervised(engine="Stubborn")
    service.up()
    pids = service.pids()
    service.process.send_signal(signal.SIGTERM)
    eventually(lambda: "asked to stop" in service.text, "the stop")
    Deaths(pid for pid in pids if alive(pid)).seconds_after(service.process.kill, 5.0)


def test_engine_that_is_given_up_leaves_no_entry_in_flight(supervised):
    """A short-lived process cancels it in the ledger before the service ends with 70."""
    service = supervised(engine="Crashing")
    service.paths.data_dir.mkdir()
    desk = PaperDesk.open(service.paths.ledger)
    desk.feed(desk.candles(0, 100.0, 100.0, 100.0, 100.0, minute=1))
    order = desk.enter(0, "0.5")
    desk.ledger.save_state(desk.desk, desk.slots, int(desk.account["event_ns"]))
    desk.ledger.close()
    service.start()
    assert service.wait() == 70
    assert f"entries in flight canceled: {order.client_order_id} buy BTC/USDT" in service.text
    with LedgerReader(service.paths.ledger) as reader:
        assert [one.state for one in reader.orders()] == [OrderState.CANCELED]


def test_monitor_that_is_given_up_halts_entries_and_nothing_else(supervised):
    """The service goes on, degraded; the clearance has run out and is not renewed."""
    service = supervised(monitor="Crashing")
    service.start()
    row = service.wait_for_worker("monitor", state=WorkerState.FATAL)
    assert row["restarts"] == 5
    eventually(lambda: service.reader.clear_until_ns() < boottime_ns(), "the clearance to run out")
    assert "monitor died too often, given up: exit code 3; entries are halted" in service.text
    assert service.state() == "degraded"
    assert service.worker("engine")["restarts"] == 0
