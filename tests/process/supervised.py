"""A supervisor in a process of its own, and ways to look at it and to hurt it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from trader.codes import Role
from trader.config.sections import Config
from trader.errors import TraderError
from trader.process.control import request
from trader.state.paths import locate
from trader.state.reader import StateReader

ROOT = Path(__file__).parents[2]
#: for whatever has to happen; a slow machine is no failure, and a wait ends when it has happened
PATIENCE_S = 60.0


def eventually(check: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """Return the first true value of `check`; fail when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := check():
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {timeout_s:g} s: {what}")


def alive(pid: int) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Deaths:
    """Waits for the end of processes without polling them: the kernel tells, by their pidfds.

    Parameters
    ----------
    pids : iterable of int
        Processes that live.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self._left = {os.pidfd_open(pid): pid for pid in pids}

    def seconds_after(self, kill: Callable[[], Any], timeout_s: float = PATIENCE_S) -> float:
        """Return the seconds from a kill to the last death; fail when somebody lives on."""
        poll = select.poll()
        for descriptor in self._left:
            poll.register(descriptor, select.POLLIN)
        started = time.monotonic()
        kill()
        try:
            while self._left and (left_s := started + timeout_s - time.monotonic()) > 0:
                for descriptor, _ in poll.poll(left_s * 1000):
                    poll.unregister(descriptor)
                    os.close(descriptor)
                    del self._left[descriptor]
            took_s = time.monotonic() - started
            assert not self._left, f"alive after {timeout_s:g} s: {sorted(self._left.values())}"
            return took_s
        finally:
            for descriptor in self._left:
                os.close(descriptor)


class Supervised:
    """One supervisor, with test services by role."""

    def __init__(
        self, folder: Path, settings: dict[str, Any] | None = None, *, probation_s: float = 30.0, **classes: str
    ) -> None:
        self.folder = folder
        self.probation_s = probation_s
        self.config_path = folder / "trader.yaml"
        self.configure(settings or {})
        names = {"engine": "Steady", "monitor": "Clearing", "dashboard": "Steady", **classes}
        self.entries = {role: f"tests.process.services:{name}" for role, name in names.items()}
        self.paths = locate(folder, Config())
        self.log = folder / "output.txt"
        self.process: subprocess.Popen[bytes] | None = None
        self.reader = StateReader(self.paths)

    def configure(self, settings: dict[str, Any]) -> None:
        """Write the configuration file."""
        self.config_path.write_text(yaml.safe_dump(settings) if settings else "instance: main\n")

    def start(self, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start it and do not wait."""
        command = [sys.executable, "-m", "tests.process.run_supervisor", str(self.config_path), str(self.folder)]
        drop = ("RUNTIME_DIRECTORY", "LOGS_DIRECTORY", "STATE_DIRECTORY", "NOTIFY_SOCKET")
        base = {name: value for name, value in os.environ.items() if name not in drop}
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, json.dumps(self.entries), str(self.probation_s)],
                cwd=ROOT,
                env={**base, **(environment or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.process

    def up(self, environment: dict[str, str] | None = None) -> None:
        """Start it and wait until it runs."""
        self.start(environment)
        self.wait_for("running")

    @property
    def text(self) -> str:
        """What it wrote so far."""
        return self.log.read_text(errors="replace")

    def events(self, name: str, at_least: int = 1) -> list[dict[str, Any]]:
        """Return the facts of every event of one name, oldest first, once so many have been written."""

        def look() -> list[dict[str, Any]] | None:
            text = (self.paths.log_dir / "structured.jsonl").read_text(encoding="utf-8")
            found = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
            facts = [document.get("fields", {}) for document in found if document.get("event") == name]
            return facts if len(facts) >= at_least else None

        wanted: list[dict[str, Any]] = eventually(look, f"{at_least} events {name}\n{self.text}")
        return wanted

    def ask(
        self, command: str, arguments: dict[str, Any] | None = None, timeout_s: float = PATIENCE_S
    ) -> dict[str, Any]:
        """Send a command."""
        return request(self.paths.control_socket, command, arguments, timeout_s)

    def state(self) -> str | None:
        """Return the service's state, None when it can't be asked."""
        assert self.process is not None
        assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.text}"
        try:
            return str(self.ask("status")["state"])
        except TraderError:
            return None

    def wait_for(self, state: str) -> None:
        """Wait until the service is in a state."""
        eventually(lambda: self.state() == state, f"state {state}\n{self.text}")

    def worker(self, role: str) -> dict[str, Any]:
        """Return one row of the worker table, from shared memory."""
        row = self.reader.workers()[Role[role.upper()]]
        return {name: int(row[name]) for name in row.dtype.names}

    def wait_for_worker(self, role: str, **wanted: int) -> dict[str, Any]:
        """Wait until a row of the worker table has these values."""

        def look() -> dict[str, Any] | None:
            assert self.process is not None
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.text}"
            try:
                row = self.worker(role)
            except TraderError:
                return None
            return row if all(row[name] == value for name, value in wanted.items()) else None

        found: dict[str, Any] = eventually(look, f"{role} with {wanted}\n{self.text}")
        return found

    def pids(self) -> list[int]:
        """Return the workers' process ids."""
        return [int(row["pid"]) for row in self.reader.workers() if row["role"] != Role.SUPERVISOR and row["pid"]]

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Wait for its end and return the exit code."""
        assert self.process is not None
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end:\n{self.text}") from None

    def stop(self) -> int:
        """Ask it to stop and return the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def clean_up(self) -> None:
        """Kill what is left."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            if "COVERAGE_PROCESS_CONFIG" in os.environ:  # a killed process does not tell what it has run
                self.process.send_signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(60.0)
            self.process.kill()
            self.process.wait()
        if self.paths.runtime_dir.exists():
            for path in self.paths.runtime_dir.iterdir():
                path.unlink()
            self.paths.runtime_dir.rmdir()
