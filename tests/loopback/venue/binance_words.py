"""Binance's words: how it writes symbols, candles, orders, trades and events."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from tests.loopback.venue.books import Holding, Refusal, VenueOrder, VenueTrade
from tests.loopback.venue.markets import TIMEFRAMES_MS, Candle, Market

CLIENT_ID = re.compile(r"[a-zA-Z0-9-_]{1,36}")
ORDER_TYPES = [
    "LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT",
]  # fmt: skip
REFUSALS: dict[Refusal, tuple[int, str, int]] = {
    Refusal.UNKNOWN_SYMBOL: (-1121, "Invalid symbol.", 400),
    Refusal.NOT_TRADING: (-2010, "Market is closed.", 400),
    Refusal.UNKNOWN_ORDER: (-2011, "Unknown order sent.", 400),
    Refusal.DUPLICATE: (-2010, "Duplicate order sent.", 400),
    Refusal.FUNDS: (-2010, "Account has insufficient balance for requested action.", 400),
    Refusal.LOT_SIZE: (-1013, "Filter failure: LOT_SIZE", 400),
    Refusal.PRICE_FILTER: (-1013, "Filter failure: PRICE_FILTER", 400),
    Refusal.NOTIONAL: (-1013, "Filter failure: NOTIONAL", 400),
    Refusal.TRIGGERS_NOW: (-2010, "Stop price would trigger immediately.", 400),
    Refusal.TAKES_NOW: (-2010, "Order would immediately match and take.", 400),
    Refusal.MALFORMED: (-1102, "Mandatory parameter '{detail}' was not sent, was empty/null, or malformed.", 400),
    Refusal.RATE: (-1015, "Too many new orders; current limit is {detail}.", 429),
    Refusal.KEY: (-2015, "Invalid API-key, IP, or permissions for action.", 401),
    Refusal.SIGNATURE: (-1022, "Signature for this request is not valid.", 400),
    Refusal.TIMESTAMP: (-1021, "Timestamp for this request is outside of the recvWindow.", 400),
    Refusal.NONCE: (-1021, "Timestamp for this request is outside of the recvWindow.", 400),
    Refusal.PERMISSION: (-2015, "Invalid API-key, IP, or permissions for action.", 401),
    Refusal.UNKNOWN_PATH: (-1000, "Path {detail}, Method not found", 404),
}


def number(amount: Decimal) -> str:
    """Return an amount with Binance's eight decimals."""
    return f"{amount:.8f}"


def rate_limits(limit: int | None) -> list[dict[str, Any]]:
    """Return the limits that exchangeInfo tells."""
    return [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": limit or 6000},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
        {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200_000},
    ]


