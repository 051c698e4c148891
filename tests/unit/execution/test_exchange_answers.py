"""What the exchange says: whole or garbled, refused or unknown; and the names that orders go by."""

from __future__ import annotations

import re
from decimal import Decimal

import ccxt
import pytest

from trader.codes import Side
from trader.execution.answers import Standing, amount_of, exactly, read_balances, read_order, read_trade
from trader.execution.capabilities import TABLE, capabilities_of, missing
from trader.execution.client_ids import MAX_LENGTH, ClientIds
from trader.execution.outcomes import Outcome, of_lookup, of_submit
from trader.execution.stops import StopKeeper, on_tick

BINANCE = capabilities_of("binance")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ccxt.InsufficientFunds("no"), Outcome.REFUSED),
        (ccxt.InvalidOrder("binance LOT_SIZE"), Outcome.REFUSED),
        (ccxt.BadRequest("no"), Outcome.REFUSED),
        (ccxt.AuthenticationError("no"), Outcome.REFUSED),
        (ccxt.ExchangeError("binance cut in the mid"), Outcome.UNKNOWN),
        (ccxt.RequestTimeout("late"), Outcome.UNKNOWN),
        (ccxt.ExchangeNotAvailable("504"), Outcome.UNKNOWN),
        (ccxt.OnMaintenance("closed"), Outcome.UNKNOWN),
        (ccxt.BadResponse("-1006"), Outcome.UNKNOWN),
        (ccxt.NullResponse("nothing"), Outcome.UNKNOWN),
        (ccxt.OperationFailed("?"), Outcome.UNKNOWN),
        (ccxt.RateLimitExceeded("-1003"), Outcome.NOT_YET),
        (ccxt.DDoSProtection("429"), Outcome.NOT_YET),
        (ccxt.InvalidNonce("-1021"), Outcome.NOT_YET),
        (ccxt.DuplicateOrderId("twice"), Outcome.STANDS),
        (ccxt.InvalidOrder('binance {"code":-2010,"msg":"Duplicate order sent."}'), Outcome.STANDS),
        (ValueError("a bug in a parser"), Outcome.UNKNOWN),
        (KeyError("id"), Outcome.UNKNOWN),
    ],
)
def test_of_submit_doubt_is_unknown(error, outcome):
    """What is not a definite answer leaves the order in doubt, and never means that it may be sent again."""
    assert of_submit(error, BINANCE) is outcome


def test_of_submit_unknown_venue_knows_nothing_before_acceptance():
    """Where nobody has looked, even a rate limit may have come after the order was taken."""
    careful = capabilities_of("some-exchange")
    assert of_submit(ccxt.RateLimitExceeded("?"), careful) is Outcome.UNKNOWN
    assert careful.stop is None


def test_of_lookup_only_not_found_is_absent():
    """A refusal to answer says nothing about the order."""
    assert of_lookup(ccxt.OrderNotFound("no")) is Outcome.ABSENT
    assert of_lookup(ccxt.InvalidOrder("no")) is Outcome.UNKNOWN
    assert of_lookup(ccxt.RequestTimeout("late")) is Outcome.UNKNOWN


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "<html>",
        {},
        {"id": None, "status": None},
        {"id": "7", "status": None, "filled": 1.0},
        {"id": "7", "status": "closed", "filled": None},
        {"id": "7", "status": "pending", "filled": "0"},
        {"id": "7", "status": "open", "filled": "0", "symbol": "ETH/USDT"},
        {"id": None, "status": "open", "filled": "0"},
    ],
)
def test_read_order_garbled_says_nothing(raw):
    """No id, no status, over by nobody knows how much, or another symbol's."""
    assert read_order(raw, "BTC/USDT") is None


def test_read_order_with_trades_is_explained():
    """A trade in an order's answer need not repeat side and order."""
    trade = {"id": "t1", "price": "100.5", "amount": "0.3", "fees": [{"cost": "0.0003", "currency": "BTC"}]}
    raw = {
        "id": 7,
        "status": "closed",
        "filled": "0.3",
        "side": "buy",
        "clientOrderId": "mainabcdef1",
        "trades": [trade],
    }
    found = read_order(raw, "BTC/USDT")
    assert found is not None
    assert (found.venue_order_id, found.standing, found.filled) == ("7", Standing.FILLED, Decimal("0.3"))
    assert found.is_explained
    assert found.is_over
    (execution,) = found.executions
    assert (execution.side, execution.fees) == (Side.BUY, (("BTC", Decimal("0.0003")),))
    assert found.with_executions([execution, execution]).executions == (execution,)


