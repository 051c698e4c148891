"""The paper venue: takes orders, executes in exact amounts, keeps its own balances."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.paper_desk import INSTRUMENTS
from trader.codes import Reason, Side
from trader.domain.order import Order, OrderEvent, OrderKind, OrderState
from trader.errors import OrderError
from trader.execution.paper import PaperVenue
from trader.execution.venue import MatchedVenue


class Store:
    def __init__(self):
        self.amounts = {"USDT": Decimal(1000)}

    def paper_balances(self):
        """Return the amounts."""
        return dict(self.amounts)

    def set_paper_balance(self, currency, amount):
        """Keep an amount."""
        self.amounts[currency] = amount


ORDER = Order(
    3, "main-3", "BTC/USDT", Side.BUY, OrderKind.MARKET, Decimal("0.002"), Decimal(0), OrderState.OPEN, Reason.SIGNAL,
    "alpha", False, 1, 5, 5,
)  # fmt: skip


@pytest.fixture
def store():
    """Return a store that holds 1000 USDT."""
    return Store()


def execute(venue, order=ORDER, lots=200, ticks=4_200_000, fee="0.084"):
    """Execute an order with the numbers of the tests."""
    return venue.execute(
        order, INSTRUMENTS[0], lots=lots, ticks=ticks, fee=Decimal(fee), time_ns=9, reason=Reason.SIGNAL
    )


def test_submit_acknowledges_at_once(store):
    """An order has its id at the venue, and nothing is left to deliver."""
    venue = PaperVenue(store)
    assert isinstance(venue, MatchedVenue)
    (report,) = venue.submit(ORDER)
    assert (report.event, report.venue_order_id) == (OrderEvent.ACKNOWLEDGE, "paper-3")
    venue.deliver()


def test_submit_same_client_order_id_is_rejected(store):
    """A live client order id is taken once, also across a restart."""
    (report,) = PaperVenue(store, [ORDER]).submit(replace(ORDER, order_id=4))
    assert report.event is OrderEvent.REJECT


def test_cancel_ends_the_order(store):
    """A canceled order is gone."""
    venue = PaperVenue(store, [ORDER])
    (report,) = venue.cancel(ORDER)
    assert report.event is OrderEvent.CANCEL
    (report,) = venue.submit(ORDER)
    assert report.event is OrderEvent.ACKNOWLEDGE, "its client order id is free again"


def test_execute_moves_balances_exactly(store):
    """200 lots of 0.00001 at 42000.00: 0.002 for 84, and a fee of 0.084."""
    venue = PaperVenue(store, [ORDER])
    fill = execute(venue)
    assert (fill.trade_id, fill.price, fill.quantity) == ("main-3/0", Decimal(42_000), Decimal("0.002"))
    assert store.amounts == {"USDT": Decimal("915.916"), "BTC": Decimal("0.002")}
    (report,) = venue.submit(ORDER)
    assert report.event is OrderEvent.ACKNOWLEDGE, "its client order id is free again"


def test_execute_a_sale_brings_cash(store):
    """Selling is the mirror image, fee still paid."""
    execute(PaperVenue(store, [ORDER]), replace(ORDER, side=Side.SELL))
    assert store.amounts == {"USDT": Decimal("1083.916"), "BTC": Decimal("-0.002")}


def test_execute_in_parts_makes_different_trade_ids(store):
    """The id says how much was filled before: a replay makes the same, a second part another."""
    venue = PaperVenue(store, [ORDER])
    first = execute(venue, lots=50)
    second = execute(venue, replace(ORDER, filled_quantity=first.quantity), lots=150)
    assert (first.trade_id, second.trade_id) == ("main-3/0", "main-3/50")
    (report,) = venue.submit(ORDER)
    assert report.event is OrderEvent.ACKNOWLEDGE, "its client order id is free again"


@pytest.mark.parametrize(
    ("changes", "numbers"),
    [({"state": OrderState.FILLED}, {}), ({}, {"lots": 0}), ({}, {"ticks": 0})],
)
def test_execute_nothing_or_an_ended_order_is_refused(store, changes, numbers):
    """An execution of nothing, or of what has ended, moves nothing."""
    with pytest.raises(OrderError):
        execute(PaperVenue(store, [ORDER]), replace(ORDER, **changes), **numbers)
    assert store.amounts == {"USDT": Decimal(1000)}
