"""The fake Kraken, seen by unmodified ccxt: another shape of everything."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from tests.loopback.venue import FakeVenue
from tests.loopback.venue.clients import START_MS, advance, client, steps, trade, until, walk

BTC, DOGE = "BTC/USDT", "DOGE/USDT"
CANDLES = {BTC: walk(120), DOGE: walk(120, price=0.2, seed=2)}


def _venue(**more: Any) -> FakeVenue:
    return FakeVenue(more.pop("candles", CANDLES), dialect="kraken", history=more.pop("history", 60), **more)


def test_venue_markets_under_names_of_their_own() -> None:
    """XBT and XDG are BTC and DOGE; tick, lot and minima come from decimals."""

    async def scenario(exchange: Any) -> None:
        assert exchange.market(BTC)["id"] == "XBTUSDT"
        assert exchange.market(BTC)["precision"] == {"price": 0.01, "amount": 0.00001, **_none(exchange, BTC)}
        assert exchange.market(DOGE)["limits"]["cost"]["min"] == 5.0
        assert await exchange.fetch_time() == START_MS + 60 * 60_000
        assert (await exchange.fetch_status())["status"] == "ok"
        assert (await exchange.fetch_ticker(DOGE))["last"] == float(venue.price(DOGE))

    with _venue() as venue:
        trade(venue, scenario)


def _none(exchange: Any, symbol: str) -> dict[str, Any]:
    return {
        name: value for name, value in exchange.market(symbol)["precision"].items() if name not in ("price", "amount")
    }


def test_venue_candles_without_a_closed_flag_and_720_at_most() -> None:
    """The last row is the half-built candle, and history is cut at 720 rows whatever is asked for."""

    async def scenario(exchange: Any) -> None:
        rows = await exchange.fetch_ohlcv(BTC, "1m")
        assert len(rows) == 720
        assert rows[-1][0] == venue.market_ms
        old = await exchange.fetch_ohlcv(BTC, "1m", since=START_MS)
        assert old[0][0] > START_MS

    with _venue(candles={BTC: walk(1000)}, history=900) as venue:
        trade(venue, scenario)


def test_venue_order_life_whose_answer_says_little() -> None:
    """A submit's answer has an id and no status; look-up by client id goes through the lists of orders."""

    async def scenario(exchange: Any) -> None:
        params = {"clientOrderId": "k-1"}
        order = await exchange.create_order(BTC, "limit", "buy", 0.01, 40_000.0, params)
        assert order["id"].startswith("O")
        assert (order["status"], order["clientOrderId"]) == (None, None)
        (found,) = await exchange.fetch_open_orders(BTC, None, None, params)
        assert (found["id"], found["clientOrderId"], found["status"]) == (order["id"], "k-1", "open")
        with pytest.raises(ccxt.ExchangeError, match="cl_ord_id"):
            await exchange.create_order(BTC, "limit", "buy", 0.01, 40_000.0, params)
        assert (await exchange.fetch_balance())["USDT"]["used"] == pytest.approx(400.4)
        cancelled = await exchange.cancel_order(order["id"], BTC)
        assert cancelled["status"] is None
        assert (await exchange.fetch_order(order["id"], BTC))["status"] == "canceled"
        assert await exchange.fetch_open_orders(BTC, None, None, params) == []
        (closed,) = await exchange.fetch_closed_orders(BTC, None, None, params)
        assert (closed["id"], closed["status"]) == (order["id"], "canceled")
        with pytest.raises(ccxt.OrderNotFound):
            await exchange.cancel_order(order["id"], BTC)

    with _venue() as venue:
        trade(venue, scenario)
        assert venue.books.locked == {}


def test_venue_fees_in_quote_whoever_buys() -> None:
    """A buy brings whole coins and costs the fee in USDT; a sell brings USDT less the fee."""

    async def scenario(exchange: Any) -> None:
        for side in ("buy", "sell"):
            order = await exchange.create_order(BTC, "market", side, 0.01)
            found = await exchange.fetch_order(order["id"], BTC)
            assert (found["status"], found["filled"], found["fee"]["currency"]) == ("closed", 0.01, "USDT")
        fills = await exchange.fetch_my_trades(BTC)
        assert {fill["fee"]["currency"] for fill in fills} == {"USDT"}
        assert {fill["order"] for fill in fills} == {one["id"] for one in await exchange.fetch_closed_orders(BTC)}

    with _venue() as venue:
        trade(venue, scenario)
        price = venue.price(BTC)
        assert venue.books.fees == {"USDT": 2 * (price * Decimal("0.01") * Decimal("0.001")).quantize(Decimal("1e-8"))}
        assert venue.books.balances == {"USDT": Decimal(10_000) - venue.books.fees["USDT"]}
        assert venue.books.differences == {}


