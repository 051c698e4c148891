"""`trader.logs.pipeline` and `events`: from the call to the files."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
import warnings
from decimal import Decimal

import pytest

from trader.logs import (
    dropped_records,
    events,
    hide,
    log_decision,
    log_event,
    log_trade_event,
    set_level,
    setup_comprehensive_logging,
    setup_logging,
)
from trader.logs import pipeline as pipeline_module
from trader.logs.sinks import Console

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
        self.go, self.entered = threading.Event(), threading.Event()
        self.seen = []

    def emit(self, record):
        """Wait, then take it."""
        self.entered.set()
        self.go.wait(30)
        self.seen.append(record)


def test_log_stalled_sink_drops_and_counts_and_keeps_warnings_and_trades(monkeypatch, log):
    """A full queue never stops the caller; the room kept for warnings and trade events is used for them."""
    monkeypatch.setattr(pipeline_module, "CAPACITY", 20)
    monkeypatch.setattr(pipeline_module, "CROWDED", 10)
    monkeypatch.setattr(pipeline_module, "BATCH", 1)
    sink = Stuck()
    logs = pipeline_module.LogPipeline(sink)
    logs.set_level("DEBUG")
    logs.start()
    log.info("first")
    assert sink.entered.wait(30)
    for number in range(50):
        log.info("info %d", number)
    log_trade_event("order.filled", "BTC/USDT", "buy")
    for number in range(50):
        log.warning("warning %d", number)
    assert logs.dropped == 81
    sink.go.set()
    logs.close()
    levels = [record.levelno for record in sink.seen]
    assert levels.count(logging.WARNING) == 10  # nine that fitted, and the report
    assert [record.event for record in sink.seen if hasattr(record, "event")] == ["order.filled", "logs.dropped"]
    assert "81 log records were dropped (the queue was full)" in sink.seen[-1].getMessage()


def test_log_stalled_files_do_not_keep_the_console_waiting(log, capsys):
    """A disk that hangs costs what is in files, and a hanging terminal costs what is on it."""
    sink = Stuck()
    logs = pipeline_module.LogPipeline(Console(), [sink])
    logs.set_level("INFO")
    logs.start()
    log.info("one")
    assert sink.entered.wait(30)
    log.info("two")
    shown = ""
    deadline = time.monotonic() + 30
    while "two" not in shown and time.monotonic() < deadline:
        shown += capsys.readouterr().err
    assert "two" in shown
    assert logs.waiting == 1
    sink.go.set()
    logs.close()


def test_losses_are_reported_without_another_record(monkeypatch, log, tmp_path, capsys):
    """A file that can't be written is told on the console, even when nothing more is logged."""
    monkeypatch.setattr(pipeline_module, "REPORT_EVERY_S", 0.05)
    target = tmp_path / "elsewhere"
    target.write_text("")
    (tmp_path / "trading_system.log").symlink_to(target)
    logs = setup_logging("engine", tmp_path, "INFO")
    log.info("once")
    shown, deadline = "", time.monotonic() + 30
    while "log records were dropped (trading_system.log: Too many levels" not in shown and time.monotonic() < deadline:
        shown += capsys.readouterr().err
    assert "log records were dropped (trading_system.log: Too many levels" in shown
    assert logs.dropped >= 1
    logs.close()


def test_log_record_of_changing_values_tells_those_of_the_call(tmp_path, log):
    """Lists and objects are made text at the call; numbers and texts can wait."""
    words, bag = ["before"], {"inner": ["before"]}
    with setup_logging("engine", tmp_path, "ERROR"):
        log.info("%s", words)
        log.info("%d %s", 7, "plain")
        log.info(words)
        log_event(log, logging.INFO, "x.y", "event", bag=bag)
        words[0] = "after"
        bag["inner"][0] = "after"
    assert [entry["message"] for entry in entries(tmp_path)] == ["['before']", "7 plain", "['before']", "event"]
    assert entries(tmp_path)[-1]["fields"] == {"bag": {"inner": ["before"]}}


class Unprintable:
    """Raises when somebody wants its text."""

    def __str__(self):
        raise RuntimeError("no words")


