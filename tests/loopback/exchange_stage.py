"""A fake venue, and a feed or a connection to it, on a clock that follows the venue's at a multiple of its speed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import numpy as np

from tests.loopback.venue import FakeVenue
from trader.config.sections import MarketConfig
from trader.market.connection import ExchangeConnection
from trader.market.exchange_feed import ExchangeFeed

MINUTE_MS = 60_000
FIRST_MS = 1_700_000_040_000
PATIENCE_S = 45.0

#: venue seconds per second between two steps of the market
RATE = 8


class FollowingClock:
    """Clocks where time is the venue's: it goes on between two steps of the market, but not into the next."""

    def __init__(self, venue: FakeVenue, behind_ms: int = 0) -> None:
        self._venue = venue
        self._behind_ms = behind_ms
        self._seen_ms, self._since_s = 0, 0.0
        self.rate = 0  # the venue tells its time without going on by itself: measured while both stand still

    def elapsed_ns(self) -> int:
        """Return a clock that never steps back."""
        now_ms = self._venue.clock.now_ms()
        if now_ms != self._seen_ms:
            self._seen_ms, self._since_s = now_ms, time.monotonic()
        left_ms = MINUTE_MS - now_ms % MINUTE_MS - 1
        return (now_ms + min(int((time.monotonic() - self._since_s) * 1000 * self.rate), left_ms)) * 1_000_000

    def utc_ns(self) -> int:
        """Return a wall clock that is late."""
        return self.elapsed_ns() - self._behind_ms * 1_000_000


def rows(count: int, seed: int = 1, price: float = 100.0, first_ms: int = FIRST_MS) -> list[tuple[Any, ...]]:
    """Return candles of a random walk."""
    draw = np.random.default_rng(seed)
    closes = price * np.exp(np.cumsum(draw.normal(0, 0.002, count + 1)))
    made = []
    for i in range(count):
        opened, closed = round(float(closes[i]), 2), round(float(closes[i + 1]), 2)
        high, low = round(max(opened, closed) * 1.001, 2), round(min(opened, closed) * 0.999, 2)
        made.append((first_ms + i * MINUTE_MS, opened, high, low, closed, 8.0 + i % 5))
    return made


def section(venue: FakeVenue, **values: Any) -> MarketConfig:
    """Return a section `market` that leads to a venue."""
    given = {"symbols": tuple(venue.matching.markets), "timeframe": "1m", "exchange": venue.dialect.name}
    return MarketConfig(source="exchange", exchange_config=venue.exchange_config(), **{**given, **values})


@asynccontextmanager
async def connected(venue: FakeVenue, **values: Any) -> AsyncIterator[ExchangeConnection]:
    """Yield an open connection on the venue's time."""
    connection = ExchangeConnection(section(venue, **values), clock=FollowingClock(venue))
    try:
        await connection.open()
        yield connection
    finally:
        await connection.close()


class Listener:
    """A feed that runs, and everything that it has handed on."""

    def __init__(self, venue: FakeVenue, feed: ExchangeFeed) -> None:
        self.venue, self.feed = venue, feed
        self.times: list[int] = []
        self.candles: list[tuple[int, int, float, float, float, float, float]] = []
        self.errors: list[BaseException] = []

    async def run(self, after_ns: int) -> None:
        """Take events until cancelled."""
        async for event in self.feed.events(after_ns):
            self.times.append(event.time_ns)
            self.candles += [
                tuple(c[name].item() for name in ("slot", "open_ns", "open", "high", "low", "close", "volume"))
                for c in event.candles
            ]

    def truth(self) -> set[tuple[int, int, float, float, float, float, float]]:
        """Return what the venue has closed since the feed was opened."""
        found = set()
        for slot, market in enumerate(self.venue.matching.markets.values()):
            for one in market.candles[: market.played]:
                if one.open_ms * 1_000_000 >= self.feed.start_ns:
                    numbers = (float(value) for value in (one.open, one.high, one.low, one.close, one.volume))
                    found.add((slot, one.open_ms * 1_000_000, *numbers))
        return found

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait for something, or fail with what there is."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"no {what}: {self.feed.health()}, {len(self.candles)} candles"
            await asyncio.sleep(0.01)

    async def play(self, minutes: int, pause_s: float = 0.02) -> None:
        """Let the venue play on, with a moment for messages after each candle."""
        for _ in range(minutes):
            await asyncio.to_thread(self.venue.advance, 1)
            await asyncio.sleep(pause_s)

    async def play_until(self, condition: Callable[[], Any], what: str, pause_s: float = 0.3) -> None:
        """Let the venue play on until something happens, or fail."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"no {what}: {self.feed.health()}"
            assert not self.venue.ended, f"no {what} until the market's end: {self.feed.health()}"
            await self.play(1, pause_s)

    async def all_handed_on(self) -> None:
        """Wait until everything that is closed has been handed on."""
        await self.until(lambda: len(self.candles) >= len(self.truth()), "complete candles")

    def judge(self) -> None:
        """Fail unless exactly what the venue has closed was handed on, each once and in order."""
        assert set(self.candles) == self.truth()
        assert len(self.candles) == len(set(self.candles))
        assert self.times == sorted(self.times)
        for slot in range(len(self.feed.symbols)):
            opens = [one[1] for one in self.candles if one[0] == slot]
            assert opens == sorted(opens)


@asynccontextmanager
async def listening(venue: FakeVenue, *, after_ns: int | None = None, **values: Any) -> AsyncIterator[Listener]:
    """Yield a feed that runs on the venue's time."""
    errors: list[BaseException] = []
    clock = FollowingClock(venue)
    connection = ExchangeConnection(section(venue, **values), clock=clock, on_error=errors.append)
    feed = ExchangeFeed(connection, history_bars=50)
    task: asyncio.Task[None] | None = None
    try:
        await feed.open()
        clock.rate = RATE
        listener = Listener(venue, feed)
        listener.errors = errors
        task = asyncio.create_task(listener.run(feed.start_ns if after_ns is None else after_ns))
        if connection.market.stream:
            await listener.until(venue.streams, "stream")
            await asyncio.sleep(0.2)  # the subscriptions follow
        yield listener
        assert not task.done(), task
    finally:
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        feed.close()
        await feed.wait_closed()
        await connection.close()
