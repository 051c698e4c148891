"""Which candles of a live market are closed: half-built, late, missing, doubled, out of order, silent streams."""

from __future__ import annotations

import itertools

import pytest

from trader.clock import NS_PER_S
from trader.market.live_candles import LiveCandles, Row, parse_row, parse_rows, to_candles

MINUTE = 60 * NS_PER_S
START = 1_700_000_040 * NS_PER_S  # a whole minute


def row(minute, close=100.0, volume=5.0):
    """Return the candle that opens so many minutes after the start."""
    return Row(START + minute * MINUTE, 100.0, max(100.0, close) + 1, min(100.0, close) - 1, close, volume)


def live(slots=1, **options):
    """Return candles of a market that begins now."""
    return LiveCandles(slots, MINUTE, START, START + NS_PER_S, **options)


def at(minute, second=0.0):
    """Return a time after the start."""
    return START + minute * MINUTE + int(second * NS_PER_S)


def handed(events):
    """Return event times and candles as (slot, minute, close) in the order of handing on."""
    return [
        (
            (event.time_ns - START) // MINUTE,
            [(int(c["slot"]), (int(c["open_ns"]) - START) // MINUTE, float(c["close"])) for c in event.candles],
        )
        for event in events
    ]


def test_answer_with_a_later_row_hands_the_closed_one_on():
    """The row being built shows that the one before it is closed."""
    market = live()
    market.take_answer(0, [row(0, 101), row(1, 102)], at(1, 1), at(1, 1.1))
    assert handed(market.events(at(1, 1.1))) == [(1, [(0, 0, 101.0)])]


def test_answer_whose_last_row_has_ended_waits_for_a_second_one():
    """A venue under load shows a candle open beyond its end: it is not closed because the clock says so."""
    market = live()
    market.take_answer(0, [row(0, 101)], at(1, 1), at(1, 1.1))
    assert handed(market.events(at(1, 1.1))) == []
    market.take_answer(0, [row(0, 103)], at(1, 4), at(1, 4.1))  # it has grown meanwhile
    assert handed(market.events(at(1, 4.1))) == []
    market.take_answer(0, [row(0, 103)], at(1, 5.5), at(1, 5.6))
    assert handed(market.events(at(1, 5.6))) == [(1, [(0, 0, 103.0)])]


def test_streamed_row_that_another_follows_confirms_the_answer():
    """Stream and answer say the same, and the stream has gone on: closed."""
    market = live()
    market.begin_stream(at(0, 1))
    market.take_streamed(0, [row(0, 101)], at(0, 59))
    market.take_streamed(0, [row(1, 102)], at(1, 0.5))
    market.take_answer(0, [row(0, 101)], at(1, 1), at(1, 1.1))
    assert handed(market.events(at(1, 1.1))) == [(1, [(0, 0, 101.0)])]


def test_streamed_row_alone_is_not_handed_on_while_answers_come():
    """Its last message may have been lost: the answer decides."""
    market = live()
    market.begin_stream(at(0, 1))
    market.take_streamed(0, [row(0, 101, 3.0)], at(0, 58))
    market.take_streamed(0, [row(1, 102)], at(1, 0.5))
    assert handed(market.events(at(1, 0.6))) == []
    market.take_answer(0, [row(0, 104, 5.0), row(1, 102)], at(1, 1), at(1, 1.1))
    assert handed(market.events(at(1, 1.1))) == [(1, [(0, 0, 104.0)])]
    assert market.counts.differences == 1


def test_failed_requests_let_the_stream_stand_in():
    """Where requests fail for a whole grace, a streamed candle that another one follows is handed on, and counted."""
    market = live()
    market.begin_stream(at(0, 1))
    market.take_streamed(0, [row(0, 101)], at(0, 59))
    market.take_streamed(0, [row(1, 102)], at(1, 2))
    market.due(at(1, 1))
    market.take_failure(0, at(1, 1.5))
    assert handed(market.events(at(1, 4.9))) == []
    assert market.wake_ns() <= at(1, 5)
    assert handed(market.events(at(1, 5))) == [(1, [(0, 0, 101.0)])]
    assert market.counts.unconfirmed == 1


def test_failed_requests_and_no_later_row_hand_nothing_on():
    """The streamed row may still be growing: a candle without a successor is not closed, whatever the clock says."""
    market = live()
    market.begin_stream(at(0, 1))
    market.take_streamed(0, [row(0, 101)], at(0, 59))
    market.due(at(1, 1))
    market.take_failure(0, at(1, 1.5))
    assert handed(market.events(at(1, 59))) == []


def test_one_failed_request_does_not_make_the_streams_word_final():
    """Its last message comes late, and the request made again a second later is answered: the truth is waited for."""
    market = live()
    market.begin_stream(at(0, 1))
    market.take_streamed(0, [row(0, 101, 4.0)], at(0, 58))
    market.take_streamed(0, [row(1, 102)], at(1, 0.5))  # before the last one of the minute before
    assert market.due(at(1, 1)) == [0]
    market.take_failure(0, at(1, 1.1))
    assert handed(market.events(at(1, 1.1))) == []
    assert market.due(at(1, 2.2)) == [0]
    market.take_answer(0, [row(0, 104, 5.0), row(1, 102)], at(1, 2.2), at(1, 2.3))
    assert handed(market.events(at(1, 2.3))) == [(1, [(0, 0, 104.0)])]


def test_message_that_comes_late_within_the_grace_is_heard_while_requests_fail():
    """The stream goes on about the minute before for a moment."""
    market = live()
    market.begin_stream(at(0, 1))
    market.take_streamed(0, [row(0, 101, 4.0)], at(0, 58))
    market.take_streamed(0, [row(1, 102)], at(1, 0.5))
    market.due(at(1, 1))
    market.take_failure(0, at(1, 1.1))
    list(market.events(at(1, 1.1)))
    market.take_streamed(0, [row(0, 104, 5.0)], at(1, 3))
    assert handed(market.events(at(1, 5))) == [(1, [(0, 0, 104.0)])]


def test_answer_that_could_not_tell_the_end_says_more_than_an_older_message():
    """Nothing was traded in the next minute when it was asked for; then requests fail, and the stream goes on."""
    market = live()
    market.begin_stream(at(0, 1))
    market.take_streamed(0, [row(0, 101, 4.0)], at(0, 58))
    market.due(at(1, 1))
    market.take_answer(0, [row(0, 104, 5.0)], at(1, 1), at(1, 1.1))
    market.due(at(1, 2.2))
    market.take_failure(0, at(1, 2.3))
    market.take_streamed(0, [row(1, 102)], at(1, 4))
    assert handed(market.events(at(1, 5))) == [(1, [(0, 0, 104.0)])]


def test_stream_does_not_stand_in_over_a_candle_that_nobody_has_told_yet():
    """The one before would be lost for good; it is given up only when requests go on failing."""
    market = live()
    market.begin_stream(at(1, 1))  # after the first minute, which only a request can tell
    for minute in range(1, 3):
        market.take_streamed(0, [row(minute)], at(minute, 59))
    market.due(at(2, 30))
    market.take_failure(0, at(2, 31))
    assert handed(market.events(at(2, 59))) == []
    market.take_answer(0, [row(0), row(1), row(2)], at(2, 59), at(2, 59))
    assert [rows[0][1] for _, rows in handed(market.events(at(2, 59)))] == [0, 1]
    assert market.counts.gaps == 0


def test_stream_goes_on_over_a_hole_when_requests_keep_failing():
    """Exits need newer prices: after some candles the hole is one."""
    market = live()
    market.begin_stream(at(1, 1))
    for minute in range(1, 6):
        market.take_streamed(0, [row(minute)], at(minute, 59))
        if market.due(at(minute, 59)):
            market.take_failure(0, at(minute, 59))
        list(market.events(at(minute, 59)))
    assert market.counts.gaps >= 1
    assert market.since_ns(0) > at(3)


def test_late_symbol_follows_on_its_own_with_its_real_age():
    """The others don't wait longer than the grace, and time never goes back."""
    market = live(2)
    market.take_answer(0, [row(0), row(1)], at(1, 1), at(1, 1))
    assert handed(market.events(at(1, 4.9))) == []
    assert handed(market.events(at(1, 5.1))) == [(1, [(0, 0, 100.0)])]
    market.take_answer(1, [row(0, 99), row(1)], at(1, 30), at(1, 30))
    (event,) = market.events(at(1, 30))
    assert handed([event]) == [(1, [(1, 0, 99.0)])]
    assert market.counts.late == 1


def test_missing_candle_is_a_gap_and_is_never_made_up():
    """Nothing was traded for two minutes: the next candle comes after the one before."""
    market = live()
    market.take_answer(0, [row(0), row(3)], at(3, 1), at(3, 1))
    assert handed(market.events(at(3, 1))) == [(1, [(0, 0, 100.0)])]
    market.take_answer(0, [row(3), row(4)], at(4, 1), at(4, 1))
    assert handed(market.events(at(4, 1))) == [(4, [(0, 3, 100.0)])]
    assert market.counts.gaps == 2


def test_candle_that_comes_twice_is_handed_on_once():
    """Repeated answers and messages change nothing."""
    market = live()
    for _ in range(3):
        market.take_answer(0, [row(0), row(1)], at(1, 1), at(1, 1))
        market.take_streamed(0, [row(0), row(1)], at(1, 1))
    assert handed(market.events(at(1, 1))) == [(1, [(0, 0, 100.0)])]
    assert handed(market.events(at(1, 59))) == []


def test_missed_candles_come_first_and_in_order_after_a_stop():
    """Two symbols, three minutes behind: one event per minute, both in each."""
    market = LiveCandles(2, MINUTE, START, at(3, 10))
    market.take_answer(0, [row(n) for n in range(4)], at(3, 10), at(3, 11))
    assert handed(market.events(at(3, 11))) == []  # the other one is being asked for
    market.take_answer(1, [row(n, 99) for n in range(4)], at(3, 11), at(3, 12))
    events = handed(market.events(at(3, 12)))
    assert [time for time, _ in events] == [1, 2, 3]
    assert all([slot for slot, _, _ in rows] == [0, 1] for _, rows in events)


def test_old_message_that_comes_late_does_not_shrink_a_candle():
    """Reordered messages: the one with less volume is the older one."""
    market = live()
    market.begin_stream(at(0, 1))
    market.take_streamed(0, [row(0, 105, 9.0)], at(0, 50))
    market.take_streamed(0, [row(0, 101, 3.0)], at(0, 51))
    market.take_streamed(0, [row(1)], at(1, 0.5))
    market.due(at(1, 1))
    market.take_failure(0, at(1, 1))
    assert handed(market.events(at(1, 5))) == [(1, [(0, 0, 105.0)])]


def test_streamed_row_of_the_future_is_left_out():
    """A row from next week is no candle, and would hold back everything that comes."""
    market = live()
    market.take_streamed(0, [row(10_000)], at(0, 5))
    assert market.counts.left_out == 1
    market.take_streamed(0, [row(0, 101)], at(0, 6))
    assert market.price(0) == (101.0, at(0, 6))


@pytest.mark.parametrize(
    ("volume", "opens", "missed"),
    [(9.0, 0, True), (5.0, 0, False), (0.0, 1, False), (2.0, 1, True)],
    ids=["grown", "same", "quiet", "new candle"],
)
def test_silent_stream_is_told_from_a_quiet_market(volume, opens, missed):
    """What the answer has and the stream does not say, after a while of silence, is held against the stream."""
    market = live()
    market.begin_stream(at(0, 1))
    market.take_streamed(0, [row(0, 100, 5.0)], at(0, 10))
    rows = [row(0, 100, volume)] if opens == 0 else [row(0, 100, 5.0), row(1, 100, volume)]
    asked = at(0, 40) if opens == 0 else at(1, 30)
    assert market.take_answer(0, rows, asked, asked) is missed


def test_stream_that_never_spoke_is_held_to_candles_that_began_after_it():
    """Not to what was traded before it began."""
    market = live()
    market.begin_stream(at(0, 30))
    assert not market.take_answer(0, [row(0)], at(0, 50), at(0, 50))
    assert market.take_answer(0, [row(0), row(1)], at(1, 30), at(1, 30))


def test_question_after_silence_comes_less_often_in_a_quiet_market():
    """Twice as long each time, so that a dead market costs no requests."""
    market = LiveCandles(1, 60 * MINUTE, START, START)
    market.begin_stream(at(0))
    asked = []
    for second in range(1800):
        if market.due(at(0, second)):
            asked.append(second)
            market.take_answer(0, [Row(START, 1.0, 1.0, 1.0, 1.0, 0.0)], at(0, second), at(0, second))
    gaps = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert 30 <= asked[0] <= 32
    assert len(asked) <= 12
    assert gaps == sorted(gaps)


def test_many_symbols_are_taken_at_the_streams_word_and_checked_in_turn():
    """Where a request per candle would be too many, most candles need none."""
    market = live(64, trust_stream=True)
    market.begin_stream(at(0, 1))
    for slot in range(64):
        market.take_streamed(slot, [row(0, 101)], at(0, 59))
        market.take_streamed(slot, [row(1, 102)], at(1, 0.5))
    asked = market.due(at(1, 2))
    assert 1 <= len(asked) <= 4
    assert handed(market.events(at(1, 0.9))) == []  # a last message may come just after the next candle's first
    (event,) = market.events(at(1, 2))
    assert len(event.candles) == 64
    assert market.counts.unconfirmed == 0


def test_venue_without_an_answer_is_asked_again_with_growing_pauses():
    """Failures are no reason to hammer."""
    market = live()
    asked = []
    for tenth in range(600, 1300):
        now = at(0, tenth / 10)
        if market.due(now):
            asked.append(tenth / 10)
            market.take_failure(0, now)
    gaps = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert gaps == sorted(gaps)
    assert len(asked) <= 7


@pytest.mark.parametrize(
    "raw",
    [
        [1_700_000_040_000, 1, 2, 3, 1, 1],  # low above high
        [1_700_000_040_000, 1, 2, 0, 1, 1],
        [1_700_000_040_000, 1, 2, None, 1, 1],
        [1_700_000_040_000, 1, 2, "x", 1, 1],
        [1_700_000_040_000, 1, float("inf"), 1, 1, 1],
        [1_700_000_040_000, 1, 2, 1, float("nan"), 1],
        [1_700_000_040_000, 1, 2, 1, 1, -1],
        [1_700_000_041_000, 1, 2, 1, 1, 1],  # not on the grid
        [None, 1, 2, 1, 1, 1],
        [1_700_000_040_000, 1, 2],
        "garbage",
        None,
    ],
)
def test_row_that_no_candle_can_be_is_none(raw):
    """Nothing is repaired."""
    assert parse_row(raw, MINUTE) is None


def test_rows_are_put_in_order_and_each_once():
    """The last word about a candle counts."""
    good = [1_700_000_040_000, 1, 2, 1, 1.5, 1]
    later = [1_700_000_100_000, 1, 2, 1, 1.5, None]
    newer = [1_700_000_040_000, 1, 2, 1, 1.75, 2]
    rows, bad = parse_rows([later, good, "x", newer], MINUTE)
    assert [one.close for one in rows] == [1.75, 1.5]
    assert bad == 1
    assert to_candles("BTC/USDT", "1m", rows).open_ns.tolist() == [1_700_000_040 * NS_PER_S, 1_700_000_100 * NS_PER_S]
