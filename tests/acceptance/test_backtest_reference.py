"""Every strategy over the reference files: eight symbols of 5m candles, and seven years of hours with real outages."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.service import EIGHT_SYMBOLS
from trader.backtest.history import History, load
from trader.backtest.runner import run
from trader.config.sections import Config
from trader.strategy.registry import REGISTERED

pytestmark = [pytest.mark.data, pytest.mark.xdist_group("backtest-reference")]


def config_of(folder: Path, timeframe: str, symbols: list[str], name: str) -> Config:
    """Return the default configuration with one strategy on the candles of a folder."""
    market: dict[str, Any] = {"source": "replay", "candles": str(folder), "timeframe": timeframe, "symbols": symbols}
    return Config.model_validate({"market": market, "strategies": [{"use": name}]})


@pytest.fixture(scope="module")
def five_minutes(real_candles: Path) -> History:
    """Half a million candles, read once."""
    return load(config_of(real_candles / "genetrader-binance-2024", "5m", EIGHT_SYMBOLS, "simple_rsi").market)


@pytest.fixture(scope="module")
def seven_years(real_candles: Path) -> History:
    """58,419 hours with 28 holes."""
    return load(config_of(real_candles / "nic-binance-btc-1h-2017-2024", "1h", ["BTC/USDT"], "simple_rsi").market)


@pytest.mark.parametrize("name", sorted(REGISTERED))
def test_backtest_of_each_strategy_on_5m_candles_adds_up(real_candles: Path, five_minutes: History, name: str) -> None:
    """Trades in most symbols, and an equity that is their sum."""
    config = config_of(real_candles / "genetrader-binance-2024", "5m", EIGHT_SYMBOLS, name)
    result = run(config, five_minutes)
    assert result.bars == 575_452
    assert len(result.trades) > 50
    assert sum(group.trades > 0 for group in result.by_symbol) >= 6
    open_fees = result.metrics.fees - math.fsum(trade.fees for trade in result.trades)
    expected = 10_000 + math.fsum(trade.pnl for trade in result.trades) - open_fees
    expected += math.fsum(one.unrealised_pnl for one in result.open_positions)
    assert result.metrics.final_equity == pytest.approx(expected, rel=1e-9)
    assert not result.failures


@pytest.mark.parametrize("name", sorted(REGISTERED))
def test_backtest_of_each_strategy_over_real_outages_says_what_was_missing(
    real_candles: Path, seven_years: History, name: str
) -> None:
    """Gaps stay gaps, and are told."""
    config = config_of(real_candles / "nic-binance-btc-1h-2017-2024", "1h", ["BTC/USDT"], name)
    result = run(config, seven_years)
    assert result.bars == 58_419
    assert "BTC/USDT: 128 candles are missing in 28 gaps; nothing was filled in" in result.notes
    assert result.trades
    assert not result.metrics.indicative
    assert result.metrics.sharpe is not None
