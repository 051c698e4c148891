"""The books conserve money to the last digit, whatever is filled in whatever order."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from trader.codes import Reason, Side
from trader.domain.fill import Fill
from trader.domain.order import Order, OrderKind, OrderState
from trader.ledger.books import Books

AMOUNTS = st.decimals(Decimal("0.00000001"), Decimal(99_999), places=8)
FILLS = st.lists(
    st.tuples(
        st.sampled_from(["BTC/USDT", "ETH/USDT"]),
        st.sampled_from(list(Side)),
        st.decimals(Decimal("0.001"), Decimal(3), places=3) | st.sampled_from([Decimal(1), Decimal(2)]),
        AMOUNTS,
        st.decimals(0, 5, places=12),
    ),
    max_size=25,
)


def play(fills):
    """Apply fills one after the other; return the books and the round trips."""
    books, trips = Books({"USDT": Decimal(10_000)}), []
    for number, (symbol, side, quantity, price, fee) in enumerate(fills, 1):
        order = Order(
            number, f"o{number}", symbol, side, OrderKind.MARKET, quantity, quantity, OrderState.FILLED, Reason.SIGNAL,
            "alpha", False, 0, 0, 0,
        )  # fmt: skip
        fill = Fill(f"t{number}", number, symbol, side, price, quantity, fee, "USDT", number, Reason.SIGNAL)
        trips += books.apply(fill, order)
    return books, trips


@settings(max_examples=200)
@given(FILLS)
def test_cash_is_what_fractions_say(fills):
    """Rational arithmetic, which never rounds, gives the same cash and quantities."""
    books, _ = play(fills)
    cash = Fraction(10_000)
    held: dict[str, Fraction] = {}
    for symbol, side, quantity, price, fee in fills:
        cash -= side * Fraction(quantity) * Fraction(price) + Fraction(fee)
        held[symbol] = held.get(symbol, Fraction(0)) + side * Fraction(quantity)
    assert Fraction(books.balance("USDT")) == cash
    for symbol, quantity in held.items():
        assert Fraction(books.quantity(symbol)) == quantity == Fraction(books.balance(symbol.split("/")[0]))
        assert (symbol in books.holdings) == (quantity != 0)


@settings(max_examples=200)
@given(FILLS)
def test_results_and_open_flows_add_up_to_cash(fills):
    """What round trips made, and what open positions have cost, is all that cash has changed by."""
    books, trips = play(fills)
    total = sum((Fraction(trip.pnl) for trip in trips), Fraction(0))
    total += sum((Fraction(item.flow) - Fraction(item.fees) for item in books.holdings.values()), Fraction(0))
    assert Fraction(books.balance("USDT")) - 10_000 == total
    assert books.closed == len(trips)
    numbers = [trip.position_id for trip in trips] + [item.position_id for item in books.holdings.values()]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))


@settings(max_examples=100)
@given(FILLS)
def test_round_trip_price_averages_agree_with_its_result(fills):
    """Quantity times the difference of the averages is the result before fees, up to the averages' rounding."""
    _, trips = play(fills)
    for trip in trips:
        shown = trip.side * trip.quantity * (trip.exit_price - trip.entry_price)
        assert abs(shown - trip.gross_pnl) <= trip.quantity * Decimal("2e-12")
        assert trip.pnl == trip.gross_pnl - trip.fees
