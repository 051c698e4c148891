"""What an order costs without the network: from a strategy's word to the bytes on the socket, fsync included."""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path

import numpy as np
import pytest

from tests.live_rig import MINUTE_NS, START_MS, LiveRig, Told, flat_candles, live_config
from tests.loopback.venue import FakeVenue
from trader.codes import Direction
from trader.domain.market import Candles
from trader.domain.signal import Signals
from trader.execution import steps
from trader.execution.steps import Step

ROUNDS = 100


class Timed(Told):
    """Notes when it has given its opinion."""

    said_ns = 0

    def signals(self, candles: Candles) -> Signals:
        """Return what was told, and note the time."""
        found = super().signals(candles)
        Timed.said_ns = time.perf_counter_ns()
        return found


@pytest.mark.bench
def test_order_path_from_signal_to_socket(tmp_path: Path) -> None:
    """Risk check, order, journal, fsync, publication, ccxt's request, socket."""
    entries, exits, commits = [], [], []
    began = {"commit": 0}
    wants = {"entry": False}

    def hook(step: Step) -> None:
        now_ns = time.perf_counter_ns()
        if step is Step.COMMIT_BEGINS:
            began["commit"] = now_ns
        elif step is Step.COMMITTED and began["commit"] > Timed.said_ns > 0:
            commits.append((now_ns - began["commit"]) / 1e3)
        elif step is Step.SUBMIT_ON_SOCKET and Timed.said_ns:
            (entries if wants["entry"] else exits).append((now_ns - Timed.said_ns) / 1e3)
            Timed.said_ns = 0

    async def run(venue: FakeVenue) -> None:
        config = live_config(
            venue,
            strategies=[{"use": "tests.benchmarks.test_orders_bench:Timed"}],
            execution={"protective_stop": False},
            risk={"max_daily_trades": 10 * ROUNDS},
        )
        rig = LiveRig(tmp_path, config)
        await rig.start()
        gc.collect()
        gc.freeze()
        for minute in range(1, 2 * ROUNDS + 1):
            time_ns = START_MS * 1_000_000 + minute * MINUTE_NS
            wants["entry"] = minute % 2 == 1
            Told.says = {time_ns: Direction.LONG if wants["entry"] else Direction.FLAT}
            rig.feed.put(time_ns, (0, 100.0, 100.05, 99.95, 100.0))
            await rig.until(lambda: bool(rig.parts.ledger.books.holdings) is wants["entry"])
            await rig.until(rig.is_calm)
        await rig.stop()

    steps.install(hook)
    try:
        with FakeVenue({"BTC/USDT": flat_candles()}, balances={"USDT": 10_000}) as venue:
            asyncio.run(run(venue))
    finally:
        steps.install(None)
    for name, values in (("entry", entries), ("exit", exits), ("its commit with fsync", commits)):
        median, late = np.percentile(values, [50, 99])
        print(f"\norder path, {name}: median {median:.0f} us, p99 {late:.0f} us ({len(values)} orders)")
    assert len(entries) == len(exits) == ROUNDS
    assert np.median(entries) < 100_000
