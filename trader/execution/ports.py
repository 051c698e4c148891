"""Ports: what execution asks of the ledger and the books; the engine hands them in."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

from trader.codes import Halt
from trader.domain.fill import Fill
from trader.domain.order import Order, OrderEvent
from trader.domain.round_trip import RoundTrip


class PaperStore(Protocol):
    """Where the paper venue keeps what it holds."""

    def paper_balances(self) -> dict[str, Decimal]:
        """Return the amount of each currency."""

    def set_paper_balance(self, currency: str, amount: Decimal) -> None:
        """Record the amount of one currency."""


class Journal(Protocol):
    """Where orders and fills are written down before anything else knows them."""

    def next_order_id(self) -> int:
        """Return the next order id."""

    def record_order(self, order: Order) -> None:
        """Record an order that is new."""

    def update_order(self, order: Order, event: OrderEvent | None = None) -> None:
        """Record what has become of an order."""

    def order(self, order_id: int) -> Order | None:
        """Return an order by its id."""

    def record_fill(self, fill: Fill) -> bool:
        """Record a fill once; False when it is known already."""

    def record_round_trip(self, trip: RoundTrip) -> None:
        """Record a position that was closed."""

    def record_day(self, day: int, start_equity: float, time_ns: int) -> None:
        """Record the beginning of a UTC day."""

    def record_halt(self, halt: Halt, *, active: bool, time_ns: int, note: str = "") -> None:
        """Record that entries were halted for a cause, or no longer are."""


class Accounts(Protocol):
    """Exact cash and positions."""

    def balance(self, currency: str) -> Decimal:
        """Return what is held of a currency."""

    def quantity(self, symbol: str) -> Decimal:
        """Return the signed quantity held in a symbol."""

    def strategy(self, symbol: str) -> str:
        """Return the name of the strategy that opened the position in a symbol; "" when flat."""

    def apply(self, fill: Fill, order: Order) -> tuple[RoundTrip, ...]:
        """Move cash and position by one fill; return the position that it closed."""
