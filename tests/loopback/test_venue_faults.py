"""Each scripted fault does what it says, seen as the exception that ccxt makes of it and from the venue's own books."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from tests.loopback.venue import FakeVenue, Script
from tests.loopback.venue.clients import advance, client, steps, trade, until, walk
from tests.loopback.venue.script import ACTIONS

BTC = "BTC/USDT"
CANDLES = {BTC: walk(120)}

# fault and its parameters, what a submit raises (None: nothing, whatever the answer is worth), accepted?
SUBMITS: dict[str, tuple[str, dict[str, Any], type[Exception] | None, bool]] = {
    "drop before": ("drop_before", {}, ccxt.NetworkError, False),
    "drop after": ("drop_after", {}, ccxt.NetworkError, True),
    "reset": ("reset", {}, ccxt.NetworkError, True),
    "503 not accepted": ("error_5xx", {"status": 503}, ccxt.ExchangeNotAvailable, False),
    "503 accepted": ("error_5xx_accepted", {"status": 503}, ccxt.ExchangeNotAvailable, True),
    "504 accepted": ("error_5xx_accepted", {"status": 504}, ccxt.RequestTimeout, True),
    "502 accepted": ("error_5xx_accepted", {"status": 502}, ccxt.ExchangeNotAvailable, True),
    "-1007 accepted": (
        "error_5xx_accepted",
        {"status": 503, "text": '{"code":-1007,"msg":"Timeout waiting for response from backend server."}'},
        ccxt.RequestTimeout,
        True,
    ),
    "-1006 accepted": (
        "error_5xx_accepted",
        {
            "status": 503,
            "text": '{"code":-1006,"msg":"An unexpected response was received. Execution status unknown."}',
        },
        ccxt.OperationFailed,
        True,
    ),
    "429": ("rate_limited", {}, ccxt.DDoSProtection, False),
    "429 with Retry-After": ("rate_limited", {"retry_after": 7}, ccxt.DDoSProtection, False),
    "418": ("rate_limited", {"status": 418, "retry_after": 120}, ccxt.DDoSProtection, False),
    "-1021": ("clock_error_1021", {}, ccxt.InvalidNonce, False),
    "maintenance": ("maintenance", {}, ccxt.OnMaintenance, False),
    "garbage text": ("garbage_json", {}, None, True),
    "garbage object": ("garbage_json", {"text": '{"hello":"world"}'}, None, True),
    "truncated text": ("truncated_body", {}, None, True),
    "broken connection": ("truncated_body", {"how": "http"}, ccxt.ExchangeError, True),
    "slow body": ("slow_body", {"seconds": 3.0}, ccxt.RequestTimeout, True),
    "delay": ("delay", {"seconds": 2.0}, ccxt.RequestTimeout, True),
    "delay after": ("delay_after", {"seconds": 2.0}, ccxt.RequestTimeout, True),
}


@pytest.mark.parametrize("name", SUBMITS)
def test_fault_on_submit_as_ccxt_sees_it(name: str) -> None:
    """The exception says little about whether the order stands; the venue's books and a look-up by client id do."""
    action, params, error, accepted = SUBMITS[name]

    async def scenario(exchange: Any) -> None:
        fault = venue.script.add("submit", action, **params)
        exchange.timeout = 500 if error is ccxt.RequestTimeout and "seconds" in params else 10_000
        order: dict[str, Any] | None = None
        if error is None:
            order = await exchange.create_order(BTC, "market", "buy", 0.01, None, {"clientOrderId": "f-1"})
        else:
            with pytest.raises(error):
                await exchange.create_order(BTC, "market", "buy", 0.01, None, {"clientOrderId": "f-1"})
        assert fault.hits == 1
        assert order is None or (order["id"], order["status"]) == (None, None)
        exchange.timeout = 10_000
        await until(lambda: not accepted or venue.submissions)
        if accepted:
            assert (await exchange.fetch_order("", BTC, {"clientOrderId": "f-1"}))["status"] == "closed"
        else:
            with pytest.raises(ccxt.OrderNotFound):
                await exchange.fetch_order("", BTC, {"clientOrderId": "f-1"})
            assert (await exchange.create_order(BTC, "market", "buy", 0.01, None, {"clientOrderId": "f-1"}))["filled"]

    with FakeVenue(CANDLES, history=60) as venue:
        trade(venue, scenario)
        assert venue.submissions == {"f-1": 1}
        assert venue.books.differences == {}
        assert venue.script.made == {action: 1}


