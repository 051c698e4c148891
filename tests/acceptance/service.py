"""The whole service as its owner runs it: a process, a configuration file, a data folder."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]


class Service:
    """A `trader run` of its own in a folder of its own, and the commands beside it."""

    def __init__(self, folder: Path, config: dict[str, Any] | None = None) -> None:
        self.folder = folder
        self.config_file = folder / "trader.yaml"
        self.data_dir = folder / "data"
        self.output = folder / "output.txt"
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.configure(config or {})

    def configure(self, config: dict[str, Any]) -> None:
        """Write the configuration file."""
        self.config_file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    def environment(self) -> dict[str, str]:
        """Return an environment in which nothing of the caller's leads the service elsewhere."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRADER_", "NOTIFY_"))}
        return {**kept, "PYTHONPATH": str(REPOSITORY)}

    def start(self) -> subprocess.Popen[bytes]:
        """Start the service; its output goes to `output`."""
        command = [
            sys.executable,
            "-m",
            "trader",
            "run",
            "--config",
            str(self.config_file),
            "--data-dir",
            str(self.folder),
        ]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, env=self.environment(), cwd=self.folder
            )
        return self.process

    def run(self, timeout_s: float = 240.0) -> int:
        """Start the service and return its exit code once it has ended by itself."""
        self.start()
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = 60.0) -> int:
        """Return the exit code of the service once it has ended."""
        assert self.process is not None
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {timeout_s} s; its output:\n{self.text()[-4000:]}") from None

    def stop(self, timeout_s: float = 30.0) -> int:
        """Ask the service to stop and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL the supervisor; its workers die with it."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def text(self) -> str:
        """Return what the service has written so far."""
        return self.output.read_text(encoding="utf-8", errors="replace") if self.output.exists() else ""

    def command(self, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run another trader command on the same data folder."""
        command = [sys.executable, "-m", "trader", *arguments, "--data-dir", str(self.folder)]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=self.environment(),
            cwd=self.folder,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        """Run a command with --json and return its document."""
        done = self.command(*arguments, "--json")
        assert done.returncode == 0, f"{arguments}: exit {done.returncode}: {done.stderr}"
        return json.loads(done.stdout)

    def worker_pid(self, role: str) -> int | None:
        """Return the process id of a live worker, or None."""
        done = self.command("status", "--json")
        if done.returncode != 0:
            return None
        for worker in json.loads(done.stdout).get("workers", []):
            if worker["role"] == role and worker["state"] == "ready":
                return int(worker["pid"])
        return None

    def until(self, condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
        """Return the first true answer of a condition; fail with the service's output after the deadline."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            answer = condition()
            if answer:
                return answer
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(
                    f"the service ended with {self.process.returncode} before {what}:\n{self.text()[-4000:]}"
                )
            time.sleep(0.05)
        raise AssertionError(f"no {what} within {timeout_s} s; its output:\n{self.text()[-4000:]}")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query on the ledger, or none while there is no ledger."""
        path = self.data_dir / "ledger.db"
        if not path.exists():
            return []
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def ledger_dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return every table without its wall-clock stamps."""
        tables = [name for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        dump = {}
        for table in tables:
            columns = [row[1] for row in self.rows(f"PRAGMA table_info({table})") if row[1] != "recorded_ns"]
            dump[table] = self.rows(f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1")
        return dump

    def fills(self) -> list[tuple[Any, ...]]:
        """Return all fills in the order they happened, without wall-clock stamps."""
        return self.ledger_dump()["fills"]


def replay_config(candles: Path, timeframe: str, symbols: list[str], **more: Any) -> dict[str, Any]:
    """Return a configuration that replays candles as fast as the engine takes them."""
    return {
        "market": {
            "source": "replay",
            "candles": str(candles),
            "timeframe": timeframe,
            "symbols": symbols,
            "speed": 0,
        },
        "dashboard": {"port": 0},
        **more,
    }


EIGHT_SYMBOLS = [f"{base}/USDT" for base in ("BTC", "ETH", "SOL", "XRP", "DOGE", "LINK", "LTC", "AVAX")]
