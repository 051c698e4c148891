"""What an execution does to position, cash and results."""

from __future__ import annotations

import math

import pytest

from tests.unit.core.desks import START_NS, started
from trader.codes import CoreEvent, Reason
from trader.core import kernels


def test_fill_partial_close_takes_its_share_of_the_entry_fees() -> None:
    """Closing a quarter realises a quarter of the entry fees."""
    book = started()
    book.fill(0, 1, 8.0, 100.0, fee=0.8)
    book.fill(0, -1, 2.0, 110.0, fee=0.22)
    assert book.happened["pnl"][0] == pytest.approx(2 * 10 - 0.22 - 0.2)
    assert book.slots["entry_fees"][0] == pytest.approx(0.6)
    assert (book.slots["quantity"][0], book.slots["entry_price"][0], book.account["round_trips"]) == (6.0, 100.0, 0)
    assert book.account["cash"] == pytest.approx(10_000 - 800.8 + 219.78)


def test_fill_adding_averages_the_entry_price() -> None:
    """Two parts at 100 and one at 130 make 110; one entry of the day."""
    book = started()
    book.fill(0, 1, 2.0, 100.0)
    book.fill(0, 1, 1.0, 130.0)
    assert book.slots["entry_price"][0] == pytest.approx(110.0)
    assert (book.account["day_trades"], book.account["open_positions"]) == (1, 1)


@pytest.mark.parametrize("side", [1, -1])
def test_fill_flip_is_close_and_open(side: int) -> None:
    """A fill through zero gives what a close and an entry give, in two events."""
    flipped, stepped = started(), started()
    for book in (flipped, stepped):
        book.fill(0, side, 4.0, 100.0, fee=0.4)
    assert flipped.fill(0, -side, 10.0, 105.0, fee=1.05) == 2
    assert flipped.kinds == [CoreEvent.EXIT_FILLED, CoreEvent.ENTRY_FILLED]
    assert flipped.happened["position_id"].tolist() == [1, 2]
    stepped.fill(0, -side, 4.0, 105.0, fee=0.42)
    stepped.fill(0, -side, 6.0, 105.0, fee=0.63)
    for name in (
        "cash",
        "equity",
        "realised_pnl",
        "fees_paid",
        "round_trips",
        "wins",
        "losses",
        "open_positions",
        "day_trades",
    ):
        assert flipped.account[name] == pytest.approx(stepped.account[name]), name
    for name in ("quantity", "entry_price", "entry_fees", "stop_price", "target_price", "position_id"):
        assert flipped.slots[name][0] == pytest.approx(stepped.slots[name][0]), name


def test_fill_results_count_wins_losses_and_streak() -> None:
    """A loss adds to the streak, a win ends it, a round trip at zero does neither."""
    book = started()
    for price in (99.0, 98.0, 100.0):
        book.fill(0, 1, 1.0, 100.0)
        book.fill(0, -1, 1.0, price)
    assert (book.account["losses"], book.account["wins"], book.account["loss_streak"]) == (2, 0, 2)
    book.fill(0, 1, 1.0, 100.0)
    book.fill(0, -1, 1.0, 101.0)
    assert (book.account["round_trips"], book.account["wins"], book.account["loss_streak"]) == (4, 1, 0)


def test_fill_result_of_zero_is_no_loss_by_the_noise_of_floats() -> None:
    """99.9 to 100.1 earns 0.2 a unit and costs 0.2 in fees."""
    book = started()
    book.fill(0, 1, 3.7, 99.9, fee=3.7 * 99.9 * 0.001)
    book.fill(0, -1, 3.7, 100.1, fee=3.7 * 100.1 * 0.001)
    assert book.happened["pnl"][0] != 0.0, "the noise is there"
    assert (book.account["round_trips"], book.account["wins"], book.account["losses"]) == (1, 0, 0)


