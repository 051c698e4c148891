"""Invalidation rules: when they are looked at, what they see, and what they end."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.unit.core.desks import MINUTE_NS, START_NS, Book, holding, started
from trader.codes import CoreEvent, Reason
from trader.core import kernels
from trader.core.invalidations import frame_of, frames_closed, relative_strength, take_history
from trader.core.records import MAX_RULES, new_slots
from trader.core.rulebook import rules_of, write_gauges, write_rules
from trader.domain.invalidation import Gauge, parse
from trader.domain.market import Candles
from trader.strategy.indicators import RSI
from trader.strategy.timeframes import lengthen

FLAT = (100.0, 100.0, 100.0, 100.0)


def ruled(*texts: str, lots: int = 10_000) -> Book:
    """Return a book that holds a position entered in minute 1 (11:31), with rules and without a target."""
    book = holding(lots, stop=1.0 if lots > 0 else 1000.0, target=math.nan)
    book.slots["target_price"] = math.nan
    write_rules(book.slots[0], [parse(text) for text in texts])
    return book


def at(price: float) -> tuple[float, float, float, float]:
    """Return a candle that closes at a price and began at 100."""
    return (100.0, max(price, 100.0), min(price, 100.0), price)


def wait(book: Book, time_ns: int) -> None:
    """Let time pass without a candle."""
    book.happened = book.events[: kernels.on_time(book.desk, book.slots, time_ns, book.events)].copy()


def fired(book: Book) -> int:
    """Return which rule asked for the end in the last call; 0: none."""
    asked = [event for event in book.happened if event["kind"] == CoreEvent.EXIT_REQUESTED]
    assert all(event["reason"] == Reason.INVALIDATED for event in asked)
    return int(asked[0]["rule"]) if asked else 0


def test_rule_close_below_asks_for_the_end_at_the_next_open() -> None:
    """It is asked at the close, filled at the next open, and the reason is told."""
    book = ruled("close below 99.5")
    book.candle(2, at(99.5))
    assert fired(book) == 0, "strictly below"
    book.candle(3, at(99.49))
    assert fired(book) == 1
    event = book.happened[0]
    assert (event["price"], event["side"], event["lots"]) == (99.49, -1, 10_000)
    book.candle(4, (99.0, 99.0, 99.0, 99.0))
    assert book.kinds == [CoreEvent.EXIT_FILLED]
    assert (book.happened[0]["reason"], book.happened[0]["price"]) == (Reason.INVALIDATED, 99.0)
    assert rules_of(book.slots[0]) == ()


def test_rule_close_above_ends_a_short() -> None:
    """Rules know no direction of their own: what is to end a short looks up."""
    book = ruled("close above 101", lots=-10_000)
    book.candle(2, at(101.5))
    assert fired(book) == 1
    assert book.happened[0]["side"] == 1


def test_rule_on_a_longer_timeframe_waits_for_its_candle() -> None:
    """Closes inside of the longer candle don't count; the grid is UTC."""
    book = ruled("close below 99 on 5m")
    for minute in (2, 3):  # close at 11:33, 11:34
        book.candle(minute, at(98.0))
        assert fired(book) == 0
    book.candle(4, at(98.0))  # closes at 11:35
    assert fired(book) == 1


def test_rule_frame_whose_last_candle_is_missing_closes_with_the_next_one() -> None:
    """The close is that of the last candle that came."""
    book = ruled("close below 99 on 5m")
    book.candle(3, at(98.0))
    assert fired(book) == 0
    book.candle(6, at(100.0))  # 11:34 to 11:36 never came
    assert fired(book) == 1


def test_rule_frame_that_ended_before_the_entry_says_nothing() -> None:
    """A gap before the entry brings up an older frame, which was known when the position was opened."""
    book = started(costs=False)
    book.candle(3, at(98.0))
    book.place(0, 10_000, stop=1.0)
    write_rules(book.slots[0], [parse("close below 99 on 5m"), parse("age over 10h")])
    book.slots["watched_close"] = 98.0
    book.candle(6, FLAT)
    assert book.kinds == [CoreEvent.ENTRY_FILLED]


def test_rule_age_is_looked_at_without_a_candle() -> None:
    """Time alone makes a position too old, and the exact age is not yet over."""
    book = ruled("close below 5", "age over 10m")
    entered_ns = int(book.slots["entry_ns"][0])
    wait(book, entered_ns + 10 * MINUTE_NS)
    assert fired(book) == 0
    wait(book, entered_ns + 10 * MINUTE_NS + 1)
    assert fired(book) == 2


def test_rule_that_came_true_asks_once() -> None:
    """While an exit is on its way nothing else is asked for."""
    book = ruled("close below 99", "age over 1m")
    book.candle(2, at(98.0))
    assert book.kinds == [CoreEvent.EXIT_REQUESTED]


def test_rule_of_two_the_first_is_told() -> None:
    """Rules are looked at in their order."""
    book = ruled("close above 200", "close below 99.5", "close below 99.9")
    book.candle(2, at(99.0))
    assert fired(book) == 2


def test_rule_stop_inside_the_candle_comes_first() -> None:
    """What ends inside the candle is no longer there at its close."""
    book = ruled("close below 99.5")
    book.slots["stop_price"] = 99.0
    book.candle(2, at(98.0))
    assert book.kinds == [CoreEvent.EXIT_FILLED]
    assert book.happened[0]["reason"] == Reason.STOP


