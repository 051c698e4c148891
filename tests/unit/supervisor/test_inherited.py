"""Sockets that systemd holds for the dashboard."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from trader.config.loading import parse_config
from trader.supervisor.inherited import for_dashboard, take_sockets


def config(host, port, *, enable="true"):
    """Return a configuration with a dashboard there."""
    text = f"dashboard: {{host: {host}, port: {port}, enable: {enable}}}\n"
    return parse_config(text.encode(), "test")


@pytest.fixture
def held():
    """Listen on some loopback port."""
    with socket.create_server(("127.0.0.1", 0)) as line:
        yield line


def test_take_sockets_of_another_process_are_left_alone(monkeypatch, held):
    """LISTEN_PID names who is meant; the variables are gone in any case, so that no child takes them."""
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    assert take_sockets() == ()
    assert "LISTEN_FDS" not in os.environ


def test_take_sockets_returns_what_was_handed_over(held):
    """In a process that was started as systemd starts one: descriptor 3, not inheritable, not blocking."""
    code = (
        "import os; os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES='dashboard')\n"
        "from trader.supervisor.inherited import take_sockets\n"
        "line, = take_sockets()\n"
        "print(line.fileno(), line.getsockname()[1], line.getblocking(), line.get_inheritable())"
    )
    wrapper = f"import os, sys; os.dup2({held.fileno()}, 3); os.execv(sys.executable, [sys.executable, '-c', {code!r}])"
    done = subprocess.run(
        [sys.executable, "-c", wrapper], pass_fds=[held.fileno()], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["3", str(held.getsockname()[1]), "False", "False"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_for_dashboard_same_address_is_used(held, host):
    """By number or by name."""
    assert for_dashboard((held,), config(host, held.getsockname()[1])) == (held,)


def test_for_dashboard_other_address_is_not_used(held):
    """The configuration decides where the dashboard is, not the socket unit."""
    port = held.getsockname()[1]
    assert for_dashboard((held,), config("127.0.0.2", port)) == ()
    assert for_dashboard((held,), config("127.0.0.1", port - 1)) == ()
    assert for_dashboard((held,), config("127.0.0.1", port, enable="false")) == ()
    assert for_dashboard((), config("127.0.0.1", port)) == ()
