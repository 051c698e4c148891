"""The books: exact amounts, with the arithmetic beside each expectation."""

from __future__ import annotations

from decimal import Decimal

import pytest

from trader.codes import Reason, Side
from trader.domain.fill import Fill
from trader.domain.order import Order, OrderKind, OrderState
from trader.ledger.books import Books, average, currencies
from trader.units import EXACT

D = Decimal


def fill(side, quantity, price, fee="0", currency="USDT", order_id=1, symbol="BTC/USDT"):
    """Return a fill."""
    return Fill(
        f"t{order_id}-{side}", order_id, symbol, side, D(price), D(quantity), D(fee), currency, order_id, Reason.SIGNAL
    )


def order(order_id=1, strategy="alpha"):
    """Return an order."""
    return Order(
        order_id, f"main-{order_id}", "BTC/USDT", Side.BUY, OrderKind.MARKET, D(9), D(0), OrderState.OPEN,
        Reason.SIGNAL, strategy, False, 7, 0, 0,
    )  # fmt: skip


@pytest.fixture
def books():
    """Return books that hold 1000 USDT."""
    return Books({"USDT": D(1000)})


def test_apply_buy_moves_cash_and_position(books):
    """2 at 100 with a fee of 0.2: cash 1000 - 200 - 0.2."""
    assert books.apply(fill(Side.BUY, "2", "100", "0.2"), order()) == ()
    assert books.balances == {"USDT": D("799.8"), "BTC": D(2)}
    assert books.quantity("BTC/USDT") == 2
    assert books.holdings["BTC/USDT"].entry_price == 100
    assert (books.strategy("BTC/USDT"), books.strategy("ETH/USDT")) == ("alpha", "")


def test_apply_long_closed_in_parts_is_one_round_trip(books):
    """Bought 2 at 100, sold 1 at 110 and 1 at 90.5: -200 + 110 + 90.5 = 0.5 before fees of 0.6."""
    books.apply(fill(Side.BUY, "2", "100", "0.2"), order(1))
    assert books.apply(fill(Side.SELL, "1", "110", "0.2", order_id=2), order(2)) == ()
    (trip,) = books.apply(fill(Side.SELL, "1", "90.5", "0.2", order_id=3), order(3))
    assert (trip.gross_pnl, trip.fees, trip.pnl) == (D("0.5"), D("0.6"), D("-0.1"))
    assert (trip.entry_price, trip.exit_price, trip.quantity) == (100, D("100.25"), 2)
    assert (trip.side, trip.position_id, trip.entry_order_id, trip.exit_order_id) == (Side.BUY, 1, 1, 3)
    assert (trip.entry_ns, trip.exit_ns, trip.decision_id, trip.strategy) == (1, 3, 7, "alpha")
    assert books.holdings == {}
    assert books.balance("USDT") == D("999.9")


def test_apply_short_gains_when_the_price_falls(books):
    """Sold 1 at 100, added 1 at 90, bought 2 back at 80: 190 - 160 = 30."""
    books.apply(fill(Side.SELL, "1", "100"), order(1))
    books.apply(fill(Side.SELL, "1", "90", order_id=2), order(2))
    assert books.holdings["BTC/USDT"].entry_price == 95
    assert books.quantity("BTC/USDT") == -2
    (trip,) = books.apply(fill(Side.BUY, "2", "80", order_id=3), order(3))
    assert (trip.side, trip.pnl, trip.entry_price, trip.exit_price) == (Side.SELL, 30, 95, 80)


def test_apply_flip_is_close_and_open(books):
    """Long 1 at 100, sold 3 at 110 with a fee of 0.1: a third of it closes (rounded), the rest opens short 2."""
    books.apply(fill(Side.BUY, "1", "100"), order(1))
    (trip,) = books.apply(fill(Side.SELL, "3", "110", "0.1", order_id=2), order(2, "beta"))
    assert (trip.gross_pnl, trip.fees) == (10, D("0.033333333333"))
    short = books.holdings["BTC/USDT"]
    assert (short.quantity, short.fees, short.entry_order_id, short.strategy) == (-2, D("0.066666666667"), 2, "beta")
    assert (trip.position_id, short.position_id) == (1, 2)
    assert books.balance("USDT") == D(1000) - 100 + 330 - D("0.1")


def test_apply_fee_in_base_reduces_what_is_held(books):
    """Bought 1 at 100, and 0.001 of it went to the venue, worth 0.1."""
    books.apply(fill(Side.BUY, "1", "100", "0.001", "BTC"), order())
    assert books.balances == {"USDT": D(900), "BTC": D("0.999")}
    assert books.quantity("BTC/USDT") == D("0.999")
    (trip,) = books.apply(fill(Side.SELL, "0.999", "100", order_id=2), order(2))
    assert (trip.pnl, trip.fees) == (D("-0.1"), D("0.1"))


def test_apply_fee_in_a_third_currency_moves_that_balance_only(books):
    """A discount token pays: its balance goes down, the result is before it."""
    books.apply(fill(Side.BUY, "1", "100", "0.5", "BNB"), order())
    assert books.balances == {"USDT": D(900), "BTC": D(1), "BNB": D("-0.5")}
    assert books.holdings["BTC/USDT"].fees == 0


def test_apply_keeps_every_digit(books):
    """No amount is rounded, however many digits it has."""
    books.apply(
        fill(Side.BUY, "0.12345678901234567890", "98765.432109876543210987", "0.000000000000000000001"), order()
    )
    # integers, which Python never rounds, with the point put back: 20 + 18 decimals
    cost = D(12345678901234567890 * 98765432109876543210987).scaleb(-38, context=EXACT)
    assert books.balance("USDT") == EXACT.subtract(EXACT.subtract(D(1000), cost), D("1e-21"))
    assert len(books.balance("USDT").as_tuple().digits) > 40


def test_position_numbers_rise_like_the_kernels():
    """The next number is closed + open + 1, as in the kernels."""
    books = Books({}, closed=4)
    books.apply(fill(Side.BUY, "1", "1"), order(1))
    books.apply(fill(Side.BUY, "1", "1", symbol="ETH/USDT", order_id=2), order(2))
    assert [item.position_id for item in books.holdings.values()] == [5, 6]
    books.apply(fill(Side.SELL, "1", "1", order_id=3), order(3))
    books.apply(fill(Side.BUY, "1", "1", order_id=4), order(4))
    assert books.holdings["BTC/USDT"].position_id == 7


@pytest.mark.parametrize(
    ("symbol", "pair"), [("BTC/USDT", ("BTC", "USDT")), ("BTC/USDT:USDT", ("BTC", "USDT")), ("A/B", ("A", "B"))]
)
def test_currencies_of_a_symbol(symbol, pair):
    """Base and quote; a settlement currency is not part of the quote."""
    assert currencies(symbol) == pair


def test_average_of_nothing_is_zero():
    """No quantity has no average."""
    assert average(D(0), D(0)) == 0
    assert average(D(1), D(3)) == D("0.333333333333")
