"""The fake Binance, seen by unmodified ccxt: every operation, the rules, and the streams."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt
import pytest

from tests.loopback.venue import FakeVenue, Rules, SharedTime, VenueClock
from tests.loopback.venue.clients import START_MS, advance, client, steps, trade, until, walk

BTC, ETH = "BTC/USDT", "ETH/USDT"
CANDLES = {BTC: walk(120), ETH: walk(120, price=3000.0, seed=2)}


def _venue(**more: Any) -> FakeVenue:
    return FakeVenue(more.pop("candles", CANDLES), history=more.pop("history", 60), **more)


def test_venue_markets_as_ccxt_reads_them() -> None:
    """Tick, lot, minimum notional, activity and currencies come out of exchangeInfo."""
    rules = {ETH: Rules(Decimal("0.5"), Decimal("0.01"), Decimal("0.02"), Decimal(10), trading=False)}

    async def scenario(exchange: Any) -> None:
        btc, eth = exchange.market(BTC), exchange.market(ETH)
        assert (btc["precision"]["price"], btc["precision"]["amount"]) == (0.01, 0.00001)
        assert (eth["precision"]["price"], eth["limits"]["amount"]["min"], eth["limits"]["cost"]["min"]) == (
            0.5,
            0.02,
            10,
        )
        assert (btc["active"], eth["active"]) == (True, False)
        assert "BTC" in exchange.currencies
        assert await exchange.fetch_time() == START_MS + 60 * 60_000
        assert (await exchange.fetch_status())["status"] == "ok"

    with _venue(rules=rules) as venue:
        trade(venue, scenario)


def test_venue_candles_closed_ones_then_the_half_built_one() -> None:
    """REST shows what is closed and the candle that is open, paged by time, in longer timeframes, too."""

    async def scenario(exchange: Any) -> None:
        rows = await exchange.fetch_ohlcv(BTC, "1m", limit=3)
        assert [row[0] for row in rows] == [START_MS + n * 60_000 for n in (58, 59, 60)]
        assert rows[-1][1] == rows[-1][2] == rows[-1][4] == round(CANDLES[BTC][60][1], 2)
        await advance(venue)
        closed = (await exchange.fetch_ohlcv(BTC, "1m", limit=2))[0]
        assert closed[1:5] == [round(value, 2) for value in CANDLES[BTC][60][1:5]]
        page = await exchange.fetch_ohlcv(BTC, "1m", since=START_MS + 5 * 60_000, limit=2)
        assert [row[0] for row in page] == [START_MS + 5 * 60_000, START_MS + 6 * 60_000]
        five = await exchange.fetch_ohlcv(BTC, "5m", since=START_MS, limit=1)
        assert five[0][2] == round(max(row[2] for row in CANDLES[BTC][:5]), 2)
        ticker = await exchange.fetch_ticker(BTC)
        assert ticker["last"] == float(venue.price(BTC))
        assert (await exchange.fetch_order_book(BTC))["bids"][0][0] == ticker["last"]
        assert (await exchange.fetch_trades(BTC))[-1]["price"] == ticker["last"]

    with _venue() as venue:
        trade(venue, scenario)


def test_venue_market_order_filled_at_the_price_with_its_fee() -> None:
    """A market buy pays the present price; the fee is taken from what was bought, and all queries agree."""

    async def scenario(exchange: Any) -> None:
        price = float(venue.price(BTC))
        order = await exchange.create_order(BTC, "market", "buy", 0.01, None, {"clientOrderId": "m-1"})
        assert (order["status"], order["filled"], order["average"]) == ("closed", 0.01, price)
        assert order["fees"] == [{"currency": "BTC", "cost": 0.00001}]
        for found in (
            await exchange.fetch_order(order["id"], BTC),
            await exchange.fetch_order("", BTC, {"clientOrderId": "m-1"}),
            (await exchange.fetch_orders(BTC))[-1],
            (await exchange.fetch_closed_orders(BTC))[-1],
        ):
            assert (found["clientOrderId"], found["status"], found["filled"]) == ("m-1", "closed", 0.01)
        (fill,) = await exchange.fetch_my_trades(BTC)
        assert (fill["order"], fill["price"], fill["amount"]) == (order["id"], price, 0.01)
        assert fill["fee"] == {"currency": "BTC", "cost": 0.00001}
        balance = await exchange.fetch_balance()
        assert balance["total"]["BTC"] == 0.00999
        assert balance["USDT"]["free"] == pytest.approx(10_000 - price * 0.01)

    with _venue() as venue:
        trade(venue, scenario)
        assert venue.submissions == {"m-1": 1}
        assert venue.books.differences == {}


def test_venue_limit_order_rests_locks_and_fills_at_its_price() -> None:
    """A resting buy locks what it may cost, is open until the price comes down, and fills at its own price."""

    async def scenario(exchange: Any) -> None:
        order = await exchange.create_order(BTC, "limit", "buy", 0.1, 99.0, {"clientOrderId": "l-1"})
        assert (order["status"], order["filled"]) == ("open", 0)
        assert (await exchange.fetch_balance())["USDT"]["used"] == pytest.approx(9.9)
        assert [one["clientOrderId"] for one in await exchange.fetch_open_orders(BTC)] == ["l-1"]
        await advance(venue, 1)  # to 99.5
        assert len(await exchange.fetch_open_orders()) == 1
        await advance(venue, 1)  # to 98.5
        assert await exchange.fetch_open_orders(BTC) == []
        found = await exchange.fetch_order(order["id"], BTC)
        assert (found["status"], found["average"]) == ("closed", 99.0)
        assert (await exchange.fetch_my_trades(BTC))[0]["takerOrMaker"] == "maker"

    with _venue(candles={BTC: steps([100, 99.5, 98.5, 98.5])}, history=1) as venue:
        trade(venue, scenario, options={"fetchOpenOrders": {"warnWithoutSymbol": False}})
        books = venue.books
        assert books.locked == {}
        assert books.balances["USDT"] == Decimal(10_000) - Decimal("9.9")


@pytest.mark.parametrize(
    ("prices", "filled_at"),
    [([100, 99, 94, 90], 95.0), ([100, 99, 99, 80], None)],
    ids=["through the stop", "not reached"],
)
def test_venue_stop_loss_fills_at_its_stop(prices: list[float], filled_at: float | None) -> None:
    """A stop of either kind locks the coins, waits, and fills at its price when the market trades through it."""

    async def scenario(exchange: Any) -> None:
        await exchange.create_order(BTC, "market", "buy", 1.0)
        market = await exchange.create_order(BTC, "market", "sell", 0.4, None, {"stopLossPrice": 95.0})
        limited = await exchange.create_order(BTC, "limit", "sell", 0.4, 94.5, {"stopLossPrice": 95.0})
        raw = [one["info"] for one in await exchange.fetch_open_orders(BTC)]
        assert [(one["type"], one["isWorking"]) for one in raw] == [("STOP_LOSS", False), ("STOP_LOSS_LIMIT", False)]
        assert (await exchange.fetch_balance())["BTC"]["used"] == 0.8
        await advance(venue, 2)
        for order in (market, limited):
            found = await exchange.fetch_order(order["id"], BTC)
            assert found["average"] == filled_at
            assert found["status"] == ("open" if filled_at is None else "closed")

    with _venue(candles={BTC: steps(prices)}, history=1) as venue:
        trade(venue, scenario)


def test_venue_stop_after_a_gap_fills_at_the_open() -> None:
    """A gap jumps over a stop: the market order is filled where trading goes on, the limit order is left behind."""
    rows = [*steps([100, 100, 100]), (START_MS + 3 * 60_000, 90.0, 90.0, 90.0, 90.0, 1.0)]

    async def scenario(exchange: Any) -> None:
        await exchange.create_order(BTC, "market", "buy", 1.0)
        market = await exchange.create_order(BTC, "market", "sell", 0.4, None, {"stopLossPrice": 95.0})
        limited = await exchange.create_order(BTC, "limit", "sell", 0.4, 94.5, {"stopLossPrice": 95.0})
        await advance(venue, 2)
        assert (await exchange.fetch_order(market["id"], BTC))["average"] == 90.0
        left = await exchange.fetch_order(limited["id"], BTC)
        assert (left["status"], left["filled"], left["info"]["isWorking"]) == ("open", 0, True)

    with _venue(candles={BTC: rows}, history=1) as venue:
        trade(venue, scenario)


REFUSED = {
    "lot": (lambda x: x.private_post_order(_raw(quantity="0.000001")), ccxt.InvalidOrder, "LOT_SIZE"),
    "tick": (lambda x: x.private_post_order(_raw(type="LIMIT", price="1.001")), ccxt.InvalidOrder, "PRICE_FILTER"),
    "notional": (lambda x: x.create_order(BTC, "market", "buy", 0.00001), ccxt.ExchangeError, "NOTIONAL"),
    "funds": (lambda x: x.create_order(BTC, "market", "buy", 1.0), ccxt.InsufficientFunds, "insufficient"),
    "short": (lambda x: x.create_order(BTC, "market", "sell", 0.1), ccxt.InsufficientFunds, "insufficient"),
    "symbol": (lambda x: x.private_post_order(_raw(symbol="NOTUSDT")), ccxt.BadSymbol, "-1121"),
    "malformed": (lambda x: x.private_post_order(_raw(side="HOLD")), ccxt.BadRequest, "-1102"),
    "unknown order": (lambda x: x.fetch_order("77", BTC), ccxt.OrderNotFound, "-2013"),
    "unknown cancel": (lambda x: x.cancel_order("77", BTC), ccxt.OrderNotFound, "-2011"),
    "stop above": (
        lambda x: x.create_order(BTC, "market", "buy", 0.01, None, {"stopLossPrice": 1000.0}),
        ccxt.OrderImmediatelyFillable,
        "immediately",
    ),
    "post only": (
        lambda x: x.create_order(BTC, "limit", "buy", 0.001, 90_000, {"postOnly": True}),
        ccxt.OrderImmediatelyFillable,
        "immediately match",
    ),
}


def _raw(**changes: str) -> dict[str, str]:
    base = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01", "timeInForce": "GTC"}
    return {**base, **changes}


@pytest.mark.parametrize("name", REFUSED)
def test_venue_refuses_in_binance_words(name: str) -> None:
    """Each refusal reaches the client as the exception that ccxt makes of Binance's own code, and moves no money."""
    call, error, text = REFUSED[name]

    async def scenario(exchange: Any) -> None:
        with pytest.raises(error, match=text):
            await call(exchange)

    with _venue() as venue:
        trade(venue, scenario)
        assert venue.books.orders == {}
        assert venue.books.balances == {"USDT": Decimal(10_000)}