def test_rule_rsi_without_a_gauge_never_holds() -> None:
    """An indicator that nobody keeps is unknown, and what is unknown ends nothing."""
    book = ruled("RSI(2) above 1", "RSI(2) below 99")
    for minute in range(2, 10):
        book.candle(minute, at(100.0 + minute))
        assert fired(book) == 0


def test_rule_rsi_looks_at_its_gauge_at_the_close() -> None:
    """The close that ends the candle is part of the RSI."""
    book = started(costs=False)
    write_gauges(book.slots[0], [Gauge(0, 2)])
    for minute, price in enumerate((100.0, 101.0, 102.0), start=1):
        book.candle(minute, at(price))
    book.place(0, 10_000, stop=1.0, target=900.0)
    write_rules(book.slots[0], [parse("RSI(2) below 30")])
    book.candle(4, at(103.0))
    assert fired(book) == 0
    book.candle(5, (103.0, 103.0, 95.0, 95.0))
    assert fired(book) == 1


@pytest.mark.parametrize(("timeframe", "period"), [("1h", 14), ("4h", 14), ("1d", 5), ("1w", 2), ("", 9)])
def test_gauge_is_the_rsi_of_talib_over_the_longer_candles(timeframe: str, period: int) -> None:
    """With holes in the candles, too; weeks begin on Mondays."""
    random = np.random.default_rng(5)
    count = 3_000
    keep = random.random(count) < 0.9
    open_ns = (1_704_067_200 + 1_800 * np.arange(count)[keep]) * 10**9
    close = 100.0 * np.exp(np.cumsum(random.normal(0, 0.01, len(open_ns))))
    candles = Candles("BTC/USDT", "30m", open_ns, close, close, close, close, close)
    slot = new_slots(1)[0]
    write_gauges(slot, [Gauge.of(timeframe, period)])
    take_history(slot, open_ns + 1_800 * 10**9, close)
    closes = lengthen(candles, timeframe).candles.close if timeframe else close
    expected = RSI(np.ascontiguousarray(closes), period)[-1]
    assert relative_strength(slot, slot["gauge_frame_ns"][0], period) == pytest.approx(expected, rel=1e-9)


def test_gauge_that_knows_too_little_is_nan() -> None:
    """As many moves as its period are needed, and one that is not 0."""
    slot = new_slots(1)[0]
    write_gauges(slot, [Gauge(0, 3)])
    times = START_NS + np.arange(1, 9) * MINUTE_NS
    take_history(slot, times[:3], np.array([1.0, 2.0, 3.0]))
    assert math.isnan(relative_strength(slot, 0, 3))
    take_history(slot, times[3:4], np.array([4.0]))
    assert relative_strength(slot, 0, 3) == 100.0
    still = new_slots(1)[0]
    write_gauges(still, [Gauge(0, 3)])
    take_history(still, times, np.full(8, 5.0))
    assert math.isnan(relative_strength(still, 0, 3))


def test_rules_of_the_configuration_follow_those_of_the_entry() -> None:
    """Both are there once the position is open, and only then those of the configuration."""
    book = started(costs=False)
    write_rules(book.desk["limits"][0], [parse("age over 3h"), parse("close below 7")])
    book.place(0, 10_000)
    write_rules(book.slots[0], [parse("close above 900")])
    book.candle(1, FLAT)
    assert list(map(str, rules_of(book.slots[0]))) == ["close above 900", "age over 3h", "close below 7"]


def test_rules_adopted_position_gets_those_of_the_configuration() -> None:
    """What was opened elsewhere is looked after as well."""
    book = started(costs=False)
    write_rules(book.desk["limits"][0], [parse("age over 3h")])
    book.fill(0, 1, 1.0, 100.0)
    assert list(map(str, rules_of(book.slots[0]))) == ["age over 3h"]


def test_rules_of_an_entry_that_never_filled_are_gone() -> None:
    """A canceled entry leaves no rule for the next one."""
    book = started()
    book.place(0, 10_000)
    write_rules(book.slots[0], [parse("close above 900")] * MAX_RULES)
    kernels.cancel(book.desk, book.slots, 0)
    assert rules_of(book.slots[0]) == ()
    assert book.slots["rule_kind"].sum() == 0


def test_write_rules_more_than_there_is_room_for_are_refused() -> None:
    """Nothing is cut off in silence."""
    with pytest.raises(ValueError, match="9 invalidations, and there is room for 8"):
        write_rules(new_slots(1)[0], [parse("close above 900")] * 9)


@pytest.mark.parametrize(
    ("before", "now", "frame", "expected"),
    [
        (0, 300, 300, (0, True)),
        (240, 300, 300, (0, True)),
        (240, 360, 300, (300, False)),
        (300, 360, 300, (0, False)),
        (240, 600, 300, (300, True)),
        (120, 180, 0, (0, True)),
    ],
)
def test_frames_closed_by_a_candle(before: int, now: int, frame: int, expected: tuple[int, bool]) -> None:
    """An earlier frame that ended unseen, and whether the candle ends its own."""
    assert tuple(frames_closed(before, now, frame)) == expected


def test_frame_of_weeks_ends_on_monday() -> None:
    """2024-01-08 is a Monday."""
    week_ns = 7 * 86_400 * 10**9
    monday_ns = 1_704_672_000 * 10**9
    assert frame_of(monday_ns, week_ns)[1]
    assert not frame_of(monday_ns - 4 * 86_400 * 10**9, week_ns)[1]
