"""Where peers live: `make peers` installs them below .venv-peers; a variable may name another Python."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("peers.py")
VARIABLES = {"vectorbt": "TRADER_BENCH_VBT", "backtesting": "TRADER_BENCH_BTPY", "trader": "TRADER_BENCH_OURS"}


def python_of(name: str) -> str | None:
    """Return the Python of an environment, None where it is not installed."""
    given = os.environ.get(VARIABLES[name])
    if given:
        return given
    usual = ROOT / ".venv-peers" / name / "bin" / "python"
    return str(usual) if (usual.parents[1] / ".installed").exists() else None


def peer(what: str, candles: Path, columns: np.ndarray, mode: str = "steady") -> dict[str, Any] | None:
    """Return what a peer says of the same candles, None where it is not installed; see peers.py."""
    python = python_of(what.split("-", maxsplit=1)[0])
    if python is None:
        return None
    np.save(candles, columns)
    command = [python, str(SCRIPT), what, str(candles), mode]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))
