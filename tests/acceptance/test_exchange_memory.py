"""A day of streamed one-minute candles and the trades in them: at night the processes hold what they held at dawn.

Everything is real but the exchange: ccxt's websocket client, the feed, the engine, the ledger, the service around them.
Only time is faster: the venue plays a day in minutes, and the engine lives on the venue's time.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import pytest

from tests.acceptance.exchange_day import Day
from tests.loopback.venue import Script
from tests.loopback.venue.clients import walk

PRICES = {"BTC/USDT": 50_000.0, "ETH/USDT": 3000.0, "SOL/USDT": 100.0, "XRP/USDT": 0.5}
HOURS, MINUTES_PER_HOUR = 24, 60
#: candles before the first: as many as a feed keeps, so that nothing is left to be filled by the day itself
HISTORY = 1000
#: how often a stream tells a candle that is being built, beside the four prices that it is made of
UPDATES = 12
#: between two updates, and for the strategies after a candle [s]; a minute is played in less than a fifth of a second
PAUSE_S, DECIDE_S = 0.004, 0.05
#: the streams break once an hour: a client is thrown away with all that it holds, and another one made
BREAK_EVERY_MINUTES = 60
SAMPLE_EVERY_MINUTES = 30
#: caches are full and all code has run by then
WARM_HOURS = HOURS // 4
#: what may be gained per hour; what is kept per candle, update or order shows within the day [MiB]
MOST_MIB_PER_HOUR = 0.25
MIB_PER_KIB = 1 / 1024


def memory_mib(pid: int) -> dict[str, float]:
    """Return a process's memory [MiB]: Pss counts a shared page by its share, Pss_Anon what no file stands behind."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    return {name: int(rest.split()[0]) * MIB_PER_KIB for name, rest in (line.split(":", 1) for line in lines)}


def slope(points: list[tuple[float, float]]) -> float:
    """Return the median of the slopes between all points (Theil and Sen): one late jump is not a trend."""
    return statistics.median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2))


def stream_minute(day: Day) -> None:
    """Play one candle as a websocket tells it: over and over while it is built, then closed."""
    for _ in range(UPDATES):
        time.sleep(PAUSE_S)
        day.venue.elapse(55 / UPDATES)
    day.venue.advance()
    day.settle()
    time.sleep(DECIDE_S)
    day.settle()  # what was decided upon that candle is done before the time goes on: an old entry is not sent


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_exchange_day_streamed_memory_stays_flat(tmp_path: Path) -> None:
    """24 h of four symbols, some hundreds of orders and an hourly reconnect: no process grows with what it has seen."""
    candles = {
        symbol: walk(HISTORY + HOURS * MINUTES_PER_HOUR + 2, price=price, seed=n)
        for n, (symbol, price) in enumerate(PRICES.items())
    }
    found: dict[str, list[tuple[float, dict[str, float]]]] = defaultdict(list)
    with Day(tmp_path, candles, script=Script(), history=HISTORY) as day:
        for minute in range(1, HOURS * MINUTES_PER_HOUR + 1):
            stream_minute(day)
            if minute % BREAK_EVERY_MINUTES == 0:
                day.venue.cut_streams()
            if minute % SAMPLE_EVERY_MINUTES == 0:
                for role, pid in day.processes().items():
                    found[role].append((minute / MINUTES_PER_HOUR, memory_mib(pid)))
        day.judge()
        orders, requests = len(day.venue.books.orders), len(day.venue.requests)
    print(f"\n{HOURS} h, {len(PRICES)} symbols, {orders} orders, {requests} requests")
    slopes = {role: report(role, samples) for role, samples in found.items()}
    assert orders > 10 * HOURS
    assert set(slopes) >= {"engine", "supervisor", "monitor"}
    assert max(slopes.values()) < MOST_MIB_PER_HOUR, slopes


def report(role: str, samples: list[tuple[float, dict[str, float]]]) -> float:
    """Print how a process's memory went and return what it gains [MiB per hour]."""
    kinds = ("Pss_Anon", "Pss", "Rss")
    for hour, held in samples:
        if hour in (1, 6, 12, 18, 24):
            print(f"  {role:<10} hour {hour:4.1f}: " + ", ".join(f"{kind} {held[kind]:6.1f} MiB" for kind in kinds))
    gained = {kind: slope([(at, held[kind]) for at, held in samples if at >= WARM_HOURS]) for kind in kinds}
    print(f"  {role:<10} per hour: " + ", ".join(f"{kind} {gained[kind]:+.3f} MiB" for kind in kinds))
    return max(gained["Pss_Anon"], gained["Rss"])
