"""Orders at the open and plans inside a candle."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.unit.core.desks import MINUTE_NS, START_NS, Book, holding, started
from trader.codes import CoreEvent, Reason
from trader.core import kernels
from trader.core.records import CANDLE, new_events

LONG, SHORT = 10_000, -10_000  # ten units at 100


@pytest.mark.parametrize(
    ("lots", "candle", "reason", "price"),
    [
        # long from 100: stop 98, target 103
        (LONG, (97.0, 99.0, 96.0, 98.5), Reason.STOP_GAP, 97.0),
        (LONG, (98.0, 99.0, 97.0, 98.5), Reason.STOP_GAP, 98.0),  # opened on the stop: no gap to speak of, same price
        (LONG, (100.0, 101.0, 98.0, 99.0), Reason.STOP, 98.0),
        (LONG, (100.0, 105.0, 97.0, 104.0), Reason.STOP, 98.0),  # both inside: the stop is assumed first
        (LONG, (104.0, 105.0, 103.5, 104.0), Reason.TARGET_GAP, 104.0),
        (LONG, (100.0, 103.0, 99.0, 102.0), Reason.TARGET, 103.0),
        # short from 100: stop 102, target 97
        (SHORT, (103.0, 104.0, 101.0, 102.0), Reason.STOP_GAP, 103.0),
        (SHORT, (100.0, 102.0, 99.0, 100.0), Reason.STOP, 102.0),
        (SHORT, (100.0, 103.0, 96.0, 97.0), Reason.STOP, 102.0),
        (SHORT, (96.0, 97.0, 95.0, 96.0), Reason.TARGET_GAP, 96.0),
        (SHORT, (100.0, 101.0, 97.0, 98.0), Reason.TARGET, 97.0),
    ],
)
def test_exit_inside_candle_ends_at_the_conventions_price(
    lots: int, candle: tuple[float, float, float, float], reason: Reason, price: float
) -> None:
    """Each level and gap ends a position with its reason, at its price."""
    book = holding(lots)
    assert book.candle(2, candle) == 1
    event = book.happened[0]
    assert (event["kind"], event["reason"], event["price"]) == (CoreEvent.EXIT_FILLED, reason, price)
    assert event["pnl"] == pytest.approx((price - 100.0) * lots / 1000)
    assert book.slots["quantity"][0] == 0.0


@pytest.mark.parametrize("lots", [LONG, SHORT])
def test_exit_inside_candle_between_the_levels_stays(lots: int) -> None:
    """A candle that touches neither level ends nothing."""
    book = holding(lots)
    assert book.candle(2, (100.0, 101.5, 98.5, 101.0)) == 0
    assert book.account["equity"] == 10_000.0 + lots / 1000


@pytest.mark.parametrize(
    ("candle", "time_ns"),
    [
        ((97.0, 99.0, 96.0, 98.5), START_NS + 2 * MINUTE_NS),  # at the open
        ((100.0, 101.0, 97.0, 98.5), START_NS + 3 * MINUTE_NS),  # some time inside: known at the close
    ],
)
def test_exit_gap_and_touch_have_their_own_times(candle: tuple[float, float, float, float], time_ns: int) -> None:
    """A gap ends a position at the candle's open, a touch is known at its close."""
    book = holding()
    book.candle(2, candle)
    assert book.happened["time_ns"][0] == time_ns == book.slots["last_close_ns"][0]


def test_exit_stop_pays_slippage_and_target_does_not() -> None:
    """A stop turns into a market order; a target is a resting limit."""
    for candle, price in (((100.0, 101.0, 97.0, 98.0), 97.95), ((100.0, 104.0, 99.0, 103.0), 103.0)):
        book = holding()
        book.slots["slippage_frac"] = 0.0005  # 98 x 0.9995 = 97.951, down
        book.candle(2, candle)
        assert book.happened["price"][0] == price


def test_exit_entry_candle_itself_can_stop() -> None:
    """A position can end in the candle that it was opened in."""
    book = started(costs=False)
    book.place(0, LONG)
    assert book.candle(1, (100.0, 100.5, 97.0, 97.5)) == 2
    assert book.kinds == [CoreEvent.ENTRY_FILLED, CoreEvent.EXIT_FILLED]
    assert book.account["cash"] == 9_980.0  # ten units, 100 to 98


