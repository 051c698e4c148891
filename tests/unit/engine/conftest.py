"""A real engine in a folder of its own: real ledger, real kernels, real segment; no other process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trader.config.sections import Config
from trader.domain.market import MarketEvent
from trader.engine.assembly import Assembly, assemble
from trader.engine.fence import Gate
from trader.process.context import WorkerContext
from trader.state.paths import InstancePaths
from trader.state.segment import Segment

HOUR_NS = 3_600_000_000_000
OPEN = Gate(now_ns=10, lease_until_ns=20, clear_until_ns=20)
SHUT = Gate(now_ns=30, lease_until_ns=20, clear_until_ns=20)
SCRIPTED = "tests.unit.engine.scripted:Scripted"


class Rig:
    """An engine that a test drives event by event."""

    def __init__(self, folder: Path, config: Config) -> None:
        runtime = folder / "run-folder"
        runtime.mkdir(parents=True, exist_ok=True)
        self.paths = InstancePaths(folder, runtime, folder / "logs")
        self.generation = 0
        self.config = config
        self.parts: Assembly
        self.start()

    def start(self) -> Assembly:
        """Start an engine, as after a crash: from the ledger and the candles only."""
        self.generation += 1
        path = self.paths.segment("engine", self.generation)
        symbols = list(self.config.market.symbols)
        segment = Segment.create(
            path,
            role="engine",
            generation=self.generation,
            n_symbols=len(symbols),
            run_id="run",
            meta={"symbols": symbols},
        )
        context = WorkerContext("engine", self.generation, "run", self.config, 1, self.paths, os.getpid(), path)
        self.parts = asyncio.run(assemble(context, segment))
        return self.parts

    def events(self) -> list[MarketEvent]:
        """Return every event after the cursor."""

        async def collect() -> list[MarketEvent]:
            feed = self.parts.feed
            cursor_ns = int(self.parts.engine.book.desk["account"]["event_ns"][0]) or feed.start_ns
            return [event async for event in feed.events(cursor_ns)]

        return asyncio.run(collect())

    def next_events(self, count: int) -> list[MarketEvent]:
        """Return the next events of a market that may have no end, their candles copied."""

        async def collect() -> list[MarketEvent]:
            found: list[MarketEvent] = []
            async for event in self.parts.feed.events(self.parts.feed.start_ns):
                found.append(MarketEvent(event.time_ns, event.candles.copy()))
                if len(found) == count:
                    break
            return found

        return asyncio.run(collect())

    def play(self, events: list[MarketEvent], gate: Gate = OPEN) -> None:
        """Process events, one commit for each."""
        for event in events:
            self.parts.engine.on_market(event, gate)
            self.commit()

    def commit(self) -> None:
        """Commit what was done."""
        book = self.parts.engine.book
        self.parts.ledger.save_state(book.desk, book.slots, int(book.desk["account"]["event_ns"][0]))
        self.parts.ledger.commit()

    def crash(self) -> Assembly:
        """Lose everything that is not in the ledger and start again."""
        self.parts.ledger.close()
        return self.start()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query on the ledger."""
        import sqlite3

        connection = sqlite3.connect(self.paths.ledger)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


def write_candles(folder: Path, symbol: str, closes: np.ndarray) -> None:
    """Write hourly candles from 2024-01-01 on; each opens where the one before it closed."""
    folder.mkdir(exist_ok=True)
    opens = np.concatenate([closes[:1], closes[:-1]])
    rows = ["timestamp,open,high,low,close,volume"]
    for i, (o, c) in enumerate(zip(opens, closes, strict=True)):
        seconds = 1_704_067_200 + 3600 * i
        rows.append(f"{seconds},{o:.2f},{max(o, c) * 1.001:.2f},{min(o, c) * 0.999:.2f},{c:.2f},1")
    (folder / f"{symbol.replace('/', '_')}-1h.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """Make rigs over random walks of hourly candles."""
    rigs: list[Rig] = []

    def make(
        strategies: list[dict[str, Any]],
        bars: int = 100,
        symbols: tuple[str, ...] = ("AAA/USDT", "BBB/USDT"),
        **sections: Any,
    ) -> Rig:
        candles = tmp_path / "candles"
        chance = np.random.default_rng(11)
        for symbol in symbols:
            write_candles(candles, symbol, np.round(100 * np.exp(np.cumsum(chance.normal(0, 0.006, bars))), 2))
        market = {"source": "replay", "candles": str(candles), "timeframe": "1h", "symbols": symbols, "speed": 0}
        config = Config.model_validate({"market": market, "strategies": strategies, **sections})
        folder = tmp_path / f"rig-{len(rigs)}"
        folder.mkdir()
        rigs.append(Rig(folder, config))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.parts.ledger.close()
