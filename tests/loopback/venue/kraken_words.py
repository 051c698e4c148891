"""Kraken's words: how it writes assets, pairs, candles, orders, trades and executions."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.loopback.venue.books import Refusal, Status, VenueOrder, VenueTrade
from tests.loopback.venue.markets import Candle, Market

ASSETS = {"BTC": "XXBT", "ETH": "XETH", "LTC": "XLTC", "XRP": "XXRP", "DOGE": "XXDG", "USD": "ZUSD", "EUR": "ZEUR"}
ALTNAMES = {"BTC": "XBT", "DOGE": "XDG"}
KINDS = {
    "market": "MARKET", "limit": "LIMIT", "stop-loss": "STOP_LOSS", "stop-loss-limit": "STOP_LOSS_LIMIT",
    "take-profit": "TAKE_PROFIT", "take-profit-limit": "TAKE_PROFIT_LIMIT",
}  # fmt: skip
TYPES = {kind: name for name, kind in KINDS.items()} | {"LIMIT_MAKER": "limit"}
STATES = {
    Status.NEW: "open", Status.PARTIALLY_FILLED: "open", Status.FILLED: "closed", Status.CANCELED: "canceled",
    Status.EXPIRED: "expired",
}  # fmt: skip
REFUSALS: dict[Refusal, str] = {
    Refusal.UNKNOWN_SYMBOL: "EQuery:Unknown asset pair",
    Refusal.NOT_TRADING: "EService:Market in cancel_only mode",
    Refusal.UNKNOWN_ORDER: "EOrder:Unknown order",
    Refusal.DUPLICATE: "EOrder:cl_ord_id already in use",
    Refusal.FUNDS: "EOrder:Insufficient funds",
    Refusal.LOT_SIZE: "EGeneral:Invalid arguments:volume",
    Refusal.PRICE_FILTER: "EOrder:Invalid price:Invalid price argument",
    Refusal.NOTIONAL: "EOrder:Order minimum not met",
    Refusal.TRIGGERS_NOW: "EGeneral:Invalid arguments:price",
    Refusal.TAKES_NOW: "EOrder:Post only order",
    Refusal.MALFORMED: "EGeneral:Invalid arguments",
    Refusal.RATE: "EOrder:Rate limit exceeded",
    Refusal.KEY: "EAPI:Invalid key",
    Refusal.SIGNATURE: "EAPI:Invalid signature",
    Refusal.TIMESTAMP: "EAPI:Invalid nonce",
    Refusal.NONCE: "EAPI:Invalid nonce",
    Refusal.PERMISSION: "EGeneral:Permission denied",
    Refusal.UNKNOWN_PATH: "EGeneral:Unknown method",
}


def asset(currency: str) -> str:
    """Return Kraken's id of a currency."""
    return ASSETS.get(currency, currency)


def pair(market: Market) -> str:
    """Return Kraken's name of a pair."""
    return ALTNAMES.get(market.base, market.base) + ALTNAMES.get(market.quote, market.quote)


def txid(prefix: str, number: int) -> str:
    """Return a transaction id as Kraken makes them: O... for orders, T... for trades."""
    return f"{prefix}VENUE-{number // 1_000_000:05d}-{number % 1_000_000:06d}"


def number_of(txid_: str) -> int | None:
    """Return the venue's number of a transaction id."""
    parts = txid_.split("-")
    if len(parts) != 3 or not (parts[1] + parts[2]).isdigit():
        return None
    return int(parts[1]) * 1_000_000 + int(parts[2])


def decimals(grid: Decimal) -> int:
    """Return how many decimals a tick or a step has."""
    return max(0, -int(grid.normalize().as_tuple().exponent))


def amount(value: Decimal) -> str:
    """Return an amount with eight decimals."""
    return f"{value:.8f}"


def seconds(time_ms: int) -> float:
    """Return a time in seconds."""
    return time_ms / 1000


def stamp(time_ms: int) -> str:
    """Return a time as the websocket writes it."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def asset_pair(market: Market, rate: Decimal) -> dict[str, Any]:
    """Return a pair's entry."""
    percent = float(rate * 100)
    name, rules = pair(market), market.rules
    wsname = f"{ALTNAMES.get(market.base, market.base)}/{ALTNAMES.get(market.quote, market.quote)}"
    return {
        "altname": name, "wsname": wsname, "aclass_base": "currency", "base": asset(market.base),
        "aclass_quote": "currency", "quote": asset(market.quote), "lot": "unit", "cost_decimals": 8,
        "pair_decimals": decimals(rules.tick), "lot_decimals": decimals(rules.step), "lot_multiplier": 1,
        "leverage_buy": [], "leverage_sell": [], "fees": [[0, percent]], "fees_maker": [[0, percent]],
        "fee_volume_currency": "ZUSD", "margin_call": 80, "margin_stop": 40, "ordermin": str(rules.min_quantity),
        "costmin": str(rules.min_notional), "tick_size": str(rules.tick),
        "status": "online" if rules.trading else "cancel_only",
    }  # fmt: skip


def ohlc_row(candle: Candle) -> list[Any]:
    """Return one row of OHLC."""
    return [
        candle.open_ms // 1000, str(candle.open), str(candle.high), str(candle.low), str(candle.close),
        str(candle.close), amount(candle.volume), 4,
    ]  # fmt: skip


