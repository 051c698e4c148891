"""`trader check`, `trader schema`, which configuration is meant, and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from trader.cli import main
from trader.cli.parser import parse
from trader.cli.place import config_path
from trader.config.schema import json_schema, markdown


def test_check_valid_file_exits_0(tmp_path, capsys):
    """A valid file is called valid."""
    path = tmp_path / "t.yaml"
    path.write_text("risk: {max_daily_trades: 3}\n")
    assert main(["check", "--config", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: valid\n"


def test_check_without_a_file_checks_the_defaults(capsys):
    """The built-in defaults are valid, strategies included."""
    assert main(["check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": None, "valid": True, "problems": []}


def test_check_problems_go_to_stderr_with_file_and_line(tmp_path, capsys):
    """Editors can jump to each; the exit code is 78."""
    path = tmp_path / "t.yaml"
    path.write_text("risk:\n  max_daily_trads: 3\n  max_drawdown_frac: 2\n")
    assert main(["check", "--config", str(path)]) == 78
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        f"{path}:2: risk.max_daily_trads: unknown key; did you mean max_daily_trades?",
        f"{path}:3: risk.max_drawdown_frac: must be at most 1 (a fraction: 0.05 is 5 %), was 2",
        "trader: the configuration has 2 problems",
    ]


def test_check_json_lists_problems(tmp_path, capsys):
    """Tools get the same."""
    path = tmp_path / "t.yaml"
    path.write_text("a: 1\n")
    assert main(["check", "--config", str(path), "--json"]) == 78
    document = json.loads(capsys.readouterr().out)
    assert (document["valid"], document["problems"][0]["line"], document["problems"][0]["key"]) == (False, 1, "a")


def test_check_unknown_strategy_is_found_with_its_line(tmp_path, capsys):
    """What the registry says gets a line too."""
    path = tmp_path / "t.yaml"
    path.write_text("instance: main\nstrategies:\n  - use: simple_rs\n  - params: {perio: 3}\n")
    assert main(["check", "--config", str(path)]) == 78
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"{path}:3: strategies.0.use: ")
    assert lines[1].startswith(f"{path}:4: strategies.1.params.perio: ")


def test_check_exchange_that_ccxt_lacks_is_found_with_its_line(tmp_path, capsys):
    """A misspelt venue is named with the nearest that there is, beside a misspelt strategy; nothing is asked of it."""
    path = tmp_path / "t.yaml"
    path.write_text("market:\n  source: exchange\n  exchange: binanse\nstrategies:\n  - use: simple_rs\n")
    assert main(["check", "--config", str(path)]) == 78
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"{path}:3: market.exchange: ccxt has no exchange 'binanse'; did you mean binance?"
    assert lines[1].startswith(f"{path}:5: strategies.0.use: ")


def test_check_timeframe_that_the_venue_lacks_is_found(tmp_path, capsys):
    """What a venue's client can tell without a request is told."""
    path = tmp_path / "t.yaml"
    path.write_text("market:\n  source: exchange\n  exchange: binance\n  timeframe: 7m\n")
    assert main(["check", "--config", str(path)]) == 78
    assert f"{path}:4: market.timeframe: binance has no 7m candles" in capsys.readouterr().err
    path.write_text("market:\n  source: exchange\n  exchange: binance\n  timeframe: 5m\n")
    assert main(["check", "--config", str(path)]) == 0


def test_check_missing_file_exits_78(tmp_path, capsys):
    """No file is no configuration."""
    assert main(["check", "--config", str(tmp_path / "none.yaml")]) == 78
    assert capsys.readouterr().err == f"trader: {tmp_path / 'none.yaml'}: no such file\n"


def test_run_broken_configuration_exits_78_and_starts_nothing(tmp_path):
    """The service itself refuses, before there is a data folder."""
    path = tmp_path / "t.yaml"
    path.write_text("a: 1\n")
    command = [sys.executable, "-m", "trader", "run", "--config", str(path), "--data-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (78, "")
    assert f"{path}:1: a: unknown key" in done.stderr
    assert [item.name for item in tmp_path.iterdir()] == ["t.yaml"]


def test_schema_prints_the_schema_or_the_document(capsys):
    """One for editors, one for people."""
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()
    assert main(["schema", "--markdown"]) == 0
    assert capsys.readouterr().out == markdown()


def test_config_path_order_is_option_environment_folder(tmp_path, monkeypatch):
    """--config, then $TRADER_CONFIG, then etc/trader.yaml, then nothing."""
    assert config_path(parse(["run"])) is None
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "trader.yaml").write_text("instance: main\n")
    assert config_path(parse(["run"])) == Path("etc/trader.yaml")
    monkeypatch.setenv("TRADER_CONFIG", "/e.yaml")
    assert config_path(parse(["run"])) == Path("/e.yaml")
    assert config_path(parse(["run", "--config", "/o.yaml"])) == Path("/o.yaml")


def test_output_to_a_closed_pipe_is_quiet(tmp_path):
    """`trader schema | head -1` ends without a traceback."""
    script = f"{sys.executable} -m trader schema --markdown | head -1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    assert done.stdout == "# Configuration\n"
    assert done.stderr == ""
