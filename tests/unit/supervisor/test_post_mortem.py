"""What is written when the service has died."""

from __future__ import annotations

import pytest

from tests.paper_desk import PaperDesk
from trader.supervisor import post_mortem


@pytest.fixture
def dead(tmp_path, monkeypatch):
    """Stage a service that died with an entry in flight."""
    (tmp_path / "data").mkdir()
    desk = PaperDesk.open(tmp_path / "data" / "ledger.db")
    desk.feed(desk.candles(0, 100.0, 100.0, 100.0, 100.0, minute=1))
    desk.enter(0, "0.5")
    desk.commit()
    desk.close()
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    monkeypatch.delenv("TRADER_CONFIG", raising=False)
    monkeypatch.setenv("SERVICE_RESULT", "watchdog")
    monkeypatch.setenv("EXIT_CODE", "killed")
    monkeypatch.setenv("EXIT_STATUS", "ABRT")
    return tmp_path


def test_death_is_one_line_with_cause_account_and_what_was_canceled(dead, capfd):
    """At priority error; the second time there is nothing to cancel."""
    assert post_mortem.main([]) == 0
    line = capfd.readouterr().out
    assert line.startswith("<3>post-mortem: the service ended by watchdog (killed ABRT); equity 10000.00 USDT at ")
    assert "open: no position, in flight: main-1; canceled: main-1 buy BTC/USDT\n" in line
    assert line.count("\n") == 1
    post_mortem.main([])
    assert "in flight: no order\n" in capfd.readouterr().out


def test_orders_of_a_replay_wait_for_its_engine(dead, capfd, monkeypatch):
    """History goes on where it stopped, and so must what was in flight."""
    (dead / "trader.yaml").write_text("market: {source: replay, candles: somewhere}\n")
    monkeypatch.setenv("TRADER_CONFIG", str(dead / "trader.yaml"))
    post_mortem.main([])
    line = capfd.readouterr().out
    assert "in flight: main-1" in line
    assert "canceled" not in line


def test_orderly_end_says_nothing(dead, capfd, monkeypatch):
    """A stop is no death."""
    monkeypatch.setenv("SERVICE_RESULT", "success")
    assert post_mortem.main([]) == 0
    assert capfd.readouterr().out == ""


def test_alert_names_the_unit_and_what_to_do(dead, capfd, monkeypatch):
    """At priority alert, and nothing is canceled: that was done at the death."""
    monkeypatch.setenv("MONITOR_SERVICE_RESULT", "exit-code")
    post_mortem.main(["--alert", "trader"])
    line = capfd.readouterr().out
    assert line.startswith("<1>trader has failed and stays down: exit-code")
    assert "systemctl start trader" in line


def test_damaged_ledger_is_named_and_hides_nothing(dead, capfd):
    """The cause of death is still told."""
    (dead / "data" / "ledger.db").write_bytes(b"x" * 8192)
    post_mortem.main([])
    line = capfd.readouterr().out
    assert "ended by watchdog" in line
    assert "ledger.db" in line


def test_without_a_ledger_the_cause_is_told(tmp_path, capfd, monkeypatch):
    """A service that never got that far."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    monkeypatch.delenv("TRADER_CONFIG", raising=False)
    monkeypatch.setenv("SERVICE_RESULT", "exit-code")
    post_mortem.main([])
    assert "no ledger yet" in capfd.readouterr().out
