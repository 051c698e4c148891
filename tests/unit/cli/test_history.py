"""`trader backtest` and `trader sweep` as their owner runs them: files, streams, exit codes, light imports."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.backtest.conftest import SYMBOLS, lively
from tests.unit.market.candle_files import write_csv, write_feather
from trader.cli import main
from trader.cli.history import keep_kernels, use_kernels
from trader.process.compile_cache import remove_unsealed

#: what a backtest without a page has no use for
HEAVY = ("pandas", "ccxt", "plotly", "tornado", "rich", "multiprocess", "distributed", "prometheus_client")


@pytest.fixture(autouse=True)
def _nothing_of_the_caller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TRADER_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """Folder with 1,000 hours of two symbols."""
    folder = tmp_path / "candles"
    folder.mkdir()
    for symbol, seed in zip(SYMBOLS, (1, 2), strict=True):
        write_feather(folder, lively(1000, symbol, seed))
    return folder


def backtest(market: Path, *more: str) -> int:
    """Run the command on a folder of candles."""
    names = ",".join(SYMBOLS)
    return main(["backtest", "--candles", str(market), "--symbols", names, "--timeframe", "1h", *more])


def test_backtest_prints_a_summary_and_writes_what_was_asked_for(market: Path, tmp_path: Path, capsys) -> None:
    """JSON, CSV and the page agree about the number of trades."""
    files = [tmp_path / name for name in ("out.json", "trades.csv", "page.html")]
    options = [
        part for name, file in zip(("--json", "--trades", "--html"), files, strict=True) for part in (name, str(file))
    ]
    assert backtest(market, *options) == 0
    shown = capsys.readouterr()
    document = json.loads(files[0].read_text())
    with files[1].open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert document["metrics"]["trades"] == len(rows) > 5
    assert f"trades                     {len(rows)}," in shown.out
    for word in ("Sharpe / Sortino / Calmar", "buy and hold", "SYMBOL", "REFUSED BY", "worst drawdown"):
        assert word in shown.out
    assert "<h1>" in files[2].read_text(encoding="utf-8")


def test_backtest_json_without_a_file_prints_one_document_and_nothing_else(market: Path, capsys) -> None:
    """Standard output can be piped."""
    assert backtest(market, "--json", "--since", "2024-01-05", "--until", "2024-01-25T12:00:00Z") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["start"], document["end"]) == ("2024-01-05T00:00:00Z", "2024-01-25T12:00:00Z")
    assert document["metrics"]["indicative"] is True


def test_backtest_takes_strategies_by_name(market: Path, capsys) -> None:
    """In place of those of the configuration."""
    assert backtest(market, "--json", "--strategy", "donchian_atr", "--strategy", "simple_rsi") == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document["by_strategy"]) == ["donchian_atr", "simple_rsi"]


def test_backtest_imports_nothing_that_it_does_not_need(market: Path, tmp_path: Path) -> None:
    """In a process of its own, with a data frame library installed beside it."""
    script = (
        "import sys\nfrom trader.cli import main\ncode = main(sys.argv[1:])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\nsys.exit(code)"
    )
    options = ["--symbols", SYMBOLS[0], "--timeframe", "1h", "--json", str(tmp_path / "out.json")]
    done = subprocess.run(
        [sys.executable, "-c", script, "backtest", "--candles", str(market), *options],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def spoiled(folder: Path, kind: str) -> str:
    """Write a spoiled file of the first symbol and return what must be said about it."""
    path = folder / f"{SYMBOLS[0].replace('/', '_')}-1h.csv"
    path.with_suffix(".feather").unlink()
    header = "date,open,high,low,close,volume"
    good = [f"2024-01-01T{hour:02}:00:00Z,100,101,99,100,1" for hour in range(10)]
    if kind == "banner":
        write_csv(path, "https://www.example.com", header, *good)
        return "line 1 must be the header"
    if kind == "duplicate":
        good[5] = good[4]
    elif kind == "unordered":
        good[5], good[4] = good[4], good[5]
    elif kind == "nan":
        good[5] = good[5].replace(",101,", ",nan,")
    elif kind == "high below low":
        good[5] = good[5].replace(",101,99,", ",99,101,")
    write_csv(path, header, *good)
    return {
        "duplicate": "row 6: its time is the same as the row's before it",
        "unordered": "row 6: its time is before the row's before it",
        "nan": "row 6: high is NaN",
        "high below low": "row 6: high is below low",
    }[kind]


@pytest.mark.parametrize("kind", ["banner", "duplicate", "unordered", "nan", "high below low"])
def test_backtest_refuses_a_bad_file_by_name_and_row(market: Path, capsys, kind: str) -> None:
    """Exit 1 and one line; nothing is repaired in silence."""
    words = spoiled(market, kind)
    assert backtest(market) == 1
    shown = capsys.readouterr()
    assert words in shown.err
    assert "AAA_USDT-1h.csv" in shown.err
    assert shown.out == ""


def test_backtest_takes_zero_volume_gaps_and_times_without_a_zone(market: Path, capsys) -> None:
    """Documented as taken: a time without a zone is UTC, a gap stays a gap, and nobody having traded is no error."""
    path = market / "AAA_USDT-1h.csv"
    path.with_suffix(".feather").unlink()
    days = [f"2024-01-{day:02} {hour:02}:00:00" for day in range(1, 20) for hour in range(24) if hour != 7]
    write_csv(path, "date,open,high,low,close,volume", *(f"{time},100,101,99,100,0" for time in days))
    assert backtest(market, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["start"] == "2024-01-01T00:00:00Z"
    assert any("AAA/USDT: 19 candles are missing in 19 gaps" in note for note in document["notes"])


def test_backtest_without_candles_says_what_it_needs(capsys) -> None:
    """The default configuration has no candles of the past."""
    assert main(["backtest"]) == 78
    assert "market.candles" in capsys.readouterr().err


def test_sweep_ranks_and_writes_its_document(market: Path, tmp_path: Path, capsys) -> None:
    """A table, a heat map, a warning, JSON and a page."""
    files = [tmp_path / "sweep.json", tmp_path / "sweep.html"]
    names = ",".join(SYMBOLS)
    exit_code = main(
        [
            *["sweep", "--candles", str(market), "--symbols", names, "--timeframe", "1h", "--workers", "1"],
            *["--set", "strategies.0.params.period=7:14:7", "--set", "exits.stop_loss_frac=0.01,0.02"],
            *["--walk-forward", "20:10", "--json", str(files[0]), "--html", str(files[1])],
        ]
    )
    assert exit_code == 0
    shown = capsys.readouterr()
    document = json.loads(files[0].read_text())
    assert document["trials"] == len(document["combinations"]) == 4
    assert document["best"] == document["combinations"][0]
    assert document["walk_forward"]["steps"]
    assert "sharpe by strategies.0.params.period (down) and exits.stop_loss_frac (across)" in shown.out
    assert "walk forward" in shown.out
    assert "deflated Sharpe ratio" in shown.err
    assert "heatmap" in files[1].read_text(encoding="utf-8")


def test_sweep_at_random_tries_as_many_as_asked_for(market: Path, capsys) -> None:
    """Drawn from the grid, with a seed."""
    exit_code = main(
        [
            *[
                "sweep",
                "--candles",
                str(market),
                "--symbols",
                SYMBOLS[0],
                "--timeframe",
                "1h",
                "--workers",
                "1",
                "--json",
            ],
            *["--set", "strategies.0.params.period=5:50:1", "--random", "5", "--objective", "total_return_frac"],
        ]
    )
    assert exit_code == 0
    document = json.loads(capsys.readouterr().out)
    assert document["trials"] == 5
    returns = [one["metrics"]["total_return_frac"] for one in document["combinations"]]
    assert returns == sorted(returns, reverse=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "exits.stop_los_frac=0.1,0.2"], "exits.stop_los_frac: unknown key; did you mean stop_loss_frac?"),
        (["--set", "exits.stop_loss_frac"], "write KEY=from:to:step"),
        (["--set", "exits.stop_loss_frac=0.1,0.2", "--objective", "luck"], "choose one of"),
        (["--set", "exits.stop_loss_frac=0.1,0.2", "--walk-forward", "90:30"], "days only"),
    ],
)
def test_sweep_refuses_what_makes_no_sense(market: Path, capsys, options: list[str], words: str) -> None:
    """Exit 78 with the nearest that does."""
    base = ["sweep", "--candles", str(market), "--symbols", SYMBOLS[0], "--timeframe", "1h", "--workers", "1"]
    assert main([*base, *options]) == 78
    assert words in capsys.readouterr().err


def test_keep_kernels_after_a_run_leaves_nothing_for_the_next_start_to_compile(tmp_path: Path) -> None:
    """What a backtest compiled is sealed, or its next start would throw it away and take half a minute again."""
    compiled = tmp_path / "core" / "history.play.1.nbc"
    compiled.parent.mkdir()
    compiled.write_bytes(b"machine code")
    keep_kernels(tmp_path)
    assert remove_unsealed(tmp_path) == 0
    assert compiled.exists()


def test_keep_kernels_in_a_cache_of_someone_else_touches_nothing() -> None:
    """A cache that was set from outside is not ours to seal."""
    keep_kernels(None)
    assert use_kernels() is None  # the tests' own