def test_venue_closed_symbol_refuses_orders() -> None:
    """A symbol that is not trading takes no orders."""

    async def scenario(exchange: Any) -> None:
        with pytest.raises(ccxt.ExchangeError, match="Market is closed"):
            await exchange.create_order(BTC, "market", "buy", 0.01)

    rules = {BTC: Rules(Decimal("0.01"), Decimal("0.00001"), Decimal("0.00001"), trading=False)}
    with _venue(rules=rules) as venue:
        trade(venue, scenario)


def test_venue_client_id_unique_among_open_orders_only() -> None:
    """An open twin is refused as a duplicate; after the fill, Binance takes the id again, and the books tell."""

    async def scenario(exchange: Any) -> None:
        params = {"clientOrderId": "twin"}
        first = await exchange.create_order(BTC, "limit", "buy", 0.01, 40_000.0, params)
        with pytest.raises(ccxt.InvalidOrder, match="Duplicate order sent"):
            await exchange.create_order(BTC, "limit", "buy", 0.01, 40_000.0, params)
        cancelled = await exchange.cancel_order(first["id"], BTC)
        assert (cancelled["status"], cancelled["info"]["origClientOrderId"]) == ("canceled", "twin")
        await exchange.create_order(BTC, "market", "buy", 0.01, None, params)
        await exchange.create_order(BTC, "market", "buy", 0.01, None, params)
        venue.matching.unique_for_ever = True
        with pytest.raises(ccxt.InvalidOrder, match="Duplicate order sent"):
            await exchange.create_order(BTC, "market", "buy", 0.01, None, params)

    with _venue() as venue:
        trade(venue, scenario)
        assert venue.books.twice() == {"twin": 3}


