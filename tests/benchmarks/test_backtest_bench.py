"""What a backtest and a sweep cost, beside a hand-written loop that checks nothing, and beside peers.

`make bench` installs the peers below .venv-peers; without them their lines are missing. TRADER_BENCH_DATA names a
folder with the reference workload's `one.npy`; without it a simulated market is played. Beside each ratio stands the
one that is wanted, from the reference on peers. What is asserted is wider, so that only a mistake breaks it and not a
busy machine; times of our own are CPU times where one thread works.
"""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml

from tests.benchmarks.environments import ROOT, SCRIPT, peer, python_of
from tests.benchmarks.measure import measure, show
from tests.benchmarks.workload import MINUTE_NS, START_NS, config_of, history_of, prices, reference
from tests.unit.market.candle_files import write_feather
from trader.backtest.opinions import ask
from trader.backtest.runner import Played, bind, interval_ns, simulate
from trader.backtest.sweep import Sweeper
from trader.domain.market import Candles

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

GRID = tuple(itertools.product((7, 10, 14, 21, 28), (20.0, 25.0, 30.0, 35.0, 40.0), (60.0, 65.0, 70.0, 75.0)))
#: how many times vectorbt's time ours is wanted to fit into, by bars and symbols
WANTED = {(100_000, 1): 15, (1_000_000, 1): 15, (1_000_000, 10): 20}


def tell(what: str, ratio: float, wanted: str) -> None:
    """Print a ratio beside the one that is wanted."""
    print(f"  {what:<58} {ratio:>7.2f}  (wanted: {wanted})")


