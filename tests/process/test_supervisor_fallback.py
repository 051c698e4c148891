"""Probation, last-good.yaml, and a start on it, with real processes."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.process.supervised import eventually
from trader.clock import boottime_ns
from trader.codes import WorkerState
from trader.errors import ControlError

PROBATION_S = 3.0


def test_configuration_that_held_is_kept_and_a_clean_stop_leaves_no_mark(supervised):
    """The file's bytes are in the data folder after the probation; `running` is there only while it runs."""
    service = supervised({"risk": {"max_open_positions": 3}}, probation_s=0.5)
    service.up()
    assert (service.paths.data_dir / "running").exists()
    kept = service.paths.data_dir / "last-good.yaml"
    eventually(kept.exists, "last-good.yaml")
    assert kept.read_bytes() == service.config_path.read_bytes()
    service.configure({"risk": {"max_open_positions": 4}})
    service.ask("reload")
    eventually(lambda: kept.read_bytes() == service.config_path.read_bytes(), "the reloaded file")
    assert service.stop() == 0
    assert not (service.paths.data_dir / "running").exists()


def test_entries_wait_until_the_start_is_noted_on_disk(supervised):
    """A full disk at that moment ends nothing: the service runs, and the lease comes with the note."""
    service = supervised()
    service.paths.data_dir.mkdir()
    (service.paths.data_dir / "running").symlink_to("nowhere/running")  # it can't be made, as on a full disk
    service.up()
    eventually(lambda: "entries wait for it" in service.text, "the complaint")
    assert service.reader.lease_until_ns() == 0
    assert service.text.count("entries wait for it") == 1
    (service.paths.data_dir / "running").unlink()
    eventually(lambda: service.reader.lease_until_ns() > boottime_ns(), "the lease")
    assert (service.paths.data_dir / "running").is_file()
    assert list(service.paths.data_dir.glob(".running*")) == []
    assert service.stop() == 0


def test_configuration_on_probation_is_not_kept_yet(supervised):
    """Before the probation is over nothing is known of it."""
    service = supervised()
    service.up()
    time.sleep(1.0)  # two ticks in which it could have been written
    assert not (service.paths.data_dir / "last-good.yaml").exists()


@pytest.mark.parametrize("role", ["engine", "monitor", "dashboard"])
def test_death_on_probation_takes_the_reload_back(supervised, role):
    """Everyone is on the old configuration again, the dead worker too, and the rejection is counted and explained."""
    service = supervised({"risk": {"max_open_positions": 3}}, probation_s=PROBATION_S)
    service.up()
    service.configure({"risk": {"max_open_positions": 4}})
    service.ask("reload")
    assert service.ask("pause")["limit"] == 4
    os.kill(service.worker(role)["pid"], signal.SIGKILL)
    service.wait_for_worker(role, generation=2, state=WorkerState.READY)
    service.wait_for("running")
    assert service.ask("pause")["limit"] == 3
    status = service.ask("status")
    assert (status["config_epoch"], status["reloads"], status["reloads_rejected"]) == (1, 1, 1)
    assert f"the {role} died: killed by SIGKILL; configuration 1 is in force again" in service.text
    assert [worker["restarts"] for worker in status["workers"] if worker["role"] != role] == [0, 0]


def test_death_on_probation_restarts_what_the_reload_had_restarted(supervised):
    """A dashboard on a new port goes back to the old one when another worker dies."""
    service = supervised({"dashboard": {"port": 0}}, dashboard="Picky", probation_s=PROBATION_S)
    service.up()
    service.configure({"dashboard": {"port": 12}})
    assert service.ask("reload")["restarted"] == ["dashboard"]
    os.kill(service.worker("monitor")["pid"], signal.SIGKILL)

    def port():
        workers = {worker["role"]: worker for worker in service.ask("status")["workers"]}
        return workers["dashboard"]["info"].get("port")

    eventually(lambda: service.state() == "running" and port() == 0, "the old port")


def test_death_after_the_probation_changes_no_configuration(supervised):
    """A worker is restarted on what is in force."""
    service = supervised({"risk": {"max_open_positions": 3}}, probation_s=0.5)
    service.up()
    service.configure({"risk": {"max_open_positions": 4}})
    service.ask("reload")
    kept = service.paths.data_dir / "last-good.yaml"
    eventually(lambda: kept.exists() and kept.read_bytes() == service.config_path.read_bytes(), "the probation")
    os.kill(service.worker("engine")["pid"], signal.SIGKILL)
    service.wait_for_worker("engine", generation=2, state=WorkerState.READY)
    assert service.ask("pause")["limit"] == 4


def test_invalid_file_after_a_crash_starts_reduce_only_until_it_is_corrected(supervised):
    """The last good configuration, no lease, a loud log; a reload of the corrected file gives the lease."""
    service = supervised({"risk": {"max_open_positions": 3}}, probation_s=0.2)
    service.up()
    eventually((service.paths.data_dir / "last-good.yaml").exists, "last-good.yaml")
    service.process.kill()
    service.wait()
    service.configure({"risk": {"max_open_positions": "many"}})
    service.start()
    service.wait_for("degraded")
    assert "risk.max_open_positions" in service.ask("status")["reduce_only"]
    assert service.ask("pause")["limit"] == 3
    assert service.reader.lease_until_ns() < boottime_ns()
    assert "CRITICAL" in service.text
    with pytest.raises(ControlError, match=r"trader.yaml:2: risk\.max_open_positions"):
        service.ask("reload")
    assert service.reader.lease_until_ns() < boottime_ns()

    service.configure({"risk": {"max_open_positions": 4}})
    service.ask("reload")
    service.wait_for("running")
    assert service.reader.lease_until_ns() > boottime_ns()
    assert service.ask("status")["reduce_only"] is None
    assert service.ask("pause")["limit"] == 4
    assert service.stop() == 0

    service.configure({"risk": {"max_open_positions": "many"}})
    service.start()
    assert service.wait() == 78


def test_unknown_strategy_is_refused_with_its_line_before_anything_starts(supervised):
    """Exit 78, and no worker has lived: there is no runtime folder and no log of one."""
    service = supervised({"strategies": [{"use": "simple_rsy"}, {"use": "simple_rsi", "params": {"periode": 3}}]})
    service.start()
    assert service.wait() == 78
    assert f"{service.config_path}:2: strategies.0.use: there is no strategy 'simple_rsy'; did you mean" in service.text
    assert f"{service.config_path}:4: strategies.1.params.periode" in service.text
    assert "started as process" not in service.text
    assert not service.paths.runtime_dir.exists()