def test_fill_of_order_in_flight_uses_it_up_and_keeps_its_plan() -> None:
    """Parts of an entry release its reserve by their share and share its plan and id."""
    book = started()
    book.place(0, 4_000, stop=95.5, target=120.25)
    reserved = book.slots["reserved"][0]
    book.fill(0, 1, 1.0, 100.0)
    assert book.slots["reserved"][0] == pytest.approx(reserved * 0.75)
    assert (book.slots["stop_price"][0], book.slots["target_price"][0], book.slots["strategy"][0]) == (95.5, 120.25, 0)
    book.fill(0, 1, 3.0, 101.0)
    assert book.happened["order"][0] == 100
    assert (book.account["pending_orders"], book.slots["reserved"][0], book.slots["pending_order"][0]) == (0, 0.0, 0)


def test_fill_dust_of_a_lot_is_no_position() -> None:
    """What floats leave over after a full close is nothing."""
    book = started()
    for _ in range(3):
        book.fill(0, 1, 0.1, 100.0)
    book.fill(0, -1, 0.3, 100.0)
    assert (book.slots["quantity"][0], book.account["open_positions"], book.account["round_trips"]) == (0.0, 0, 1)


@pytest.mark.parametrize(
    ("slot", "side", "quantity", "price", "fee"),
    [
        (1, 1, 1.0, 1.0, 0.0),
        (-1, 1, 1.0, 1.0, 0.0),
        (0, 0, 1.0, 1.0, 0.0),
        (0, 2, 1.0, 1.0, 0.0),
        (0, 1, 0.0, 1.0, 0.0),
        (0, 1, math.nan, 1.0, 0.0),
        (0, 1, 1.0, math.inf, 0.0),
        (0, 1, 1.0, -1.0, 0.0),
        (0, 1, 1.0, 1.0, math.nan),
    ],
)
def test_fill_impossible_changes_nothing(slot: int, side: int, quantity: float, price: float, fee: float) -> None:
    """A fill that can't be is refused whole."""
    book = started()
    before = (book.desk.tobytes(), book.slots.tobytes())
    assert book.fill(slot, side, quantity, price, fee) == -1
    assert (book.desk.tobytes(), book.slots.tobytes()) == before


@pytest.mark.parametrize(
    ("side", "price", "stop", "target"),
    [
        (1, 100.07, 98.07, 103.07),  # 98.0686 up, 103.0721 down: both towards the entry
        (-1, 100.07, 102.07, 97.07),  # 102.0714 down, 97.0679 up
        (1, 0.10, 0.09, 0.11),  # 0.098 would land on the entry: one tick away instead
        (-1, 0.10, 0.11, 0.09),
    ],
)
def test_plan_default_levels_are_on_the_grid_towards_the_entry(
    side: int, price: float, stop: float, target: float
) -> None:
    """Default stop and target count from the fill price, on ticks, never on the entry itself."""
    book = started()
    book.fill(0, side, 1.0, price)
    assert (book.slots["stop_price"][0], book.slots["target_price"][0]) == (stop, target)


def test_plan_attached_later_keeps_what_was_given() -> None:
    """An adopted position gets the plan it is given, and defaults for the rest."""
    book = started(max_hold_ns=5, trailing_stop_frac=0.05)
    book.fill(0, 1, 1.0, 100.0, reason=Reason.UNEXPLAINED)
    kernels.attach_plan(book.desk, book.slots, 0, 90.001, math.nan)
    slot = book.slots[0]
    assert (slot["stop_price"], slot["target_price"], slot["trailing_stop_frac"]) == (90.01, 103.0, 0.05)
    assert slot["expires_ns"] == slot["entry_ns"] + 5 > START_NS


def test_plan_flat_symbol_gets_none() -> None:
    """No position, no plan."""
    book = started()
    kernels.attach_plan(book.desk, book.slots, 0, 90.0, 110.0)
    assert math.isnan(book.slots["stop_price"][0])


def test_place_replaces_and_cancel_releases() -> None:
    """At most one order is in flight per symbol; cancelling frees its reserve; both can be repeated."""
    book = started()
    book.place(0, 1_000)
    book.place(0, 2_000)
    assert (book.account["pending_orders"], book.slots["reserved"][0]) == (1, pytest.approx(200 * 1.0005 * 1.001))
    for _ in range(2):
        kernels.cancel(book.desk, book.slots, 0)
        assert (book.account["pending_orders"], book.slots["reserved"][0], book.slots["pending_lots"][0]) == (0, 0.0, 0)
