"""The wheel in a clean environment of each Python on this machine: default configuration, from any folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(params=["python3.11", "python3.12", "python3.13"])
def command(request: pytest.FixtureRequest, wheel: Path, tmp_path: Path) -> Path:
    """Return `trader` of an environment with the locked requirements and the wheel, and nothing else."""
    python = find(request.param)
    if python is None:
        pytest.skip(f"there is no {request.param} here")
    home = tmp_path / "environment"
    subprocess.run([python, "-m", "venv", home], check=True, env=plain(), timeout=200)
    pip = [home / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    lock = ROOT / "requirements.lock"
    subprocess.run([*pip, "--require-hashes", "--requirement", lock], check=True, env=plain(), timeout=1000)
    subprocess.run([*pip, "--no-deps", wheel], check=True, env=plain(), timeout=200)
    subprocess.run([home / "bin" / "python", "-m", "pip", "check"], check=True, env=plain(), timeout=200)
    return home / "bin" / "trader"


def find(name: str) -> str | None:
    """Return a Python of this version that works: version managers leave shims of what is not chosen."""
    managed = (Path.home() / ".pyenv" / "versions").glob(f"*/bin/{name}")
    for path in (shutil.which(name), *map(str, managed)):
        if path and subprocess.run([path, "-c", ""], env=plain(), capture_output=True, check=False).returncode == 0:
            return path
    return None


def plain() -> dict[str, str]:
    """Return the environment of somebody who has just logged in."""
    gone = ("PYTHONPATH", "VIRTUAL_ENV", "NUMBA_CACHE_DIR", "PYENV_VERSION")
    return {name: value for name, value in os.environ.items() if name not in gone and not name.startswith("TRADER_")}


def ask(command: Path, folder: Path, *arguments: str) -> Any:
    """Return what a command prints as JSON; None when it fails."""
    line = [command, *arguments, "--json"]
    done = subprocess.run(line, cwd=folder, env=plain(), capture_output=True, text=True, timeout=100, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def until(condition: Any, seconds: float) -> Any:
    """Return what a condition comes to, as soon as it is something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "nothing came of it in time"
        time.sleep(0.5)
    return found


def cycles_of(status: Any) -> int:
    """Return how many cycles a status tells of; 0 while nothing runs yet."""
    account = status and status["account"]
    return int(account["cycles"]) if account else 0


def test_installed_command_runs_the_defaults_from_any_folder(command: Path, tmp_path: Path) -> None:
    """It trades, shows itself, stops in order, and audits what it has left; a second start goes on from there."""
    folder = tmp_path / "anywhere"
    folder.mkdir()
    (folder / "port.yaml").write_text("dashboard: {port: 0}\n")
    cycles = 0
    for options in ([], ["--config", "port.yaml"]):
        with (folder / "said.txt").open("a") as said:
            service = subprocess.Popen([command, "run", *options], cwd=folder, env=plain(), stdout=said, stderr=said)
        try:
            until(lambda least=cycles: cycles_of(ask(command, folder, "status")) > least + 3, 400)
        finally:
            service.send_signal(signal.SIGTERM)
            exit_code = service.wait(90)
        assert exit_code == 0, (folder / "said.txt").read_text()[-3000:]
        report = ask(command, folder, "report")
        assert report["summary"]["loops"] > cycles
        cycles = report["summary"]["loops"]
        assert ask(command, folder, "verify") is not None
    assert "Traceback" not in (folder / "said.txt").read_text()