@pytest.mark.parametrize("change", [{"id": None}, {"price": "0"}, {"amount": None}, {"side": "both"}, {"price": "nan"}])
def test_read_trade_that_can_not_be_is_none(change):
    """A trade without one of its parts is not booked."""
    whole = {"id": "1", "order": "7", "side": "sell", "price": "100", "amount": "1", "timestamp": 5}
    assert read_trade(whole, "BTC/USDT") is not None
    assert read_trade({**whole, **change}, "BTC/USDT") is None


def test_read_balances_without_a_currency_is_garbled():
    """What ccxt makes of an empty answer must not pass for an empty account."""
    assert read_balances({"info": {}, "total": {}}) is None
    assert read_balances("<html>") is None
    assert read_balances({"total": {"USDT": "0.1", "BTC": None}}) == {"USDT": Decimal("0.1")}


@pytest.mark.parametrize("value", [None, True, "", "many", float("nan"), "Infinity"])
def test_amount_of_what_is_none(value):
    """Only finite numbers."""
    assert amount_of(value) is None


def test_exactly_keeps_every_digit_of_a_large_amount():
    """A float has lost the last digits of a hundred million coins with eight decimals; candles stay floats."""
    client = ccxt.binance()
    exactly(client)
    raw = {"symbol": "SHIBUSDT", "id": 1, "orderId": 2, "price": "0.00001234", "qty": "123456789012.12345678",
           "quoteQty": "1523456.7", "commission": "0.1", "commissionAsset": "SHIB", "time": 5,
           "isBuyer": True}  # fmt: skip
    trade = read_trade(client.parse_trade(raw), "SHIB/USDT")
    assert trade is None or trade.quantity == Decimal("123456789012.12345678")
    assert client.parse_trade(raw)["amount"] == "123456789012.12345678"
    assert client.number is float


@pytest.mark.parametrize("instance", ["main", "a", "my-second-bot", "x1"])
def test_client_ids_are_legal_everywhere_and_their_own(instance):
    """Letters and digits, at most 18 of them up to a hundred million orders; the same for the same number."""
    ids = ClientIds(instance, "qwerty")
    for number in (1, 17, 99_999_999):
        text = ids.make(number)
        assert re.fullmatch(r"[a-z0-9]+", text)
        assert len(text) <= MAX_LENGTH
        assert ids.number(text) == number
        assert ids.number(f"t-{text}") == number
    assert ClientIds(instance, "asdfgh").number(ids.make(5)) is None
    assert [ids.number(text) for text in (None, "", "x-R4BD3S82", ids.prefix, ids.prefix + "1a")] == [None] * 5


def test_capabilities_name_classes_and_venues_that_ccxt_has():
    """A typing error in the table would show at the first error only."""
    for exchange, found in TABLE.items():
        assert exchange in ccxt.exchanges
        assert all(hasattr(ccxt, name) for name in found.refused_before)


def test_missing_names_what_live_trading_needs():
    """By ccxt's names."""
    assert missing(ccxt.binance().has) == []
    assert missing({"createOrder": True, "cancelOrder": True, "fetchBalance": True, "fetchOpenOrders": True}) == [
        "fetchMyTrades",
        "fetchOrder or fetchClosedOrders or fetchOrders",
    ]


def test_stop_is_rounded_towards_safety():
    """Up to the next tick, and never to nothing."""
    assert on_tick(95.001, Decimal("0.01")) == Decimal("95.01")
    assert on_tick(95.01, Decimal("0.01")) == Decimal("95.01")
    assert on_tick(0.0000001, Decimal("0.01")) == Decimal("0.01")


def test_stop_keeper_counts_time_without_a_stop_and_moves_seldom():
    """Naked time in milliseconds; a level that has hardly moved, or was moved just now, stays."""
    now = [100.0]
    keeper = StopKeeper(clock=lambda: now[0])
    keeper.is_naked("BTC/USDT")
    now[0] += 0.25
    keeper.is_naked("BTC/USDT")
    assert (keeper.missing, keeper.total_naked_s) == (1, 0.25)
    assert keeper.is_covered("BTC/USDT") == 250
    assert keeper.is_covered("BTC/USDT") is None
    keeper.placed("BTC/USDT")
    now[0] += 60
    assert not keeper.should_move("BTC/USDT", 100.0, 100.05)
    assert keeper.should_move("BTC/USDT", 100.0, 100.5)
    keeper.placed("BTC/USDT")
    assert not keeper.should_move("BTC/USDT", 100.0, 100.5)
    assert keeper.refused("BTC/USDT") == 2.0
    assert not keeper.may_place("BTC/USDT")
    now[0] += 2
    assert keeper.may_place("BTC/USDT")
