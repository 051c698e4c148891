"""Market views for the tests of the language model's strategy: made by hand, the same every time."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np

from trader.clock import NS_PER_S, parse_utc
from trader.domain.instrument import Instrument
from trader.domain.market import Candles
from trader.domain.view import AccountView, MarketView, PositionView, SymbolView

HOUR_NS = 3_600 * NS_PER_S
NOW_NS = parse_utc("2024-11-03T12:00:00Z")


def instrument(symbol: str, tick: str = "0.1", lot: str = "0.001") -> Instrument:
    """Return an instrument."""
    base, quote = symbol.split("/")
    return Instrument(symbol, base, quote, Decimal(tick), Decimal(lot), Decimal(lot), Decimal(5))


def candles(symbol: str, price: float = 60_000.0, bars: int = 2_500, seed: int = 1) -> Candles:
    """Return hourly candles that end now, at a price, after a quiet walk."""
    steps = np.random.default_rng(seed).normal(0, 0.002, bars)
    steps[-1] = 0.0
    close = price * np.exp(np.cumsum(steps[::-1])[::-1] - steps)
    close[-1] = price
    opens = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(opens, close) * 1.001, np.minimum(opens, close) * 0.999
    open_ns = NOW_NS - HOUR_NS * np.arange(bars, 0, -1)
    return Candles(symbol, "1h", open_ns, opens, high, low, close, np.full(bars, 10.0))


def symbol_view(symbol: str = "BTC/USDT", **changed: Any) -> SymbolView:
    """Return a symbol in which nothing is open."""
    view = SymbolView(instrument(symbol), candles(symbol), None, False, 0, 0.001, 0.0005)
    return replace(view, **changed)


def market_view(*symbols: SymbolView, **changed: Any) -> MarketView:
    """Return a market of BTC and ETH with a fresh account."""
    account = AccountView("USDT", 10_000.0, 10_000.0, 0.0, 0.0, 0.0, 0, 5, 0, False)
    shown = symbols or (symbol_view(), symbol_view("ETH/USDT", candles=candles("ETH/USDT", 2_500.0, seed=2)))
    return replace(MarketView(NOW_NS, "1h", False, account, tuple(shown)), **changed)


def position(quantity: float = 0.05, **changed: Any) -> PositionView:
    """Return a position that was opened two hours ago."""
    nothing = float("nan")
    return (
        replace(PositionView(quantity, 59_000.0, NOW_NS - 2 * HOUR_NS, 50.0, 58_000.0, 62_000.0, 0, ()), **changed)
        if changed
        else PositionView(quantity, 59_000.0, NOW_NS - 2 * HOUR_NS, 50.0, 58_000.0, nothing, 0, ())
    )