def test_trailing_stop_follows_the_best_price_before_the_candle() -> None:
    """A candle's own high raises the trailing stop for the next candle, not for itself."""
    book = holding(trailing_stop_frac=0.01, take_profit_frac=math.nan)
    assert book.candle(2, (100.0, 110.0, 99.5, 109.5)) == 0  # 1 % below 110 would have been hit at 99.5
    assert book.slots["best_price"][0] == 110.0
    assert book.candle(3, (109.5, 109.8, 108.0, 109.0)) == 1
    assert (book.happened["reason"][0], book.happened["price"][0]) == (Reason.TRAILING, 108.9)


def test_trailing_stop_opened_beyond_fills_at_the_open() -> None:
    """A gap through the trailing stop fills at the open."""
    book = holding(SHORT, trailing_stop_frac=0.01, take_profit_frac=math.nan)
    book.candle(2, (100.0, 100.5, 90.0, 91.0))  # best 90: stop 90.9
    book.candle(3, (95.0, 96.0, 94.0, 95.0))
    assert (book.happened["reason"][0], book.happened["price"][0]) == (Reason.TRAILING, 95.0)


def test_time_exit_is_asked_for_and_fills_at_the_next_open() -> None:
    """A position held too long is asked to end, once, and ends with the next price."""
    book = holding(max_hold_ns=3 * MINUTE_NS)
    assert book.candle(2, (100.0, 101.0, 99.0, 100.0)) == 0
    assert book.candle(3, (100.0, 101.0, 99.0, 100.0)) == 1  # entered 11:31, closes 11:34
    assert book.kinds == [CoreEvent.EXIT_REQUESTED]
    assert book.slots["pending_lots"][0] == -LONG
    assert kernels.on_time(book.desk, book.slots, START_NS + 10 * MINUTE_NS, book.events) == 0
    book.candle(4, (100.5, 101.0, 99.0, 100.0))
    assert (book.happened["reason"][0], book.happened["price"][0]) == (Reason.TIME, 100.5)
    assert book.account["pending_orders"] == 0


def test_exchange_mode_asks_for_the_exit_and_fills_nothing() -> None:
    """Where a venue fills, an order waits for it, and an exit is asked for once."""
    book = holding()
    assert book.candle(2, (100.0, 101.0, 97.0, 98.0), match=0) == 1
    event = book.happened[0]
    assert (event["kind"], event["reason"], event["lots"]) == (CoreEvent.EXIT_REQUESTED, Reason.STOP, LONG)
    assert book.candle(3, (97.0, 98.0, 96.0, 97.0), match=0) == 0
    assert book.slots["quantity"][0] == 10.0
    assert book.account["equity"] == 9_970.0


def test_entry_that_no_longer_fits_is_rejected() -> None:
    """An entry whose price ran away from the capital is rejected, with its numbers, and leaves no trace."""
    book = started(max_symbol_exposure_frac=1.0, risk_per_trade_frac=1.0)
    assert book.ask() == 0
    book.place(0, int(book.verdict["lots"]))
    book.candle(1, (101.0, 101.0, 101.0, 101.0))
    event = book.happened[0]
    assert (event["kind"], event["order"], event["side"], event["price"]) == (CoreEvent.ORDER_REJECTED, 100, 1, 101.06)
    assert (book.account["pending_orders"], book.account["cash"], book.slots["reserved"][0]) == (0, 10_000.0, 0.0)


def test_entry_takes_capital_that_a_close_frees_at_the_same_open() -> None:
    """What reduces fills before what opens, whatever the order of the slots."""
    book = started(2, costs=False, max_symbol_exposure_frac=1.0)
    book.place(1, 90_000)
    book.candle(1, (100.0,) * 4, (100.0,) * 4)
    book.place(0, 90_000)
    book.place(1, -90_000, reason=Reason.STRATEGY_EXIT)
    book.candle(2, (100.0,) * 4, (100.0,) * 4)
    assert book.kinds == [CoreEvent.EXIT_FILLED, CoreEvent.ENTRY_FILLED]


