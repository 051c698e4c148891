"""The router: approved requests become orders, what kernels report becomes exact rows, and nothing drifts."""

from __future__ import annotations

import logging
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.paper_desk import INSTRUMENTS, SYMBOLS, PaperDesk, candles_at
from trader.codes import CoreEvent, Halt, Reason, Side
from trader.core import kernels
from trader.core.records import new_events
from trader.domain.order import OrderEvent, OrderKind, OrderState
from trader.errors import OrderError
from trader.execution.paper import PaperVenue
from trader.execution.router import OrderRouter
from trader.execution.venue import Report

BTC = 0


@pytest.fixture
def desk(tmp_path):
    """Return a desk on which BTC costs 100."""
    desk = PaperDesk.open(tmp_path / "ledger.db")
    desk.feed(desk.candles(BTC, 100.0, 100.0, 100.0, 100.0, minute=1))
    yield desk
    desk.close()


def fills_of(settled):
    """Return what was executed."""
    return [item for item in settled if item.fill is not None]


def test_send_puts_an_acknowledged_order_in_flight(desk):
    """The order is in the journal with a deterministic id, and in the slot with its lots."""
    order = desk.enter(BTC, "0.5")
    assert (order.order_id, order.client_order_id, order.state) == (1, "main-1", OrderState.OPEN)
    assert (order.quantity, order.side, order.kind, order.strategy) == (
        Decimal("0.5"),
        Side.BUY,
        OrderKind.MARKET,
        "alpha",
    )
    assert desk.slots["pending_lots"][BTC] == 50_000
    assert desk.slots["pending_order"][BTC] == 1
    assert desk.slots["reserved"][BTC] > 50.0
    assert repr(desk.ledger.order(1)) == repr(order)


def test_send_sell_puts_negative_lots_in_flight(desk):
    """A short entry is signed."""
    desk.enter(BTC, "0.5", Side.SELL)
    assert desk.slots["pending_lots"][BTC] == -50_000


@pytest.mark.parametrize("quantity", ["0.000001", "0.5000001", "0"])
def test_send_quantity_off_the_lots_is_refused(desk, quantity):
    """A quantity that the venue can't execute never becomes an order."""
    with pytest.raises(OrderError, match="whole number of lots"):
        desk.enter(BTC, quantity)
    assert desk.slots["pending_lots"][BTC] == 0
    assert len(desk.router.tracker) == 0


def test_send_while_an_order_is_in_flight_is_refused(desk):
    """One order per symbol."""
    desk.enter(BTC, "0.5")
    with pytest.raises(OrderError, match="still in flight"):
        desk.enter(BTC, "0.5")


def test_settle_entry_is_exact(desk):
    """Bought 0.5 at 100 + 5 bps = 100.05: cash 10000 - 50.025 - 0.050025, and floats are the nearest to it."""
    desk.enter(BTC, "0.5")
    (item,) = fills_of(desk.feed(desk.candles(BTC, 100.0, 100.0, 100.0, 100.0, minute=2)))
    assert (item.kind, item.order.state) == (CoreEvent.ENTRY_FILLED, OrderState.FILLED)
    assert (item.fill.price, item.fill.quantity) == (Decimal("100.05"), Decimal("0.5"))
    assert item.fill.fee == Decimal("0.050025")
    assert desk.ledger.books.balance("USDT") == Decimal("9949.924975")
    assert desk.account["cash"] == 9949.924975
    assert desk.slots["quantity"][BTC] == 0.5
    assert desk.account["equity"] == 9949.924975 + 0.5 * 100.0
    assert desk.ledger.paper_balances()["USDT"] == Decimal("9949.924975")


def test_settle_stop_makes_the_order_that_the_plan_stood_for(desk):
    """A touched stop becomes a STOP order, filled, that reduces, of the strategy that opened."""
    desk.enter(BTC, "0.5", strategy=1)
    desk.feed(desk.candles(BTC, 100.0, 100.0, 100.0, 100.0, minute=2))
    (item,) = fills_of(desk.feed(desk.candles(BTC, 100.0, 100.0, 90.0, 95.0, minute=3)))
    order = item.order
    assert (order.order_id, order.kind, order.state, order.reason) == (
        2,
        OrderKind.STOP,
        OrderState.FILLED,
        Reason.STOP,
    )
    assert (order.side, order.reduce_only, order.strategy) == (Side.SELL, True, "beta")
    assert item.round_trip.exit_reason is Reason.STOP
    assert item.round_trip.pnl == desk.ledger.books.balance("USDT") - 10_000
    assert desk.slots["quantity"][BTC] == 0