@pytest.mark.parametrize(
    ("keys", "error", "code"),
    [
        (("other-key", None), ccxt.AuthenticationError, "-2015"),
        ((None, "b3RoZXIgc2VjcmV0"), ccxt.AuthenticationError, "-1022"),
    ],
    ids=["wrong key", "wrong secret"],
)
def test_venue_signature_checked(keys: tuple[str | None, str | None], error: type[Exception], code: str) -> None:
    """A wrong key and a wrong secret are told apart."""

    async def scenario(exchange: Any) -> None:
        with pytest.raises(error, match=code):
            await exchange.private_get_account()

    with _venue() as venue:
        trade(
            venue, scenario, apiKey=keys[0] or venue.keys[0], secret=keys[1] or venue.keys[1], load=False,
        )  # fmt: skip


def test_venue_permissions_told_and_enforced() -> None:
    """Read-only keys can look and not trade; the permissions endpoint says what keys may."""

    async def scenario(exchange: Any) -> None:
        told = await exchange.sapi_get_account_apirestrictions()
        assert (told["enableSpotAndMarginTrading"], told["enableWithdrawals"]) == (False, True)
        assert (await exchange.fetch_balance())["total"]["USDT"] == 10_000
        with pytest.raises(ccxt.BaseError, match="-2015"):
            await exchange.create_order(BTC, "market", "buy", 0.01)

    with _venue(permissions=frozenset({"read", "withdraw"})) as venue:
        trade(venue, scenario)


