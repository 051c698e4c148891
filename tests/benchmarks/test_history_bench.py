"""What history costs: the RSI workload beside a loop written by hand, growth, memory, one check, one live event.

The hand-written loop keeps four prices and a dozen locals, checks no limit, rounds nothing and knows one symbol: it is
what a machine can do, not a product. Bounds are wide, as in test_core_bench: the printed figures are what is quoted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from numba import njit

from tests.benchmarks.measure import measure, readable, show
from tests.unit.core.desks import started
from trader.config.sections import Config
from trader.core import kernels
from trader.core.checks import check_entry
from trader.core.compiling import kernel
from trader.core.history import Log, Opinions, Tape, finished, new_log, play
from trader.core.records import CANDLE, fund, new_desk, new_slots
from trader.risk.exit_plan import write_costs, write_limits

pytestmark = pytest.mark.bench

MINUTE_NS = 60_000_000_000
START_NS = 1_704_067_200_000_000_000
CAPITAL = 1_000_000.0
CHECKS = 100_000
#: entries by hand and through the core part when a size is rounded to lots: this many positions may differ
APART = 0.02


@njit(error_model="numpy")
def by_hand(o, h, l, c, said, size, fee, slip, gain, loss, cash):  # noqa: ANN001, ANN201
    """Play the workload in one loop; return round trips, equity and the worst drawdown."""
    quantity = stop = target = worst = 0.0
    peak = cash
    pending = trips = 0
    for i in range(o.shape[0]):
        opened = o[i]
        if pending == 1:
            entry = opened * (1.0 + slip)
            quantity = size * cash / entry
            cash -= quantity * entry * (1.0 + fee)
            stop, target = entry * (1.0 - loss), entry * (1.0 + gain)
        elif pending == 2:
            cash += quantity * opened * (1.0 - slip) * (1.0 - fee)
            quantity = 0.0
            trips += 1
        pending = 0
        if quantity > 0.0:
            price = 0.0
            if opened <= stop:
                price = opened * (1.0 - slip)
            elif l[i] <= stop:
                price = stop * (1.0 - slip)
            elif opened >= target:
                price = opened
            elif h[i] >= target:
                price = target
            if price > 0.0:
                cash += quantity * price * (1.0 - fee)
                quantity = 0.0
                trips += 1
        if quantity == 0.0:
            if said[0, i] == 1:
                pending = 1
        elif said[0, i] == 2:
            pending = 2
        equity = cash + quantity * c[i]
        peak = max(peak, equity)
        worst = max(worst, 1.0 - equity / peak)
    return trips, cash + quantity * c[-1], worst


@njit(error_model="numpy")
def rsi_opinions(close, bars, low, high, said):  # noqa: ANN001, ANN201
    """Say LONG where Wilder's RSI crosses below `low`, FLAT where it is above `high`."""
    up = down = 0.0
    before = 50.0
    last = close[0]
    part = 1.0 / bars
    for i in range(close.shape[0]):
        change = close[i] - last
        last = close[i]
        gain, loss = max(change, 0.0), max(-change, 0.0)
        if i <= bars:
            up, down = up + gain * part, down + loss * part
        else:
            up, down = up + (gain - up) * part, down + (loss - down) * part
        total = up + down
        rsi = 100.0 * up / total if total > 0.0 else 50.0
        said[0, i] = 0
        if i > bars:
            if rsi < low <= before:
                said[0, i] = 1
            elif rsi > high:
                said[0, i] = 2
        before = rsi


@kernel
def check_many(desk, slots, count):  # noqa: ANN001, ANN201
    """Check entries in a compiled loop, each at another price; return how many passed."""
    passed = 0
    for i in range(count):
        desk[0]["request"]["price"] = 100.0 + (i & 7) * 0.01
        check_entry(desk, slots)
        passed += desk[0]["verdict"]["mask"] == 0
    return passed


@cache
def prices(bars: int) -> tuple[np.ndarray, ...]:
    """Return open, high, low and close of a seeded market with calm and wild hours."""
    random = np.random.default_rng(7)
    wild = np.exp(np.convolve(random.normal(0, 0.3, bars + 99), np.ones(100) / 10, "valid")) * 0.8e-3
    close = 100 * np.exp(np.cumsum(random.normal(0, 1, bars) * wild))
    opened = np.concatenate([[100.0], close[:-1]])
    high = np.maximum(opened, close) * (1 + np.abs(random.normal(0, 0.5, bars)) * wild)
    low = np.minimum(opened, close) * (1 - np.abs(random.normal(0, 0.5, bars)) * wild)
    return opened, high, low, close


