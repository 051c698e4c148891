"""`trader.logs.journal` against a socket that takes the place of journald's."""

from __future__ import annotations

import array
import logging
import os
import socket
import struct
import time

import pytest

from trader.logs.journal import JournalHandler, encode, priority, stderr_is_journal


@pytest.fixture
def journald(tmp_path):
    """Bind a datagram socket where journald's would be."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "socket"))
        server.settimeout(5)
        yield server, tmp_path / "socket"


def parse(data: bytes) -> dict[str, str]:
    """Read the native protocol back."""
    found = {}
    while data:
        head, _, data = data.partition(b"\n")
        name, equals, value = head.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", data[:8])
            value, data = data[8 : 8 + size], data[9 + size :]
        found[name.decode()] = value.decode()
    return found


def record(message="hello", **attributes):
    """Return a warning with extra attributes."""
    made = logging.LogRecord("trader.x", logging.WARNING, "/f.py", 5, message, None, None, "function")
    vars(made).update(attributes)
    return made


def test_emit_sends_priority_and_searchable_fields(journald):
    """An event's facts become fields; nothing else of the record does."""
    server, path = journald
    handler = JournalHandler("engine", "run-1", path)
    fields = {"symbol": "BTC/USDT", "order_id": 3, "api_key": "hunter2", "message": "forged", "bad-name": 1}
    handler.emit(record(event="order.filled", fields=fields, password="hunter2"))
    sent = parse(server.recv(65536))
    assert sent == {
        "MESSAGE": "hello",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "trader",
        "TRADER_ROLE": "engine",
        "RUN_ID": "run-1",
        "LOGGER": "trader.x",
        "CODE_FILE": "/f.py",
        "CODE_LINE": "5",
        "CODE_FUNC": "function",
        "TRADER_EVENT": "order.filled",
        "SYMBOL": "BTC/USDT",
        "ORDER_ID": "3",
        "API_KEY": "***",
    }
    handler.close()


def test_emit_traceback_is_one_entry(journald):
    """Lines of a traceback stay together."""
    server, path = journald
    handler = JournalHandler("engine", "", path)
    handler.emit(record(exc_text="Traceback\n  ValueError: x\x1b"))
    sent = parse(server.recv(65536))
    assert sent["MESSAGE"] == "hello\nTraceback\n  ValueError: x\\x1b"
    handler.close()


def test_emit_large_entry_travels_as_sealed_file(journald):
    """What is too large for a datagram goes by descriptor."""
    server, path = journald
    handler = JournalHandler("engine", "", path)
    handler.emit(record(exc_text="y" * 5_000_000))
    _, ancillary, _, _ = server.recvmsg(1, socket.CMSG_SPACE(4))
    descriptor = array.array("i", ancillary[0][2])[0]
    with open(descriptor, "rb") as file:
        file.seek(0)
        assert len(parse(file.read())["EXCEPTION"]) == 5_000_000
    assert handler.failed == 0
    handler.close()


def test_emit_stalled_journal_gives_up_soon_and_counts(journald):
    """A journald that reads nothing costs entries, and little time."""
    _, path = journald
    handler = JournalHandler("engine", "", path)
    begun_s = time.monotonic()
    sent = 0
    while handler.failed == 0 and sent < 10_000:
        handler.emit(record())
        sent += 1
    assert handler.failed == 1
    assert time.monotonic() - begun_s < 5
    handler.close()


def test_emit_no_journal_counts(tmp_path):
    """A journald that is not there is a counted loss."""
    handler = JournalHandler("engine", "", tmp_path / "none")
    handler.emit(record())
    assert (handler.failed, handler.last_error) == (1, "journal: No such file or directory")
    handler.close()


def test_encode_value_with_newline_can_not_add_a_field():
    """A line end inside a value does not begin another field."""
    assert parse(encode({"A": "x\nPRIORITY=0", "B": "y"})) == {"A": "x\nPRIORITY=0", "B": "y"}


@pytest.mark.parametrize(("level", "number"), [(10, 7), (20, 6), (30, 4), (40, 3), (50, 2), (35, 4)])
def test_priority_follows_syslog(level, number):
    """What journalctl -p finds follows from the level."""
    assert priority(level) == number


def test_stderr_is_journal_only_when_device_and_inode_match(monkeypatch):
    """A redirected stderr is no journal, whatever the environment says."""
    status = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    assert stderr_is_journal()
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino + 1}")
    assert not stderr_is_journal()
    monkeypatch.delenv("JOURNAL_STREAM")
    assert not stderr_is_journal()
