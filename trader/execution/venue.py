"""Venues: what the router needs of a place where orders are executed.

`submit` and `cancel` only hand over and never wait: a venue with a network queues, `deliver` sends after the
ledger has committed, and answers come back as reports. So the engine's step stays one piece, nothing leaves the
machine before it is on disk, and the paper venue is the same thing with its answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, runtime_checkable

from trader.codes import Reason
from trader.domain.fill import Fill
from trader.domain.instrument import Instrument
from trader.domain.order import Order, OrderEvent


@dataclass(frozen=True, slots=True)
class Report:
    """What a venue says about one order."""

    order_id: int
    event: OrderEvent
    venue_order_id: str | None = None
    note: str = ""


class Venue(Protocol):
    """A place where orders are executed."""

    name: str

    def submit(self, order: Order) -> Sequence[Report]:
        """Hand an order over; what is known at once is returned."""

    def cancel(self, order: Order) -> Sequence[Report]:
        """Ask for an order's end; what is known at once is returned."""

    def deliver(self) -> None:
        """Begin to send what was handed over; called once the ledger has committed it, and never waits."""


@runtime_checkable
class MatchedVenue(Venue, Protocol):
    """A venue whose matching is done here, by the kernels."""

    def execute(
        self, order: Order, instrument: Instrument, *, lots: int, ticks: int, fee: Decimal, time_ns: int, reason: Reason
    ) -> Fill:
        """Execute an order, or a part of it, at a price that the kernels found.

        Parameters
        ----------
        order : Order
            As it was before this execution.
        instrument : Instrument
            Its symbol, for the exact steps.
        lots : int
            Executed, > 0.
        ticks : int
            Price, > 0.
        fee : Decimal
            [quote]
        time_ns : int
            Market time [ns UTC].
        reason : Reason
            Why the order was sent.

        Returns
        -------
        Fill
            With a trade id that the same execution always gets.
        """
