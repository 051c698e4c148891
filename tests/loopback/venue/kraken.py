"""Kraken spot: errors in answers of status 200, nonces, asset names of its own, ids that are words, fees in quote."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import itertools
import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from tests.loopback.venue import kraken_words as words
from tests.loopback.venue.books import Refusal, Refused, VenueOrder, VenueTrade
from tests.loopback.venue.dialect import Answer, Call, Dialect, Session
from tests.loopback.venue.markets import ZERO, Candle, Market
from tests.loopback.venue.matching import IN_QUOTE, Asked

if TYPE_CHECKING:
    from tests.loopback.venue.venue import FakeVenue

OPERATIONS = {
    "AddOrder": "submit", "AmendOrder": "replace", "CancelOrder": "cancel", "CancelAll": "cancel",
    "QueryOrders": "query", "OpenOrders": "open_orders", "ClosedOrders": "orders", "TradesHistory": "trades",
    "BalanceEx": "account", "Balance": "account", "AssetPairs": "markets", "Time": "time", "OHLC": "klines",
    "Ticker": "ticker", "Depth": "depth", "Assets": "currencies", "GetWebSocketsToken": "token",
    "GetApiKeyInfo": "permissions",
}  # fmt: skip
TRADING = frozenset({"AddOrder", "AmendOrder", "CancelOrder", "CancelAll"})
PAGE = 50


class Kraken(Dialect):
    """Kraken as ccxt knows it."""

    name = "kraken"

    def __init__(self, venue: FakeVenue) -> None:
        super().__init__(venue)
        self.by_pair = {words.pair(market): market for market in self.matching.markets.values()}
        self.matching.fees.currency = self.matching.fees.currency or IN_QUOTE
        self.nonce_window = 10_000
        self._nonce = 0
        self._nonces: set[int] = set()
        self._tokens: set[str] = set()
        self._sequence = itertools.count(1)
        self._routes: dict[str, Callable[[Call], Any]] = {
            "public/Time": lambda _: {"unixtime": self.now_ms() // 1000, "rfc1123": ""},
            "public/SystemStatus": lambda _: {"status": "online", "timestamp": words.stamp(self.now_ms())},
            "public/Assets": self._assets,
            "public/AssetPairs": self._asset_pairs,
            "public/Ticker": self._ticker,
            "public/OHLC": self._ohlc,
            "public/Depth": self._depth,
            "private/Balance": self._balance,
            "private/BalanceEx": self._balance_ex,
            "private/AddOrder": self._add_order,
            "private/AmendOrder": self._amend_order,
            "private/CancelOrder": self._cancel_order,
            "private/CancelAll": self._cancel_all,
            "private/QueryOrders": self._query_orders,
            "private/OpenOrders": self._open_orders,
            "private/ClosedOrders": self._closed_orders,
            "private/TradesHistory": self._trades_history,
            "private/GetWebSocketsToken": self._token,
            "private/GetApiKeyInfo": self._key_info,
        }

    def config(self) -> dict[str, Any]:
        """Return ccxt settings under which every URL of kraken leads here."""
        sockets = self.venue.url.replace("http", "ws", 1)
        streams = dict.fromkeys(("public", "private", "beta", "beta-private"), f"{sockets}/ws/closed")
        streams |= {"publicV2": f"{sockets}/ws/v2", "privateV2": f"{sockets}/ws-auth/v2"}
        urls = {"public": self.venue.url, "private": self.venue.url, "zendesk": f"{self.venue.url}/closed"}
        return {"urls": {"api": {**urls, "ws": streams}}}

    # ------------------------------------------------------------- requests

    def operation(self, call: Call) -> str:
        """Return what the request is about."""
        return OPERATIONS.get(call.path.rsplit("/", 1)[-1], "other")

    def answer(self, call: Call) -> Answer:
        """Answer a request, if key, signature and nonce are right."""
        route = self._routes.get(call.path.removeprefix("/0/"))
        if route is None:
            raise Refused(Refusal.UNKNOWN_PATH, call.path)
        if call.path.startswith("/0/private/"):
            self._check_signed(call)
        return Answer({"error": [], "result": route(call)})

    def _check_signed(self, call: Call) -> None:
        key, secret = self.venue.keys
        if call.headers.get("api-key", "") != key:
            raise Refused(Refusal.KEY)
        nonce = call.params.get("nonce", "")
        digest = hashlib.sha256((nonce + call.body).encode()).digest()
        made = hmac.new(base64.b64decode(secret), call.path.encode() + digest, hashlib.sha512).digest()
        try:
            given = base64.b64decode(call.headers.get("api-sign", ""), validate=True)
        except binascii.Error:
            given = b""
        if not hmac.compare_digest(made, given):
            raise Refused(Refusal.SIGNATURE)
        number = int(nonce) if nonce.isdigit() else -1
        if number in self._nonces or number <= self._nonce - self.nonce_window:
            raise Refused(Refusal.NONCE)
        self._nonces.add(number)
        self._nonce = max(self._nonce, number)
        if call.path.rsplit("/", 1)[-1] in TRADING and "trade" not in self.venue.permissions:
            raise Refused(Refusal.PERMISSION)

    def refusal(self, refused: Refused, call: Call) -> Answer:
        """Word a refusal as Kraken does: in an answer of status 200."""
        return Answer({"error": [words.REFUSALS[refused.refusal]]})

    def too_many(self, status: int, retry_after_s: float | None) -> Answer:
        """Answer that there were too many requests: no status and no header says so."""
        text = "EGeneral:Temporary lockout" if status == 418 else "EAPI:Rate limit exceeded"
        headers = {} if retry_after_s is None else {"Retry-After": str(int(retry_after_s))}
        return Answer({"error": [text]}, headers=headers)

    def clock_error(self) -> Answer:
        """Answer that the nonce is not above the last one."""
        return Answer({"error": [words.REFUSALS[Refusal.NONCE]]})

    def maintenance(self) -> Answer:
        """Answer that the service is unavailable."""
        return Answer({"error": ["EService:Unavailable"]}, 503)

    # --------------------------------------------------------------- public

    def _market(self, call: Call) -> Market:
        market = self.by_pair.get(call.params.get("pair", ""))
        if market is None:
            raise Refused(Refusal.UNKNOWN_SYMBOL, call.params.get("pair", ""))
        return market

    def _assets(self, _: Call) -> dict[str, Any]:
        names = dict.fromkeys(name for market in self.by_pair.values() for name in (market.base, market.quote))
        return {
            words.asset(name): {
                "aclass": "currency", "altname": words.ALTNAMES.get(name, name), "decimals": 10,
                "display_decimals": 5, "status": "enabled",
            }
            for name in {**names, **dict(self.matching.account.holdings)}
        }  # fmt: skip

    def _asset_pairs(self, _: Call) -> dict[str, Any]:
        rate = self.matching.fees.rate
        return {name: words.asset_pair(market, rate) for name, market in self.by_pair.items()}

    def _ticker(self, call: Call) -> dict[str, Any]:
        markets = [self._market(call)] if "pair" in call.params else list(self.by_pair.values())
        return {words.pair(market): words.ticker(market) for market in markets}

    def _ohlc(self, call: Call) -> dict[str, Any]:
        market = self._market(call)
        timeframe_ms = int(call.params.get("interval", "1")) * 60_000
        since = call.params.get("since")
        start_ms = int(float(since) * 1000) + 1 if since is not None else None
        shown = market.visible(timeframe_ms, None, None, 720)  # never more than 720 rows back, whatever is asked
        rows = [words.ohlc_row(candle) for candle in shown if start_ms is None or candle.open_ms >= start_ms]
        return {words.pair(market): rows, "last": rows[-2][0] if len(rows) > 1 else 0}

    def _depth(self, call: Call) -> dict[str, Any]:
        market = self._market(call)
        row = [str(market.price), "1000.000", self.now_ms() // 1000]
        return {words.pair(market): {"asks": [row], "bids": [row]}}

    # -------------------------------------------------------------- account

    def _balance(self, _: Call) -> dict[str, str]:
        return {words.asset(name): words.amount(held.total) for name, held in self.matching.account.holdings.items()}

    def _balance_ex(self, _: Call) -> dict[str, Any]:
        return {
            words.asset(name): {"balance": words.amount(held.total), "hold_trade": words.amount(held.locked)}
            for name, held in self.matching.account.holdings.items()
        }

    def _key_info(self, _: Call) -> dict[str, Any]:
        may = self.venue.permissions
        wanted = {
            "read": ["query-funds", "query-open-trades", "query-closed-trades"],
            "trade": ["modify-trades", "close-trades"],
            "withdraw": ["withdraw-funds"],
        }
        return {
            "api_key_name": "test", "api_key": self.venue.keys[0], "nonce": str(self._nonce),
            "nonce_window": self.nonce_window,
            "permissions": [name for right, names in wanted.items() if right in may for name in names],
        }  # fmt: skip

    def _token(self, _: Call) -> dict[str, Any]:
        token = base64.b64encode(f"token {len(self._tokens)}".encode()).decode()
        self._tokens.add(token)
        return {"token": token, "expires": 900}

    # --------------------------------------------------------------- orders

    def _asked(self, call: Call) -> Asked:
        params = call.params
        kind = words.KINDS.get(params.get("ordertype", ""))
        if kind is None or params.get("type") not in ("buy", "sell"):
            raise Refused(Refusal.MALFORMED)
        client_id = params.get("cl_ord_id", "")
        if len(client_id) > 36:
            raise Refused(Refusal.MALFORMED)
        if kind == "LIMIT" and "post" in params.get("oflags", ""):
            kind = "LIMIT_MAKER"
        stop = kind not in ("MARKET", "LIMIT", "LIMIT_MAKER")
        volume, in_quote = _decimal(params, "volume"), "viqc" in params.get("oflags", "")
        return Asked(
            symbol=self._market(call).symbol, buys=params["type"] == "buy", kind=kind,
            quantity=ZERO if in_quote else volume, quote_quantity=volume if in_quote else ZERO,
            price=_decimal(params, "price2" if stop else "price"),
            stop_price=_decimal(params, "price") if stop else ZERO,
            time_in_force=params.get("timeinforce", "GTC").upper(), client_id=client_id,
        )  # fmt: skip

    def _add_order(self, call: Call) -> dict[str, Any]:
        self.venue.count_order()
        if call.params.get("validate") in ("true", "True", "1"):
            order = self.matching.check(self._asked(call))
            return {"descr": {"order": words.description(order, self.matching.markets[order.symbol])["order"]}}
        order = self.matching.place(self._asked(call))
        described = words.description(order, self.matching.markets[order.symbol])
        return {"descr": {"order": described["order"]}, "txid": [words.txid("O", order.order_id)]}

    def addressed(self, call: Call) -> VenueOrder | None:
        """Return the order that a request names by either id."""
        number = words.number_of(call.params.get("txid", ""))
        return self.matching.find("", number, call.params.get("cl_ord_id"))

    def _amend_order(self, call: Call) -> dict[str, Any]:
        """Change an order in place; both its ids stay."""
        order = self.addressed(call)
        if order is None:
            raise Refused(Refusal.UNKNOWN_ORDER)
        fields = {"order_qty": "quantity", "limit_price": "price", "trigger_price": "stop_price"}
        changes = {field: _decimal(call.params, name) for name, field in fields.items() if name in call.params}
        if not changes:
            raise Refused(Refusal.MALFORMED, "order_qty")
        self.matching.amend(order, **changes)
        return {"amend_id": words.txid("T", next(self._sequence))}

    def _cancel_order(self, call: Call) -> dict[str, int]:
        order = self.addressed(call)
        if order is None:
            raise Refused(Refusal.UNKNOWN_ORDER)
        self.matching.cancel(order)
        return {"count": 1}

    def _cancel_all(self, _: Call) -> dict[str, int]:
        orders = self.matching.open_orders()
        for order in orders:
            self.matching.cancel(order)
        return {"count": len(orders)}

    def _told(self, orders: list[VenueOrder], *, trades: bool = False) -> dict[str, Any]:
        return {
            words.txid("O", order.order_id): words.order(order, self.matching.markets[order.symbol], trades=trades)
            for order in orders
        }

    def _query_orders(self, call: Call) -> dict[str, Any]:
        numbers = [words.number_of(one) for one in call.params.get("txid", "").split(",")]
        orders = [self.matching.orders.get(number) for number in numbers if number is not None]
        found = [order for order in orders if order is not None]
        if not found:
            raise Refused(Refusal.UNKNOWN_ORDER if None not in numbers else Refusal.MALFORMED)
        return self._told(found, trades=call.params.get("trades") in ("true", "True"))

    def _open_orders(self, call: Call) -> dict[str, Any]:
        client_id = call.params.get("cl_ord_id")
        orders = [order for order in self.matching.open_orders() if client_id in (None, order.client_id)]
        return {"open": self._told(orders)}

    def _closed_orders(self, call: Call) -> dict[str, Any]:
        client_id = call.params.get("cl_ord_id")
        chosen = [
            order
            for order in reversed(self.matching.orders.values())
            if not order.status.open and client_id in (None, order.client_id) and _within(order.updated_ms, call.params)
        ]
        first = int(call.params.get("ofs", 0))
        return {"closed": self._told(chosen[first : first + PAGE]), "count": len(chosen)}

    def _trades_history(self, call: Call) -> dict[str, Any]:
        chosen = [trade for trade in reversed(self.matching.trades) if _within(trade.time_ms, call.params)]
        first = int(call.params.get("ofs", 0))
        told = {
            words.txid("T", trade.trade_id): words.trade(
                trade, self.matching.markets[trade.symbol], self.matching.orders[trade.order_id].kind
            )
            for trade in chosen[first : first + PAGE]
        }
        return {"trades": told, "count": len(chosen)}

    # -------------------------------------------------------------- streams

    def heard(self, session: Session, message: str) -> None:
        """Answer subscribe, unsubscribe and ping."""
        asked = json.loads(message)
        method, params, number = asked.get("method"), asked.get("params", {}), asked.get("req_id")
        if method == "ping":
            self.tell(session, {"method": "pong", "req_id": number})
            return
        channel = params.get("channel", "")
        if channel in ("executions", "balances") and params.get("token") not in self._tokens:
            error = "EAccount:Invalid permissions"
            self.tell(session, {"error": error, "method": method, "success": False, "req_id": number})
            return
        for symbol in params.get("symbol", [""]):
            topic = (channel, symbol, params.get("interval", 1))
            if method == "subscribe":
                session.topics[topic] = True
            else:
                session.topics.pop(topic, None)
            result = {"channel": channel, "symbol": symbol}
            self.tell(session, {"method": method, "result": result, "success": True, "req_id": number})
        if channel in ("executions", "balances"):
            session.is_user = True
            self._snapshot(session, channel)

    def _snapshot(self, session: Session, channel: str) -> None:
        if channel == "balances":
            data = [self._holding(name) for name in self.matching.account.holdings]
        else:
            data = [words.execution("new", order, None) for order in self.matching.open_orders()]
        self._send(session, channel, "snapshot", data, private=True)

    def _holding(self, name: str) -> dict[str, Any]:
        total = float(self.matching.account.holdings[name].total)
        wallets = [{"type": "spot", "id": "main", "balance": total}]
        return {"asset": name, "asset_class": "currency", "balance": total, "wallets": wallets}

    def _send(
        self, session: Session, channel: str, kind: str, data: list[dict[str, Any]], *, private: bool = False
    ) -> None:
        payload = {"channel": channel, "type": kind, "data": data, "sequence": next(self._sequence)}
        first = data[0] if data else {}
        self.tell(session, payload, {"channel": channel, **first, **({"private": True} if private else {})})

    def on_order(self, event: str, order: VenueOrder, trade: VenueTrade | None) -> None:
        """Send executions and balances."""
        names = {"NEW": "new", "TRADE": "trade"}
        events = [names.get(event, event.lower())] + (["filled"] if trade is not None and not order.remaining else [])
        for session in [one for one in self.sessions if one.is_user]:
            if ("executions", "", 1) in session.topics:
                for name in events:
                    told = words.execution(name, order, trade if name == "trade" else None)
                    self._send(session, "executions", "update", [told], private=True)
            if ("balances", "", 1) in session.topics and trade is not None:
                market = self.matching.markets[order.symbol]
                data = [self._holding(name) for name in (market.base, market.quote)]
                self._send(session, "balances", "update", data, private=True)

    def on_price(self, market: Market, trade_id: int) -> None:
        """Send candle, ticker and trade to who listens."""
        now_ms = self.now_ms()
        for session in list(self.sessions):
            for channel, symbol, interval in list(session.topics):
                if symbol != market.symbol:
                    continue
                data = self._on(channel, market, interval, trade_id, now_ms)
                if data is not None:
                    self._send(session, channel, "update", [data])

    def _on(self, channel: str, market: Market, minutes: int, trade_id: int, now_ms: int) -> dict[str, Any] | None:
        price = float(market.price)
        if channel == "ohlc":
            (candle,) = market.visible(minutes * 60_000, None, None, 1)
            return words.ohlc_event(market, candle, minutes, now_ms)
        if channel == "ticker":
            return {
                "symbol": market.symbol, "bid": price, "bid_qty": 1.0, "ask": price, "ask_qty": 1.0, "last": price,
                "volume": 1.0, "vwap": price, "low": price, "high": price, "change": 0.0, "change_pct": 0.0,
            }  # fmt: skip
        if channel == "trade":
            return {
                "symbol": market.symbol, "side": "buy", "price": price, "qty": float(market.trades[-1][3]),
                "ord_type": "market", "trade_id": trade_id, "timestamp": words.stamp(now_ms),
            }  # fmt: skip
        return None

    def on_close(self, market: Market, candle: Candle) -> None:
        """Say nothing: that a candle is closed shows only by the next one."""


def _decimal(params: dict[str, str], name: str) -> Decimal:
    try:
        number = Decimal(params.get(name) or "0")
    except InvalidOperation:
        raise Refused(Refusal.MALFORMED, name) from None
    if not number.is_finite() or number < ZERO:
        raise Refused(Refusal.MALFORMED, name)
    return number


def _within(time_ms: int, params: dict[str, str]) -> bool:
    start, end = float(params.get("start") or 0), float(params.get("end") or 1 << 40)
    return start * 1000 <= time_ms <= end * 1000
