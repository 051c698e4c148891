"""All symbols' candles in one order: by close, then by slot."""

from __future__ import annotations

import numpy as np

from tests.unit.market.candle_files import rising, without
from trader.market.timeline import Timeline

STEP_NS = 300 * 10**9
FOREVER_NS = 2**62


def timeline(*candles):
    """Return a timeline of 5m candles."""
    return Timeline(candles, "5m", STEP_NS)


def test_timeline_events_group_symbols_by_close():
    """Symbol B lacks candle 1 and ends one early; each moment has who closed then, by slot."""
    a, b = rising(4, "A/USDT"), without(rising(4, "B/USDT"), 1, 3)
    events = list(timeline(a, b).events(0, FOREVER_NS))
    assert [event.time_ns for event in events] == (a.open_ns + STEP_NS).tolist()
    assert [event.candles["slot"].tolist() for event in events] == [[0, 1], [0], [0, 1], [0]]
    assert [event.candles["close"].tolist() for event in events] == [[101, 101], [102], [103, 103], [104]]
    assert all((event.candles["close_ns"] == event.time_ns).all() for event in events)


def test_timeline_events_after_and_until_are_exclusive_and_inclusive():
    """Nothing is delivered twice, whatever moment a run goes on from."""
    candles = rising(6)
    one = timeline(candles)
    closes = (candles.open_ns + STEP_NS).tolist()
    assert [event.time_ns for event in one.events(closes[1], closes[4])] == closes[2:5]
    assert [event.time_ns for event in one.events(closes[1] - 1, closes[4] - 1)] == closes[1:4]
    assert list(one.events(closes[5], FOREVER_NS)) == []
    assert list(one.events(closes[4], closes[2])) == []


def test_timeline_long_one_keeps_every_event():
    """More events than one batch come complete and in order."""
    candles = rising(10_000)
    times = [event.time_ns for event in timeline(candles).events(0, FOREVER_NS)]
    assert times == (candles.open_ns + STEP_NS).tolist()


def test_timeline_history_is_the_slots_last_candles():
    """As many as asked, as many as there are, none from the future, contiguous."""
    a, b = rising(10, "A/USDT"), without(rising(10, "B/USDT"), 4, 5, 6)
    one = timeline(a, b)
    until_ns = int(a.open_ns[7]) + STEP_NS
    got = one.history(1, until_ns, 3)
    assert (got.symbol, got.timeframe) == ("B/USDT", "5m")
    assert got.open_ns.tolist() == [int(a.open_ns[i]) for i in (2, 3, 7)]
    assert got.close.tolist() == [103, 104, 108]
    assert all(
        getattr(got, field).flags.c_contiguous for field in ("open_ns", "open", "high", "low", "close", "volume")
    )
    assert len(one.history(0, until_ns - 1, 100)) == 7
    assert len(one.history(0, 0, 5)) == 0
    assert len(one.history(0, until_ns, 0)) == 0


def test_timeline_event_candles_are_views():
    """Events cost no copies."""
    one = timeline(rising(3))
    assert all(np.shares_memory(event.candles, one.records) for event in one.events(0, FOREVER_NS))