@pytest.mark.parametrize(("bars", "symbols"), list(WANTED))
def test_bench_rsi_workload(bars: int, symbols: int, tmp_path: Path) -> None:
    """Strategy and engine with every limit checked, against the loop and the peers on the same candles."""
    columns = prices(bars)
    history, config = history_of(columns, symbols), config_of(symbols)
    trades = np.zeros((bars // 8, 3))

    def ours() -> Played:
        return simulate(config, history, [ask(one, history, interval_ns(config)) for one in bind(config)])

    contestants = {"trader": ours, "loop": lambda: reference(*columns, 14, 30.0, 70.0, trades)}
    results = measure(contestants, rounds=9, clock=time.process_time)
    show(f"RSI workload, {symbols} x {bars // symbols:,} candles, CPU time", results, "loop")
    beside_loop = results["trader"].ratio_to(results["loop"])
    if symbols == 1:
        tell("our time over the hand-written loop's", beside_loop, "at most 3")
    theirs = peer("vectorbt" if symbols == 1 else "vectorbt-multi", tmp_path / "candles.npy", columns)
    if theirs is not None:
        print(f"  vectorbt: {theirs['cpu_seconds'] * 1e3:.1f} ms of CPU, {theirs['trades']} trades")
        tell(
            "vectorbt's time over ours",
            theirs["cpu_seconds"] / results["trader"].median_s,
            f"at least {WANTED[bars, symbols]}",
        )
    theirs = peer("backtesting", tmp_path / "candles.npy", columns) if bars == 100_000 else None
    if theirs is not None:
        tell(
            "backtesting.py's time over ours",
            theirs["cpu_seconds"] / results["trader"].median_s,
            "more than vectorbt's",
        )
    assert results["trader"].best_s / results["loop"].best_s < (5 if symbols == 1 else 10)


def begin(sweeper: Sweeper) -> None:
    """Wait until every worker process has mapped the candles and loaded what is compiled; none has asked a strategy."""
    if sweeper._pool is None:
        Sweeper(sweeper.config, sweeper.history, [{}], workers=1).run()
        return
    ready: set[int] = set()
    while len(ready) < sweeper.workers:
        ready |= {one.result() for one in [sweeper._pool.submit(os.getpid) for _ in range(4 * sweeper.workers)]}


def private_mib() -> float:
    """Return the memory of this process' children, what they share counted once (proportional set sizes) [MiB]."""
    return sum(one.memory_full_info().pss for one in psutil.Process().children(recursive=True)) / 2**20


def test_bench_sweep_of_a_hundred_combinations(tmp_path: Path) -> None:
    """A hundred combinations on 100,000 candles, with processes that run already, on one worker and on two."""
    columns = prices(100_000)
    history, config = history_of(columns), config_of()
    key = "strategies.0.params"
    tries = [{f"{key}.period": n, f"{key}.lower": low, f"{key}.upper": high} for n, low, high in GRID]
    times: dict[int, list[float]] = {1: [], 2: []}
    memory = 0.0
    print(f"\nsweep of {len(tries)} combinations on 100,000 candles")
    for workers in (1, 2, 1, 2, 1, 2):
        with Sweeper(config, history, tries, workers=workers) as sweeper:
            begin(sweeper)
            started = time.perf_counter()
            result = sweeper.run()
            times[workers].append(time.perf_counter() - started)
            memory = max(memory, private_mib())
    one, two = (statistics.median(times[workers]) for workers in (1, 2))
    print(
        f"  one worker {one:.3f} s, two {two:.3f} s: {len(tries) / two:.0f} combinations a second;"
        f" {memory:.0f} MiB of workers"
    )
    print(f"  the best: {result.best.values if result.best else None}")
    tell("scaling on two cores", one / two, "at least 1.7")
    theirs = peer("vectorbt-sweep", tmp_path / "candles.npy", columns)
    if theirs is not None:
        print(f"  vectorbt: {theirs['seconds']:.2f} s, {theirs['rss_mib']:.0f} MiB")
        tell("vectorbt's time over ours", theirs["seconds"] / two, "at least 25")
        tell("our workers' memory over vectorbt's", memory / theirs["rss_mib"], "at most 0.2")
    assert two < 60


GROWTH = """
import sys, time
from pathlib import Path
from tests.benchmarks.workload import config_of, history_of, prices
from trader.backtest.runner import run

def kib(field):
    return int(Path("/proc/self/status").read_text().split(field + ":")[1].split()[0])

bars = int(sys.argv[1])
run(config_of(), history_of(prices(2000)))
history = history_of(prices(bars))
Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
base = kib("VmRSS")
started = time.process_time()
run(config_of(), history)
print(time.process_time() - started, kib("VmHWM") - base)
"""


def test_bench_growth_and_memory() -> None:
    """From a hundred thousand candles to ten million: time grows as they do, memory by bytes beside each candle."""
    found: dict[int, tuple[float, float]] = {}
    print("\nwhole run with figures, in a process of its own")
    for bars in (100_000, 1_000_000, 10_000_000):
        command = [sys.executable, "-c", GROWTH, str(bars)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        seconds, kib = map(float, done.stdout.split())
        found[bars] = seconds, kib * 1024
        print(f"  {bars:>10,} candles: {seconds * 1e3:.0f} ms, {kib * 1024 / bars:.0f} bytes more a candle")
    small, large = found[100_000], found[10_000_000]
    extra = (large[1] - small[1]) / (10_000_000 - 100_000)
    tell("a hundred times the candles, times the time", large[0] / small[0], "at most 120")
    tell("bytes an extra candle takes beside itself", extra, "at most 100")
    assert large[0] / small[0] < 200
    assert extra < 100


def once(command: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """Run a process to its end; return wall time, CPU time [s] and its peak of memory [MiB]."""
    started = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, command
    return time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def test_bench_whole_process(tmp_path: Path) -> None:
    """`trader backtest` on 100,000 candles of a file, from start to exit with a warm compile cache, beside a peer's."""
    columns = prices(100_000)
    open_ns = START_NS + np.arange(columns.shape[1], dtype=np.int64) * MINUTE_NS
    (tmp_path / "candles").mkdir()
    write_feather(tmp_path / "candles", Candles("S0/USDT", "1m", open_ns, *columns, np.ones(len(open_ns))))
    settings = config_of().model_dump(mode="json", include={"initial_capital", "strategies", "engine", "risk", "exits"})
    settings["market"] = {"symbols": ["S0/USDT"], "timeframe": "1m", "stale_after_seconds": 31_536_000}
    (tmp_path / "trader.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    python = python_of("trader") or sys.executable
    ours = [python, "-m", "trader", "backtest", "--config", str(tmp_path / "trader.yaml")]
    ours += ["--candles", str(tmp_path / "candles")]
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    cold, _, _ = once(ours, environment)
    its = python_of("backtesting")
    np.save(tmp_path / "candles.npy", columns)
    theirs = [its or "", str(SCRIPT), "backtesting", str(tmp_path / "candles.npy"), "once"]
    rounds: dict[str, list[Any]] = {"trader": [], "backtesting.py": []}
    for _ in range(5):
        rounds["trader"].append(once(ours, environment))
        if its is not None:
            rounds["backtesting.py"].append(once(theirs, environment))
    print(f"\nwhole process on 100,000 candles (the very first, which compiles: {cold:.1f} s)")
    for name, taken in rounds.items():
        if taken:
            wall, cpu, mib = (statistics.median(column) for column in zip(*taken, strict=True))
            print(f"  {name}: {wall:.2f} s, {cpu:.2f} s of CPU, {mib:.0f} MiB")
    if its is not None:
        pairs = list(zip(rounds["trader"], rounds["backtesting.py"], strict=True))
        tell("our time over backtesting.py's", statistics.median(a[0] / b[0] for a, b in pairs), "at most 0.7")
        tell("our CPU time over backtesting.py's", statistics.median(a[1] / b[1] for a, b in pairs), "at most 0.7")
    assert statistics.median(one[0] for one in rounds["trader"]) < max(cold / 2, 20)