def test_venue_clock_on_the_wall_refuses_old_timestamps() -> None:
    """A client whose clock is behind by more than its window is refused with -1021, until it corrects itself."""

    async def scenario(exchange: Any) -> None:
        with pytest.raises(ccxt.InvalidNonce, match="-1021"):
            await exchange.private_get_account()
        await exchange.load_time_difference()
        assert -31_500 < exchange.options["timeDifference"] < -28_500
        assert (await exchange.fetch_balance())["total"]["USDT"] == 10_000

    clock = VenueClock(wall=True, offset_ms=30_000)
    with _venue(clock=clock) as venue:
        assert abs(venue.market_ms - time.time() * 1000) < 120_000
        trade(venue, scenario, load=False)


def test_venue_weights_429_then_418() -> None:
    """Above the limit the venue answers 429 with Retry-After; who goes on is banned with 418."""

    async def scenario(exchange: Any) -> None:
        statuses = []
        for _ in range(30):
            try:
                await exchange.fetch_balance()
            except ccxt.DDoSProtection as error:
                statuses.append(str(error).split()[1])
                assert "Retry-After" in exchange.last_response_headers
        assert statuses[0] == "429"
        assert statuses[-1] == "418"

    with _venue(weight_limit=200) as venue:
        trade(venue, scenario)


def test_venue_order_limit() -> None:
    """More orders in ten seconds than allowed: -1015."""

    async def scenario(exchange: Any) -> None:
        for _ in range(3):
            await exchange.create_order(BTC, "limit", "buy", 0.001, 40_000.0)
        with pytest.raises(ccxt.DDoSProtection):
            await exchange.create_order(BTC, "limit", "buy", 0.001, 40_000.0)

    with _venue(order_limit=3) as venue:
        trade(venue, scenario)