def test_close_whose_position_is_gone_is_rejected() -> None:
    """A close never opens the opposite position."""
    book = holding()
    book.place(0, -LONG, reason=Reason.OWNER_CLOSE)
    book.fill(0, -1, 4.0, 100.0)  # some of it went another way
    assert book.slots["pending_lots"][0] == -6_000
    book.slots["pending_lots"] = -LONG
    book.candle(2, (100.0, 100.0, 100.0, 100.0))
    assert book.happened["lots"].tolist() == [6_000]
    book.place(0, 0)
    assert book.slots["quantity"][0] == 0.0


def test_close_of_a_flat_symbol_is_rejected() -> None:
    """An order that was a close when it was placed stays one."""
    book = holding()
    book.place(0, -LONG, reason=Reason.OWNER_CLOSE)
    record = book.slots[0]
    record["quantity"] = 0.0
    book.account["open_positions"] = 0
    book.account["cash"] = 10_000.0
    book.candle(2, (100.0, 100.0, 100.0, 100.0))
    assert book.kinds == [CoreEvent.ORDER_REJECTED]
    assert record["quantity"] == 0.0


GOOD = (0, START_NS + 5 * MINUTE_NS, START_NS + 6 * MINUTE_NS, 100.0, 101.0, 99.0, 100.5, 1.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("open", math.nan),
        ("high", math.inf),
        ("low", math.nan),
        ("close", math.nan),
        ("close", -math.inf),
        ("low", 0.0),
        ("low", -1.0),
        ("high", 98.0),
        ("open", 102.0),
        ("close", 98.0),
        ("high", 1e300),
        ("slot", 1),
        ("slot", -1),
        ("close_ns", START_NS + MINUTE_NS),
    ],
)
def test_candle_impossible_row_is_as_if_absent(field: str, value: float) -> None:
    """An impossible, foreign or old candle marks nothing, fills nothing and ends nothing."""
    book = started()
    book.place(0, LONG)
    candles = np.zeros(1, CANDLE)
    candles[0] = GOOD
    candles[field] = value
    before = (book.desk.tobytes(), book.slots.tobytes())
    assert book.play(candles) == 0
    assert (book.desk.tobytes(), book.slots.tobytes()) == before


def test_candle_good_row_after_a_bad_one_counts() -> None:
    """One symbol's nonsense is not another's."""
    book = started(2)
    assert book.candle(1, (math.nan,) * 4, (101.0,) * 4) == 0
    assert book.slots["mark_price"].tolist() == [100.0, 101.0]


def test_candle_repeated_event_changes_nothing() -> None:
    """The same candle again fills nothing twice."""
    book = started()
    book.place(0, LONG)
    book.candle(1, (100.0,) * 4)
    before = (book.desk.tobytes(), book.slots.tobytes())
    assert book.candle(1, (90.0, 91.0, 89.0, 90.0)) == 0
    assert (book.desk.tobytes(), book.slots.tobytes()) == before


def test_candle_same_slot_twice_in_one_event_counts_once() -> None:
    """Rows ascend by slot; a second row for a slot is ignored."""
    book = started()
    candles = np.zeros(2, CANDLE)
    candles[0] = GOOD
    candles[1] = GOOD
    candles[1]["close_ns"] += MINUTE_NS
    book.play(candles)
    assert book.slots["candle_ns"][0] == GOOD[2]


def test_events_too_small_refuses_and_changes_nothing() -> None:
    """No event is ever dropped for want of room."""
    book = Book(3)
    before = book.desk.tobytes()
    small = new_events(2)
    assert kernels.on_candles(book.desk, book.slots, np.zeros(0, CANDLE), 1, small) == -1
    assert kernels.on_time(book.desk, book.slots, START_NS, small) == -1
    assert kernels.apply_fill(book.desk, book.slots, 0, 1, 1.0, 1.0, 0.0, START_NS, 1, small, len(small) - 1) == -1
    assert book.desk.tobytes() == before


def test_events_busiest_event_fits_the_room() -> None:
    """Every symbol closing, day roll and both halts at once stay within `new_events`."""
    book = started(3, costs=False, max_symbol_exposure_frac=1.0, max_daily_loss_frac=0.1, max_drawdown_frac=0.1)
    for slot in range(3):
        book.place(slot, 30_000)
    book.candle(1, *[(100.0,) * 4] * 3)
    count = book.candle(2, *[(70.0,) * 4] * 3)
    assert book.kinds == [CoreEvent.EXIT_FILLED] * 3 + [CoreEvent.HALTED] * 2
    assert count == 5
