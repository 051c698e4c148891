"""`explain`, and the health part of `doctor`: over a real ledger and real shared memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from trader.cli import checkup, main
from trader.codes import Level
from trader.config.sections import Config
from trader.state.dtypes import CHECK, MAX_CHECKS
from trader.state.reader import StateReader
from trader.state.segment import Segment


def explained(paths, number: int, capsys) -> dict:
    """Return a story as JSON."""
    assert main(["explain", str(number), "--data-dir", str(paths.data_dir), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_explain_of_a_round_trip_goes_from_signal_to_result(paths, ledger, capsys) -> None:
    """Ten at 100, sold at 103: 30 less fees, both orders with their fills."""
    story = explained(paths, 1, capsys)
    assert story["decision"]["decided"] == "ordered"
    assert [fill["price"] for fill in story["entry"]["fills"]] == [100.0]
    assert [fill["price"] for fill in story["exit"]["fills"]] == [103.0]
    assert story["result"]["gross_pnl"] == 30.0
    assert story["position"] is None
    assert "No limit stood against it." in story["story"]
    assert story["story"][-1].startswith("Closed ")


def test_explain_of_an_open_position_shows_its_plan(paths, ledger, capsys) -> None:
    """It has no end yet, and says where its stop stands."""
    story = explained(paths, 2, capsys)
    assert story["result"] is None
    assert story["position"]["symbol"] == "BTC/USDT"
    assert "stop 98" in story["story"][-1]


def test_explain_of_a_denial_names_every_limit_with_both_numbers(paths, ledger, capsys) -> None:
    """For people: the limit's sentence, observed and bound."""
    assert main(["explain", "4", "--data-dir", str(paths.data_dir)]) == 0
    text = capsys.readouterr().out
    assert "Risk denied the entry for 1 reason:" in text
    assert "risk.min_confidence_threshold (0.65 against 0.7)" in text


def test_explain_of_an_idle_decision_is_short(paths, ledger, capsys) -> None:
    """Nothing followed."""
    story = explained(paths, 3, capsys)
    assert (story["entry"], story["exit"], story["result"]) == (None, None, None)
    assert "It had no opinion; everything stayed as it was." in story["story"]


def test_explain_of_a_decision_that_never_was_fails_in_words(paths, ledger, capsys) -> None:
    """Exit 1, and where to find the right number."""
    assert main(["explain", "999", "--data-dir", str(paths.data_dir)]) == 1
    assert "there is no decision 999" in capsys.readouterr().err


def test_decisions_since_are_all_of_them(paths, ledger, capsys) -> None:
    """A limit is for those who look at the newest; an audit wants every row."""
    arguments = ["decisions", "BTC/USDT", "--since", "2000-01-01", "--data-dir", str(paths.data_dir), "--json"]
    assert main(arguments) == 0
    assert [one["decision_id"] for one in json.loads(capsys.readouterr().out)] == [4, 3, 2]


def test_health_of_a_stopped_service_tries_its_folders(paths, ledger) -> None:
    """Ledger, disk, durable write, log folder."""
    found = {row["name"]: row for row in checkup.health(paths, Config())}
    assert set(found) == {"ledger", "disk", "fsync", "logs"}
    assert found["ledger"]["level"] == "ok"
    assert found["fsync"]["value"] > 0


def test_health_of_a_damaged_ledger_is_grave(paths, ledger: Path) -> None:
    """Before the service finds out."""
    ledger.write_bytes(b"nonsense" * 1000)
    found = {row["name"]: row for row in checkup.health(paths, Config())}
    assert found["ledger"]["level"] == "grave"


def test_health_of_a_running_service_is_looked_at_anew(paths, ledger, running) -> None:
    """What only the monitor can know is the monitor's; the rest is fresh."""
    running.start_engine()
    running.start_monitor()
    rows = np.zeros(MAX_CHECKS, CHECK)
    for row, (name, level) in zip(rows, (("memory", Level.WARNING), ("engine", Level.GRAVE)), strict=False):
        row["name"], row["level"], row["text"] = name.encode(), level, b"said by the monitor"
    segment = Segment.attach(paths.segment("monitor", 1), writable=True)
    segment.writer("checks").publish(rows)
    found = {row["name"]: row for row in checkup.health(paths, Config())}
    assert found["memory"]["text"] == "said by the monitor"
    assert found["engine"]["level"] == "ok"
    assert len(checkup.published(StateReader(paths))) == 2


@pytest.fixture(autouse=True)
def _nothing_of_the_caller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TRADER_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