def test_log_record_that_can_not_be_formatted_is_told_and_raises_nothing(tmp_path, log, monkeypatch):
    """Neither a format that does not fit nor an object without text reaches the caller."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own raises
    with setup_logging("engine", tmp_path, "ERROR") as logs:
        log.info("%d pieces", "many")
        log.info("%s", Unprintable())
        log_event(log, logging.INFO, "x.y", "event", thing=Unprintable())
    assert logs.dropped == 0
    messages = [entry["message"] for entry in entries(tmp_path)]
    assert messages[0].startswith("%d pieces ('many',) (TypeError")
    assert messages[1:] == ["a log message could not be made: RuntimeError: no words"] * 2


def test_log_records_name_their_caller_and_serve_other_handlers(tmp_path, log, caplog):
    """Code position and the usual attributes, for plain records and for events."""
    with setup_logging("engine", tmp_path, "ERROR"):
        log.info("plain")
        log_event(log, logging.INFO, "x.y", "event")
        log_trade_event("order.sent", "BTC/USDT", "buy")
        log_decision("ordered", "BTC/USDT", 0.9, "RSI 20")
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(filename)s %(module)s %(funcName)s %(message)s")
    for found in caplog.records:
        assert found.funcName == "test_log_records_name_their_caller_and_serve_other_handlers"
        assert found.pathname == __file__
        assert f"test_pipeline.py test_pipeline {found.funcName} " in formatter.format(found)
    assert len(caplog.records) == 4
    logging.getLogger("trader.some.module").info("after")
    assert type(caplog.records[-1]) is logging.LogRecord  # logging is as it was


HOSTILE = 'a\n2024 INFO engine forged\r\x1b[31m\x00\u2028{"time": 1}\u202e\x9b2J'


def test_hostile_text_in_every_place_forges_nothing(tmp_path, log, capsys):
    """Message, argument, event, symbol, field name, field value, exception: one entry each, no control character."""
    with setup_logging("engine", tmp_path, "INFO"):
        log.info(HOSTILE)
        log.info("%s", HOSTILE)
        log_event(log, logging.INFO, HOSTILE, HOSTILE, **{HOSTILE: HOSTILE})
        log_trade_event(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, reason=HOSTILE, pnl=HOSTILE)
        log_decision("ordered", HOSTILE, 0.5, HOSTILE, strategy=HOSTILE)
    for text in (
        (tmp_path / "trading_system.log").read_text(),
        (tmp_path / "structured.jsonl").read_text(),
        capsys.readouterr().err,
    ):
        assert len(text.splitlines()) == 5
        assert not set(text) & set("\r\x1b\x00\u2028\u202e\x9b")
    assert len(entries(tmp_path)) == 5
    assert entries(tmp_path)[2]["fields"] == {HOSTILE: HOSTILE}


@pytest.mark.parametrize("where", ["message", "argument", "field", "named", "exception", "url"])
def test_secrets_reach_no_sink(tmp_path, log, capsys, where):
    """A hidden value, and whatever is named like a secret, is *** everywhere."""
    secret = "hunter2-hunter2"
    hide(secret)
    with setup_logging("engine", tmp_path, "DEBUG"):
        match where:
            case "message":
                log.info("key hunter2-hunter2")
            case "argument":
                log.info("key %s", secret)
            case "field":
                log_event(log, logging.INFO, "x.y", "event", remark=secret, deep=[{"at": secret}])
            case "named":
                log_event(log, logging.INFO, "x.y", "event", bot_token="other-value")
                log.info("apiKey=other-value")
            case "exception":
                try:
                    raise ValueError(secret)
                except ValueError:
                    log.exception("caught")
            case "url":
                log.info("https://user:other-value@example.org/")
    written = "".join(path.read_text() for path in tmp_path.iterdir()) + capsys.readouterr().err
    assert "***" in written
    assert secret not in written
    assert "other-value" not in written


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
    monkeypatch.setattr(events, "CheapRecord", None)  # whoever calls it fails
    log_event(log, logging.INFO, "x.y", "nothing", price=object())
    with pytest.raises(TypeError):
        log_event(log, logging.ERROR, "x.y", "something", price=object())