def test_venue_fee_in_bnb_while_there_is_some() -> None:
    """Fees are taken in BNB at its price with the discount; once it is used up, in what was received."""

    async def scenario(exchange: Any) -> None:
        fees = [(await exchange.create_order(BTC, "market", "buy", 0.01))["fees"][0] for _ in range(3)]
        assert [fee["currency"] for fee in fees] == ["BNB", "BNB", "BTC"]

    with _venue(fee_currency="BNB", balances={"USDT": 10_000, "BNB": "0.0015"}) as venue:
        trade(venue, scenario)
        assert set(venue.books.fees) == {"BNB", "BTC"}
        assert venue.books.differences == {}


def test_venue_streams_candles_half_built_then_closed() -> None:
    """The candle stream tells the candle as it grows and closes it with x; a new one follows."""

    async def scenario(exchange: Any) -> None:
        watching = asyncio.ensure_future(exchange.watch_ohlcv(BTC, "1m"))
        await until(lambda: venue.ask(lambda: any(one.topics for one in venue.dialect.sessions)))
        await advance(venue)
        await asyncio.wait_for(watching, 10)
        await until(lambda: exchange.ohlcvs[BTC]["1m"][-1][0] == START_MS + 61 * 60_000)
        closed = exchange.ohlcvs[BTC]["1m"][-2]
        assert closed[1:5] == [round(value, 2) for value in CANDLES[BTC][60][1:5]]

    with _venue() as venue:
        trade(venue, scenario, pro=True)


def test_venue_streams_ticker_and_trades() -> None:
    """Ticker and trades come at each price."""

    async def scenario(exchange: Any) -> None:
        watching = [
            asyncio.ensure_future(exchange.watch_ticker(BTC)),
            asyncio.ensure_future(exchange.watch_trades(ETH)),
        ]
        await until(lambda: venue.ask(lambda: sum(len(one.topics) for one in venue.dialect.sessions)) == 2)
        await advance(venue)
        ticker, trades = await asyncio.wait_for(asyncio.gather(*watching), 10)
        assert ticker["last"] > 0
        assert trades[0]["symbol"] == ETH

    with _venue() as venue:
        trade(venue, scenario, pro=True)


def test_venue_streams_orders_fills_and_balances() -> None:
    """The user stream tells an order's life with its fees, and the balances that it moved."""

    async def scenario(exchange: Any) -> None:
        async with client(venue) as rest:
            orders = asyncio.ensure_future(exchange.watch_orders())
            fills = asyncio.ensure_future(exchange.watch_my_trades())
            balances = asyncio.ensure_future(exchange.watch_balance())
            await until(lambda: venue.ask(lambda: any(one.is_user for one in venue.dialect.sessions)))
            await rest.create_order(BTC, "market", "buy", 0.01, None, {"clientOrderId": "w-1"})
            fill = (await asyncio.wait_for(fills, 10))[0]
            assert (fill["amount"], fill["fee"]) == (0.01, {"cost": 0.00001, "currency": "BTC"})
            assert (await asyncio.wait_for(orders, 10))[0]["clientOrderId"] == "w-1"
            await asyncio.wait_for(balances, 10)
            resting = await rest.create_order(BTC, "limit", "buy", 0.01, 40_000.0, {"clientOrderId": "w-2"})
            await rest.cancel_order(resting["id"], BTC)
            await until(
                lambda: ("w-2", "canceled") in {(one["clientOrderId"], one["status"]) for one in exchange.orders}
            )
            await until(lambda: exchange.balance["spot"]["USDT"]["used"] == 0.0)

    with _venue() as venue:
        trade(venue, scenario, pro=True)