def test_fault_rate_limited_with_and_without_retry_after() -> None:
    """The header is there when asked for, and only then."""

    async def scenario(exchange: Any) -> None:
        for retry_after in (None, 7):
            venue.script.add("account", "rate_limited", retry_after=retry_after)
            with pytest.raises(ccxt.DDoSProtection):
                await exchange.fetch_balance()
            assert exchange.last_response_headers.get("Retry-After") == (None if retry_after is None else "7")

    with FakeVenue(CANDLES, history=60) as venue:
        trade(venue, scenario)


@pytest.mark.parametrize("later", [False, True], ids=["at once", "one by one"])
def test_fault_partial_fills(later: bool) -> None:
    """An order is filled in pieces that add up, at once or one per price."""

    async def scenario(exchange: Any) -> None:
        venue.script.add("submit", "partial_fills", pieces=4, later=later)
        order = await exchange.create_order(BTC, "market", "buy", 0.01001)
        if later:
            assert (order["status"], order["filled"]) == ("open", 0.0025)
            await advance(venue)
        fills = await exchange.fetch_my_trades(BTC)
        assert [fill["amount"] for fill in fills] == [0.0025, 0.0025, 0.0025, 0.00251]
        assert (await exchange.fetch_order(order["id"], BTC))["status"] == "closed"

    with FakeVenue(CANDLES, history=60) as venue:
        trade(venue, scenario)
        assert venue.books.locked == {}
        assert venue.books.differences == {}


@pytest.mark.parametrize("part", [1, 0.5])
def test_fault_fill_races_cancel(part: float) -> None:
    """The order fills just before its cancel: wholly, and that is refused; or in part, and the rest is cancelled."""

    async def scenario(exchange: Any) -> None:
        order = await exchange.create_order(BTC, "limit", "buy", 0.01, 40_000.0)
        venue.script.add("cancel", "fill_races_cancel", part=part)
        if part == 1:
            with pytest.raises(ccxt.OrderNotFound, match="-2011"):
                await exchange.cancel_order(order["id"], BTC)
        else:
            assert (await exchange.cancel_order(order["id"], BTC))["filled"] == 0.005
        found = await exchange.fetch_order(order["id"], BTC)
        assert (found["status"], found["filled"]) == (("closed", 0.01) if part == 1 else ("canceled", 0.005))

    with FakeVenue(CANDLES, history=60) as venue:
        trade(venue, scenario)
        assert venue.books.locked == {}
        assert venue.books.differences == {}


def test_fault_drop_after_a_cancel_is_repeated_by_the_http_client() -> None:
    """Aiohttp repeats a DELETE whose kept connection broke: the first was handled, the second says unknown order."""

    async def scenario(exchange: Any) -> None:
        order = await exchange.create_order(BTC, "limit", "buy", 0.01, 40_000.0)
        venue.script.add("cancel", "drop_after")
        with pytest.raises(ccxt.OrderNotFound, match="-2011"):
            await exchange.cancel_order(order["id"], BTC)
        assert (await exchange.fetch_order(order["id"], BTC))["status"] == "canceled"
        assert [one["sent"] for one in venue.asked("cancel")] == ["dropped", "400"]

    with FakeVenue(CANDLES, history=60) as venue:
        trade(venue, scenario)


def test_fault_fee_in_bnb_from_the_third_order_on() -> None:
    """Commissions change their currency in the middle of the day."""

    async def scenario(exchange: Any) -> None:
        venue.script.add("submit", "fee_in_bnb", nth=3)
        orders = [await exchange.create_order(BTC, "market", "buy", 0.01) for _ in range(4)]
        assert [order["fees"][0]["currency"] for order in orders] == ["BTC", "BTC", "BNB", "BNB"]

    with FakeVenue(CANDLES, history=60, balances={"USDT": 10_000, "BNB": 1}) as venue:
        trade(venue, scenario)
        assert venue.books.differences == {}


def test_fault_lot_size_changed_is_in_force_and_told() -> None:
    """Amounts that were fine are refused, and reloaded markets say why."""

    async def scenario(exchange: Any) -> None:
        venue.script.add("submit", "lot_size_changed", nth=2, symbol=BTC, step="0.01", min_quantity="0.01")
        await exchange.create_order(BTC, "market", "buy", 0.015)
        with pytest.raises(ccxt.InvalidOrder, match="LOT_SIZE"):
            await exchange.create_order(BTC, "market", "buy", 0.015)
        await exchange.load_markets(True)
        assert exchange.market(BTC)["precision"]["amount"] == 0.01
        assert (await exchange.create_order(BTC, "market", "buy", 0.015))["filled"] == 0.01

    with FakeVenue(CANDLES, history=60) as venue:
        trade(venue, scenario)


