"""A day of one-minute candles at the fake venue through the real service: disturbed, it ends like undisturbed."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.exchange_day import Day
from tests.loopback.venue import Script
from tests.loopback.venue.clients import Row, walk

HISTORY = 60
SYMBOLS = ("BTC/USDT", "ETH/USDT")
#: what is done to requests about orders and to what the venue tells about them
ORDER_FAULTS: dict[str, dict[str, Any]] = {
    "drop_before": {}, "drop_after": {}, "reset": {}, "error_5xx": {"status": 502}, "clock_error_1021": {},
    "error_5xx_accepted": {"status": 504}, "garbage_json": {}, "truncated_body": {}, "delay": {"seconds": 0.15},
    "delay_after": {"seconds": 0.15}, "slow_body": {"seconds": 0.2}, "rate_limited": {"retry_after": 1},
    "maintenance": {},
}  # fmt: skip
STREAM_FAULTS = ("ws_duplicate", "ws_reorder", "ws_missing", "ws_mute", "ws_drop", "ws_garbage")


def day_of_candles(minutes: int, seed: int = 0) -> dict[str, list[Row]]:
    """Return candles of two symbols that move about, with a history before them."""
    prices = zip(SYMBOLS, (50_000.0, 3000.0), strict=True)
    return {symbol: walk(HISTORY + minutes + 2, price=price, seed=seed + n) for n, (symbol, price) in enumerate(prices)}


def order_faults(minutes: int, seed: int, every: int = 6) -> Script:
    """Return faults about every so many requests on orders, and some on what the streams tell."""
    draw, script = random.Random(seed), Script()
    for operation, requests in (("submit", minutes), ("query", 3 * minutes), ("cancel", minutes), ("trades", minutes)):
        for nth in range(1 + draw.randrange(every), requests, every):
            action = draw.choice(sorted(ORDER_FAULTS))
            script.add(operation, action, nth=nth + draw.randrange(3), **ORDER_FAULTS[action])
    for nth in range(3, 6 * minutes, 2 * every):
        script.add("ws_user", draw.choice(STREAM_FAULTS), nth=nth + draw.randrange(5))
    for nth in range(1, minutes, 2 * every):
        script.add("cancel", "drop_after", nth=nth)
    return script


def play(folder: Path, minutes: int, script: Script | None = None, deaths: int = 0, seed: int = 0, **more: Any) -> Day:
    """Play a day and judge it; return it with its books."""
    day = Day(folder, day_of_candles(minutes, seed), script=script, history=HISTORY, seed=seed, **more)
    operations = ("submit", "query", "cancel", "trades")
    for _ in range(deaths):
        operation = day.draw.choice(operations)
        day.kill_at(operation, 1 + day.draw.randrange(minutes // 2))
    with day:
        day.play(minutes)
        day.judge()
        day.books, day.was_refused, day.found = day.venue.books, day.refused(), day.fills()
    return day


def compare(calm: Day, disturbed: Day) -> int:
    """Hold a disturbed day against an undisturbed one; return how many episodes had to be left out."""
    left_out = 0
    for episode, fills in calm.found.items():
        there = disturbed.found.get(episode, [])
        if there != fills and episode in disturbed.was_refused:
            left_out += 1
            continue
        if left_out:  # what was missed moved the equity, and so the sizes
            assert [fill[:3] for fill in there] == [fill[:3] for fill in fills], episode
            for mine, theirs in zip(there, fills, strict=True):
                assert abs(mine[3] / theirs[3] - 1) < Decimal("0.05"), episode
        else:
            assert there == fills, episode
    assert set(disturbed.found) <= set(calm.found)
    return left_out


@pytest.mark.timeout(900)
def test_exchange_day_sample_disturbed_ends_like_undisturbed(tmp_path: Path) -> None:
    """Twenty-four candles with faults on every sixth request about orders, and two deaths: the same fills."""
    calm = play(tmp_path / "calm", 24)
    disturbed = play(tmp_path / "disturbed", 24, order_faults(24, seed=5), deaths=2)
    assert sum(disturbed.venue.script.made.values()) >= 10
    assert sum(disturbed.kills.values()) >= 1
    assert len(calm.found) >= 4
    assert compare(calm, disturbed) <= 2


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2])
def test_exchange_day_disturbed_ends_like_undisturbed(tmp_path: Path, seed: int) -> None:
    """A whole day with some hundreds of faults and twenty deaths: the same fills wherever entries were not refused."""
    minutes = 1440
    calm = play(tmp_path / "calm", minutes, seed=seed)
    disturbed = play(tmp_path / "disturbed", minutes, order_faults(minutes, seed=seed, every=12), deaths=20, seed=seed)
    assert sum(disturbed.venue.script.made.values()) >= 200
    assert sum(disturbed.kills.values()) >= 10
    assert compare(calm, disturbed) <= len(calm.found) // 10
