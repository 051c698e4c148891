"""What a backtest and a sweep cost, beside a hand-written loop that checks nothing, and beside peers.

Peers run in environments of their own: TRADER_BENCH_VBT and TRADER_BENCH_BTPY name the Python of an environment that
has vectorbt (`pip install vectorbt`) or backtesting.py (`pip install backtesting pandas`); without them their lines are
missing. TRADER_BENCH_DATA names a folder with the reference workload's `one.npy`; without it a simulated market is
played. The bounds are wide, so that only a mistake breaks them; the printed ratios are what is quoted.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.benchmarks.measure import measure, show
from tests.benchmarks.workload import config_of, history_of, prices, reference
from trader.backtest.opinions import ask
from trader.backtest.runner import Played, bind, interval_ns, simulate
from trader.backtest.sweep import Sweeper

pytestmark = pytest.mark.bench

PEERS = Path(__file__).with_name("peers.py")
GRID = tuple(itertools.product((7, 10, 14, 21, 28), (20.0, 25.0, 30.0, 35.0, 40.0), (60.0, 65.0, 70.0, 75.0)))


def peer(variable: str, what: str, folder: Path, columns: np.ndarray) -> dict[str, Any] | None:
    """Return what a peer measured of itself on the same candles, None where it is not installed."""
    python = os.environ.get(variable)
    if not python:
        return None
    path = folder / "candles.npy"
    np.save(path, columns)
    done = subprocess.run(
        [python, str(PEERS), what, str(path)], capture_output=True, text=True, timeout=1800, check=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("bars", "symbols"), [(100_000, 1), (1_000_000, 1), (1_000_000, 10)])
def test_bench_rsi_workload(bars: int, symbols: int, tmp_path: Path) -> None:
    """Strategy and engine with every limit checked, against the loop and the peers on the same candles."""
    columns = prices(bars)
    history, config = history_of(columns, symbols), config_of(symbols)
    trades = np.zeros((bars // 8, 3))

    def ours() -> Played:
        return simulate(config, history, [ask(one, history, interval_ns(config)) for one in bind(config)])

    results = measure({"trader": ours, "loop": lambda: reference(*columns, 14, 30.0, 70.0, trades)}, rounds=7)
    show(f"RSI workload, {symbols} x {bars // symbols:,} candles", results, "loop")
    for variable, what in (("TRADER_BENCH_VBT", "vectorbt"), ("TRADER_BENCH_BTPY", "backtesting")):
        if what == "backtesting" and (symbols > 1 or bars > 100_000):
            continue
        theirs = peer(variable, what if symbols == 1 else "vectorbt-multi", tmp_path, columns)
        if theirs is not None:
            ratio = theirs["seconds"] / results["trader"].median_s
            print(f"  {what}: {theirs['seconds'] * 1e3:.1f} ms, {theirs['trades']} trades: {ratio:.1f} times ours")
    assert results["trader"].median_s / bars < 1e-6


def begin(sweeper: Sweeper) -> None:
    """Wait until every worker process has mapped the candles and loaded what is compiled; none has asked a strategy."""
    if sweeper._pool is None:
        Sweeper(sweeper.config, sweeper.history, [{}], workers=1).run()
        return
    ready: set[int] = set()
    while len(ready) < sweeper.workers:
        ready |= {one.result() for one in [sweeper._pool.submit(os.getpid) for _ in range(4 * sweeper.workers)]}


@pytest.mark.timeout(1800)
def test_bench_sweep_of_a_hundred_combinations(tmp_path: Path) -> None:
    """A hundred combinations on 100,000 candles, with processes that run already, on one worker and on two."""
    columns = prices(100_000)
    history, config = history_of(columns), config_of()
    key = "strategies.0.params"
    tries = [{f"{key}.period": n, f"{key}.lower": low, f"{key}.upper": high} for n, low, high in GRID]
    times = {}
    for workers in (1, 2):
        with Sweeper(config, history, tries, workers=workers) as sweeper:
            begin(sweeper)
            started = time.perf_counter()
            result = sweeper.run()
            times[workers] = time.perf_counter() - started
        print(f"  {workers} workers: {times[workers]:.3f} s, {len(tries) / times[workers]:.0f} combinations a second")
    print(f"  scaling on two: {times[1] / times[2]:.2f}; best {result.best.values if result.best else None}")
    theirs = peer("TRADER_BENCH_VBT", "vectorbt-sweep", tmp_path, columns)
    if theirs is not None:
        ratio = theirs["seconds"] / times[2]
        print(f"  vectorbt: {theirs['seconds']:.2f} s, {theirs['rss_mib']:.0f} MiB: {ratio:.1f} times ours")
    assert times[2] < 60


@pytest.mark.timeout(1800)
def test_bench_growth_and_memory() -> None:
    """Time grows with the number of candles; memory by bytes per candle beside the candles themselves."""
    script = (
        "import resource, sys, time\n"
        "from tests.benchmarks.workload import config_of, history_of, prices\n"
        "from trader.backtest.runner import run\n"
        "bars = int(sys.argv[1])\n"
        "run(config_of(), history_of(prices(2000)))\n"
        "history = history_of(prices(bars))\n"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "started = time.perf_counter()\n"
        "run(config_of(), history)\n"
        "print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)"
    )
    found = {}
    for bars in (100_000, 1_000_000):
        done = subprocess.run(
            [sys.executable, "-c", script, str(bars)],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        seconds, kib = done.stdout.split()
        found[bars] = float(seconds)
        print(f"  {bars:>9,} candles: {float(seconds) * 1e3:.1f} ms, {int(kib) * 1024 / bars:.0f} bytes more a candle")
    print(f"  ten times the candles: {found[1_000_000] / found[100_000]:.1f} times the time")
    assert found[1_000_000] / found[100_000] < 40
