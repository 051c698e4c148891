"""What each venue can do that ccxt does not tell: one table, and defaults for venues that are not in it.

Looked up in ccxt 4.5.90's sources, venue by venue.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: errors that a venue raises before it has accepted anything
BEFORE_ACCEPTING = frozenset({"RateLimitExceeded", "DDoSProtection", "InvalidNonce"})


@dataclass(frozen=True, slots=True)
class Capabilities:
    """How to trade at a venue without losing or doubling an order."""

    #: parameter of fetch_order that takes a client order id; None: look through open and closed orders instead
    lookup_param: str | None = None
    #: how long after it was sent a request may still be accepted [s]; None: `execution.order_timeout_seconds`, after
    #: which an entry is too old to be sent again
    settles_s: float | None = None
    #: option of the client that says the same [ms], as in recvWindow; counts instead where it is set
    settles_option: str | None = None
    #: matches the text of an error that says "this client order id is in use": proof that the order was accepted
    duplicate: re.Pattern[str] | None = None
    #: classes of errors that mean that a submit was not accepted, whatever came after it
    refused_before: frozenset[str] = frozenset()
    #: whether a resting stop sells at the market ("market"), needs a limit ("limit"), or there is none (None)
    stop: str | None = "market"
    #: whether `edit_order` ends one order and places the next one, under an id of its own, in one request with the
    #: quantity never free between; venues that amend an order in place keep its id, and are none of these
    replaces: bool = False
    #: whether `edit_order` moves the trigger of a resting stop in place: one order, under the ids that it has
    amends: bool = False
    #: matches the text of an error that says "there is no new order", whatever became of the old one
    replace_refused: re.Pattern[str] | None = None
    #: more parameters of a market order, so that its amount is in base currency
    market_params: Mapping[str, Any] = field(default_factory=dict)
    #: whether the limits in `cost` at a market buy are enforced by ccxt and have to be switched off
    price_option: bool = False
    #: the venue's orders carry client order ids at all
    client_ids: bool = True


_DUPLICATE = re.compile(r"[Dd]uplicate", re.ASCII)

TABLE: Mapping[str, Capabilities] = {
    "binance": Capabilities(
        lookup_param="origClientOrderId",
        settles_s=10.0,
        settles_option="recvWindow",
        # -2010 "Duplicate order sent.", -4116 DUPLICATED_CLIENT_ORDER_ID
        duplicate=re.compile(r"Duplicate order sent|-4116\b"),
        refused_before=BEFORE_ACCEPTING,
        # order.cancelReplace, STOP_ON_FAILURE; -2021: canceled, but no new one; -2022: neither
        replaces=True,
        replace_refused=re.compile(r'"code":-202[12]\b'),
    ),
    # cl_ord_id is known to open and closed orders, and fetch_order takes the venue's id alone. A request with an older
    # nonce than one that was accepted since is refused: an answered question ends what was on its way before it.
    "kraken": Capabilities(
        settles_s=2.0,
        duplicate=re.compile(r"EOrder:.*(cl_ord_id|client).*(use|uplicate|exist)", re.IGNORECASE),
        refused_before=BEFORE_ACCEPTING,
        amends=True,  # AmendOrder, with trigger_price
    ),
    "bybit": Capabilities(
        settles_s=5.0,
        settles_option="recvWindow",
        duplicate=re.compile(r"\b(12141|110072|170141|140030|110030)\b|OrderLinkedID is duplicate"),
        refused_before=BEFORE_ACCEPTING,
        market_params={"marketUnit": "baseCoin"},
        price_option=True,
    ),
    "okx": Capabilities(
        lookup_param="clientOrderId",
        duplicate=re.compile(r"\b51016\b"),
        refused_before=frozenset({"RateLimitExceeded"}),
        market_params={"tgtCcy": "base_ccy"},
        price_option=True,
    ),
    "kucoin": Capabilities(
        lookup_param="clientOrderId",
        duplicate=re.compile(r"\b126044\b|clientOid duplicate"),
        refused_before=frozenset({"RateLimitExceeded"}),
    ),
    "bitget": Capabilities(lookup_param="clientOrderId", duplicate=_DUPLICATE),
    "mexc": Capabilities(lookup_param="clientOrderId", duplicate=_DUPLICATE, stop=None),
    "htx": Capabilities(lookup_param="clientOrderId", duplicate=_DUPLICATE, stop="limit"),
}

_SAME_AS = {"binanceus": "binance", "myokx": "okx", "okxus": "okx", "bybiteu": "bybit", "huobi": "htx"}

#: what live trading can not do without, as ccxt names it
NEEDS = ("createOrder", "cancelOrder", "fetchBalance", "fetchMyTrades", "fetchOpenOrders")
#: one of these finds orders that are no longer open
NEEDS_ONE_OF = ("fetchOrder", "fetchClosedOrders", "fetchOrders")


def capabilities_of(exchange: str) -> Capabilities:
    """Return what is known of a venue; careful defaults for one that nobody has looked at.

    Parameters
    ----------
    exchange : str
        Its ccxt id.
    """
    return TABLE.get(_SAME_AS.get(exchange, exchange), Capabilities(stop=None))


def missing(has: Mapping[str, Any]) -> list[str]:
    """Return what a venue lacks that live trading needs, as ccxt names it.

    Parameters
    ----------
    has : mapping
        ccxt's `has` of the venue.
    """
    lacking = [name for name in NEEDS if not has.get(name)]
    if not any(has.get(name) for name in NEEDS_ONE_OF):
        lacking.append(" or ".join(NEEDS_ONE_OF))
    return lacking
