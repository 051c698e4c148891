"""ccxt's orders, trades and balances as exact values of our own; garbled ones are told from whole ones.

ccxt makes floats of amounts unless it is told to make text of them, and a float has lost digits of a large amount with
many decimals. `exactly` makes it read orders, trades and balances as text, and leaves candles alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from trader.codes import Side
from trader.units import EXACT

_ZERO = Decimal(0)
_PARSERS = ("parse_order", "parse_trade", "parse_balance")


class Standing(StrEnum):
    """How an order stands at the venue."""

    OPEN = "open"
    FILLED = "filled"  #: over, with something filled; all of it or not
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"


_SIDES = {"buy": Side.BUY, "sell": Side.SELL}
_STATUS = {
    "open": Standing.OPEN,
    "closed": Standing.FILLED,
    "canceled": Standing.CANCELED,
    "cancelled": Standing.CANCELED,
    "expired": Standing.EXPIRED,
    "rejected": Standing.REJECTED,
}


@dataclass(frozen=True, slots=True)
class Execution:
    """One trade of ours, as the venue tells it."""

    trade_id: str
    venue_order_id: str
    symbol: str
    side: Side
    price: Decimal  #: [quote per base], > 0
    quantity: Decimal  #: [base], > 0
    fees: tuple[tuple[str, Decimal], ...]  #: amounts by currency; empty: the venue said nothing of a fee
    time_ns: int  #: [ns UTC]; 0: not told


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """One order, as the venue tells it."""

    venue_order_id: str
    client_order_id: str | None
    symbol: str
    standing: Standing
    filled: Decimal  #: [base]
    executions: tuple[Execution, ...] = ()
    trigger: Decimal | None = None  #: where a stop triggers [quote per base]; None: not told

    @property
    def is_over(self) -> bool:
        """Whether the venue will not fill any more of it."""
        return self.standing is not Standing.OPEN

    @property
    def is_explained(self) -> bool:
        """Whether the executions add up to what is filled."""
        return _sum(item.quantity for item in self.executions) == self.filled

    def with_executions(self, executions: Sequence[Execution]) -> VenueOrder:
        """Return the same order with these executions, each trade once; what they add up to is filled at least."""
        known = {item.trade_id: item for item in (*self.executions, *executions)}
        kept = tuple(sorted(known.values(), key=lambda item: (item.time_ns, item.trade_id)))
        return replace(self, executions=kept, filled=max(self.filled, _sum(item.quantity for item in kept)))


def read_order(raw: Any, symbol: str) -> VenueOrder | None:
    """Return an order; None when the answer is garbled and says nothing that can be relied on.

    Parameters
    ----------
    raw : object
        What ccxt returned.
    symbol : str
        The symbol that was asked about.
    """
    if not isinstance(raw, Mapping):
        return None
    number, standing = raw.get("id"), _STATUS.get(str(raw.get("status")))
    filled = amount_of(raw.get("filled"))
    if not number or standing is None or raw.get("symbol") not in (None, symbol):
        return None
    executions = [read_trade(item, symbol, str(number), raw.get("side")) for item in raw.get("trades") or ()]
    whole = tuple(item for item in executions if item is not None)
    if filled is None:
        if standing is not Standing.OPEN or whole:
            return None  # over, and by how much nobody says: ask again rather than guess
        filled = _ZERO
    client = raw.get("clientOrderId")
    told = (amount_of(raw.get(name)) for name in ("stopLossPrice", "triggerPrice", "stopPrice"))
    trigger = next((price for price in told if price is not None and price > 0), None)
    return VenueOrder(str(number), str(client) if client else None, symbol, standing, filled, whole, trigger)


def read_trade(
    raw: Any, symbol: str, venue_order_id: str | None = None, order_side: str | None = None
) -> Execution | None:
    """Return a trade; None when it lacks an id, an order, a side, a price or a quantity.

    Parameters
    ----------
    raw : object
        What ccxt returned.
    symbol : str
        The symbol that was asked about.
    venue_order_id : str, optional
        The order that it came with.
    order_side : str, optional
        Side of that order, which such a trade need not repeat.
    """
    if not isinstance(raw, Mapping):
        return None
    price, quantity = amount_of(raw.get("price")), amount_of(raw.get("amount"))
    order, side = raw.get("order") or venue_order_id, _SIDES.get(str(raw.get("side") or order_side))
    if not (raw.get("id") and order and side and price and quantity) or price <= 0 or quantity <= 0:
        return None
    told = raw.get("timestamp")
    time_ns = int(told) * 1_000_000 if isinstance(told, int | float) else 0
    return Execution(str(raw["id"]), str(order), symbol, side, price, quantity, _fees(raw), time_ns)


def read_balances(raw: Any) -> dict[str, Decimal] | None:
    """Return what is held of each currency, free or not; None when the answer is garbled, or names no currency.

    An answer without any currency is what ccxt makes of a garbled one, and must not pass for an account that is empty.

    Parameters
    ----------
    raw : object
        What ccxt's fetch_balance returned.
    """
    totals = raw.get("total") if isinstance(raw, Mapping) else None
    if not isinstance(totals, Mapping):
        return None
    found = {str(currency): amount_of(total) for currency, total in totals.items()}
    return {currency: amount for currency, amount in found.items() if amount is not None} or None


def amount_of(value: Any) -> Decimal | None:
    """Return an amount exactly; None when there is none, or it is no finite number."""
    if value is None or isinstance(value, bool):
        return None
    try:
        amount = Decimal(repr(value)) if isinstance(value, float) else Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def exactly(client: Any) -> None:
    """Make a ccxt client read the amounts of orders, trades and balances as text."""
    for name in _PARSERS:
        setattr(client, name, _as_text(client, getattr(client, name)))


def _as_text(client: Any, parse: Callable[..., Any]) -> Callable[..., Any]:
    # parsing never waits, so nothing else of the client runs while numbers are text
    def parsed(*args: Any, **kwargs: Any) -> Any:
        before, client.number = client.number, str
        try:
            return parse(*args, **kwargs)
        finally:
            client.number = before

    return parsed


def _fees(raw: Mapping[str, Any]) -> tuple[tuple[str, Decimal], ...]:
    told = [item for item in raw.get("fees") or () if isinstance(item, Mapping)]
    if not told and isinstance(raw.get("fee"), Mapping):
        told = [raw["fee"]]
    totals: dict[str, Decimal] = {}
    for item in told:
        amount, currency = amount_of(item.get("cost")), item.get("currency")
        if amount is not None and currency:
            totals[str(currency)] = EXACT.add(totals.get(str(currency), _ZERO), amount)
    return tuple(sorted(totals.items()))


def _sum(amounts: Any) -> Decimal:
    total = _ZERO
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total
