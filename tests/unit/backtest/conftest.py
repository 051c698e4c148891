"""A lively little market in files, and the configuration that backtests it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.market.candle_files import write_feather
from trader.clock import parse_utc
from trader.config.sections import Config
from trader.domain.market import Candles
from trader.units import timeframe_ns

SYMBOLS = ("AAA/USDT", "BBB/USDT")


def lively(bars: int, symbol: str, seed: int, timeframe: str = "1h", start: str = "2024-01-01") -> Candles:
    """Return candles of a random walk with two decimals, wild enough for stops and targets."""
    chance = np.random.default_rng(seed)
    close = np.round(100.0 * np.exp(np.cumsum(chance.normal(0.0, 0.012, bars))), 2)
    open_ = np.append(100.0, close[:-1])
    reach = np.round(np.abs(chance.normal(0.0, 0.4, (2, bars))), 2)
    high, low = np.maximum(open_, close) + reach[0], np.minimum(open_, close) - reach[1]
    open_ns = parse_utc(start) + np.arange(bars) * timeframe_ns(timeframe)
    return Candles(symbol, timeframe, open_ns, open_, np.round(high, 2), np.round(low, 2), close, np.full(bars, 5.0))


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """Folder with 2,000 hours of two symbols; the second one begins later and ends earlier."""
    folder = tmp_path / "candles"
    folder.mkdir()
    write_feather(folder, lively(2000, SYMBOLS[0], 1))
    write_feather(folder, lively(1900, SYMBOLS[1], 2, start="2024-01-03"))
    return folder


def config_of(folder: Path, **more: Any) -> Config:
    """Return a configuration that backtests the market of a folder."""
    market = {"source": "replay", "candles": str(folder), "timeframe": "1h", "symbols": SYMBOLS, "speed": 0}
    return Config.model_validate({"market": market | more.pop("market", {}), **more})
