"""Stops that move: by average range, and to the entry price."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.unit.core.desks import Book, holding, started
from trader.codes import CoreEvent, Reason

FLAT = (100.0, 100.0, 100.0, 100.0)


def by_range(**limits: float) -> Book:
    """Return a long position of 10 at 100 with a wide stop and a trailing stop of two average ranges over 2 candles."""
    options = {"trailing_stop_atr": 2.0, "atr_bars": 2, "stop_loss_frac": 0.5, "take_profit_frac": math.nan, **limits}
    book = started(costs=False, **options)
    book.candle(1, (100.0, 101.0, 99.0, 100.0))  # ranges 0 and 2: the average is 1
    book.place(0, 10_000)
    book.candle(2, (100.0, 100.0, 99.0, 100.0))  # and now 1
    return book


def slot_of(book: Book) -> Any:
    """Return the first slot."""
    return book.slots[0]


def test_trailing_by_range_stands_below_the_entry_at_once() -> None:
    """The range known before the entry counts inside the entry candle already."""
    book = by_range()
    assert (slot_of(book)["atr"], slot_of(book)["trailing_price"]) == (1.0, 98.0)


def test_trailing_by_range_follows_and_never_steps_back() -> None:
    """A new best price lifts it; a range that grows without one leaves it where it is."""
    book = by_range()
    book.candle(3, (100.0, 101.0, 100.0, 101.0))
    assert slot_of(book)["trailing_price"] == 99.0
    book.candle(4, (101.0, 101.0, 99.5, 100.0))  # range 1.5: the average is 1.25, the level would be 98.5
    assert (slot_of(book)["atr"], slot_of(book)["trailing_price"]) == (1.25, 99.0)
    book.candle(5, (100.0, 100.0, 98.0, 98.5))
    assert [(e["kind"], e["reason"], e["price"]) for e in book.happened[:1]] == [
        (CoreEvent.EXIT_FILLED, Reason.TRAILING, 99.0)
    ]


def test_trailing_by_range_counts_gaps_as_range() -> None:
    """The true range reaches back to the last close."""
    book = by_range()
    book.candle(3, (104.0, 104.0, 103.0, 103.0))
    assert slot_of(book)["atr"] == 2.5  # (1 + 4) / 2


def test_trailing_by_range_waits_for_enough_candles() -> None:
    """No level from too few candles; the other stop stands meanwhile."""
    book = holding(trailing_stop_atr=1.0, atr_bars=5)
    assert math.isnan(slot_of(book)["trailing_price"])
    assert slot_of(book)["stop_price"] == 98.0
    for minute in range(2, 5):
        book.candle(minute, FLAT)
    assert slot_of(book)["atr"] == 0.0
    assert slot_of(book)["trailing_price"] == 99.99  # a tick below the best price, not on it


def test_trailing_by_range_is_not_counted_when_nobody_needs_it() -> None:
    """Without the rule no candle is averaged."""
    book = holding()
    assert slot_of(book)["range_count"] == 0


def test_break_even_moves_the_stop_after_the_candle_that_reached_it() -> None:
    """Inside the candle that reaches the level the old stop stands; from the next one on the entry price does."""
    book = holding(break_even_after_frac=0.01, take_profit_frac=math.nan)
    assert slot_of(book)["break_even_price"] == 101.0
    book.candle(2, (100.0, 101.0, 98.5, 100.5))
    assert slot_of(book)["quantity"] == 10.0
    assert slot_of(book)["stop_price"] == 100.0
    assert math.isnan(slot_of(book)["break_even_price"])
    book.candle(3, (100.5, 100.5, 99.0, 99.0))
    assert [(e["reason"], e["price"], e["pnl"]) for e in book.happened[:1]] == [(Reason.STOP, 100.0, 0.0)]


@pytest.mark.parametrize(("lots", "side", "stop"), [(10_000, 1, 100.21), (-10_000, -1, 99.79)])
def test_break_even_locks_what_is_asked_on_either_side(lots: int, side: int, stop: float) -> None:
    """The stop moves beyond the entry, rounded so that no less than that is kept."""
    book = holding(lots, break_even_after_frac=0.01, break_even_lock_frac=0.00205, take_profit_frac=math.nan)
    best = 100.0 + side * 1.5
    book.candle(2, (100.0, max(best, 100.0), min(best, 100.0), best))
    assert slot_of(book)["stop_price"] == stop


def test_break_even_never_loosens_a_stop() -> None:
    """A stop that is nearer than the entry price stays."""
    book = holding(break_even_after_frac=0.01, take_profit_frac=math.nan)
    slot_of(book)["stop_price"] = 100.5
    book.candle(2, (100.6, 101.5, 100.6, 101.0))
    assert slot_of(book)["stop_price"] == 100.5


def test_plan_is_cleared_with_the_position() -> None:
    """Nothing of a plan is left for the next position."""
    book = by_range(break_even_after_frac=0.01)
    book.candle(3, (90.0, 90.0, 90.0, 90.0))
    names = ("trailing_stop_atr", "trailing_price", "break_even_price", "break_even_stop", "stop_price", "best_price")
    assert slot_of(book)["quantity"] == 0.0
    assert all(math.isnan(slot_of(book)[name]) for name in names)
    assert slot_of(book)["atr"] == 5.5  # (1 + 10) / 2: the market's, not the position's
