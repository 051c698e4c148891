"""What systemd is told, over a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from trader.supervisor.notify import Notifier


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Listen as systemd does."""
    path = tmp_path / "notify"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(path))
    listener.settimeout(0)
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    monkeypatch.setenv("WATCHDOG_USEC", "15000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    yield listener
    listener.close()


def heard(listener: socket.socket) -> list[str]:
    """Return everything that was sent."""
    found = []
    try:
        while True:
            found.append(listener.recv(4096).decode("ascii"))
    except BlockingIOError:
        return found


def test_notifier_messages_arrive_one_by_one(systemd):
    """Each in its own datagram."""
    notifier = Notifier()
    notifier.status("running")
    notifier.watchdog()
    notifier.ready()
    notifier.stopping()
    notifier.extend_timeout(1.5)
    assert heard(systemd) == ["STATUS=running", "WATCHDOG=1", "READY=1", "STOPPING=1", "EXTEND_TIMEOUT_USEC=1500000"]
    notifier.close()


def test_notifier_reloading_brings_its_time(systemd):
    """Version 253 and later refuses a RELOADING without MONOTONIC_USEC."""
    notifier = Notifier()
    notifier.reloading()
    (text,) = heard(systemd)
    first, second = text.splitlines()
    assert first == "RELOADING=1"
    assert int(second.removeprefix("MONOTONIC_USEC=")) > 0
    notifier.close()


def test_notifier_hides_its_variables_and_reads_the_watchdog(systemd):
    """A child can't ping in our name."""
    notifier = Notifier()
    assert notifier.watchdog_s == 15.0
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & set(os.environ)
    notifier.close()


def test_notifier_ignores_a_watchdog_meant_for_another(systemd, monkeypatch):
    """WATCHDOG_PID names whom the limit is for."""
    monkeypatch.setenv("WATCHDOG_PID", "1")
    notifier = Notifier()
    assert notifier.watchdog_s == 0.0
    notifier.watchdog()
    assert heard(systemd) == []
    notifier.close()


def test_notifier_odd_characters_and_lines_in_a_status_are_tamed(systemd):
    """An arrow becomes a question mark, and a line feed can't smuggle in another message."""
    notifier = Notifier()
    notifier.status("equity \u2192 7 \u20ac\nREADY=1")
    assert heard(systemd) == ["STATUS=equity ? 7 ? READY=1"]
    notifier.close()


def test_notifier_same_status_is_sent_once(systemd):
    """PID 1 is not to be bothered with what it knows."""
    notifier = Notifier()
    notifier.status("running")
    notifier.status("running")
    assert heard(systemd) == ["STATUS=running"]
    notifier.close()


def test_notifier_full_socket_does_not_block(systemd):
    """A systemd that does not read costs messages, and they are counted."""
    notifier = Notifier()
    for _ in range(2000):
        notifier.watchdog()
    assert notifier.failures > 0
    heard(systemd)
    notifier.watchdog()
    assert heard(systemd) == ["WATCHDOG=1"]
    notifier.close()


def test_notifier_recreated_socket_is_found_again(systemd, tmp_path):
    """PID 1 makes its socket anew when it re-executes itself."""
    notifier = Notifier()
    notifier.watchdog()
    systemd.close()
    (tmp_path / "notify").unlink()
    notifier.watchdog()
    assert notifier.failures == 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
        again.bind(str(tmp_path / "notify"))
        again.settimeout(0)
        notifier.ready()
        assert heard(again) == ["READY=1"]
    notifier.close()


def test_notifier_without_systemd_is_silent(monkeypatch):
    """In a terminal nothing listens, and nothing fails."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier()
    notifier.ready()
    assert (notifier.listening, notifier.failures) == (False, 0)
