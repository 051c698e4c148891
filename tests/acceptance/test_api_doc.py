"""docs/api.md tells the truth: its examples run as one script, and nothing public is missing from it."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import trader
from trader import AutonomousTradingSystem
from trader.system import _KEYWORDS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Run all examples in a folder of their own; return it and what they have printed."""
    folder = tmp_path_factory.mktemp("api")
    script = folder / "examples.py"
    script.write_text("\n".join(BLOCKS), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder, done.stdout.splitlines()


def test_examples_run_and_say_something(told: tuple[Path, list[str]]) -> None:
    """Each prints what its section is about."""
    _, lines = told
    printed = "\n".join(lines)
    assert "max_open_positions" in printed
    assert "CONFIDENCE" in printed
    assert "STOP 5" in printed
    assert "PAUSE 60" in printed
    assert "10080.0" in printed


def test_examples_leave_the_files_that_the_text_names(told: tuple[Path, list[str]]) -> None:
    """Log files, the configuration of the service, its ledger."""
    folder, _ = told
    for name in ("trading_system.log", "trades.log", "structured.jsonl"):
        assert (folder / "notebook-logs" / name).exists(), name
    assert (folder / "data" / "system.yaml").exists()
    assert (folder / "data" / "ledger.db").exists()
    assert (folder / "desk" / "ledger.db").exists()


def test_examples_use_every_public_name() -> None:
    """But the strategy `llm`, which runs in the engine only, and the base class, which strategies.md shows."""
    imported = set()
    for block in BLOCKS:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module == "trader":
                imported |= {alias.name for alias in node.names}
    assert imported == set(trader.__all__) - {"__version__", "LlmStrategy", "Strategy"}
    for name in trader.__all__:
        assert f"`{name}`" in TEXT, name


def test_table_of_keywords_is_the_constructor() -> None:
    """Every keyword with its default and its key."""
    rows = re.findall(r"^\| (`[^|]*) \| ([^|]*) \| ([^|]*) \|$", TEXT.split("Keywords and defaults:")[1], re.MULTILINE)
    told = {}
    for names, defaults, keys in rows:
        for name, default in zip(re.findall(r"`(\w+)`", names), defaults.split(", "), strict=False):
            told[name] = (default.split(":")[0].strip("` "), keys)
    signature = inspect.signature(AutonomousTradingSystem).parameters
    assert len(signature) == 13
    assert set(signature) <= set(told)
    for name, parameter in signature.items():
        assert ast.literal_eval(told[name][0]) == parameter.default, name
    for name, (path, default) in _KEYWORDS.items():
        assert f"`{'.'.join(path)}`" in told[name][1]
        assert signature[name].default == default


def test_keys_of_status_and_report_are_those_in_the_text(tmp_path: Path) -> None:
    """Of a system that never ran."""
    status = AutonomousTradingSystem(data_dir=tmp_path / "d", log_dir=tmp_path / "l").get_status()
    section = TEXT.split("`get_status()` has")[1].split(";")[0]
    assert set(re.findall(r"`(\w+)`", section)) == set(status)
