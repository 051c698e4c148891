"""`trader.cli`: the command line itself."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import trader
from trader.cli import main
from trader.cli.parser import build, parse, symbol

COMMANDS = [
    "run",
    "check",
    "status",
    "positions",
    "orders",
    "decisions",
    "explain",
    "pause",
    "resume",
    "flatten",
    "close",
    "accept",
    "reload",
    "report",
    "verify",
    "backtest",
    "sweep",
    "check-strategy",
    "download",
    "doctor",
    "token",
    "llm",
    "schema",
]

#: what each command can't do without
NEEDS = {
    "close": ["BTC/USDT"],
    "explain": ["1"],
    "sweep": ["--set", "a=1"],
    "llm": ["check"],
    "download": ["--exchange", "binance", "--symbols", "BTC/USDT", "--timeframe", "1h", "--since", "2024-01-03"],
}


def subcommands() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command."""
    (action,) = (item for item in build()._actions if isinstance(item, argparse._SubParsersAction))
    return action.choices


def test_commands_are_those_that_are_documented():
    """None is missing, none is secret."""
    assert list(subcommands()) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_a_function_and_says_what_it_does(name):
    """Functions are named in the parser: a wrong name would show at the first use only."""
    module, _, function = parse([name, *NEEDS.get(name, [])]).function.partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert subcommands()[name].description.endswith(".")


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["fly"],
        ["close"],
        ["close", "BTC"],
        ["orders", "--limit", "0"],
        ["orders", "--limit", "many"],
        ["explain"],
        ["explain", "0"],
        ["explain", "that"],
        ["decisions", "--since", "yesterday"],
        ["status", "--jso"],
        ["run", "--json"],
    ],
)
def test_main_nonsense_exits_2_without_output(argv, capsys):
    """A command line that makes no sense is a usage error."""
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", ["BTC/USDT", "btc/usdt", "btc-usdt", "BTC_USDT"])
def test_symbol_is_understood_however_it_is_written(text):
    """An owner in a hurry need not shift."""
    assert symbol(text) == "BTC/USDT"


def test_since_is_read_as_utc():
    """A date without a zone is not local."""
    assert parse(["decisions", "--since", "2024-01-03"]).since == 1_704_240_000_000_000_000


def test_version_is_the_package_s(capsys):
    """`trader --version` says which."""
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"trader {trader.__version__}\n"


def loaded(code: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after some code."""
    script = f"{code}\nimport sys; sys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stderr.split())


def test_parsing_imports_nothing_slow():
    """`trader run` has its signal handlers before anything slow is imported; --help is quick."""
    modules = loaded("from trader.cli.parser import parse; parse(['run'])")
    assert not modules & {"numpy", "pydantic", "yaml", "asyncio", "sqlite3", "logging"}


def test_status_imports_nothing_of_the_engine(tmp_path):
    """Looking costs no compiler, exchange library or data frame."""
    modules = loaded(f"from trader.cli import main; main(['status', '--data-dir', {str(tmp_path)!r}])")
    assert "trader.state.reader" in modules
    assert not modules & {"numba", "llvmlite", "ccxt", "pandas", "talib", "pyarrow", "tornado"}


def test_launcher_runs_the_checkout_from_any_folder(tmp_path):
    """bin/trader finds its own environment."""
    launcher = Path(__file__).parents[3] / "bin" / "trader"
    done = subprocess.run(
        [launcher, "--version"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    if not (launcher.parent.parent / ".venv").exists():
        assert "make setup" in done.stderr
    else:
        assert done.stdout == f"trader {trader.__version__}\n"
