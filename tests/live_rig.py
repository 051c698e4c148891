"""A real engine on the fake venue: real ledger, kernels, segment, ccxt; candles come when a test says so."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tests.loopback.venue import FakeVenue
from trader.clock import NS_PER_S, boottime_ns
from trader.codes import Direction, Halt
from trader.config.sections import Config
from trader.core.records import CANDLE
from trader.domain.market import Candles, MarketEvent
from trader.domain.signal import Signals
from trader.engine import assembly
from trader.engine.worker import EngineService
from trader.market.exchange_feed import ExchangeFeed
from trader.market.feed import FeedHealth
from trader.process.context import WorkerContext
from trader.process.worker import Beat
from trader.state.paths import InstancePaths
from trader.state.segment import Segment
from trader.strategy.base import Strategy

MINUTE_NS = 60 * NS_PER_S
#: candles begin in the present minute: a clock that is years off is refused
START_MS = time.time_ns() // MINUTE_NS * 60_000


class HandFeed(ExchangeFeed):
    """An exchange feed whose candles a test puts in."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queue: asyncio.Queue[MarketEvent | None] = asyncio.Queue()
        self.reconnects = 0
        self.prices: dict[int, float] = {}
        self.unfit = ""

    async def open(self) -> None:
        """Open the connection alone."""
        await self.connection.patiently(self.connection.open)
        now_ns = self.connection.now_ns()
        self._start_ns = self._event_ns = now_ns // self.timeframe_ns * self.timeframe_ns

    def now_ns(self) -> int:
        """Return the venue's time."""
        return max(self._event_ns, self.connection.now_ns())

    def last_price(self, slot: int) -> tuple[float, int]:
        """Return what the test has put in."""
        return self.prices.get(slot, float("nan")), 0

    def health(self) -> FeedHealth:
        """Say that all is well."""
        return FeedHealth(
            connected=True, streaming=False, message_ns=boottime_ns(), behind_s=0.0, skew_ns=self.connection.skew_ns,
            reconnects=self.reconnects, differences=0, gaps=0, unfit=self.unfit,
        )  # fmt: skip

    async def events(self, after_ns: int) -> AsyncIterator[MarketEvent]:
        """Yield what the test puts in."""
        while (event := await self.queue.get()) is not None:
            self._event_ns = event.time_ns
            yield event

    def put(self, minute_ns: int, *rows: tuple[int, float, float, float, float]) -> None:
        """Put in candles that close at a time: slot, open, high, low, close."""
        candles = np.zeros(len(rows), CANDLE)
        for index, (slot, *prices) in enumerate(rows):
            candles[index] = (slot, minute_ns - self.timeframe_ns, minute_ns, *prices, 1.0)
        self.queue.put_nowait(MarketEvent(minute_ns, candles))


class OpenFence:
    """Lease and clearance that never run out."""

    def read(self) -> Any:
        """Return an open gate."""
        from trader.engine.fence import Gate

        now = boottime_ns()
        return Gate(now, now + 10 * NS_PER_S, now + 10 * NS_PER_S)


def flat_candles(price: float = 100.0, minutes: int = 400) -> list[tuple[int, float, float, float, float, float]]:
    """Return candles whose price hardly moves."""
    return [(START_MS + i * 60_000, price, price * 1.0005, price * 0.9995, price, 10.0) for i in range(minutes)]


def live_config(venue: FakeVenue, **sections: Any) -> Config:
    """Return a configuration that trades on the fake venue."""
    exchange_config = venue.exchange_config()
    exchange_config = {
        **exchange_config,
        "options": {**exchange_config.get("options", {}), "recvWindow": 150},
        "rateLimit": 1,
    }
    market = {
        "source": "exchange",
        "exchange": "binance",
        "symbols": sections.pop("symbols", ["BTC/USDT"]),
        "timeframe": "1m",
        "stream": False,
        "max_clock_skew_seconds": 86_400,
        "exchange_config": exchange_config,
        **sections.pop("market", {}),
    }
    base: dict[str, Any] = {
        "market": market,
        "strategies": [{"use": "tests.live_rig:Told"}],
        "engine": {"enable_trading": True, "loop_interval_seconds": 60, "exit_interval_seconds": 0.05},
        "credentials": {"api_key": {"env": "VENUE_KEY"}, "secret": {"env": "VENUE_SECRET"}},
        "risk": {"min_confidence_threshold": 0.5},
        "exits": {"stop_loss_frac": 0.05, "take_profit_frac": 0.10},
    }
    for name, section in sections.items():
        base[name] = {**base[name], **section} if isinstance(base.get(name), dict) else section
    os.environ["VENUE_KEY"], os.environ["VENUE_SECRET"] = venue.keys
    return Config.model_validate(base)


