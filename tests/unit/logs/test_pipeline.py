"""`trader.logs.pipeline` and `events`: from the call to the files."""

from __future__ import annotations

import json
import logging
import re
import threading
import warnings
from decimal import Decimal

import pytest

from trader.logs import (
    dropped_records,
    log_decision,
    log_event,
    log_trade_event,
    set_level,
    setup_comprehensive_logging,
    setup_logging,
)
from trader.logs import pipeline as pipeline_module

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) +engine +.*")


@pytest.fixture
def log():
    """Return the logger of a module."""
    return logging.getLogger("trader.some.module")


def entries(folder):
    """Return the objects in structured.jsonl."""
    return [json.loads(line) for line in (folder / "structured.jsonl").read_text().splitlines()]


def test_setup_logging_records_land_where_they_belong(tmp_path, log, capsys):
    """Each of the five sinks takes what is its business."""
    with setup_logging("engine", tmp_path, "WARNING", "run-1"):
        log.debug("detail %d", 1)
        log.warning("careful")
        log.error("broken")
        log_trade_event("order.filled", "BTC/USDT", "buy", Decimal("100.5"), Decimal("0.1"), 0.8, reason="stop", pnl=-3)
    everything = (tmp_path / "trading_system.log").read_text().splitlines()
    assert all(LINE.fullmatch(line) for line in everything)
    assert [line.split("engine")[1].strip() for line in everything] == [
        "detail 1",
        "careful",
        "broken",
        "order.filled buy BTC/USDT 0.1 at 100.5 (stop) result -3",
    ]
    assert len((tmp_path / "errors.log").read_text().splitlines()) == 1
    assert len((tmp_path / "trades.log").read_text().splitlines()) == 1
    console = capsys.readouterr()
    assert [line.split("engine")[1].strip() for line in console.err.splitlines()] == ["careful", "broken"]
    assert console.out == ""


def test_structured_lines_have_the_documented_members(tmp_path):
    """Tools can rely on names, order and types."""
    with setup_logging("engine", tmp_path, "ERROR", "run-1"):
        log_trade_event("order.filled", "BTC/USDT", "buy", Decimal("100.5"), None, float("nan"), api_key="hunter2")
    (entry,) = entries(tmp_path)
    assert list(entry) == ["time", "level", "role", "pid", "run_id", "logger", "message", "event", "fields"]
    assert (entry["role"], entry["run_id"], entry["event"]) == ("engine", "run-1", "order.filled")
    assert entry["fields"] == {
        "symbol": "BTC/USDT",
        "action": "buy",
        "price": 100.5,
        "confidence": None,
        "api_key": "***",
    }


def test_log_hostile_text_stays_one_entry(tmp_path, log):
    """Newlines and escapes in data make no second line anywhere."""
    with setup_logging("engine", tmp_path, "CRITICAL"):
        log.error("%s", "a\n2024-01-01T00:00:00.000Z INFO    engine     forged \x1b[2J")
        try:
            raise ValueError("x\n2024-01-01T00:00:00.000Z INFO    engine     forged too token=hunter2")
        except ValueError:
            log.exception("caught")
    text = (tmp_path / "trading_system.log").read_text()
    assert len([line for line in text.splitlines() if not line.startswith("    ")]) == 2
    assert "\x1b" not in text
    assert "hunter2" not in text
    assert len(entries(tmp_path)) == 2
    assert "hunter2" not in (tmp_path / "structured.jsonl").read_text()


def test_log_decision_idle_ones_are_quiet(tmp_path, capsys):
    """A hold is in the files only, an order is on the console too."""
    with setup_logging("engine", tmp_path, "INFO"):
        log_decision("hold", "BTC/USDT", 0.1, "no opinion")
        log_decision("ordered", "ETH/USDT", 0.9, "RSI 20", decision_id=3)
    assert [entry["fields"]["decision_type"] for entry in entries(tmp_path)] == ["hold", "ordered"]
    assert [line.split("engine")[1].strip() for line in capsys.readouterr().err.splitlines()] == [
        "ordered ETH/USDT: RSI 20"
    ]


def test_set_level_changes_the_console_only(tmp_path, log, capsys):
    """A reload's log level is in force at once."""
    with setup_logging("engine", tmp_path, "ERROR"):
        log.info("unseen")
        set_level("INFO")
        log.info("seen")
    # the listener may read the level late: what counts is that the new one came into force
    assert "seen" in capsys.readouterr().err
    assert len(entries(tmp_path)) == 2


def test_setup_logging_unwritable_folder_goes_on_without_files(tmp_path, log, capsys):
    """No folder, no files, one warning."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    with setup_logging("engine", blocked / "logs", "INFO"):
        log.info("still there")
    text = capsys.readouterr().err
    assert "no log files in" in text
    assert "still there" in text


def test_setup_logging_twice_replaces_the_first(tmp_path, log, capsys):
    """No record is written twice."""
    setup_comprehensive_logging(tmp_path / "a", "INFO")
    with setup_logging("engine", tmp_path / "b", "INFO"):
        log.info("once")
    assert capsys.readouterr().err.count("once") == 1
    assert (tmp_path / "a" / "trading_system.log").exists() is False
    assert len(entries(tmp_path / "b")) == 1


class Stuck(logging.Handler):
    """A sink that does not come back until it is told to."""

    def __init__(self):
        super().__init__()
        self.go = threading.Event()
        self.seen = []

    def emit(self, record):
        """Wait, then take it."""
        self.go.wait(30)
        self.seen.append(record)


def test_log_stalled_sink_drops_and_counts_and_keeps_warnings(monkeypatch, log):
    """A full queue never stops the caller; the room kept for warnings is used for them."""
    monkeypatch.setattr(pipeline_module, "CAPACITY", 20)
    monkeypatch.setattr(pipeline_module, "CROWDED", 10)
    sink = Stuck()
    logs = pipeline_module.LogPipeline([sink], sink)
    logs.set_level("DEBUG")
    logs.start()
    for number in range(50):
        log.info("info %d", number)
    for number in range(50):
        log.warning("warning %d", number)
    assert logs.dropped > 60
    sink.go.set()
    logs.close()
    levels = [record.levelno for record in sink.seen]
    assert levels.count(logging.WARNING) == 11  # ten that fitted, and the report
    assert "log records were dropped (the queue was full)" in sink.seen[-1].getMessage()
    assert 100 - logs.dropped == len(sink.seen) - 1


def test_dropped_records_counts_this_process(tmp_path):
    """The beat can say how much was lost."""
    with setup_logging("engine", tmp_path, "ERROR"):
        assert dropped_records() == 0


def test_python_warnings_are_logged(tmp_path):
    """A library's warning is an entry, not a stray line."""
    with setup_logging("engine", tmp_path, "ERROR"), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning("old api", DeprecationWarning, "f.py", 1)
    assert "old api" in (tmp_path / "trading_system.log").read_text()


def test_log_event_below_the_level_costs_no_record(log, monkeypatch):
    """A switched-off event is not built."""
    monkeypatch.setattr(logging.getLogger("trader"), "level", logging.ERROR)
    logging.getLogger("trader.some.module").manager._clear_cache()
    log_event(log, logging.INFO, "x.y", "nothing", price=object())
