"""Candles and candle files for tests: small, and right unless a test spoils them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import feather

from trader.clock import parse_utc
from trader.domain.market import Candles
from trader.units import timeframe_ns

START = "2024-01-01T00:00:00Z"


def rising(bars: int, symbol: str = "BTC/USDT", timeframe: str = "5m", start: str = START) -> Candles:
    """Return candles that rise by 1 from 100, without gaps."""
    open_ns = parse_utc(start) + np.arange(bars) * timeframe_ns(timeframe)
    open_ = 100.0 + np.arange(bars)
    return Candles(symbol, timeframe, open_ns, open_, open_ + 1.5, open_ - 0.5, open_ + 1, np.full(bars, 2.0))


def without(candles: Candles, *rows: int) -> Candles:
    """Return the same candles with holes."""
    fields = ("open_ns", "open", "high", "low", "close", "volume")
    kept = (np.delete(getattr(candles, field), rows) for field in fields)
    return Candles(candles.symbol, candles.timeframe, *kept)


def table(candles: Candles) -> pa.Table:
    """Return the table that a Feather file in freqtrade's layout has."""
    columns = {"date": pa.array(candles.open_ns, pa.timestamp("ns", tz="UTC"))}
    columns |= {name: pa.array(getattr(candles, name)) for name in ("open", "high", "low", "close", "volume")}
    return pa.table(columns)


def write_feather(folder: Path, candles: Candles) -> Path:
    """Write candles as freqtrade does."""
    path = folder / f"{candles.symbol.replace('/', '_')}-{candles.timeframe}.feather"
    feather.write_feather(table(candles), str(path), compression="lz4")
    return path


def write_csv(path: Path, header: str, *rows: str) -> Path:
    """Write lines as a CSV file."""
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return path
