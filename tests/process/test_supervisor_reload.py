"""Reload with real processes: all of it, or nothing of it."""

from __future__ import annotations

import signal

import pytest

from tests.process.supervised import eventually
from trader.codes import WorkerState
from trader.errors import ControlError


def test_reload_of_a_limit_is_applied_without_a_restart(supervised):
    """A hot key reaches every worker, by command and by SIGHUP."""
    service = supervised({"risk": {"max_open_positions": 3}})
    service.up()
    pids = service.pids()
    service.configure({"risk": {"max_open_positions": 4}})
    outcome = service.ask("reload", {"wait": True})
    assert outcome == {"changed": ["risk.max_open_positions: 3 -> 4"], "restarted": [], "config_epoch": 2}
    assert service.ask("pause")["limit"] == 4
    eventually(lambda: service.reader.beat("engine")["config_epoch"] == 2, "the epoch in the beat")

    service.configure({"risk": {"max_open_positions": 5}})
    service.process.send_signal(signal.SIGHUP)
    eventually(lambda: service.ask("pause")["limit"] == 5, "the limit by SIGHUP")
    assert service.pids() == pids


def test_reload_of_a_broken_file_changes_nothing_and_says_so(supervised):
    """The running configuration stays, the caller gets every problem, the count goes up."""
    service = supervised({"risk": {"max_open_positions": 3}})
    service.up()
    service.configure({"risk": {"max_open_positions": "many"}, "rsik": {}})
    with pytest.raises(ControlError) as caught:
        service.ask("reload")
    assert "risk.max_open_positions" in str(caught.value)
    assert "rsik" in str(caught.value)
    assert service.ask("pause")["limit"] == 3
    status = service.ask("status")
    assert (status["config_epoch"], status["reloads_rejected"], status["state"]) == (1, 1, "running")


def test_reload_that_needs_a_service_restart_is_refused_with_the_key(supervised):
    """A data folder can't be changed under a running service."""
    service = supervised()
    service.up()
    service.configure({"initial_capital": 5000.0})
    with pytest.raises(ControlError, match=r"restart of the service.*initial_capital: 10000\.0 -> 5000\.0"):
        service.ask("reload")


def test_reload_that_a_worker_rejects_is_taken_back_everywhere(supervised):
    """One no in the first phase, and nobody has changed."""
    service = supervised({"risk": {"max_open_positions": 3}}, dashboard="Picky")
    service.up()
    service.configure({"risk": {"max_open_positions": 13}})
    with pytest.raises(ControlError, match="dashboard rejects it: 13 positions bring bad luck"):
        service.ask("reload")
    assert service.ask("pause")["limit"] == 3
    service.configure({"risk": {"max_open_positions": 6}})
    service.ask("reload")
    assert service.ask("pause")["limit"] == 6


def test_reload_that_a_worker_finds_not_valid_is_refused_with_file_line_and_key(supervised):
    """What only a worker can find is told as all problems of the file are."""
    service = supervised(engine="Picky")
    service.up()
    service.configure({"risk": {"max_open_positions": 4}, "strategies": [{"use": "unheard_of"}]})
    with pytest.raises(ControlError) as refused:
        service.ask("reload")
    assert str(refused.value) == f"{service.config_path}:4: strategies.0.use: there is no strategy 'unheard_of'"
    assert service.ask("pause")["limit"] == 5


def test_reload_warns_of_a_key_that_only_a_restart_takes(supervised, tmp_path):
    """A secret in the same file is no change of the configuration; its owner is told, once per reload, without it."""
    key = tmp_path / "token"
    key.write_text("first-token-0123456789")
    key.chmod(0o600)
    service = supervised({"dashboard": {"token": {"file": str(key)}}})
    service.up()
    assert "warnings" not in service.ask("reload")
    key.write_text("second-token-0123456789")
    (warning,) = service.ask("reload")["warnings"]
    assert warning.startswith("dashboard.token: another secret is there")
    assert service.events("key.rotated") == [{"key": "dashboard.token"}]
    assert "second-token" not in service.text


def test_reload_restarts_only_the_worker_that_needs_it(supervised):
    """A new port is a new dashboard; the engine goes on."""
    service = supervised({"dashboard": {"port": 0}}, dashboard="Picky")
    service.up()
    engine = service.worker("engine")["pid"]
    service.configure({"dashboard": {"port": 12}})
    assert service.ask("reload")["restarted"] == ["dashboard"]
    assert service.worker("dashboard")["generation"] == 2
    assert service.worker("engine")["pid"] == engine
    workers = {worker["role"]: worker for worker in service.ask("status")["workers"]}
    assert workers["dashboard"]["info"] == {"port": 12}


def test_reload_whose_worker_does_not_come_up_goes_back(supervised):
    """The limit that came with the bad port is gone too, and the dashboard is back on the old port."""
    service = supervised({"dashboard": {"port": 0}, "risk": {"max_open_positions": 3}}, dashboard="Picky")
    service.up()
    service.configure({"dashboard": {"port": 13}, "risk": {"max_open_positions": 4}})
    with pytest.raises(ControlError, match="dashboard does not start with it"):
        service.ask("reload")
    assert service.ask("pause")["limit"] == 3
    service.wait_for("running")
    row = service.wait_for_worker("dashboard", state=WorkerState.READY)
    assert row["generation"] == 3
    assert service.ask("status")["config_epoch"] == 1


def test_reload_storm_is_coalesced(supervised):
    """Two hundred SIGHUPs are a handful of reloads, the first at once, and the last file is in force."""
    service = supervised({"risk": {"max_open_positions": 3}})
    service.up()
    for number in range(200):
        if number == 100:
            service.configure({"risk": {"max_open_positions": 7}})
        service.process.send_signal(signal.SIGHUP)
    eventually(lambda: service.ask("pause")["limit"] == 7, "the new limit")
    eventually(lambda: service.state() == "running", "the end of the storm")
    assert 1 <= service.ask("status")["reloads"] <= 5


def test_sighup_before_the_service_runs_waits(supervised):
    """A SIGHUP during the start neither kills nor is forgotten."""
    service = supervised({"risk": {"max_open_positions": 3}})
    process = service.start()
    eventually(service.paths.runtime_dir.exists, "the start")
    service.configure({"risk": {"max_open_positions": 8}})
    process.send_signal(signal.SIGHUP)
    service.wait_for("running")
    eventually(lambda: service.ask("pause")["limit"] == 8, "the reload")
