"""The default configuration: paper money on the simulated market, and an owner's commands."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.service import Service

FAST = {"market": {"speed": 600}, "dashboard": {"port": 0}}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Run the simulated market at ten times the default speed."""
    running = Service(tmp_path, FAST)
    running.start()
    running.until(lambda: running.worker_pid("engine"), "a ready engine")
    yield running
    running.kill()


def account(service: Service) -> dict[str, float]:
    """Return the account as `trader status` shows it."""
    return service.json("status")["account"]


def test_simulated_market_trades_within_three_minutes_of_the_default_speed(service: Service) -> None:
    """Three minutes at speed 60 are 18 s at speed 600: by then a round trip is done."""
    service.until(lambda: account(service)["round_trips"] >= 1, "a round trip", 25)
    assert service.command("verify").returncode == 0


def test_pause_then_resume_is_seen_at_once(service: Service) -> None:
    """A pause halts entries until it is resumed."""
    assert service.command("pause").returncode == 0
    assert "paused" in service.json("status")["account"]["halts"]
    assert service.command("resume").returncode == 0
    assert service.json("status")["account"]["halts"] == []


def test_flatten_closes_every_position_and_pauses(service: Service) -> None:
    """After a flatten nothing is open, and nothing opens."""
    service.until(lambda: account(service)["open_positions"] >= 1, "an open position")
    assert service.command("flatten", "--yes").returncode == 0
    service.until(lambda: account(service)["open_positions"] == 0, "a flat account")
    assert "paused" in service.json("status")["account"]["halts"]
    assert service.json("positions") == []


@pytest.mark.parametrize("role", ["engine", "monitor", "dashboard"])
def test_killed_worker_comes_back_and_the_account_goes_on(service: Service, role: str) -> None:
    """A SIGKILLed worker is replaced; cash, positions and baselines go on."""
    pid = service.worker_pid(role)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    service.until(lambda: service.worker_pid(role) not in (None, pid), f"a new {role}")
    assert service.command("verify").returncode == 0


def test_stop_is_orderly_and_the_next_start_goes_on(service: Service) -> None:
    """SIGTERM ends with 0; the account is found again as it was left."""
    service.until(lambda: account(service)["open_positions"] >= 1, "an open position")
    assert service.stop() == 0
    left = service.rows("SELECT * FROM positions")
    assert left
    service.start()
    service.until(lambda: service.worker_pid("engine"), "a ready engine")
    assert {row[0] for row in left} <= {row[0] for row in service.rows("SELECT * FROM positions")} | {
        symbol for (symbol,) in service.rows("SELECT symbol FROM round_trips")
    }


def test_reload_applies_a_changed_limit_and_refuses_a_broken_file(service: Service) -> None:
    """SIGHUP puts a valid file in force; a typo changes nothing and ends nothing."""
    service.configure({**FAST, "risk": {"max_open_positions": 2}})
    assert service.command("reload", "--wait").returncode == 0
    assert service.json("status")["limits"]["max_open_positions"] == 2
    service.configure({**FAST, "risk": {"max_open_position": 9}})
    refused = service.command("reload", "--wait")
    assert refused.returncode != 0
    assert "max_open_position" in refused.stderr
    assert service.process is not None
    service.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        assert service.json("status")["limits"]["max_open_positions"] == 2
    assert service.process.poll() is None