def test_fault_maintenance_for_a_while_closes_streams_and_ends() -> None:
    """During maintenance every request is refused and websockets close; afterwards all is as before."""

    async def scenario(exchange: Any) -> None:
        watching = asyncio.ensure_future(exchange.watch_ohlcv(BTC, "1m"))
        await until(lambda: venue.streams() == 1)
        venue.close_for(60.0)
        with pytest.raises(ccxt.NetworkError):
            await asyncio.wait_for(watching, 10)
        for call in (exchange.fetch_balance, exchange.fetch_time):
            with pytest.raises(ccxt.OnMaintenance):
                await call()
        venue.close_for(0.0)
        assert (await exchange.fetch_balance())["total"]["USDT"] == 10_000

    with FakeVenue(CANDLES, history=60) as venue:
        trade(venue, scenario, pro=True)


def test_fault_addressed_by_count_condition_and_path() -> None:
    """The nth occurrence, a number of times, under a condition, by operation or by method and path."""
    with FakeVenue(CANDLES, history=60) as venue:
        by_path = venue.script.add("GET /api/v3/myTrades", "error_5xx", nth=2, times=2)
        by_value = venue.script.add("submit", "error_5xx", when={"side": "SELL"}, times=None)
        by_function = venue.script.add("submit", "error_5xx", when=lambda values: float(values["quantity"]) > 0.05)

        async def scenario(exchange: Any) -> None:
            failed = []
            for _ in range(4):
                try:
                    await exchange.fetch_my_trades(BTC)
                except ccxt.ExchangeNotAvailable:
                    failed.append(True)
                else:
                    failed.append(False)
            assert failed == [False, True, True, False]
            await exchange.create_order(BTC, "market", "buy", 0.05)
            for side, amount in (("sell", 0.01), ("sell", 0.01), ("buy", 0.06)):
                with pytest.raises(ccxt.ExchangeNotAvailable):
                    await exchange.create_order(BTC, "market", side, amount)

        trade(venue, scenario)
        assert (by_path.hits, by_value.hits, by_function.hits) == (2, 2, 1)


def test_fault_call_does_whatever_a_test_thinks_of() -> None:
    """A function gets the venue and the call just before it is handled."""
    seen: list[str] = []
    with FakeVenue(CANDLES, history=60) as venue:
        venue.script.add("submit", "call", function=lambda _, call: seen.append(call.params["newClientOrderId"]))
        trade(venue, lambda x: x.create_order(BTC, "market", "buy", 0.01, None, {"clientOrderId": "c-1"}))
    assert seen == ["c-1"]


def test_fault_unknown_name_refused() -> None:
    """A misspelt fault is an error, not a fault that never happens."""
    with pytest.raises(ValueError, match="drop_befor"):
        Script().add("submit", "drop_befor")


def _reports(venue: FakeVenue, action: str, orders: int = 3, **params: Any) -> list[tuple[str, str]]:
    """Return the executions that a user stream delivers while orders are filled under a fault."""
    seen: list[tuple[str, str]] = []

    async def scenario(exchange: Any) -> None:
        original = exchange.handle_order_update

        def listen(socket: Any, message: dict[str, Any]) -> None:
            seen.append((message["c"], message["x"]))
            original(socket, message)

        exchange.handle_order_update = listen
        watching = asyncio.ensure_future(exchange.watch_orders())
        await until(lambda: venue.ask(lambda: any(one.is_user for one in venue.dialect.sessions)))
        venue.script.add("ws_user", action, **{"when": {"e": "executionReport", "x": "TRADE"}, **params})
        async with client(venue) as rest:
            for number in range(orders):
                await rest.create_order(BTC, "market", "buy", 0.01, None, {"clientOrderId": f"o{number}"})
            await rest.fetch_time()
        await asyncio.sleep(0.8)
        watching.cancel()

    trade(venue, scenario, pro=True)
    return seen


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("ws_duplicate", ["n0", "t0", "t0", "n1", "t1", "n2", "t2"]),
        ("ws_missing", ["n0", "n1", "t1", "n2", "t2"]),
        ("ws_reorder", ["n0", "n1", "t0", "t1", "n2", "t2"]),
        ("ws_mute", ["n0"]),
    ],
)
def test_fault_on_the_user_stream(action: str, expected: list[str]) -> None:
    """Messages come twice, not at all, after the next one, or no more at all; the socket stays open."""
    with FakeVenue(CANDLES, history=60) as venue:
        seen = [f"{event[0].lower()}{client_id[1:]}" for client_id, event in _reports(venue, action)]
    assert seen == expected