def ticker(market: Market) -> dict[str, Any]:
    """Return a pair's ticker."""
    price, candles = str(market.price), market.candles[max(0, market.played - 1440) : market.played]
    high = str(max([market.price, *(candle.high for candle in candles)]))
    low = str(min([market.price, *(candle.low for candle in candles)]))
    volume = amount(sum((candle.volume for candle in candles), Decimal(0)))
    return {
        "a": [price, "1", "1.000"], "b": [price, "1", "1.000"], "c": [price, "0.01"], "v": [volume, volume],
        "p": [price, price], "t": [1, 1], "l": [low, low], "h": [high, high],
        "o": str(candles[0].open if candles else market.price),
    }  # fmt: skip


def description(order: VenueOrder, market: Market) -> dict[str, Any]:
    """Return the description that every order has."""
    side, name = "buy" if order.buys else "sell", TYPES[order.kind]
    price, price2 = (order.stop_price, order.price) if order.stop_price else (order.price, Decimal(0))
    words = f"{side} {amount(order.quantity)} {pair(market)} @ {name.replace('-limit', '').replace('-', ' ')}"
    if order.stop_price:
        words += f" {price}" + (f" -> limit {price2}" if price2 else "")
    elif order.price:
        words += f" {price}"
    return {
        "pair": pair(market), "type": side, "ordertype": name, "price": str(price), "price2": str(price2),
        "leverage": "none", "order": words, "close": "",
    }  # fmt: skip


def order(order: VenueOrder, market: Market, *, trades: bool = False) -> dict[str, Any]:
    """Return an order as queries show it."""
    average = order.cost / order.filled if order.filled else Decimal(0)
    told: dict[str, Any] = {
        "refid": None, "userref": None, "cl_ord_id": order.client_id, "status": STATES[order.status],
        "opentm": seconds(order.created_ms), "starttm": 0, "expiretm": 0, "descr": description(order, market),
        "vol": amount(order.quantity), "vol_exec": amount(order.filled), "cost": amount(order.cost),
        "fee": amount(sum((trade.fee for trade in order.trades), Decimal(0))), "price": amount(average),
        "stopprice": str(order.stop_price), "limitprice": "0.00000", "misc": "", "oflags": "fciq",
    }  # fmt: skip
    if not order.status.open:
        told |= {"closetm": seconds(order.updated_ms), "reason": "User requested" if not order.filled else None}
    if trades:
        told["trades"] = [txid("T", trade.trade_id) for trade in order.trades]
    return told


def trade(trade: VenueTrade, market: Market, kind: str) -> dict[str, Any]:
    """Return one of the account's trades."""
    return {
        "ordertxid": txid("O", trade.order_id), "postxid": "TKH2SE-M7IF5-CFI7LT", "pair": pair(market),
        "time": seconds(trade.time_ms), "type": "buy" if trade.buys else "sell", "ordertype": TYPES[kind],
        "price": str(trade.price), "cost": amount(trade.cost), "fee": amount(trade.fee),
        "vol": amount(trade.quantity), "margin": "0.00000", "misc": "", "trade_id": trade.trade_id,
        "maker": trade.maker,
    }  # fmt: skip


def execution(event: str, order: VenueOrder, fill: VenueTrade | None) -> dict[str, Any]:
    """Return an event of the executions channel."""
    states = {Status.NEW: "new", Status.PARTIALLY_FILLED: "partially_filled", Status.FILLED: "filled"}
    told: dict[str, Any] = {
        "order_id": txid("O", order.order_id), "cl_ord_id": order.client_id, "symbol": order.symbol,
        "order_qty": float(order.quantity), "cum_qty": float(order.filled), "cum_cost": float(order.cost),
        "time_in_force": order.time_in_force, "exec_type": event, "side": "buy" if order.buys else "sell",
        "order_type": TYPES[order.kind], "order_status": states.get(order.status, order.status.value.lower()),
        "order_userref": 0, "fee_usd_equiv": 0.0, "timestamp": stamp(order.updated_ms),
    }  # fmt: skip
    if order.price:
        told["limit_price"] = float(order.price)
    if order.stop_price:
        told["stop_price"] = float(order.stop_price)
    if order.filled:
        told["avg_price"] = float(order.cost / order.filled)
    if fill is not None:
        told |= {
            "exec_id": txid("T", fill.trade_id), "trade_id": fill.trade_id, "last_qty": float(fill.quantity),
            "last_price": float(fill.price), "cost": float(fill.cost), "liquidity_ind": "m" if fill.maker else "t",
            "fees": [{"asset": fill.fee_currency, "qty": float(fill.fee)}],
        }  # fmt: skip
    return told


def ohlc_event(market: Market, candle: Candle, minutes: int, now_ms: int) -> dict[str, Any]:
    """Return a candle as the websocket tells it: nothing says whether it is closed."""
    end_ms = candle.open_ms + minutes * 60_000
    return {
        "symbol": market.symbol, "open": float(candle.open), "high": float(candle.high), "low": float(candle.low),
        "close": float(candle.close), "trades": 4, "volume": float(candle.volume), "vwap": float(candle.close),
        "interval_begin": stamp(candle.open_ms), "interval": minutes, "timestamp": stamp(end_ms),
    }  # fmt: skip
