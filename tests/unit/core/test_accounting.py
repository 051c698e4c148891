"""Worth, the UTC day, and loss limits."""

from __future__ import annotations

import math

import pytest

from tests.unit.core.desks import MINUTE_NS, START_NS, Book, holding, started
from trader.codes import CoreEvent, Halt
from trader.core import kernels

MIDNIGHT_MINUTE = 750  # 11:30 and twelve and a half hours


def test_account_marked_at_the_close_adds_up() -> None:
    """Equity is cash plus positions at their marks; exposure is gross; unrealised counts from the entries."""
    book = started(2, costs=False)
    book.place(0, 10_000)
    book.place(1, -5_000)
    book.candle(1, (100.0,) * 4, (100.0,) * 4)
    book.candle(2, (100.0, 101.0, 100.0, 101.0), (100.0, 100.0, 98.0, 98.0))
    assert book.account["cash"] == 9_500.0
    assert book.account["equity"] == 9_500.0 + 1_010.0 - 490.0
    assert book.account["gross_exposure"] == 1_500.0
    assert book.account["unrealised_pnl"] == 20.0


def test_account_missing_candle_keeps_the_last_mark() -> None:
    """A symbol without a candle is valued where it was, and its mark grows old."""
    book = started(2)
    book.candle(1, (101.0,) * 4, None)
    assert book.slots["mark_price"].tolist() == [101.0, 100.0]
    assert book.slots["mark_ns"].tolist() == [START_NS + 2 * MINUTE_NS, START_NS + MINUTE_NS]


def test_account_adopted_position_without_mark_is_worth_its_entry() -> None:
    """A position from before the first candle never makes equity NaN."""
    book = Book()
    book.fill(0, 1, 2.0, 50.0)
    assert book.account["equity"] == 10_000.0


def test_drawdown_falls_from_the_peak_and_remembers_its_worst() -> None:
    """Drawdown is counted from the highest equity; a new peak ends it, its worst stays."""
    book = holding(stop=50.0, target=200.0)
    book.candle(2, (110.0,) * 4)
    book.candle(3, (99.9,) * 4)
    assert book.account["peak_equity"] == 10_100.0
    assert book.account["drawdown_frac"] == pytest.approx(1 - 9_999 / 10_100)
    worst = book.account["max_drawdown_frac"]
    book.candle(4, (120.0,) * 4)
    assert (book.account["drawdown_frac"], book.account["max_drawdown_frac"]) == (0.0, worst)


def test_day_first_event_begins_it() -> None:
    """The first event ever rolls the day from zero."""
    book = Book()
    assert book.candle(0, (100.0,) * 4) == 1
    assert book.kinds == [CoreEvent.DAY_ROLLED]
    assert (book.account["day"], book.account["day_start_equity"]) == (START_NS // (86_400 * 10**9), 10_000.0)


def test_day_candle_closing_at_midnight_begins_the_new_one() -> None:
    """The day is that of the candle's close; its first equity is the equity then."""
    book = holding(stop=50.0, target=200.0)
    book.candle(2, (101.0,) * 4)
    assert book.candle(MIDNIGHT_MINUTE - 2, (102.0,) * 4) == 0
    assert book.candle(MIDNIGHT_MINUTE - 1, (103.0,) * 4) == 1
    assert (book.account["day_start_equity"], book.account["day_trades"]) == (10_030.0, 0)
    assert book.happened["price"][0] == 10_030.0


def test_day_realised_result_is_told_and_starts_again() -> None:
    """The event that ends a day says what it realised."""
    book = holding()
    book.candle(2, (100.0, 103.0, 100.0, 102.0))
    assert book.account["day_realised_pnl"] == 30.0
    kernels.on_time(book.desk, book.slots, START_NS + MIDNIGHT_MINUTE * MINUTE_NS, book.events)
    assert (book.events["pnl"][0], book.account["day_realised_pnl"]) == (30.0, 0.0)


def test_day_clock_that_steps_back_rolls_nothing() -> None:
    """A day is never begun twice."""
    book = started()
    assert kernels.on_time(book.desk, book.slots, START_NS - 3 * 86_400 * 10**9, book.events) == 0
    assert book.account["day"] == START_NS // (86_400 * 10**9)


def test_daily_loss_halts_once_and_lifts_on_the_next_day() -> None:
    """The halt is told once, survives a recovery within the day, and ends with the day."""
    book = holding(90_000, stop=10.0, target=400.0, max_daily_loss_frac=0.05, max_drawdown_frac=0.9)
    assert book.candle(2, (94.5,) * 4) == 0  # -4.95 %
    book.candle(3, (94.0,) * 4)  # -5.4 %
    assert book.kinds == [CoreEvent.HALTED]
    assert book.happened["reason"][0] == Halt.DAILY_LOSS
    assert book.candle(4, (93.0,) * 4) == 0
    assert book.candle(5, (99.0,) * 4) == 0
    assert book.account["halt_mask"] == Halt.DAILY_LOSS
    book.candle(MIDNIGHT_MINUTE, (99.0,) * 4)
    assert book.kinds == [CoreEvent.DAY_ROLLED, CoreEvent.RESUMED]
    assert book.account["halt_mask"] == 0


def test_drawdown_halts_and_stays_over_days() -> None:
    """A halt for drawdown waits for an owner."""
    book = holding(90_000, stop=10.0, target=400.0, max_daily_loss_frac=0.9, max_drawdown_frac=0.2)
    book.candle(2, (77.0,) * 4)  # -20.7 %
    assert book.happened["reason"].tolist() == [Halt.DRAWDOWN]
    book.candle(MIDNIGHT_MINUTE, (100.0,) * 4)
    assert book.account["halt_mask"] == Halt.DRAWDOWN


def test_time_without_candles_checks_limits_and_other_halts_stay() -> None:
    """Limits that were tightened bite at the next look, candle or not; a pause is not touched."""
    book = holding(stop=50.0, target=200.0)
    book.candle(2, (90.0,) * 4)
    book.account["halt_mask"] = int(Halt.PAUSED)
    book.desk["limits"]["max_daily_loss_frac"] = 0.005
    assert kernels.on_time(book.desk, book.slots, START_NS + 4 * MINUTE_NS, book.events) == 1
    assert book.account["halt_mask"] == Halt.PAUSED | Halt.DAILY_LOSS


def test_daily_loss_without_a_first_equity_is_none() -> None:
    """A day that has not begun has lost nothing."""
    book = started()
    book.account["day_start_equity"] = 0.0
    assert book.ask() == 0
    assert not math.isnan(book.account["equity"])