class LiveRig:
    """One incarnation of an engine after another, over one data folder and one venue."""

    def __init__(self, folder: Path, config: Config) -> None:
        runtime = folder / "run-folder"
        runtime.mkdir(parents=True, exist_ok=True)
        self.paths = InstancePaths(folder, runtime, folder / "logs")
        self.config = config
        self.generation = 0
        self.service: EngineService
        self.feed: HandFeed
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start an engine, as a worker does: reconciled when this returns."""
        self.generation += 1
        path = self.paths.segment("engine", self.generation)
        symbols = list(self.config.market.symbols)
        segment = Segment.create(
            path, role="engine", generation=self.generation, n_symbols=len(symbols), run_id="run",
            meta={"symbols": symbols},
        )  # fmt: skip
        context = WorkerContext("engine", self.generation, "run", self.config, 1, self.paths, os.getpid(), path)
        original = assembly.open_feed
        assembly.open_feed = self._open_feed
        try:
            self.service = EngineService(context, segment, Beat(segment, 1))
            self.service._fence = OpenFence()  # type: ignore[assignment] # noqa: SLF001
            await self.service.start()
        finally:
            assembly.open_feed = original
        self.parts = self.service._parts  # noqa: SLF001
        if self.parts.live is not None:
            self.parts.live.router.entries_pass = lambda: not self.parts.engine.halts & ~Halt.RECONCILE
        self._running = asyncio.create_task(self.service.run())

    def _open_feed(self, config: Config, connection: Any = None, history_bars: int = 0) -> HandFeed:
        self.feed = HandFeed(connection, history_bars=history_bars, stale_after_s=config.market.stale_after_seconds)
        return self.feed

    async def stop(self) -> None:
        """End in order."""
        await self.service.stop()
        if self._running is not None:
            await self._running

    async def crash(self) -> None:
        """Lose everything that is not on disk, at once: no task goes on, nothing is committed."""
        assert self._running is not None
        self._running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._running
        live = self.parts.live
        if live is not None:
            await live.close()
        assert self.parts.connection is not None
        await self.parts.connection.close()
        self.parts.ledger._connection.close()  # noqa: SLF001 - what was not committed is gone
        self.service._lock.release()  # noqa: SLF001

    async def until(self, condition: Callable[[], Any], seconds: float = 20.0) -> None:
        """Wait for a condition; it must come true within a generous time."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self._running is not None and self._running.done():
                self._running.result()
                raise AssertionError("the engine has ended")
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s: {self.describe()}")
            await asyncio.sleep(0.005)

    def describe(self) -> str:
        """Return orders and positions for people."""
        orders = [f"{o.client_order_id} {o.kind} {o.state} {o.note}" for o in self.parts.router.tracker.live()]
        books = self.parts.ledger.books
        return f"live {orders}, held {books.holdings}, halts {self.parts.engine.halts!r}"

    @property
    def account(self) -> Any:
        """The account record."""
        return self.parts.engine.book.desk["account"][0]

    @property
    def slots(self) -> Any:
        """The slots."""
        return self.parts.engine.book.slots

    def is_calm(self) -> bool:
        """Tell whether nothing is on its way but stops that stand, and ledger and venue agree."""
        live = self.parts.router.tracker.live()
        assert self.parts.live is not None
        return (
            not self.parts.live.router._leaving  # noqa: SLF001
            and all(order.kind == "protect" and order.state == "open" for order in live)
            and not self.parts.engine.halts & Halt.RECONCILE
        )

    def is_covered(self) -> bool:
        """Tell whether it is calm and each position has its stop."""
        held = list(self.parts.ledger.books.holdings)
        stops = {order.symbol for order in self.parts.router.tracker.live() if order.kind == "protect"}
        return self.is_calm() and set(held) == stops


class Told(Strategy):
    """Says what a test has written into `Told.says`: LONG or FLAT for the newest candle, else HOLD."""

    name = "told"
    lookback_bars = 5
    says: ClassVar[dict[int, Direction]] = {}  # by close of the candle [ns]

    def signals(self, candles: Candles) -> Signals:
        """Return what was told."""
        closes = candles.open_ns + 60_000_000_000
        direction = np.array([int(self.says.get(int(time_ns), Direction.HOLD)) for time_ns in closes], np.int8)
        nan = np.full(len(candles), np.nan)
        return Signals(direction, np.full(len(candles), 0.9), nan, nan, nan)
