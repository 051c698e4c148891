"""Binance spot: REST under /api/v3 and /sapi/v1, market streams, and user data over the websocket API."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from tests.loopback.venue import binance_words as words
from tests.loopback.venue.books import Refusal, Refused, VenueOrder, VenueTrade
from tests.loopback.venue.dialect import Answer, Call, Dialect, Session, Weights
from tests.loopback.venue.markets import TIMEFRAMES_MS, ZERO, Candle, Market
from tests.loopback.venue.matching import Asked

if TYPE_CHECKING:
    from tests.loopback.venue.venue import FakeVenue

OPERATIONS = {
    "POST /api/v3/order": "submit", "POST /api/v3/order/cancelReplace": "replace",
    "DELETE /api/v3/order": "cancel", "GET /api/v3/order": "query",
    "DELETE /api/v3/openOrders": "cancel", "GET /api/v3/openOrders": "open_orders", "GET /api/v3/allOrders": "orders",
    "GET /api/v3/myTrades": "trades", "GET /api/v3/account": "account", "GET /api/v3/exchangeInfo": "markets",
    "GET /api/v3/time": "time", "GET /api/v3/klines": "klines", "GET /api/v3/ticker/24hr": "ticker",
    "GET /api/v3/ticker/price": "ticker", "GET /api/v3/ticker/bookTicker": "ticker", "GET /api/v3/depth": "depth",
    "GET /sapi/v1/account/apiRestrictions": "permissions", "GET /sapi/v1/capital/config/getall": "currencies",
}  # fmt: skip
WEIGHTS = {
    "POST /api/v3/order": 1, "POST /api/v3/order/cancelReplace": 1,
    "DELETE /api/v3/order": 1, "GET /api/v3/order": 4, "GET /api/v3/openOrders": 6,
    "GET /api/v3/allOrders": 20, "GET /api/v3/myTrades": 20, "GET /api/v3/account": 20, "GET /api/v3/exchangeInfo": 20,
    "GET /api/v3/klines": 2, "GET /api/v3/ticker/24hr": 2, "GET /api/v3/ticker/price": 2, "GET /api/v3/depth": 5,
    "GET /api/v3/ticker/bookTicker": 2,
}  # fmt: skip
TRADING = frozenset(
    {
        "POST /api/v3/order",
        "DELETE /api/v3/order",
        "DELETE /api/v3/openOrders",
        "POST /api/v3/order/test",
        "POST /api/v3/order/cancelReplace",
    }
)
FILTERS = frozenset({Refusal.LOT_SIZE, Refusal.PRICE_FILTER, Refusal.NOTIONAL, Refusal.NOT_TRADING})
WALL_TOLERANCE_MS = 1000


class Binance(Dialect):
    """Binance as ccxt knows it."""

    name = "binance"

    def __init__(self, venue: FakeVenue) -> None:
        super().__init__(venue)
        self.by_id = {market.id: market for market in self.matching.markets.values()}
        self.weights = Weights(venue.weight_limit)
        self._update_ids = itertools.count(1)
        self._listen_keys: set[str] = set()
        self._routes: dict[str, Callable[[Call], Any]] = {
            "GET /api/v3/ping": lambda _: {},
            "GET /api/v3/time": lambda _: {"serverTime": self.now_ms()},
            "GET /api/v3/exchangeInfo": self._exchange_info,
            "GET /api/v3/klines": self._klines,
            "GET /api/v3/ticker/24hr": self._ticker,
            "GET /api/v3/ticker/price": self._ticker_price,
            "GET /api/v3/ticker/bookTicker": self._book_ticker,
            "GET /api/v3/depth": self._depth,
            "GET /api/v3/trades": self._public_trades,
            "GET /api/v3/aggTrades": self._agg_trades,
            "GET /api/v3/account": self._account,
            "GET /api/v3/account/commission": self._commission,
            "POST /api/v3/order": self._submit,
            "POST /api/v3/order/test": self._submit_test,
            "POST /api/v3/order/cancelReplace": self._replace,
            "GET /api/v3/order": self._query,
            "DELETE /api/v3/order": self._cancel,
            "DELETE /api/v3/openOrders": self._cancel_all,
            "GET /api/v3/openOrders": self._open_orders,
            "GET /api/v3/allOrders": self._all_orders,
            "GET /api/v3/myTrades": self._my_trades,
            "GET /sapi/v1/system/status": lambda _: {"status": 0, "msg": "normal"},
            "GET /sapi/v1/account/apiRestrictions": self._restrictions,
            "GET /sapi/v1/capital/config/getall": self._currencies,
            "GET /sapi/v1/asset/tradeFee": self._trade_fees,
            "GET /sapi/v1/margin/allPairs": lambda _: [],
            "GET /sapi/v1/margin/isolated/allPairs": lambda _: [],
        }

    def config(self) -> dict[str, Any]:
        """Return ccxt settings under which every URL of binance leads here."""
        import ccxt

        known = ccxt.binance().urls["api"]
        rest: dict[str, Any] = {
            name: f"{self.venue.url}/closed/{name}" for name, url in known.items() if isinstance(url, str)
        }
        rest |= {
            "public": f"{self.venue.url}/api/v3", "private": f"{self.venue.url}/api/v3",
            "v1": f"{self.venue.url}/api/v1", "sapi": f"{self.venue.url}/sapi/v1",
        }  # fmt: skip
        sockets = self.venue.url.replace("http", "ws", 1)
        rest["ws"] = {
            "spot": f"{sockets}/stream/ws", "margin": f"{sockets}/stream/ws",
            "ws-api": {"spot": f"{sockets}/ws-api/v3"},
        }  # fmt: skip
        return {"urls": {"api": rest}, "options": {"fetchMarkets": {"types": ["spot"]}, "defaultType": "spot"}}

    # ------------------------------------------------------------- requests

    def operation(self, call: Call) -> str:
        """Return what the request is about."""
        return OPERATIONS.get(f"{call.method} {call.path}", "other")

    def answer(self, call: Call) -> Answer:
        """Answer a request, if weight, key, signature and time are right."""
        name = f"{call.method} {call.path}"
        used, status, wait_s = self.weights.spend(WEIGHTS.get(name, 1))
        headers = {"X-MBX-USED-WEIGHT": str(used), "X-MBX-USED-WEIGHT-1M": str(used)}
        if status != 200:
            return self.too_many(status, max(1, round(wait_s)))
        route = self._routes.get(name)
        if route is None:
            raise Refused(Refusal.UNKNOWN_PATH, name)
        if (call.path.startswith("/sapi") and not call.path.endswith("system/status")) or name in SIGNED:
            self._check_signed(call, trades=name in TRADING)
        made = route(call)
        return made if isinstance(made, Answer) else Answer(made, headers=headers)

    def _check_signed(self, call: Call, *, trades: bool) -> None:
        key, secret = self.venue.keys
        if call.headers.get("x-mbx-apikey", "") != key:
            raise Refused(Refusal.KEY)
        signed = "".join(part for part in (call.query, call.body) if part)
        text, _, signature = signed.rpartition("&signature=")
        if not hmac.compare_digest(hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest(), signature):
            raise Refused(Refusal.SIGNATURE)
        self._check_time(call.params)
        if trades and "trade" not in self.venue.permissions:
            raise Refused(Refusal.PERMISSION)

    def _check_time(self, params: dict[str, str]) -> None:
        if not params.get("timestamp", "").isdigit():
            raise Refused(Refusal.MALFORMED, "timestamp")
        window_ms = int(params.get("recvWindow", "5000"))
        late_ms = self.now_ms() - int(params["timestamp"])
        if self.venue.checks_time and (late_ms > window_ms or late_ms < -WALL_TOLERANCE_MS):
            raise Refused(Refusal.TIMESTAMP, "ahead" if late_ms < 0 else "late")

    def refusal(self, refused: Refused, call: Call) -> Answer:
        """Word a refusal as Binance does."""
        code, text, status = words.REFUSALS[refused.refusal]
        if refused.refusal is Refusal.UNKNOWN_ORDER and call.operation == "query":
            code, text = -2013, "Order does not exist."
        if refused.refusal is Refusal.TIMESTAMP and refused.detail == "ahead":
            text = "Timestamp for this request was 1000ms ahead of the server's time."
        return Answer({"code": code, "msg": text.format(detail=refused.detail)}, status)

    def too_many(self, status: int, retry_after_s: float | None) -> Answer:
        """Answer 429, or 418 with the ban."""
        headers = {} if retry_after_s is None else {"Retry-After": str(int(retry_after_s))}
        if status == 418:
            until_ms = self.now_ms() + int((retry_after_s or 120) * 1000)
            text = f"Way too much request weight used; IP banned until {until_ms}. Please use WebSocket Streams."
        else:
            limit = self.weights.limit or 6000
            text = f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE."
        return Answer({"code": -1003, "msg": text}, status, headers)

    def clock_error(self) -> Answer:
        """Answer -1021."""
        return Answer({"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}, 400)

    def maintenance(self) -> Answer:
        """Answer that the system is under maintenance."""
        return Answer({"code": 1, "msg": "System is under maintenance."}, 503)

    # --------------------------------------------------------------- public

    def _market(self, call: Call) -> Market:
        market = self.by_id.get(call.params.get("symbol", ""))
        if market is None:
            raise Refused(Refusal.UNKNOWN_SYMBOL, call.params.get("symbol", ""))
        return market

    def _exchange_info(self, call: Call) -> dict[str, Any]:
        return {
            "timezone": "UTC", "serverTime": self.now_ms(), "rateLimits": words.rate_limits(self.weights.limit),
            "exchangeFilters": [], "symbols": [words.symbol_info(market) for market in self.matching.markets.values()],
        }  # fmt: skip

    def _klines(self, call: Call) -> list[list[Any]]:
        market, params = self._market(call), call.params
        timeframe_ms = TIMEFRAMES_MS.get(params.get("interval", ""))
        if timeframe_ms is None:
            raise Refused(Refusal.MALFORMED, "interval")
        start, end = params.get("startTime"), params.get("endTime")
        limit = min(int(params.get("limit", 500)), 1000)
        shown = market.visible(
            timeframe_ms, int(start) if start is not None else None, int(end) if end is not None else None, limit
        )
        return [words.kline_row(candle, timeframe_ms) for candle in shown]

    def _markets_of(self, call: Call) -> list[Market]:
        return [self._market(call)] if "symbol" in call.params else list(self.matching.markets.values())

    def _one_or_all(self, call: Call, make: Callable[[Market], dict[str, Any]]) -> Any:
        made = [make(market) for market in self._markets_of(call)]
        return made[0] if "symbol" in call.params else made

    def _ticker(self, call: Call) -> Any:
        return self._one_or_all(call, lambda market: words.ticker(market, self.now_ms()))

    def _ticker_price(self, call: Call) -> Any:
        return self._one_or_all(call, lambda market: {"symbol": market.id, "price": words.number(market.price)})

    def _book_ticker(self, call: Call) -> Any:
        return self._one_or_all(call, words.book_ticker)

    def _depth(self, call: Call) -> dict[str, Any]:
        market = self._market(call)
        book = words.book_ticker(market)
        return {
            "lastUpdateId": next(self._update_ids), "bids": [[book["bidPrice"], book["bidQty"]]],
            "asks": [[book["askPrice"], book["askQty"]]],
        }  # fmt: skip

    def _public_trades(self, call: Call) -> list[dict[str, Any]]:
        market = self._market(call)
        return [words.public_trade(row) for row in market.trades[-int(call.params.get("limit", 500)) :]]

    def _agg_trades(self, call: Call) -> list[dict[str, Any]]:
        market = self._market(call)
        return [words.agg_trade(row) for row in market.trades[-int(call.params.get("limit", 500)) :]]

    # -------------------------------------------------------------- account

    def _account(self, call: Call) -> dict[str, Any]:
        holdings = self.matching.account.holdings
        can_trade = "trade" in self.venue.permissions
        rate = words.number(self.matching.fees.rate)
        return {
            "makerCommission": 10, "takerCommission": 10, "buyerCommission": 0, "sellerCommission": 0,
            "commissionRates": {"maker": rate, "taker": rate, "buyer": "0.00000000", "seller": "0.00000000"},
            "canTrade": can_trade, "canWithdraw": "withdraw" in self.venue.permissions, "canDeposit": True,
            "brokered": False, "requireSelfTradePrevention": False, "preventSor": False, "updateTime": self.now_ms(),
            "accountType": "SPOT", "permissions": ["SPOT"], "uid": 354937868,
            "balances": [
                {"asset": name, "free": words.number(held.free), "locked": words.number(held.locked)}
                for name, held in holdings.items()
                if held.total or call.params.get("omitZeroBalances") != "true"
            ],
        }  # fmt: skip

    def _commission(self, call: Call) -> dict[str, Any]:
        rate, none = words.number(self.matching.fees.rate), "0.00000000"
        return {
            "symbol": self._market(call).id,
            "standardCommission": {"maker": rate, "taker": rate, "buyer": none, "seller": none},
            "taxCommission": {"maker": none, "taker": none, "buyer": none, "seller": none},
            "discount": {
                "enabledForAccount": self.matching.fees.currency is not None, "enabledForSymbol": True,
                "discountAsset": "BNB", "discount": words.number(self.matching.fees.discount),
            },
        }  # fmt: skip

    def _restrictions(self, _: Call) -> dict[str, Any]:
        may = self.venue.permissions
        return {
            "ipRestrict": False, "createTime": 1_698_645_219_000, "enableReading": "read" in may,
            "enableWithdrawals": "withdraw" in may, "enableInternalTransfer": False, "enableMargin": False,
            "enableFutures": False, "permitsUniversalTransfer": False, "enableVanillaOptions": False,
            "enablePortfolioMarginTrading": False, "enableFixApiTrade": False, "enableFixReadOnly": True,
            "enableSpotAndMarginTrading": "trade" in may,
        }  # fmt: skip

    def _currencies(self, _: Call) -> list[dict[str, Any]]:
        names = dict.fromkeys(name for market in self.matching.markets.values() for name in (market.base, market.quote))
        holdings = self.matching.account.holdings
        return [words.coin(name, holdings[name].free, holdings[name].locked) for name in {**names, **dict(holdings)}]

    def _trade_fees(self, call: Call) -> list[dict[str, Any]]:
        rate = words.number(self.matching.fees.rate)
        return [
            {"symbol": market.id, "makerCommission": rate, "takerCommission": rate} for market in self._markets_of(call)
        ]

    # --------------------------------------------------------------- orders

    def _asked(self, call: Call) -> Asked:
        params = call.params
        if params.get("side") not in ("BUY", "SELL") or params.get("type") not in words.ORDER_TYPES:
            raise Refused(Refusal.MALFORMED, "side" if params.get("side") not in ("BUY", "SELL") else "type")
        client_id = params.get("newClientOrderId", "")
        if client_id and not words.CLIENT_ID.fullmatch(client_id):
            raise Refused(Refusal.MALFORMED, "newClientOrderId")
        return Asked(
            symbol=self._market(call).symbol, buys=params["side"] == "BUY", kind=params["type"],
            quantity=_decimal(params, "quantity"), price=_decimal(params, "price"),
            stop_price=_decimal(params, "stopPrice"), time_in_force=params.get("timeInForce", "GTC"),
            quote_quantity=_decimal(params, "quoteOrderQty"), client_id=client_id,
        )  # fmt: skip

    def _submit(self, call: Call) -> dict[str, Any]:
        self.venue.count_order()
        order = self.matching.place(self._asked(call))
        default = "FULL" if order.kind in ("MARKET", "LIMIT") else "ACK"
        return words.submitted(
            order, self.matching.markets[order.symbol].id, call.params.get("newOrderRespType", default)
        )

    def _submit_test(self, call: Call) -> dict[str, Any]:
        self.matching.check(self._asked(call))
        return {}

    def _replace(self, call: Call) -> dict[str, Any] | Answer:
        """Cancel an order and place another one, as POST /api/v3/order/cancelReplace with STOP_ON_FAILURE does."""
        self.venue.count_order()
        asked, old = self._asked(call), self.addressed(call)
        try:
            self.matching.check(asked)
        except Refused as refused:  # filters are looked at before anything is canceled, the price is not
            if refused.refusal in FILTERS:
                raise
        if old is None or not old.status.open:
            told = self._worded(Refused(Refusal.UNKNOWN_ORDER))
            data = {"cancelResult": "FAILURE", "newOrderResult": "NOT_ATTEMPTED", "cancelResponse": told}
            return _replace_failed(-2022, "Order cancel-replace failed.", {**data, "newOrderResponse": None}, 400)
        market = self.matching.markets[old.symbol]
        self.matching.cancel(old, f"cancel_{next(self._update_ids):016d}")
        ended = words.cancelled(old, market.id)
        try:
            order = self.matching.place(asked)
        except Refused as refused:
            data = {"cancelResult": "SUCCESS", "newOrderResult": "FAILURE", "cancelResponse": ended}
            data["newOrderResponse"] = self._worded(refused)
            return _replace_failed(-2021, "Order cancel-replace partially failed.", data, 409)
        made = words.submitted(order, market.id, call.params.get("newOrderRespType", "ACK"))
        return {
            "cancelResult": "SUCCESS", "newOrderResult": "SUCCESS", "cancelResponse": ended, "newOrderResponse": made
        }  # fmt: skip

    @staticmethod
    def _worded(refused: Refused) -> dict[str, Any]:
        code, text, _ = words.REFUSALS[refused.refusal]
        return {"code": code, "msg": text.format(detail=refused.detail)}

    def addressed(self, call: Call) -> VenueOrder | None:
        """Return the order that a request names by either id."""
        market, params = self.by_id.get(call.params.get("symbol", "")), call.params
        if market is None:
            return None
        number = params.get("orderId", params.get("cancelOrderId"))
        name = params.get("origClientOrderId", params.get("cancelOrigClientOrderId"))
        return self.matching.find(market.symbol, int(number) if number and number.isdigit() else None, name)

    def _named(self, call: Call) -> VenueOrder:
        self._market(call)
        if "orderId" not in call.params and "origClientOrderId" not in call.params:
            raise Refused(Refusal.MALFORMED, "orderId")
        order = self.addressed(call)
        if order is None:
            raise Refused(Refusal.UNKNOWN_ORDER)
        return order

    def _query(self, call: Call) -> dict[str, Any]:
        order = self._named(call)
        return words.order(order, self.matching.markets[order.symbol].id)

    def _cancel(self, call: Call) -> dict[str, Any]:
        order = self._named(call)
        cancel_id = call.params.get("newClientOrderId") or f"cancel_{next(self._update_ids):016d}"
        self.matching.cancel(order, cancel_id)
        return words.cancelled(order, self.matching.markets[order.symbol].id)

    def _cancel_all(self, call: Call) -> list[dict[str, Any]]:
        market = self._market(call)
        orders = self.matching.open_orders(market.symbol)
        if not orders:
            raise Refused(Refusal.UNKNOWN_ORDER)
        for order in orders:
            self.matching.cancel(order, f"cancel_{next(self._update_ids):016d}")
        return [words.cancelled(order, market.id) for order in orders]

    def _open_orders(self, call: Call) -> list[dict[str, Any]]:
        symbol = self._market(call).symbol if "symbol" in call.params else None
        return [
            words.order(order, self.matching.markets[order.symbol].id) for order in self.matching.open_orders(symbol)
        ]

    def _all_orders(self, call: Call) -> list[dict[str, Any]]:
        market, params = self._market(call), call.params
        first = int(params.get("orderId", 0))
        chosen = [
            order
            for order in self.matching.orders.values()
            if order.symbol == market.symbol and order.order_id >= first and _within(order.created_ms, params)
        ]
        limit = min(int(params.get("limit", 500)), 1000)
        page = chosen[:limit] if first or "startTime" in params else chosen[-limit:]
        return [words.order(order, market.id) for order in page]

    def _my_trades(self, call: Call) -> list[dict[str, Any]]:
        market, params = self._market(call), call.params
        first, number = int(params.get("fromId", 0)), params.get("orderId")
        chosen = [
            trade
            for trade in self.matching.trades
            if trade.symbol == market.symbol
            and trade.trade_id >= first
            and (number is None or str(trade.order_id) == number)
            and _within(trade.time_ms, params)
        ]
        limit = min(int(params.get("limit", 500)), 1000)
        page = chosen[:limit] if first or "startTime" in params else chosen[-limit:]
        return [words.my_trade(trade, market.id) for trade in page]

    # -------------------------------------------------------------- streams

    def heard(self, session: Session, message: str) -> None:
        """Answer SUBSCRIBE and UNSUBSCRIBE of market streams, and the websocket API."""
        asked = json.loads(message)
        if session.path.startswith("/ws-api"):
            self._heard_api(session, asked)
            return
        method, names = asked.get("method"), asked.get("params", [])
        if method == "SUBSCRIBE":
            session.topics |= dict.fromkeys(names)
        elif method == "UNSUBSCRIBE":
            for name in names:
                session.topics.pop(name, None)
        self.tell(
            session, {"result": list(session.topics) if method == "LIST_SUBSCRIPTIONS" else None, "id": asked.get("id")}
        )

    def _heard_api(self, session: Session, asked: dict[str, Any]) -> None:
        method, params, number = asked.get("method", ""), asked.get("params", {}), asked.get("id")
        try:
            if method == "userDataStream.subscribe.signature":
                self._check_signed_words(params)
                session.is_user = True
                result: Any = {"subscriptionId": 0}
            elif method in ("ping", "time"):
                result = {} if method == "ping" else {"serverTime": self.now_ms()}
            else:
                raise Refused(Refusal.UNKNOWN_PATH, method)
        except Refused as refused:
            code, text, status = words.REFUSALS[refused.refusal]
            error = {"code": code, "msg": text.format(detail=refused.detail)}
            self.tell(session, {"id": number, "status": status, "error": error})
            return
        self.tell(session, {"id": number, "status": 200, "result": result, "rateLimits": []})

    def _check_signed_words(self, params: dict[str, Any]) -> None:
        key, secret = self.venue.keys
        if params.get("apiKey") != key:
            raise Refused(Refusal.KEY)
        text = "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature")
        made = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(made, str(params.get("signature", ""))):
            raise Refused(Refusal.SIGNATURE)
        self._check_time({name: str(value) for name, value in params.items()})

    def on_order(self, event: str, order: VenueOrder, trade: VenueTrade | None) -> None:
        """Send executionReport and outboundAccountPosition."""
        users = [session for session in self.sessions if session.is_user]
        if not users:
            return
        market = self.matching.markets[order.symbol]
        report = words.execution_report(event, order, trade, market.id, self.now_ms())
        names = dict.fromkeys([market.base, market.quote, *([trade.fee_currency] if trade is not None else [])])
        position = words.account_position(
            {name: self.matching.account.holdings[name] for name in names}, order.updated_ms, self.now_ms()
        )
        for session in users:
            for payload in (report, position):
                self.tell(session, {"subscriptionId": 0, "event": payload}, {"private": True, **payload})

    def on_price(self, market: Market, trade_id: int) -> None:
        """Send trade, ticker and the half-built candle to who listens."""
        lower, now_ms = market.id.lower(), self.now_ms()
        for session in list(self.sessions):
            for topic in list(session.topics):
                symbol, _, kind = topic.partition("@")
                if symbol != lower:
                    continue
                payload = self._told(kind, market, trade_id, now_ms)
                if payload is not None:
                    self.tell(session, payload, payload)

    def _told(self, kind: str, market: Market, trade_id: int, now_ms: int) -> dict[str, Any] | None:
        if kind in ("trade", "aggTrade"):
            return words.trade_event(kind, market, trade_id, now_ms)
        if kind == "ticker":
            return words.ticker_event(market, now_ms)
        if kind == "miniTicker":
            return words.mini_ticker_event(market, now_ms)
        if kind == "bookTicker":
            return words.book_ticker_event(market, next(self._update_ids))
        if kind.startswith("kline_") and market.forming is not None:
            timeframe_ms = TIMEFRAMES_MS[kind.removeprefix("kline_")]
            (candle,) = market.visible(timeframe_ms, None, None, 1)
            return words.kline_event(market, candle, kind.removeprefix("kline_"), now_ms, closed=False)
        return None

    def on_close(self, market: Market, candle: Candle) -> None:
        """Send the closed candle to who listens."""
        lower, now_ms = market.id.lower(), self.now_ms()
        for session in list(self.sessions):
            for topic in list(session.topics):
                symbol, _, kind = topic.partition("@")
                if symbol != lower or not kind.startswith("kline_"):
                    continue
                interval = kind.removeprefix("kline_")
                timeframe_ms = TIMEFRAMES_MS[interval]
                (shown,) = market.visible(timeframe_ms, None, None, 1)
                closed = now_ms >= shown.open_ms + timeframe_ms - self.venue.clock.offset_ms
                payload = words.kline_event(market, shown, interval, now_ms, closed=closed)
                self.tell(session, payload, payload)


SIGNED = frozenset(name for name in OPERATIONS if OPERATIONS[name] in {
    "submit", "cancel", "replace", "query", "open_orders", "orders", "trades", "account",
}) | {"POST /api/v3/order/test", "GET /api/v3/account/commission"}  # fmt: skip


def _replace_failed(code: int, text: str, data: dict[str, Any], status: int) -> Answer:
    return Answer({"code": code, "msg": text, "data": data}, status)


def _decimal(params: dict[str, str], name: str) -> Decimal:
    try:
        amount = Decimal(params.get(name, "0"))
    except InvalidOperation:
        raise Refused(Refusal.MALFORMED, name) from None
    if not amount.is_finite() or amount < ZERO:
        raise Refused(Refusal.MALFORMED, name)
    return amount


def _within(time_ms: int, params: dict[str, str]) -> bool:
    return int(params.get("startTime", 0)) <= time_ms <= int(params.get("endTime", 1 << 62))
