"""Feeds, store and files over arbitrary candles: nothing lost, nothing twice, nothing from the future."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.market.candle_files import rising, without, write_csv, write_feather
from trader.config.sections import Config
from trader.errors import MarketDataError
from trader.market.candles_file import read_candle_file
from trader.market.factory import open_feed
from trader.market.instruments import decimals_used
from trader.market.simulated import EPOCH_NS
from trader.market.store import CandleStore
from trader.market.timeline import Timeline
from trader.market.validation import validate_candles

STEP_NS = 300 * 10**9
MINUTE_NS = 60 * 10**9
FIELDS = ("open_ns", "open", "high", "low", "close", "volume")

#: candles of a symbol before holes are cut into it
BARS = 24

HOLES = st.lists(st.integers(0, BARS - 1), max_size=BARS - 3, unique=True)


def with_holes(holes):
    """Return one symbol per list of holes, each of 24 candles less those."""
    return [without(rising(BARS, f"S{i}/USDT"), *rows) for i, rows in enumerate(holes)]


@settings(max_examples=60)
@given(holes=st.lists(HOLES, min_size=1, max_size=4), capacity=st.integers(1, 20), cut=st.integers(0, BARS))
def test_store_fed_by_a_timeline_equals_its_history(holes, capacity, cut):
    """At any moment, for any gaps and capacity, the window is the feed's history, also after a restart."""
    timeline = Timeline(with_holes(holes), "5m", STEP_NS)
    store = CandleStore([f"S{i}/USDT" for i in range(len(holes))], "5m", capacity)
    until_ns = int(rising(BARS + 1).open_ns[cut])
    for event in timeline.events(0, until_ns):
        store.append(event.candles)
    restarted = CandleStore(store.symbols, "5m", capacity)
    for slot in range(len(holes)):
        restarted.load(slot, timeline.history(slot, until_ns, capacity))
    for event in timeline.events(until_ns, 2**62):
        store.append(event.candles)
        restarted.append(event.candles)
        for slot in range(len(holes)):
            want = timeline.history(slot, event.time_ns, capacity)
            for field in FIELDS:
                np.testing.assert_array_equal(getattr(store.window(slot, capacity), field), getattr(want, field))
                np.testing.assert_array_equal(getattr(restarted.window(slot, capacity), field), getattr(want, field))


@given(holes=st.lists(HOLES, min_size=1, max_size=4))
def test_timeline_delivers_each_candle_once_in_order(holes):
    """Times rise strictly, slots rise within a moment, and the union is what went in."""
    candles = with_holes(holes)
    events = list(Timeline(candles, "5m", STEP_NS).events(0, 2**62))
    assert all(a.time_ns < b.time_ns for a, b in itertools.pairwise(events))
    assert all((np.diff(event.candles["slot"]) > 0).all() and len(event.candles) for event in events)
    rows = np.concatenate([event.candles for event in events])
    for slot, one in enumerate(candles):
        np.testing.assert_array_equal(rows["open_ns"][rows["slot"] == slot], one.open_ns)


PRICE = st.floats(allow_nan=True, allow_infinity=True, width=64) | st.floats(1, 200)
ROW = st.tuples(st.integers(-2, 6), PRICE, PRICE, PRICE, PRICE, PRICE)


def is_possible(rows, times):
    """Say by plain comparisons whether rows are candles that can be."""
    for i, (_, o, h, l, c, v) in enumerate(rows):
        numbers_are = all(0 < x < float("inf") for x in (o, h, l, c)) and 0 <= v < float("inf")
        if not (numbers_are and l <= min(o, c) and max(o, c) <= h) or times[i] % 300:
            return False
    return all(a < b for a, b in itertools.pairwise(times))


@given(good=st.integers(1, 4), rows=st.lists(ROW, max_size=4), odd=st.sampled_from([0, 0, 0, 60]))
@settings(max_examples=200)
def test_validation_lets_pass_what_is_possible_and_nothing_else(good, rows, odd):
    """Any numbers and times, judged against a plain reading of the rules; few rows, so no timeframe check."""
    rows = [(1, 10.0, 12.0, 9.0, 11.0, 1.0)] * good + rows
    times = [1_704_067_200 + odd]
    for step, *_ in rows[1:]:
        times.append(times[-1] + 300 * step)
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"{time},{','.join(map(repr, row[1:]))}" for time, row in zip(times, rows, strict=True)]
        path = write_csv(Path(folder) / "x.csv", "timestamp,open,high,low,close,volume", *lines)
        candles = read_candle_file(path, "A/B", "5m")
    possible = is_possible(rows, times)
    if possible and len(rows) >= 3 and min(np.diff(times)) > 300:
        return  # candles of another timeframe, for all that can be known
    try:
        validate_candles("x", candles)
    except MarketDataError:
        assert not possible
    else:
        assert possible


@given(ticks=st.lists(st.integers(1, 10**8), min_size=1, max_size=50), decimals=st.integers(0, 8))
def test_decimals_used_never_exceed_what_was_written(ticks, decimals):
    """Prices written with d decimals are found to need d at most, and all of them fit."""
    prices = np.array([float(f"{tick}e-{decimals}") for tick in ticks])
    found = decimals_used(prices)
    assert found is not None
    assert found <= decimals
    assert all(float(f"{price:.{found}f}") == price for price in prices)


@given(seed=st.integers(0, 2**63 - 1), start=st.integers(0, 10**7), bars=st.integers(1, 40))
@settings(max_examples=40)
def test_simulated_any_part_is_possible_and_repeatable(seed, start, bars):
    """Anywhere in twenty years, for any seed: right candles, the same again, and the same as history."""
    market = {"seed": seed, "speed": 0, "symbols": ["BTC/USDT", "X/USDT"]}
    after_ns = EPOCH_NS + start * MINUTE_NS

    async def collect():
        rows = []
        async for event in open_feed(Config(market=market)).events(after_ns):
            rows.append(event.candles.copy())
            if len(rows) == bars:
                break
        return np.array(rows)

    rows = asyncio.run(collect())
    assert rows["close_ns"][:, 0].tolist() == [after_ns + (i + 1) * MINUTE_NS for i in range(bars)]
    feed = open_feed(Config(market=market))
    for slot in (0, 1):
        past = feed.history(slot, after_ns + bars * MINUTE_NS, bars)
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(past, field), rows[field][:, slot])
        if bars >= 3:
            validate_candles("simulated", past)


@given(holes=HOLES, after=st.integers(-1, BARS))
@settings(max_examples=30)
def test_replay_from_any_moment_is_the_rest_of_the_whole(holes, after):
    """Stopping and going on delivers what going through delivers."""
    candles = without(rising(BARS), *[hole for hole in holes if hole not in (0, 1, 2)])
    with tempfile.TemporaryDirectory() as folder:
        write_feather(Path(folder), candles)
        market = {"source": "replay", "candles": folder, "timeframe": "5m", "speed": 0, "symbols": ["BTC/USDT"]}
        feed = open_feed(Config(market=market))

        async def times(after_ns):
            return [event.time_ns async for event in feed.events(after_ns)]

        asyncio.run(feed.open())
        whole = asyncio.run(times(feed.start_ns))
        cut_ns = int(rising(1).open_ns[0]) + after * STEP_NS
        assert asyncio.run(times(cut_ns)) == [time_ns for time_ns in whole if time_ns > cut_ns]