def test_venue_stop_loss_of_both_kinds() -> None:
    """Stop prices travel as price, limits as price2; both fill at the stop."""

    async def scenario(exchange: Any) -> None:
        await exchange.create_order(BTC, "market", "buy", 1.0)
        ids = [
            (await exchange.create_order(BTC, "market", "sell", 0.4, None, {"stopLossPrice": 95.0}))["id"],
            (await exchange.create_order(BTC, "limit", "sell", 0.4, 94.5, {"stopLossPrice": 95.0}))["id"],
        ]
        for found in await exchange.fetch_open_orders(BTC):
            assert found["stopLossPrice"] == 95.0
        await advance(venue, 2)
        for number in ids:
            found = await exchange.fetch_order(number, BTC)
            assert (found["status"], found["average"]) == ("closed", 95.0)

    with _venue(candles={BTC: steps([100, 99, 94, 90])}, history=1) as venue:
        trade(venue, scenario)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda x: x.create_order(BTC, "market", "buy", 1.0), ccxt.InsufficientFunds),
        (lambda x: x.create_order(BTC, "market", "buy", 0.00001), ccxt.InvalidOrder),
        (lambda x: x.fetch_order("OVENUE-00000-000077", BTC), ccxt.InvalidOrder),
        (lambda x: x.cancel_order("OVENUE-00000-000077", BTC), ccxt.OrderNotFound),
    ],
    ids=["funds", "minimum", "unknown order", "unknown cancel"],
)
def test_venue_refuses_in_answers_of_status_200(call: Any, error: type[Exception]) -> None:
    """Refusals are texts in the answer; ccxt makes its exceptions of them."""

    async def scenario(exchange: Any) -> None:
        with pytest.raises(error):
            await call(exchange)
        assert exchange.last_http_response.startswith('{"error":["E')

    with _venue() as venue:
        trade(venue, scenario)


def test_venue_keys_nonces_and_permissions() -> None:
    """A wrong key, a nonce that was used and a right that is missing are refused."""

    async def scenario(exchange: Any) -> None:
        with pytest.raises(ccxt.PermissionDenied):
            await exchange.create_order(BTC, "market", "buy", 0.01)
        exchange.incrementing_nonce = lambda: 5
        with pytest.raises(ccxt.InvalidNonce):
            await exchange.fetch_balance()
        exchange.apiKey = "other"
        with pytest.raises(ccxt.AuthenticationError):
            await exchange.fetch_balance()

    with _venue(permissions=frozenset({"read"})) as venue:
        trade(venue, scenario)


def test_venue_faults_in_its_own_words() -> None:
    """Too many requests, maintenance and a clock error are said as Kraken says them."""

    async def scenario(exchange: Any) -> None:
        venue.script.add("account", "rate_limited")
        with pytest.raises(ccxt.DDoSProtection):
            await exchange.fetch_balance()
        venue.script.add("account", "maintenance")
        with pytest.raises(ccxt.ExchangeNotAvailable):
            await exchange.fetch_balance()
        venue.script.add("submit", "clock_error_1021")
        with pytest.raises(ccxt.InvalidNonce):
            await exchange.create_order(BTC, "market", "buy", 0.01)
        venue.script.add("submit", "drop_after")
        with pytest.raises(ccxt.NetworkError):
            await exchange.create_order(BTC, "limit", "buy", 0.01, 40_000.0, {"clientOrderId": "lost"})
        (found,) = await exchange.fetch_open_orders(BTC, None, None, {"clientOrderId": "lost"})
        venue.script.add("cancel", "fill_races_cancel")
        with pytest.raises(ccxt.OrderNotFound):
            await exchange.cancel_order(found["id"], BTC)
        assert (await exchange.fetch_order(found["id"], BTC))["filled"] == 0.01

    with _venue() as venue:
        trade(venue, scenario)
        assert venue.books.differences == {}


def test_venue_streams_candles_and_executions() -> None:
    """Candles come without a closed flag, executions without a client id where ccxt looks for it."""

    async def scenario(exchange: Any) -> None:
        watching = [
            asyncio.ensure_future(exchange.watch_ohlcv(BTC, "1m")),
            asyncio.ensure_future(exchange.watch_ticker(BTC)),
        ]
        fills = asyncio.ensure_future(exchange.watch_my_trades(BTC))
        await until(lambda: venue.ask(lambda: sum(len(one.topics) for one in venue.dialect.sessions)) == 3)
        await advance(venue)
        await asyncio.wait_for(asyncio.gather(*watching), 10)
        await until(lambda: exchange.ohlcvs[BTC]["1m"][-1][0] == START_MS + 61 * 60_000)
        assert exchange.ohlcvs[BTC]["1m"][-2][1:5] == [round(value, 2) for value in CANDLES[BTC][60][1:5]]
        async with client(venue) as rest:
            await rest.create_order(BTC, "market", "buy", 0.01, None, {"clientOrderId": "k-2"})
        (fill,) = await asyncio.wait_for(fills, 10)
        assert (fill["amount"], fill["fee"]["currency"]) == (0.01, "USDT")
        (order,) = await until(lambda: exchange.orders)
        assert order["info"]["cl_ord_id"] == "k-2"

    with _venue() as venue:
        trade(venue, scenario, pro=True)