def symbol_info(market: Market) -> dict[str, Any]:
    """Return a symbol's entry in exchangeInfo."""
    rules = market.rules
    tick, step = number(rules.tick), number(rules.step)
    lot = {"minQty": number(rules.min_quantity), "maxQty": number(rules.max_quantity), "stepSize": step}
    return {
        "symbol": market.id, "status": "TRADING" if rules.trading else "BREAK", "baseAsset": market.base,
        "baseAssetPrecision": 8, "quoteAsset": market.quote, "quotePrecision": 8, "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8, "quoteCommissionPrecision": 8, "orderTypes": ORDER_TYPES,
        "icebergAllowed": True, "ocoAllowed": True, "otoAllowed": True, "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True, "cancelReplaceAllowed": True, "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": number(rules.max_price), "tickSize": tick},
            {"filterType": "LOT_SIZE", **lot},
            {"filterType": "ICEBERG_PARTS", "limit": 10},
            {
                "filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": number(rules.max_quantity),
                "stepSize": "0.00000000",
            },
            {
                "filterType": "NOTIONAL", "minNotional": number(rules.min_notional), "applyMinToMarket": True,
                "maxNotional": "9000000.00000000", "applyMaxToMarket": False, "avgPriceMins": 5,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        ],
        "permissions": [], "permissionSets": [["SPOT"]], "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }  # fmt: skip


def kline_row(candle: Candle, timeframe_ms: int) -> list[Any]:
    """Return one row of klines."""
    quote = number(candle.volume * candle.close)
    return [
        candle.open_ms, number(candle.open), number(candle.high), number(candle.low), number(candle.close),
        number(candle.volume), candle.open_ms + timeframe_ms - 1, quote, 4, number(candle.volume / 2),
        number(candle.volume * candle.close / 2), "0",
    ]  # fmt: skip


def _day(market: Market) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Return open, high, low and volume of the last day."""
    count = 86_400_000 // market.timeframe_ms
    candles = market.candles[max(0, market.played - count) : market.played]
    first = candles[0].open if candles else market.price
    high = max([market.price, *(candle.high for candle in candles)])
    low = min([market.price, *(candle.low for candle in candles)])
    return first, high, low, sum((candle.volume for candle in candles), Decimal(0))


def ticker(market: Market, now_ms: int) -> dict[str, Any]:
    """Return the 24 h ticker."""
    first, high, low, volume = _day(market)
    change = market.price - first
    return {
        "symbol": market.id, "priceChange": number(change),
        "priceChangePercent": f"{change / first * 100 if first else 0:.3f}",
        "weightedAvgPrice": number(market.price), "prevClosePrice": number(first), "lastPrice": number(market.price),
        "lastQty": number(market.rules.step), "bidPrice": number(market.price), "bidQty": "1000.00000000",
        "askPrice": number(market.price), "askQty": "1000.00000000", "openPrice": number(first),
        "highPrice": number(high), "lowPrice": number(low), "volume": number(volume),
        "quoteVolume": number(volume * market.price), "openTime": now_ms - 86_400_000, "closeTime": now_ms,
        "firstId": 1, "lastId": 2, "count": 2,
    }  # fmt: skip


def book_ticker(market: Market) -> dict[str, Any]:
    """Return best bid and ask: this venue has no spread."""
    price = number(market.price)
    return {
        "symbol": market.id, "bidPrice": price, "bidQty": "1000.00000000", "askPrice": price, "askQty": "1000.00000000",
    }  # fmt: skip


def public_trade(row: tuple[int, int, Decimal, Decimal]) -> dict[str, Any]:
    """Return a trade of the market."""
    trade_id, time_ms, price, quantity = row
    return {
        "id": trade_id, "price": number(price), "qty": number(quantity), "quoteQty": number(price * quantity),
        "time": time_ms, "isBuyerMaker": False, "isBestMatch": True,
    }  # fmt: skip


def agg_trade(row: tuple[int, int, Decimal, Decimal]) -> dict[str, Any]:
    """Return an aggregate trade of the market."""
    trade_id, time_ms, price, quantity = row
    return {
        "a": trade_id, "p": number(price), "q": number(quantity), "f": trade_id, "l": trade_id, "T": time_ms,
        "m": False, "M": True,
    }  # fmt: skip


def coin(name: str, free: Decimal, locked: Decimal) -> dict[str, Any]:
    """Return a currency's entry."""
    network = {
        "network": name, "coin": name, "withdrawIntegerMultiple": "0.00000001", "isDefault": True,
        "depositEnable": True, "withdrawEnable": True, "depositDesc": "", "withdrawDesc": "", "specialTips": "",
        "name": name, "resetAddressStatus": False, "addressRegex": "", "memoRegex": "", "withdrawFee": "0.0005",
        "withdrawMin": "0.001", "withdrawMax": "7500", "minConfirm": 1, "unLockConfirm": 2, "sameAddress": False,
    }  # fmt: skip
    return {
        "coin": name, "depositAllEnable": True, "withdrawAllEnable": True, "name": name, "free": number(free),
        "locked": number(locked), "freeze": "0", "withdrawing": "0", "ipoing": "0", "ipoable": "0", "storage": "0",
        "isLegalMoney": False, "trading": True, "networkList": [network],
    }  # fmt: skip


def _common(order: VenueOrder, symbol: str) -> dict[str, Any]:
    return {
        "symbol": symbol, "orderId": order.order_id, "orderListId": -1, "clientOrderId": order.client_id,
        "price": number(order.price), "origQty": number(order.quantity), "executedQty": number(order.filled),
        "origQuoteOrderQty": number(order.quote_quantity), "cummulativeQuoteQty": number(order.cost),
        "status": order.status.value, "timeInForce": order.time_in_force, "type": order.kind,
        "side": "BUY" if order.buys else "SELL", "selfTradePreventionMode": "EXPIRE_MAKER",
    } | ({"stopPrice": number(order.stop_price)} if order.stop_price else {})  # fmt: skip


def submitted(order: VenueOrder, symbol: str, detail: str) -> dict[str, Any]:
    """Return the answer to a submit: ACK, RESULT or FULL."""
    head = {
        "symbol": symbol, "orderId": order.order_id, "orderListId": -1, "clientOrderId": order.client_id,
        "transactTime": order.updated_ms,
    }  # fmt: skip
    if detail == "ACK":
        return head
    answer = head | _common(order, symbol) | {"workingTime": -1 if order.waits else order.created_ms}
    if detail == "FULL":
        answer["fills"] = [
            {
                "price": number(trade.price), "qty": number(trade.quantity), "commission": number(trade.fee),
                "commissionAsset": trade.fee_currency, "tradeId": trade.trade_id,
            }
            for trade in order.trades
        ]  # fmt: skip
    return answer


def order(order: VenueOrder, symbol: str) -> dict[str, Any]:
    """Return an order as queries show it."""
    return _common(order, symbol) | {
        "stopPrice": number(order.stop_price), "icebergQty": "0.00000000", "time": order.created_ms,
        "updateTime": order.updated_ms, "isWorking": not order.waits,
        "workingTime": -1 if order.waits else order.created_ms,
    }  # fmt: skip


def cancelled(order: VenueOrder, symbol: str) -> dict[str, Any]:
    """Return the answer to a cancel: the new client id is the cancel's own."""
    return _common(order, symbol) | {
        "origClientOrderId": order.client_id, "clientOrderId": order.cancel_id, "transactTime": order.updated_ms,
    }  # fmt: skip


def my_trade(trade: VenueTrade, symbol: str) -> dict[str, Any]:
    """Return one of the account's trades."""
    return {
        "symbol": symbol, "id": trade.trade_id, "orderId": trade.order_id, "orderListId": -1,
        "price": number(trade.price), "qty": number(trade.quantity), "quoteQty": number(trade.cost),
        "commission": number(trade.fee), "commissionAsset": trade.fee_currency, "time": trade.time_ms,
        "isBuyer": trade.buys, "isMaker": trade.maker, "isBestMatch": True,
    }  # fmt: skip


def execution_report(
    event: str, order: VenueOrder, trade: VenueTrade | None, symbol: str, now_ms: int
) -> dict[str, Any]:
    """Return the user data event of an order."""
    cancelled_now = event == "CANCELED"
    return {
        "e": "executionReport", "E": now_ms, "s": symbol, "c": order.cancel_id if cancelled_now else order.client_id,
        "S": "BUY" if order.buys else "SELL", "o": order.kind, "f": order.time_in_force, "q": number(order.quantity),
        "p": number(order.price), "P": number(order.stop_price), "F": "0.00000000", "g": -1,
        "C": order.client_id if cancelled_now else "", "x": event, "X": order.status.value, "r": "NONE",
        "i": order.order_id, "l": number(trade.quantity) if trade else "0.00000000", "z": number(order.filled),
        "L": number(trade.price) if trade else "0.00000000", "n": number(trade.fee) if trade else "0",
        "N": trade.fee_currency if trade else None, "T": order.updated_ms, "t": trade.trade_id if trade else -1,
        "I": order.order_id * 2 + 1, "w": order.status.open and not order.waits, "m": bool(trade and trade.maker),
        "M": False, "O": order.created_ms, "Z": number(order.cost), "Y": number(trade.cost) if trade else "0.00000000",
        "Q": number(order.quote_quantity), "W": order.created_ms, "V": "EXPIRE_MAKER",
    }  # fmt: skip


def account_position(holdings: dict[str, Holding], updated_ms: int, now_ms: int) -> dict[str, Any]:
    """Return the user data event of the balances that an order moved."""
    return {
        "e": "outboundAccountPosition", "E": now_ms, "u": updated_ms,
        "B": [{"a": name, "f": number(held.free), "l": number(held.locked)} for name, held in holdings.items()],
    }  # fmt: skip


def kline_event(market: Market, candle: Candle, interval: str, now_ms: int, *, closed: bool) -> dict[str, Any]:
    """Return a candle as the stream tells it; `x` is true once it is closed."""
    row = kline_row(candle, TIMEFRAMES_MS[interval])
    return {
        "e": "kline", "E": now_ms, "s": market.id,
        "k": {
            "t": candle.open_ms, "T": row[6], "s": market.id, "i": interval, "f": 100, "L": 200,
            "o": row[1], "c": row[4], "h": row[2], "l": row[3], "v": row[5], "n": row[8], "x": closed, "q": row[7],
            "V": row[9], "Q": row[10], "B": "0",
        },
    }  # fmt: skip


def trade_event(kind: str, market: Market, trade_id: int, now_ms: int) -> dict[str, Any]:
    """Return a trade, or an aggregate trade, as the stream tells it."""
    _, time_ms, price, quantity = market.trades[-1]
    return {
        "e": kind, "E": now_ms, "s": market.id, "t": trade_id, "a": trade_id, "p": number(price),
        "q": number(quantity), "f": trade_id, "l": trade_id, "T": time_ms, "m": False, "M": True,
    }  # fmt: skip


def ticker_event(market: Market, now_ms: int) -> dict[str, Any]:
    """Return the 24 h ticker as the stream tells it."""
    told = ticker(market, now_ms)
    return {
        "e": "24hrTicker", "E": now_ms, "s": market.id, "p": told["priceChange"], "P": told["priceChangePercent"],
        "w": told["weightedAvgPrice"], "x": told["prevClosePrice"], "c": told["lastPrice"], "Q": told["lastQty"],
        "b": told["bidPrice"], "B": told["bidQty"], "a": told["askPrice"], "A": told["askQty"],
        "o": told["openPrice"], "h": told["highPrice"], "l": told["lowPrice"], "v": told["volume"],
        "q": told["quoteVolume"], "O": told["openTime"], "C": told["closeTime"], "F": 1, "L": 2, "n": 2,
    }  # fmt: skip


def mini_ticker_event(market: Market, now_ms: int) -> dict[str, Any]:
    """Return the small 24 h ticker as the stream tells it."""
    told = ticker(market, now_ms)
    return {
        "e": "24hrMiniTicker", "E": now_ms, "s": market.id, "c": told["lastPrice"], "o": told["openPrice"],
        "h": told["highPrice"], "l": told["lowPrice"], "v": told["volume"], "q": told["quoteVolume"],
    }  # fmt: skip


def book_ticker_event(market: Market, update_id: int) -> dict[str, Any]:
    """Return best bid and ask as the stream tells them, without an event name."""
    price = number(market.price)
    return {"u": update_id, "s": market.id, "b": price, "B": "1000.00000000", "a": price, "A": "1000.00000000"}
