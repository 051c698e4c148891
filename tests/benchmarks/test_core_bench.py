"""What the core costs: one check, one event, one warm-up.

The bounds are wide, so that only a mistake breaks them: a kernel compiled anew, a helper that copies.
The printed figures are what is quoted.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import njit

from tests.benchmarks.measure import measure, show
from tests.unit.core.desks import MINUTE_NS, START_NS, Book, started
from trader.codes import Direction
from trader.config.sections import Config
from trader.core import kernels
from trader.core.checks import check_entry
from trader.core.kernels import on_candles
from trader.core.records import CANDLE
from trader.domain.signal import Signal
from trader.domain.verdict import Approved
from trader.risk.manager import EnhancedRiskManager

pytestmark = pytest.mark.bench

CHECKS = 10_000
EVENTS = 10_000


@njit
def check_many(desk, slots, count):
    """Check entries in a compiled loop, each at another price; return how many passed."""
    passed = 0
    for i in range(count):
        desk[0]["request"]["price"] = 100.0 + (i & 7) * 0.01
        check_entry(desk, slots)
        if desk[0]["verdict"]["mask"] == 0:
            passed += 1
    return passed


@njit
def play_many(desk, slots, candles, events, count, step_ns):
    """Play events in a compiled loop, one candle per slot each."""
    total = 0
    for _ in range(count):
        for i in range(candles.shape[0]):
            candles[i]["open_ns"] += step_ns
            candles[i]["close_ns"] += step_ns
        total += on_candles(desk, slots, candles, 1, events)
    return total


def flat_candles(symbols: int) -> Any:
    """Return one candle per symbol, just after the first one of `started`."""
    candles = np.zeros(symbols, CANDLE)
    for slot in range(symbols):
        candles[slot] = (slot, START_NS + MINUTE_NS, START_NS + 2 * MINUTE_NS, 100.0, 100.5, 99.5, 100.0, 1.0)
    return candles


def held(symbols: int) -> Book:
    """Return a book with a position in every symbol."""
    book = started(symbols, max_open_positions=1000)
    for slot in range(symbols):
        book.fill(slot, 1, 0.01, 100.0)
    return book


def test_bench_risk_check() -> None:
    """A check costs tens of nanoseconds at most inside compiled code."""
    book = started(8)
    book.ask()
    manager_book = Book(1)
    manager = EnhancedRiskManager(manager_book.desk, manager_book.slots, ("BTC/USDT",))
    manager.apply_limits(Config(), 1)
    manager_book.candle(0, (100.0,) * 4)
    signal = Signal("rsi", "BTC/USDT", START_NS + MINUTE_NS, 100.0, Direction.LONG, 0.9, math.nan, math.nan)
    assert isinstance(manager.evaluate(signal, signal.time_ns, 9, 9, 1), Approved)
    assert check_many(book.desk, book.slots, CHECKS) == CHECKS
    inside = measure(
        {"check_entry, in a compiled loop": lambda: check_many(book.desk, book.slots, CHECKS)}, per_call=CHECKS
    )
    outside = measure(
        {
            "check_entry, from Python": lambda: kernels.check_entry(book.desk, book.slots),
            "EnhancedRiskManager.evaluate": lambda: manager.evaluate(signal, signal.time_ns, 9, 9, 1),
        }
    )
    show("risk check, every limit, approved and sized", {**inside, **outside}, "check_entry, in a compiled loop")
    # a ratio, for a machine that others use: a check that is dispatched costs several that are not
    assert inside["check_entry, in a compiled loop"].best_s * 2 < outside["check_entry, from Python"].best_s


@pytest.mark.parametrize("symbols", [1, 10, 100, 500])
def test_bench_event(symbols: int) -> None:
    """An event costs a microsecond or two and some nanoseconds per symbol."""
    flat, full = started(symbols), held(symbols)
    candles = flat_candles(symbols)
    played = candles.copy()

    def event(book: Book) -> int:
        candles["open_ns"] += MINUTE_NS
        candles["close_ns"] += MINUTE_NS
        return on_candles(book.desk, book.slots, candles, 1, book.events)

    def advance() -> None:
        candles["open_ns"] += MINUTE_NS
        candles["close_ns"] += MINUTE_NS

    assert event(full) >= 0
    results = measure(
        {"flat": lambda: event(flat), "position in each": lambda: event(full), "(making the candle newer)": advance}
    )
    count = max(EVENTS // symbols, 10)
    loop = measure(
        {
            "position in each, in a compiled loop": lambda: play_many(
                full.desk, full.slots, played, full.events, count, 1
            )
        },
        per_call=count,
    )
    show(f"one event, {symbols} symbols", {**results, **loop})
    assert (full.slots["quantity"] != 0.0).all()
    assert results["position in each"].best_s < 100e-6 + symbols * 1e-6


def test_bench_warm_up(tmp_path: Path) -> None:
    """Loading and proving the kernels takes a fraction of compiling them."""
    code = (
        "import time; a = time.perf_counter(); from trader.core.warmup import warm_up; b = time.perf_counter();"
        "warm_up(); print(b - a, time.perf_counter() - b)"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    took = {}
    for state in ("cold", "warm"):
        out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        took[state] = [float(part) for part in out.stdout.split()]
        print(f"\n{state}: import {took[state][0]:.2f} s, warm_up {took[state][1]:.2f} s")
    assert took["warm"][1] < took["cold"][1]