def test_fault_reordered_report_comes_after_the_next_of_its_kind() -> None:
    """The fill is told before the order; without a next report, the last one comes late."""
    with FakeVenue(CANDLES, history=60) as venue:
        seen = _reports(venue, "ws_reorder", when={"e": "executionReport", "x": "NEW"}, orders=1)
        assert seen == [("o0", "TRADE"), ("o0", "NEW")]
    with FakeVenue(CANDLES, history=60) as venue:
        seen = _reports(venue, "ws_reorder", orders=1)
        assert seen == [("o0", "NEW"), ("o0", "TRADE")]


def test_fault_ws_drop_breaks_the_socket() -> None:
    """The connection closes in the middle; a new one works."""

    async def scenario(exchange: Any) -> None:
        venue.script.add("ws_market", "ws_drop", when={"e": "kline"})
        watching = asyncio.ensure_future(exchange.watch_ohlcv(BTC, "1m"))
        await until(lambda: venue.ask(lambda: any(one.topics for one in venue.dialect.sessions)))
        await advance(venue)
        with pytest.raises(ccxt.NetworkError):
            await asyncio.wait_for(watching, 10)
        again = asyncio.ensure_future(exchange.watch_ohlcv(BTC, "1m"))
        await until(lambda: venue.ask(lambda: any(one.topics for one in venue.dialect.sessions)))
        await advance(venue)
        assert await asyncio.wait_for(again, 10)

    with FakeVenue(CANDLES, history=60) as venue:
        trade(venue, scenario, pro=True)


def test_fault_mute_market_stream_while_rest_goes_on() -> None:
    """No candle arrives although the market moves, until the venue speaks again."""

    async def scenario(exchange: Any) -> None:
        watching = asyncio.ensure_future(exchange.watch_ohlcv(BTC, "1m"))
        await until(lambda: venue.ask(lambda: any(one.topics for one in venue.dialect.sessions)))
        venue.script.add("ws_market", "ws_mute")
        await advance(venue, 3)
        done, _ = await asyncio.wait([watching], timeout=0.5)
        assert not done
        assert (await exchange.fetch_ohlcv(BTC, "1m"))[-1][0] == venue.market_ms
        venue.unmute()
        await advance(venue)
        assert await asyncio.wait_for(watching, 10)

    with FakeVenue(CANDLES, history=60) as venue:
        trade(venue, scenario, pro=True)


def test_random_scripts_repeat_and_know_every_action() -> None:
    """A seed gives the same script twice; every action is one that exists."""
    one, two = Script.random(7), Script.random(7)
    assert [(fault.at, fault.action, fault.nth) for fault in one.faults] == [
        (fault.at, fault.action, fault.nth) for fault in two.faults
    ]
    assert {fault.action for fault in one.faults} <= ACTIONS
    assert len(one.faults) > 30


def test_faults_never_bend_the_books() -> None:
    """A client that knows nothing trades through a hundred faults: no unit of money appears or vanishes."""

    async def scenario(exchange: Any) -> None:
        exchange.timeout = 2000
        venue.script.faults += script.faults
        for number in range(150):
            try:
                if number % 3:
                    await exchange.create_order(BTC, "market", "buy" if number % 2 else "sell", 0.001)
                else:
                    order = await exchange.create_order(BTC, "limit", "buy", 0.001, 40_000.0)
                    await exchange.cancel_order(order["id"], BTC)
            except (ccxt.BaseError, TypeError):
                continue

    script = Script.random(3, requests=200, each=2)
    for fault in script.faults:
        fault.params["seconds"] = 0.01
    with FakeVenue(CANDLES, history=60) as venue:
        began_s = time.monotonic()
        trade(venue, scenario)
        assert time.monotonic() - began_s < 60.0
        books = venue.books
        assert books.differences == {}
        assert all(amount >= 0 for amount in books.free.values())
        assert sum(venue.script.made.values()) > 40
        locked = sum((order.locked for order in books.open_orders), Decimal(0))
        assert locked == sum(books.locked.values(), Decimal(0))


def test_stop_triggered_by_a_falling_market_is_told_on_the_stream() -> None:
    """A stop's fill reaches the user stream with its stop price."""

    async def scenario(exchange: Any) -> None:
        async with client(venue) as rest:
            await rest.create_order(BTC, "market", "buy", 1.0)
            await rest.create_order(BTC, "market", "sell", 0.5, None, {"stopLossPrice": 95.0, "clientOrderId": "s-1"})
        fills = asyncio.ensure_future(exchange.watch_my_trades())
        await until(lambda: venue.ask(lambda: any(one.is_user for one in venue.dialect.sessions)))
        await advance(venue, 2)
        (fill,) = await asyncio.wait_for(fills, 10)
        assert (fill["price"], fill["amount"], fill["side"]) == (95.0, 0.5, "sell")

    with FakeVenue({BTC: steps([100, 99, 94, 90])}, history=1) as venue:
        trade(venue, scenario, pro=True)
