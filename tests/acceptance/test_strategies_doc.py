"""docs/strategies.md tells the truth: its example is written, checked and backtested as it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from trader.cli import main
from trader.config.loading import load, parse_config
from trader.strategy.registry import REGISTERED, create

DOC = Path(__file__).parents[2] / "docs" / "strategies.md"
MINUTE_NS = 60 * 10**9


def blocks(language):
    """Return the code blocks of a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def folder(tmp_path):
    """Return a folder with the example and its configuration, as a reader would have made them."""
    (example,), (_, configuration) = blocks("python"), blocks("yaml")
    (tmp_path / "pullback.py").write_text(example, encoding="utf-8")
    (tmp_path / "trader.yaml").write_text(configuration, encoding="utf-8")
    return tmp_path


@pytest.fixture
def candles(tmp_path):
    """Return a folder with candles of both symbols: waves on a rise, in candles of five minutes."""
    made = tmp_path / "candles"
    made.mkdir()
    for number, symbol in enumerate(("BTC_USDT", "ETH_USDT")):
        moves = np.random.default_rng(number).normal(0, 0.002, 4000) + 0.004 * np.sin(np.arange(4000) / 40)
        close = np.round(100 * np.exp(np.cumsum(moves)), 4)
        opens = np.append(close[:1], close[:-1])
        lines = ["timestamp,open,high,low,close,volume"]
        for i, (o, c) in enumerate(zip(opens.tolist(), close.tolist(), strict=True)):
            lines.append(f"{1_704_067_200 + 300 * i},{o},{max(o, c) + 0.05:.4f},{min(o, c) - 0.05:.4f},{c},1.0")
        (made / f"{symbol}-5m.csv").write_text("\n".join(lines) + "\n")
    return made


def test_example_is_found_and_valid(folder, capsys):
    """Step 2."""
    assert main(["check", "--config", str(folder / "trader.yaml")]) == 0
    assert "valid" in capsys.readouterr().out


def test_example_passes_the_check(folder, candles, capsys):
    """Step 3: it does not look ahead, acts, and asks for as many candles as it needs."""
    argv = ["check-strategy", "--config", str(folder / "trader.yaml"), "--candles", str(candles), "--cuts", "80"]
    exit_code = main([*argv, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert exit_code == 0, document
    assert document["clean"]
    assert [one["symbol"] for one in document["checks"]] == ["BTC/USDT", "ETH/USDT"]
    for one in document["checks"]:
        assert one["opinions"] > 100
        assert 1 < one["needed_bars"] <= one["lookback_bars"]
    assert main(argv) == 0
    assert "no signal changed when the future was added" in capsys.readouterr().out


def test_example_made_to_cheat_is_caught(folder, candles, capsys):
    """One character makes it know the next candle."""
    honest = (folder / "pullback.py").read_text()
    cheating = honest.replace("(mean - candles.close)", "(mean - np.roll(candles.close, -1))")
    assert cheating != honest
    (folder / "pullback.py").write_text(cheating)
    argv = ["check-strategy", "--config", str(folder / "trader.yaml"), "--candles", str(candles), "--cuts", "80"]
    assert main([*argv, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert not document["clean"]
    change = document["checks"][0]["changed"][0]
    assert change["candle"].endswith("Z")
    assert change["with_future"] != change["without_future"]
    assert main(argv) == 1
    text = capsys.readouterr().out
    assert "look-ahead in 2 of 2 checks" in text
    assert re.search(r"candle \d+ \(2024-01-\S+Z\): \S+ \S+ with all candles, \S+ with \d+ candles", text)


def test_example_trades_in_a_backtest(folder, candles, capsys):
    """Step 4."""
    argv = ["backtest", "--config", str(folder / "trader.yaml"), "--candles", str(candles), "--json"]
    assert main(argv) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["trades"] > 5


def test_configuration_of_the_first_block_is_valid():
    """With its members."""
    config = parse_config(blocks("yaml")[0].encode(), str(DOC))
    trend, ensemble = create(config.strategies, config.market.symbols, config.market.timeframe)
    assert trend.strategy.timeframes == {"1h": 51}
    assert len(ensemble.strategy.members) == 3


def test_table_lists_every_registered_strategy():
    """No more, no less."""
    named = re.findall(r"^\| `(\w+)` \|", DOC.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) - {"use"} == set(REGISTERED)


def test_example_lookback_covers_its_hours(folder):
    """312 candles for 25 hours, but its average true range remembers more."""
    config = load(folder / "trader.yaml")
    (bound,) = create(config.strategies, config.market.symbols, config.market.timeframe)
    assert bound.strategy.lookback_bars == 561
