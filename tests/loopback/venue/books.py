"""The venue's own books: balances, orders and trades, exact to the last unit."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from enum import Enum
from typing import Any

from tests.loopback.venue.markets import ZERO

UNIT = Decimal("0.00000001")


def floored(amount: Decimal) -> Decimal:
    """Return an amount cut to the venue's smallest unit."""
    return amount.quantize(UNIT, ROUND_DOWN)


def raised(amount: Decimal) -> Decimal:
    """Return an amount raised to the venue's smallest unit."""
    return amount.quantize(UNIT, ROUND_UP)


class Status(Enum):
    """How an order stands."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"

    @property
    def open(self) -> bool:
        """Tell whether the order can still be filled."""
        return self in (Status.NEW, Status.PARTIALLY_FILLED)


class Refusal(Enum):
    """Why the venue refuses, before a dialect puts it into its own words."""

    UNKNOWN_SYMBOL = "unknown symbol"
    NOT_TRADING = "symbol not trading"
    UNKNOWN_ORDER = "unknown order"
    DUPLICATE = "duplicate order"
    FUNDS = "insufficient balance"
    LOT_SIZE = "LOT_SIZE"
    PRICE_FILTER = "PRICE_FILTER"
    NOTIONAL = "NOTIONAL"
    TRIGGERS_NOW = "stop price would trigger immediately"
    TAKES_NOW = "order would immediately match and take"
    MALFORMED = "malformed parameter"
    RATE = "too many requests"
    KEY = "invalid key"
    SIGNATURE = "invalid signature"
    TIMESTAMP = "timestamp outside of the window"
    NONCE = "nonce not above the last one"
    PERMISSION = "key lacks the permission"
    UNKNOWN_PATH = "unknown path"


class Refused(Exception):  # noqa: N818 - it is an answer, not a failure
    """A refusal, on its way to the dialect that words it."""

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        super().__init__(f"{refusal.value} {detail}".strip())
        self.refusal = refusal
        self.detail = detail


@dataclass
class Holding:
    """One currency of the account."""

    free: Decimal = ZERO
    locked: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        """Return everything that is held."""
        return self.free + self.locked


@dataclass(frozen=True)
class VenueTrade:
    """One fill."""

    trade_id: int
    order_id: int
    client_id: str
    symbol: str
    buys: bool
    price: Decimal
    quantity: Decimal
    cost: Decimal  # in quote currency
    fee: Decimal
    fee_currency: str
    maker: bool
    time_ms: int


@dataclass
class VenueOrder:
    """One order as the venue keeps it."""

    order_id: int
    client_id: str
    symbol: str
    buys: bool
    kind: str  # MARKET, LIMIT, LIMIT_MAKER, STOP_LOSS, STOP_LOSS_LIMIT, TAKE_PROFIT, TAKE_PROFIT_LIMIT
    quantity: Decimal
    price: Decimal = ZERO
    stop_price: Decimal = ZERO
    time_in_force: str = "GTC"
    quote_quantity: Decimal = ZERO
    status: Status = Status.NEW
    filled: Decimal = ZERO
    cost: Decimal = ZERO
    locked: Decimal = ZERO
    lock_currency: str = ""
    triggered: bool = False
    pieces: int = 1  # in how many trades a fill comes
    later: bool = False  # pieces come one per price instead of all at once
    created_ms: int = 0
    updated_ms: int = 0
    cancel_id: str = ""
    trades: list[VenueTrade] = field(default_factory=list)

    @property
    def remaining(self) -> Decimal:
        """Return what is not filled yet."""
        return self.quantity - self.filled

    @property
    def waits(self) -> bool:
        """Tell whether the order waits for its stop price."""
        return self.stop_price > 0 and not self.triggered

    @property
    def limited(self) -> bool:
        """Tell whether the order has a limit price."""
        return self.kind.startswith("LIMIT") or self.kind.endswith("LIMIT")


class Account:
    """Balances that only fills, fees and locks can move."""

    def __init__(self, balances: dict[str, Decimal]) -> None:
        self.holdings: defaultdict[str, Holding] = defaultdict(Holding)
        for currency, amount in balances.items():
            self.holdings[currency].free = Decimal(amount)
        self.start = {currency: Decimal(amount) for currency, amount in balances.items()}
        self.fees: Counter[str] = Counter()
        self.given: defaultdict[str, Decimal] = defaultdict(Decimal)  # to the rest of the market, net

    def lock(self, order: VenueOrder, currency: str, amount: Decimal) -> None:
        """Set funds aside for an order, or refuse."""
        holding = self.holdings[currency]
        if holding.free < amount:
            raise Refused(Refusal.FUNDS)
        holding.free -= amount
        holding.locked += amount
        order.locked, order.lock_currency = amount, currency

    def unlock(self, order: VenueOrder, amount: Decimal) -> None:
        """Give funds of an order back."""
        holding = self.holdings[order.lock_currency]
        holding.locked -= amount
        holding.free += amount
        order.locked -= amount

    def pay(self, currency: str, amount: Decimal) -> None:
        """Give free funds to the market."""
        self.holdings[currency].free -= amount
        self.given[currency] += amount

    def receive(self, currency: str, amount: Decimal) -> None:
        """Take funds from the market."""
        self.holdings[currency].free += amount
        self.given[currency] -= amount

    def charge(self, currency: str, amount: Decimal) -> None:
        """Take a commission."""
        self.holdings[currency].free -= amount
        self.fees[currency] += amount

    def differences(self) -> dict[str, Decimal]:
        """Return what appeared or vanished per currency: nothing, if the books are right."""
        currencies = {*self.start, *self.holdings, *self.given}
        found = {
            name: self.holdings[name].total + self.fees[name] + self.given[name] - self.start.get(name, ZERO)
            for name in currencies
        }
        return {name: amount for name, amount in found.items() if amount}


@dataclass(frozen=True)
class Books:
    """A copy of the venue's books, for tests to judge by."""

    balances: dict[str, Decimal]
    free: dict[str, Decimal]
    locked: dict[str, Decimal]
    orders: dict[int, VenueOrder]
    by_client_id: dict[str, VenueOrder]  # the latest of each id
    trades: tuple[VenueTrade, ...]
    fees: dict[str, Decimal]
    submissions: dict[str, int]  # client id -> how often it was accepted
    differences: dict[str, Decimal]

    @property
    def open_orders(self) -> list[VenueOrder]:
        """Return the orders that can still be filled."""
        return [order for order in self.orders.values() if order.status.open]

    def twice(self) -> dict[str, int]:
        """Return client ids that were accepted more than once."""
        return {client_id: count for client_id, count in self.submissions.items() if count > 1}

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values, amounts as strings."""
        return {
            "balances": {name: str(amount) for name, amount in self.balances.items()},
            "locked": {name: str(amount) for name, amount in self.locked.items()},
            "fees": {name: str(amount) for name, amount in self.fees.items()},
            "submissions": self.submissions,
            "differences": {name: str(amount) for name, amount in self.differences.items()},
            "orders": [_plain(order) for order in self.orders.values()],
            "trades": [_plain(trade) for trade in self.trades],
        }


def _plain(record: VenueOrder | VenueTrade) -> dict[str, Any]:
    values = {name: getattr(record, name) for name in record.__dataclass_fields__ if name != "trades"}
    return {
        name: str(value) if isinstance(value, Decimal) else value.value if isinstance(value, Status) else value
        for name, value in values.items()
    }