def test_settle_target_makes_a_target_order(desk):
    """A touched target is a TARGET order and pays no slippage: 100.05 x 1.006 down to a tick is 100.65."""
    desk.enter(BTC, "0.5")
    desk.feed(desk.candles(BTC, 100.0, 100.0, 100.0, 100.0, minute=2))
    (item,) = fills_of(desk.feed(desk.candles(BTC, 100.0, 110.0, 100.0, 105.0, minute=3)))
    assert (item.order.kind, item.fill.price) == (OrderKind.TARGET, Decimal("100.65"))


def test_settle_time_exit_gets_an_order_and_fills_at_the_next_open(desk):
    """A position held too long asks for its end: the order exists before it fills."""
    desk.enter(BTC, "0.5")
    desk.feed(desk.candles(BTC, 100.0, 100.0, 100.0, 100.0, minute=2))
    settled = desk.feed(desk.candles(BTC, 100.0, 100.0, 100.0, 100.0, minute=70))
    (asked,) = [item for item in settled if item.kind is CoreEvent.EXIT_REQUESTED]
    assert (asked.order.reason, asked.order.state) == (Reason.TIME, OrderState.OPEN)
    assert desk.slots["pending_order"][BTC] == asked.order.order_id
    (item,) = fills_of(desk.feed(desk.candles(BTC, 101.0, 101.0, 101.0, 101.0, minute=71)))
    assert item.order.order_id == asked.order.order_id
    assert item.round_trip.exit_reason is Reason.TIME


def test_settle_entry_that_no_longer_fits_is_rejected(desk):
    """An open far above what was reserved: rejected, journaled, nothing in flight, nothing moved."""
    desk.enter(BTC, "99")
    settled = desk.feed(desk.candles(BTC, 200.0, 200.0, 200.0, 200.0, minute=2))
    (item,) = [item for item in settled if item.kind is CoreEvent.ORDER_REJECTED]
    assert item.order.state is OrderState.REJECTED
    assert "no longer fits" in item.order.note
    assert desk.slots["pending_lots"][BTC] == 0
    assert desk.ledger.books.balances == {"USDT": Decimal(10_000)}
    assert len(desk.router.tracker) == 0


def test_settle_day_and_halt_are_journaled(desk):
    """A loss beyond the day's limit halts, once, and the next day begins."""
    desk.enter(BTC, "90")
    desk.feed(desk.candles(BTC, 100.0, 100.0, 100.0, 100.0, minute=2))
    settled = desk.feed(desk.candles(BTC, 90.0, 90.0, 90.0, 90.0, minute=3))
    halted = [item.halt for item in settled if item.kind is CoreEvent.HALTED]
    assert halted == [Halt.DAILY_LOSS]
    settled = desk.feed(desk.candles(BTC, 90.0, 90.0, 90.0, 90.0, minute=1445))
    kinds = {item.kind for item in settled}
    assert {CoreEvent.DAY_ROLLED, CoreEvent.RESUMED} <= kinds


def test_settle_nothing_is_nothing(desk):
    """No event, no row."""
    assert desk.router.settle(new_events(3), 0) == []


def test_close_sends_the_whole_position(desk):
    """An owner's close is a market order for all of it, and a second one finds it on its way."""
    desk.enter(BTC, "0.5")
    desk.feed(desk.candles(BTC, 100.0, 100.0, 100.0, 100.0, minute=2))
    order = desk.router.close(BTC, Reason.OWNER_CLOSE, decision_id=5)
    assert (order.side, order.quantity, order.reduce_only, order.decision_id) == (Side.SELL, Decimal("0.5"), True, 5)
    assert desk.router.close(BTC, Reason.OWNER_CLOSE) is None
    (item,) = fills_of(desk.feed(desk.candles(BTC, 100.0, 100.0, 100.0, 100.0, minute=3)))
    assert item.round_trip.exit_reason is Reason.OWNER_CLOSE
    assert desk.router.close(BTC, Reason.OWNER_CLOSE) is None


def test_close_withdraws_an_entry_in_flight(desk):
    """Closing what isn't open yet takes the entry back, reservation and all."""
    desk.enter(BTC, "0.5")
    assert desk.router.close(BTC, Reason.OWNER_FLATTEN) is None
    assert desk.ledger.order(1).state is OrderState.CANCELED
    assert desk.slots["pending_lots"][BTC] == 0
    assert desk.slots["reserved"][BTC] == 0
    assert fills_of(desk.feed(desk.candles(BTC, 100.0, 100.0, 100.0, 100.0, minute=2))) == []


def test_withdraw_entry_leaves_an_exit_alone(desk):
    """Only what opens risk is withdrawn."""
    desk.enter(BTC, "0.5")
    desk.feed(desk.candles(BTC, 100.0, 100.0, 100.0, 100.0, minute=2))
    desk.router.close(BTC, Reason.OWNER_CLOSE)
    assert desk.router.withdraw_entry(BTC) is None
    assert desk.slots["pending_lots"][BTC] == -50_000


