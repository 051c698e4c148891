"""The tracker: every step by the table, every other one refused with nothing changed."""

from __future__ import annotations

from decimal import Decimal

import pytest

from trader.codes import Reason, Side
from trader.domain.order import TERMINAL, TRANSITIONS, Order, OrderEvent, OrderKind, OrderState
from trader.errors import IllegalTransition, OrderError, Overfill
from trader.execution.tracker import OrderTracker

FILLS = {OrderEvent.FILL_PART, OrderEvent.FILL_REST}
LEGAL = [(s, e) for s in OrderState for e in OrderEvent if e in TRANSITIONS[s] and e not in FILLS]
ILLEGAL = [(s, e) for s in OrderState for e in OrderEvent if e not in TRANSITIONS[s] and e not in FILLS]
NO_FILL = [s for s in OrderState if not FILLS & TRANSITIONS[s].keys()]


class Rows:
    """A journal in memory."""

    def __init__(self):
        self.orders, self.events = {}, []

    def record_order(self, order):
        """Keep a new order."""
        self.orders[order.order_id] = order

    def update_order(self, order, event=None):
        """Keep an order and its event."""
        self.orders[order.order_id] = order
        self.events.append(event)

    def order(self, order_id):
        """Return an order."""
        return self.orders.get(order_id)


def order(state=OrderState.INTENDED, filled="0"):
    """Return an order of 2."""
    return Order(
        1, "main-1", "BTC/USDT", Side.BUY, OrderKind.MARKET, Decimal(2), Decimal(filled), state, Reason.SIGNAL,
        "alpha", False, 1, 5, 5,
    )  # fmt: skip


def tracked(state, filled="0"):
    """Return a tracker of one order in a state, and its journal."""
    rows = Rows()
    rows.record_order(order(state, filled))
    return OrderTracker(rows, [order(state, filled)] if state not in TERMINAL else []), rows


def test_begin_journals_the_intent_before_the_submit():
    """The intent is a row of its own before anything is handed over."""
    rows = Rows()
    tracker = OrderTracker(rows)
    assert tracker.begin(order()).state is OrderState.SUBMITTED
    assert rows.events == [OrderEvent.SUBMIT]
    assert len(tracker) == 1


@pytest.mark.parametrize(("state", "event"), LEGAL)
def test_step_listed_event_moves_and_is_journaled(state, event):
    """A listed event leads where the table says; a terminal order is no longer live."""
    tracker, rows = tracked(state)
    moved = tracker.step(1, event, 9, venue_order_id="v", note="n")
    assert (moved.state, moved.updated_ns) == (TRANSITIONS[state][event], 9)
    assert (moved.venue_order_id, moved.note, rows.events) == ("v", "n", [event])
    assert (len(tracker) == 0) == (moved.state in TERMINAL)


@pytest.mark.parametrize(("state", "event"), ILLEGAL)
def test_step_unlisted_event_raises_and_keeps_state(state, event):
    """An unlisted event changes nothing."""
    tracker, rows = tracked(state)
    with pytest.raises(IllegalTransition):
        tracker.step(1, event, 9)
    assert repr(tracker.get(1)) == repr(order(state))
    assert rows.events == []


def test_fill_in_parts_fills():
    """1.5 of 2 is a part, the other 0.5 is the rest."""
    tracker, rows = tracked(OrderState.OPEN)
    assert tracker.fill(1, Decimal("1.5"), 9).state is OrderState.PARTIAL
    done = tracker.fill(1, Decimal("0.5"), 9)
    assert (done.state, done.filled_quantity) == (OrderState.FILLED, 2)
    assert rows.events == [OrderEvent.FILL_PART, OrderEvent.FILL_REST]
    assert tracker.live() == ()


def test_fill_beyond_the_order_raises_and_keeps_it():
    """One lot too many is an overfill, with both numbers in the text."""
    tracker, rows = tracked(OrderState.PARTIAL, "1.5")
    with pytest.raises(Overfill, match=r"0\.50001 more would make 2\.00001 filled of 2"):
        tracker.fill(1, Decimal("0.50001"), 9)
    assert tracker.get(1).filled_quantity == Decimal("1.5")
    assert rows.events == []


@pytest.mark.parametrize("state", NO_FILL)
def test_fill_of_an_order_that_takes_none_raises(state):
    """Rejected, lost, filled and not yet sent orders take no fill."""
    tracker, rows = tracked(state)
    with pytest.raises(IllegalTransition):
        tracker.fill(1, Decimal(1), 9)
    assert rows.events == []


def test_fill_that_raced_the_cancel_still_counts():
    """A fill after the cancel is a fill: the order is found in the journal."""
    tracker, _ = tracked(OrderState.CANCELED)
    assert tracker.fill(1, Decimal(1), 9).state is OrderState.CANCELED
    assert tracker.fill(1, Decimal(1), 9).state is OrderState.FILLED


def test_get_unknown_order_raises():
    """An order that nobody sent is an error, not a None."""
    with pytest.raises(OrderError, match="no order 7"):
        OrderTracker(Rows()).get(7)