def test_venue_user_stream_wants_the_right_secret() -> None:
    """A wrong signature gets no user data."""

    async def scenario(exchange: Any) -> None:
        exchange.secret = "b3RoZXI="
        with pytest.raises(KeyError) as caught:  # ccxt 4.5.90 trips over its own cleaning up after the refusal
            await asyncio.wait_for(exchange.watch_orders(), 10)
        assert isinstance(caught.value.__context__, ccxt.AuthenticationError)

    with _venue() as venue:
        trade(venue, scenario, pro=True)


def test_venue_plays_by_itself_to_the_end() -> None:
    """`run` plays in real time times speed; a hole in one market stays a hole."""
    candles = {
        BTC: walk(30),
        ETH: [row for row in walk(30, price=3000.0) if not 10 <= (row[0] - START_MS) // 60_000 < 15],
    }
    with FakeVenue(candles, history=5) as venue:
        venue.run(speed=6000.0)
        deadline = time.monotonic() + 30
        while not venue.ended and time.monotonic() < deadline:
            time.sleep(0.02)
        assert venue.ended

        async def scenario(exchange: Any) -> None:
            minutes = [(row[0] - START_MS) // 60_000 for row in await exchange.fetch_ohlcv(ETH, "1m")]
            assert minutes == [*range(10), *range(15, 30)]

        trade(venue, scenario)


def test_venue_time_shared_with_other_processes(tmp_path: Path) -> None:
    """Who maps the shared file sees the market's time, which passes when told to, never past the candle."""
    path = tmp_path / "venue.time"
    with _venue(clock=VenueClock(share=path)) as venue:
        shared = SharedTime(path)
        assert shared.now_ns() == venue.market_ms * 1_000_000
        venue.advance(5)
        assert shared.now_ns() == venue.market_ms * 1_000_000
        venue.elapse(1.5)
        assert shared.now_ns() == (venue.market_ms + 1500) * 1_000_000
        venue.elapse(100.0)
        assert shared.now_ns() == (venue.market_ms + 59_999) * 1_000_000 == venue.now_ms * 1_000_000


def test_venue_thousands_of_order_lives_a_minute() -> None:
    """Placing and cancelling is fast enough for campaigns: two thousand lives in a minute, on a slow machine."""

    async def scenario(exchange: Any) -> None:
        for number in range(100):
            order = await exchange.create_order(BTC, "limit", "buy", 0.001, 40_000.0, {"clientOrderId": f"n-{number}"})
            await exchange.cancel_order(order["id"], BTC)

    with _venue() as venue:
        began_s = time.monotonic()
        trade(venue, scenario)
        assert time.monotonic() - began_s < 3.0


def _post(url: str, orders: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(orders).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_venue_as_a_process_of_its_own(tmp_path: Path) -> None:
    """`python -m tests.loopback.venue` tells its configuration, is driven over HTTP, and ends on SIGTERM."""
    (tmp_path / "candles.json").write_text(json.dumps(CANDLES))
    command = [
        sys.executable,
        "-m",
        "tests.loopback.venue",
        "--candles",
        str(tmp_path / "candles.json"),
        "--history",
        "60",
    ]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    ) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            advanced = _post(f"{told['url']}/_venue/advance", {"minutes": 2})
            assert advanced["market_ms"] == START_MS + 62 * 60_000
            query = f"symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01&newClientOrderId=p-1&timestamp={START_MS}"
            signature = hmac.new(told["keys"][1].encode(), query.encode(), hashlib.sha256).hexdigest()
            request = urllib.request.Request(
                f"{told['url']}/api/v3/order", f"{query}&signature={signature}".encode(),
                {"X-MBX-APIKEY": told["keys"][0]}, method="POST",
            )  # fmt: skip
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert json.load(answer)["status"] == "FILLED"
            with urllib.request.urlopen(f"{told['url']}/_venue/books", timeout=10) as answer:
                books = json.load(answer)
            assert books["submissions"] == {"p-1": 1}
            assert books["differences"] == {}
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