def test_cancel_without_order_is_none(desk):
    """There is nothing to cancel."""
    assert desk.router.cancel(BTC) is None


def test_receive_a_cancel_of_the_venue_frees_the_slot(desk):
    """What the venue ends is no longer in flight."""
    order = desk.enter(BTC, "0.5")
    (ended,) = desk.router.receive([Report(order.order_id, OrderEvent.EXPIRE, note="venue closed")])
    assert (ended.state, ended.note) == (OrderState.EXPIRED, "venue closed")
    assert desk.slots["pending_lots"][BTC] == 0


def test_rejecting_venue_leaves_nothing_in_flight(desk):
    """A venue's no is final and moves nothing."""

    class FullVenue(PaperVenue):
        def submit(self, order):
            return (Report(order.order_id, OrderEvent.REJECT, note="full"),)

    venue = FullVenue(desk.ledger)
    desk.router = OrderRouter(
        desk.ledger, desk.ledger.books, venue, desk.desk, desk.slots, SYMBOLS, INSTRUMENTS, "main"
    )
    order = desk.enter(BTC, "0.5")
    assert (order.state, order.note) == (OrderState.REJECTED, "full")
    assert desk.slots["pending_lots"][BTC] == 0


def test_settle_on_a_venue_that_matches_itself_is_refused(desk):
    """Kernels must not invent fills of a real exchange."""

    class Exchange:
        name = "exchange"

        def submit(self, order):
            return (Report(order.order_id, OrderEvent.ACKNOWLEDGE),)

    desk.router = OrderRouter(
        desk.ledger, desk.ledger.books, Exchange(), desk.desk, desk.slots, SYMBOLS, INSTRUMENTS, "main"
    )
    desk.enter(BTC, "0.5")
    with pytest.raises(OrderError, match="exchange"):
        desk.feed(desk.candles(BTC, 100.0, 100.0, 100.0, 100.0, minute=2))


def test_settle_same_events_twice_is_refused(desk):
    """An execution counts once, whoever repeats it."""
    desk.enter(BTC, "0.5")
    events = new_events(3)
    n = kernels.on_candles(desk.desk, desk.slots, desk.candles(BTC, 100.0, 100.0, 100.0, 100.0, minute=2), 1, events)
    desk.router.settle(events, n)
    cash = desk.ledger.books.balance("USDT")
    with pytest.raises(OrderError):
        desk.router.settle(events, n)
    assert desk.ledger.books.balance("USDT") == cash == desk.ledger.paper_balances()["USDT"]


def test_settle_order_for_more_than_is_left_ends_its_rest(desk):
    """An exit that finds less than it was ordered for fills that and is canceled for the rest."""
    desk.enter(BTC, "0.5")
    desk.feed(desk.candles(BTC, 100.0, 100.0, 100.0, 100.0, minute=2))
    order = desk.router.close(BTC, Reason.OWNER_CLOSE)
    desk.slots["pending_lots"][BTC] = -60_000
    desk.router.tracker._live[order.order_id] = replace(order, quantity=Decimal("0.6"))
    desk.feed(desk.candles(BTC, 100.0, 100.0, 100.0, 100.0, minute=3))
    ended = desk.ledger.order(order.order_id)
    assert (ended.state, ended.filled_quantity) == (OrderState.CANCELED, Decimal("0.5"))
    assert desk.ledger.books.quantity("BTC/USDT") == 0


def test_announce_tells_each_thing_once(desk, caplog):
    """Logs hear of an order, its fill and the round trip after the commit, and once."""
    caplog.set_level(logging.INFO)
    desk.enter(BTC, "0.5")
    desk.feed(desk.candles(BTC, 100.0, 100.0, 100.0, 100.0, minute=2))
    desk.feed(desk.candles(BTC, 100.0, 100.0, 90.0, 95.0, minute=3))
    assert caplog.records == []
    desk.router.announce()
    events = [record.event for record in caplog.records]
    assert events == ["order.sent", "order.filled", "position.opened", "order.filled", "position.closed"]
    desk.router.announce()
    assert len(caplog.records) == len(events)


def test_open_orders_are_known_after_a_restart(tmp_path):
    """An order in flight before a restart fills after it, as the same order."""
    desk = PaperDesk.open(tmp_path / "ledger.db")
    desk.feed(candles_at(1))
    order = desk.enter(1, "0.5")
    desk.commit()
    desk.close()
    desk = PaperDesk.open(tmp_path / "ledger.db")
    assert [item.order_id for item in desk.router.tracker.live()] == [order.order_id]
    (item,) = fills_of(desk.feed(candles_at(2)))
    assert item.order.order_id == order.order_id
    assert len(desk.router.tracker) == 0
    desk.close()