class Workload:
    """The fixed RSI workload: 20 % of equity, fee 0.1 %, slippage 0.05 %, +3 %, -2 %; every limit checked."""

    def __init__(self, bars: int) -> None:
        self.prices = prices(bars)
        rows = np.zeros(bars, CANDLE)
        rows["open_ns"] = START_NS + np.arange(bars) * MINUTE_NS
        rows["close_ns"] = rows["open_ns"] + MINUTE_NS
        for name, column in zip(("open", "high", "low", "close"), self.prices, strict=True):
            rows[name] = column
        self.tape = Tape(rows, np.arange(bars + 1, dtype=np.int64))
        self.said = np.zeros((1, bars), np.int8)
        absent = np.full((1, 1), math.nan)
        self.opinions = Opinions(self.said, np.ones((1, 1)), absent, absent, np.ones((1, 1), np.uint8))
        risk = {"max_daily_trades": 10**6, "max_daily_loss_frac": 1, "max_drawdown_frac": 1, "risk_per_trade_frac": 1}
        self.config = Config.model_validate({"risk": risk, "engine": {"loop_interval_seconds": 60}})

    def opine(self) -> None:
        """Let the strategy speak."""
        rsi_opinions(self.prices[3], 14, 30.0, 70.0, self.said)

    def reference(self) -> Any:
        """Opinions and the loop by hand."""
        self.opine()
        return by_hand(*self.prices, self.said, 0.2, 0.001, 0.0005, 0.03, 0.02, CAPITAL)

    def core(self) -> tuple[Any, Log]:
        """Opinions and the kernels."""
        self.opine()
        desk, slots = new_desk(), new_slots(1)
        fund(desk, CAPITAL)
        write_limits(desk, self.config, 1)
        write_costs(slots, self.config)
        slots["tick_size"], slots["lot_size"], slots["min_notional"] = 0.0001, 1e-7, 5.0
        log = new_log(self.tape, 1, 1, START_NS, MINUTE_NS)
        while not finished(self.tape, log):
            assert play(desk, slots, self.tape, self.opinions, log, MINUTE_NS, 1) >= 0
        return desk, log


@pytest.mark.parametrize("bars", [100_000, 1_000_000])
def test_bench_rsi_workload(bars: int) -> None:
    """The whole core costs a small multiple of a loop by hand, and plays the same positions."""
    work = Workload(bars)
    trips, _, _ = work.reference()
    desk, log = work.core()
    assert int(desk["account"]["round_trips"][0]) == pytest.approx(trips, rel=APART)
    assert log.equity[-1] == desk["account"]["equity"][0]
    results = measure({"by hand": work.reference, "through the core": work.core}, rounds=9, clock=time.process_time)
    show(f"RSI workload, {bars} bars, opinions included, {trips} round trips", results, "by hand")
    for name, result in results.items():
        print(f"  {name}: {readable(result.best_s / bars)} per bar")
    # wanted, and met on a quiet machine: at most 3
    assert results["through the core"].best_s / results["by hand"].best_s < 4


def test_bench_growth_is_linear() -> None:
    """Ten times the bars take about ten times the time."""
    small, large = Workload(100_000), Workload(1_000_000)
    results = measure({"100k": small.core, "1M": large.core}, rounds=9)
    show("growth", results, "100k")
    assert results["1M"].ratio_to(results["100k"]) < 15


def test_bench_memory_per_bar() -> None:
    """Beside the candles a bar costs its opinion and its point on the curve."""
    bars = 100_000
    work = Workload(bars)
    log = new_log(work.tape, 1, 1, START_NS, MINUTE_NS)
    beside = sum(array.nbytes for array in (*work.opinions, work.tape.starts, *log)) - log.events.nbytes
    print(f"\n  beside the candles: {beside / bars:.1f} bytes per bar")
    assert beside / bars < 100


def test_bench_check_and_live_event() -> None:
    """A check inside compiled code, and what one live event with a check costs from Python."""
    book = started(8)
    book.ask()
    assert check_many(book.desk, book.slots, CHECKS) == CHECKS
    inside: dict[str, Callable[[], object]] = {"check": lambda: check_many(book.desk, book.slots, CHECKS)}
    show("one check in a compiled loop, sized", measure(inside, per_call=CHECKS))
    candles = np.zeros(1, CANDLE)
    candles[0] = (0, book.account["event_ns"], book.account["event_ns"] + MINUTE_NS, 100.0, 100.5, 99.5, 100.0, 1.0)
    row = candles.view(np.int64)

    def later() -> None:
        row[1] += MINUTE_NS
        row[2] += MINUTE_NS

    def event() -> None:
        later()
        kernels.on_candles(book.desk, book.slots, candles, 1, book.events)

    results = measure({"mark, exits, day, limits": event, "(making the candle newer)": later})
    show("one live event from Python, 8 symbols", results)
    assert results["mark, exits, day, limits"].best_s < 20e-6
