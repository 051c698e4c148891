"""The fake venue judges others by its books: they must be right whatever happens on it."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.loopback.venue.books import Refused
from tests.loopback.venue.clock import VenueClock
from tests.loopback.venue.markets import Candle, Market, Rules
from tests.loopback.venue.matching import IN_QUOTE, Asked, Fees, Matching

SYMBOLS = ("BTC/USDT", "BNB/USDT")
RULES = Rules(Decimal("0.01"), Decimal("0.001"), Decimal("0.001"), Decimal(5))
KINDS = ("MARKET", "LIMIT", "LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
prices = st.integers(50_00, 200_00).map(lambda ticks: Decimal(ticks) / 100)
quantities = st.integers(1, 20_000).map(lambda lots: Decimal(lots) / 1000)
events = st.one_of(
    st.tuples(
        st.just("place"), st.sampled_from(SYMBOLS), st.booleans(), st.sampled_from(KINDS), quantities, prices, prices,
        st.sampled_from(["GTC", "IOC", "FOK"]), st.integers(1, 4), st.booleans(),
    ),
    st.tuples(st.just("spend"), st.sampled_from(SYMBOLS), prices),
    st.tuples(st.just("move"), st.sampled_from(SYMBOLS), prices, st.booleans()),
    st.tuples(st.just("cancel"), st.integers(1, 30)),
    st.tuples(st.just("race"), st.integers(1, 30), st.sampled_from([Decimal(1), Decimal("0.3")])),
    st.tuples(st.just("fee"), st.sampled_from([None, "BNB", IN_QUOTE])),
)  # fmt: skip


def _venue(slippage_bps: int) -> Matching:
    markets = {}
    for symbol in SYMBOLS:
        candle = Candle(0, Decimal(100), Decimal(100), Decimal(100), Decimal(100), Decimal(1))
        markets[symbol] = Market(symbol, RULES, [candle], 60_000, price=Decimal(100))
    balances = {"USDT": Decimal(3000), "BTC": Decimal(10), "BNB": Decimal("0.05")}
    matching = Matching(markets, balances, VenueClock(), Fees(Decimal("0.00123")))
    matching.slippage_bps = Decimal(slippage_bps)
    return matching


def _do(matching: Matching, event: tuple[Any, ...]) -> None:
    match event:
        case ("place", symbol, buys, kind, quantity, price, stop, tif, pieces, later):
            limited = kind.startswith("LIMIT") or kind.endswith("LIMIT")
            stopped = kind.startswith(("STOP", "TAKE"))
            matching.armed = (pieces, later)
            nothing = Decimal(0)
            matching.place(
                Asked(symbol, buys, kind, quantity, price if limited else nothing, stop if stopped else nothing, tif)
            )
        case ("spend", symbol, cost):
            matching.place(Asked(symbol, buys=True, kind="MARKET", quote_quantity=cost))
        case ("move", symbol, price, gap):
            market = matching.markets[symbol]
            before, market.price = market.price, price
            matching.move(symbol, before, gap=gap)
        case ("cancel", number) if number in matching.orders:
            matching.cancel(matching.orders[number])
        case ("race", number, part) if number in matching.orders:
            matching.fill_now(matching.orders[number], part)
        case ("fee", currency):
            matching.fees.currency = currency


def _from_trades(matching: Matching) -> dict[str, Decimal]:
    """Return the balances that follow from the start and the trades alone."""
    held: defaultdict[str, Decimal] = defaultdict(Decimal, matching.account.start)
    for trade in matching.trades:
        base, quote = trade.symbol.split("/")
        sign = 1 if trade.buys else -1
        held[base] += sign * trade.quantity
        held[quote] -= sign * trade.cost
        held[trade.fee_currency] -= trade.fee
    return {name: amount for name, amount in held.items() if amount}


@settings(max_examples=150)
@given(st.lists(events, max_size=40), st.sampled_from([0, 7]))
def test_venue_books_conserve_money_over_any_order_of_events(
    happened: list[tuple[Any, ...]], slippage_bps: int
) -> None:
    """Balances follow from the trades to the last unit, locks from the open orders, and no fill exceeds its order."""
    matching = _venue(slippage_bps)
    for event in happened:
        with contextlib.suppress(Refused):
            _do(matching, event)
        books = matching.books()
        assert books.differences == {}
        assert books.balances == _from_trades(matching)
        assert all(amount >= 0 for amount in books.free.values())
        locks: defaultdict[str, Decimal] = defaultdict(Decimal)
        for order in books.orders.values():
            assert sum((trade.quantity for trade in order.trades), Decimal(0)) == order.filled <= order.quantity
            assert order.locked >= 0
            assert order.status.open or order.locked == 0
            locks[order.lock_currency] += order.locked
        assert books.locked == {name: amount for name, amount in locks.items() if amount}
