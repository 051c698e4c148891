"""What the supervisor does is in the log under stable names, with facts to search by."""

from __future__ import annotations

import os
import signal

import pytest

from trader.codes import WorkerState
from trader.errors import ControlError


def test_life_of_a_service_is_told_by_events(supervised):
    """Start, commands, reloads, a death and its restart, the end: each once, with who and why."""
    service = supervised({"risk": {"max_open_positions": 3}})
    service.up()
    assert [one["worker"] for one in service.events("worker.started", 3)] == ["monitor", "dashboard", "engine"]
    assert {one["worker"] for one in service.events("worker.ready", 3)} == {"monitor", "dashboard", "engine"}
    (ready,) = service.events("service.ready")
    assert ready["mode"] == "paper"
    assert ready["took_s"] > 0

    service.ask("pause", {})
    with pytest.raises(ControlError):
        service.ask("flatten")
    told = [(one["command"], one["outcome"]) for one in service.events("control", 2)]
    assert told == [("pause", "done"), ("flatten", "refused")]

    service.configure({"risk": {"max_open_positions": "many"}})
    with pytest.raises(ControlError):
        service.ask("reload")
    (rejected,) = service.events("reload.rejected")
    assert "risk.max_open_positions" in rejected["reason"]
    service.configure({"risk": {"max_open_positions": 4}})
    service.ask("reload")
    assert service.events("reload.applied") == [{"config_epoch": 2, "changed": "risk.max_open_positions"}]

    pid = service.worker("dashboard")["pid"]
    os.kill(pid, signal.SIGKILL)
    service.wait_for_worker("dashboard", generation=2, state=WorkerState.READY)
    (died,) = service.events("worker.died")
    assert (died["worker"], died["exit_code"], died["reason"]) == ("dashboard", -9, "killed by SIGKILL")
    assert died["restart_in_s"] > 0
    (restarted,) = service.events("worker.restarted")
    assert (restarted["worker"], restarted["generation"], restarted["restarts"]) == ("dashboard", 2, 1)
    assert service.events("reload.taken_back")[0]["config_epoch"] == 1
    assert "dashboard backoff" in service.text
    assert len(service.events("service.degraded")) == len(service.events("service.recovered"))

    assert service.stop() == 0
    assert service.events("service.stopping") == [{"exit_code": 0, "reason": "asked to stop"}]
    assert service.events("service.stopped") == [{"exit_code": 0}]


def test_worker_that_hangs_or_is_given_up_is_told_by_events(supervised):
    """A stopped engine and a dashboard that never comes up."""
    service = supervised(dashboard="Unbootable")
    service.start()
    service.wait_for_worker("engine", state=WorkerState.READY)
    engine = service.worker("engine")["pid"]
    os.kill(engine, signal.SIGSTOP)
    service.wait_for_worker("dashboard", state=WorkerState.FATAL)
    service.wait_for_worker("engine", generation=2, state=WorkerState.READY)
    (hung,) = service.events("worker.hung")
    assert (hung["worker"], hung["worker_pid"]) == ("engine", engine)
    assert hung["reason"].startswith("no beat for")
    (given_up,) = service.events("worker.gave_up")
    assert (given_up["worker"], given_up["exit_code"]) == ("dashboard", 3)
