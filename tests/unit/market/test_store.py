"""The store of recent candles holds exactly the last ones, whatever comes twice or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.market.candle_files import rising, without
from trader.market.store import CandleStore
from trader.market.timeline import Timeline, to_records

STEP_NS = 300 * 10**9
FIELDS = ("open_ns", "open", "high", "low", "close", "volume")


def records(bars, slot=0):
    """Return records of rising candles."""
    return to_records(slot, rising(bars), STEP_NS)


@pytest.mark.parametrize("bars", [0, 1, 7, 8, 9, 16, 17, 100])
def test_store_window_is_the_last_candles(bars):
    """Below, at and far beyond the capacity, through every move of the buffer."""
    store = CandleStore(["BTC/USDT"], "5m", 8)
    for row in records(bars):
        assert store.append(row) == 1
    want = rising(bars)
    assert store.count(0) == min(bars, 8)
    for asked in (1, 3, 8, 20):
        got = store.window(0, asked)
        assert len(got) == min(asked, bars, 8)
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(got, field), getattr(want, field)[bars - len(got) :])
            assert getattr(got, field).flags.c_contiguous
    assert len(store.window(0, 0)) == 0


def test_store_slots_are_separate():
    """A symbol with holes fills its own window only."""
    store = CandleStore(["A/USDT", "B/USDT"], "5m", 4)
    a, b = rising(11, "A/USDT"), without(rising(11, "B/USDT"), 2, 3, 4, 10)
    for event in Timeline((a, b), "5m", STEP_NS).events(0, 2**62):
        assert store.append(event.candles) == len(event.candles)
    assert store.window(0, 9).close.tolist() == a.close[-4:].tolist()
    assert store.window(1, 9).close.tolist() == b.close[-4:].tolist()
    assert store.window(1, 1).symbol == "B/USDT"


def test_store_candle_that_is_not_newer_is_left_out():
    """Delivered twice, or late: the window stays strictly rising."""
    store = CandleStore(["BTC/USDT"], "5m", 8)
    rows = records(5)
    for row in rows:
        store.append(row)
    assert store.append(rows[4:5]) == 0
    assert store.append(rows[1:2]) == 0
    assert store.window(0, 8).close.tolist() == rows["close"].tolist()


def test_store_load_replaces_and_goes_on():
    """After a restart: history first, then events; an overlap does no harm."""
    store = CandleStore(["BTC/USDT"], "5m", 8)
    for row in records(30):
        store.append(row)
    store.load(0, rising(20))
    assert store.window(0, 99).close.tolist() == rising(20).close[-8:].tolist()
    rows = records(40)
    assert sum(store.append(row) for row in rows[15:]) == 20
    assert store.window(0, 99).close.tolist() == rising(40).close[-8:].tolist()
    store.load(0, rising(3))
    assert store.window(0, 99).close.tolist() == rising(3).close.tolist()
    store.load(0, rising(0))
    assert store.count(0) == 0
    assert store.append(rows[0]) == 1


def test_store_without_room_is_refused():
    """A capacity of 0 could hold nothing."""
    with pytest.raises(ValueError, match="capacity must be at least 1, was 0"):
        CandleStore(["BTC/USDT"], "5m", 0)
