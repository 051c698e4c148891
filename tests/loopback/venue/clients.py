"""Unmodified ccxt clients of a fake venue, and markets for it to play."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from tests.loopback.venue.venue import FakeVenue

T = TypeVar("T")
START_MS = 1_700_006_400_000  # 2023-11-15T00:00Z
Row = tuple[int, float, float, float, float, float]


def walk(minutes: int, *, price: float = 50_000.0, seed: int = 1, start_ms: int = START_MS) -> list[Row]:
    """Return one-minute candles of a random walk, without gaps."""
    draw, rows = random.Random(seed), []
    for number in range(minutes):
        close = price * (1 + draw.gauss(0, 0.001))
        spread = abs(draw.gauss(0, 0.0005))
        high, low = max(price, close) * (1 + spread), min(price, close) * (1 - spread)
        rows.append((start_ms + number * 60_000, price, high, low, close, draw.random() * 10))
        price = close
    return rows


def steps(prices: list[float], *, start_ms: int = START_MS) -> list[Row]:
    """Return candles whose closes are given and whose opens are the closes before: no gaps, no wicks."""
    rows = []
    for number, (before, after) in enumerate(zip([prices[0], *prices], prices, strict=False)):
        rows.append((start_ms + number * 60_000, before, max(before, after), min(before, after), after, 4.0))
    return rows


@asynccontextmanager
async def client(venue: FakeVenue, *, pro: bool = False, load: bool = True, **config: Any) -> AsyncIterator[Any]:
    """Yield ccxt's own client of the venue's exchange, which knows the markets."""
    import ccxt
    import ccxt.async_support
    import ccxt.pro

    family = ccxt.pro if pro else ccxt.async_support
    key, secret = venue.keys
    settings = {"apiKey": key, "secret": secret, "enableRateLimit": False}
    settings = ccxt.Exchange.deep_extend(settings, venue.exchange_config(), config)
    exchange = getattr(family, venue.dialect.name)(settings)
    try:
        if load:
            await exchange.load_markets()
        yield exchange
    finally:
        await exchange.close()


def trade(venue: FakeVenue, scenario: Callable[[Any], Awaitable[T]], *, pro: bool = False, **config: Any) -> T:
    """Run a scenario with a client of the venue."""

    async def run() -> T:
        async with client(venue, pro=pro, **config) as exchange:
            return await scenario(exchange)

    return asyncio.run(run())


async def until(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """Return the first true answer of a condition, letting the client's loop run."""
    deadline_s = time.monotonic() + timeout_s
    while not (answer := condition()):
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s} s: {condition}")
        await asyncio.sleep(0.01)
    return answer


async def advance(venue: FakeVenue, minutes: int = 1) -> None:
    """Play candles without holding up the client's loop."""
    await asyncio.to_thread(venue.advance, minutes)
