"""One box for all tests with systemd, with the trader installed in it once."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.systemd.box import Box, obstacle

ROOT = Path(__file__).parents[2]
DEFAULT = (ROOT / "etc" / "trader.yaml").read_text()
#: the interpreter that the service is installed with
PYTHON = "/usr/bin/python3"
INSTALL_TIMEOUT_S = 280.0
PORT = re.compile(r"^( *port:) *8080\b", re.MULTILINE)


def eventually(check: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    """Return the first true value of `check`; fail when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := check():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout_s:g} s: {what}")


@pytest.fixture(scope="session")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """Boot a systemd."""
    if reason := obstacle():
        if os.environ.get("TRADER_TESTS_MAY_NOT_SKIP"):
            pytest.fail(reason)
        pytest.skip(reason)
    with Box(tmp_path_factory.mktemp("box")) as booted:
        yield booted


def install(box: Box, **variables: str) -> None:
    """Run `make install`."""
    box.run(
        "make", "install", *(f"{name}={value}" for name, value in variables.items()),
        cwd=ROOT, timeout_s=INSTALL_TIMEOUT_S,
    )  # fmt: skip


@pytest.fixture(scope="session")
def installed(box: Box) -> Box:
    """Install the trader in the box, and do not start it."""
    install(box)
    return box


class Trader:
    """The installed service in the box."""

    def __init__(self, box: Box) -> None:
        self.box = box
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        """Run systemctl and return what it printed."""
        done = self.box.run("systemctl", *arguments, check=check)
        return done.stdout + done.stderr

    def show(self, name: str) -> str:
        """Return one property of the unit."""
        return self.box.run("systemctl", "show", "--value", "--property", name, "trader").stdout.strip()

    def command(self, *arguments: str, check: bool = True) -> str:
        """Run the command `trader` and return what it printed."""
        return self.box.run("trader", *arguments, check=check).stdout

    def journal(self, *arguments: str) -> str:
        """Return the service's journal."""
        self.box.run("journalctl", "--sync", check=False)
        found = self.box.run("journalctl", "-u", "trader", "--no-pager", "-o", "cat", *arguments)
        return "\n".join(line for line in found.stdout.splitlines() if not line.startswith("-- "))

    def now(self) -> str:
        """Return a moment for `journal("--since", moment)`."""
        return f"@{time.time():.3f}"

    def configure(self, text: str) -> None:
        """Replace the configuration file; its dashboard gets a port of its own, the network is the machine's."""
        text, count = PORT.subn(rf"\1 {self.port}", text)
        assert count == 1
        self.box.run("sh", "-c", 'printf %s "$1" >/etc/trader/trader.yaml', "sh", text)


@pytest.fixture
def trader(installed: Box) -> Iterator[Trader]:
    """Provide the service, stopped, with the default configuration; stop it afterwards."""
    service = Trader(installed)
    service.systemctl("stop", "trader", check=False)
    service.systemctl("reset-failed", "trader", check=False)
    service.box.run("rm", "-rf", "/var/lib/trader/data")
    service.configure(DEFAULT)
    yield service
    service.systemctl("stop", "trader", check=False)
