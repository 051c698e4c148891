"""The tracker: every live order, moved by the table of legal steps and by nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from trader.domain.order import TERMINAL, Order, OrderEvent, advance
from trader.errors import OrderError, Overfill
from trader.execution.ports import Journal
from trader.units import EXACT, plain


class OrderTracker:
    """Live orders by id; each change is journaled with the event that brought it.

    Parameters
    ----------
    journal : Journal
        Where every change is written down.
    open_orders : iterable of Order
        Orders that were live before a restart.
    """

    def __init__(self, journal: Journal, open_orders: Iterable[Order] = ()) -> None:
        self._journal = journal
        self._live = {order.order_id: order for order in open_orders}

    def __len__(self) -> int:
        return len(self._live)

    def live(self) -> tuple[Order, ...]:
        """Return every order that is not in a terminal state, oldest first."""
        return tuple(self._live[key] for key in sorted(self._live))

    def get(self, order_id: int) -> Order:
        """Return an order, live or ended.

        Raises
        ------
        OrderError
            When the ledger has no such order.
        """
        order = self._live.get(order_id) or self._journal.order(order_id)
        if order is None:
            raise OrderError(f"there is no order {order_id}")
        return order

    def begin(self, order: Order) -> Order:
        """Journal a new order as intended, and then as handed over: an intent is on disk first."""
        self.intend(order)
        return self.step(order.order_id, OrderEvent.SUBMIT, order.created_ns)

    def intend(self, order: Order) -> Order:
        """Journal a new order that has to wait before it can be handed over."""
        self._journal.record_order(order)
        self._live[order.order_id] = order
        return order

    def step(
        self, order_id: int, event: OrderEvent, time_ns: int, *, venue_order_id: str | None = None, note: str = ""
    ) -> Order:
        """Move an order by one event that isn't a fill.

        Parameters
        ----------
        order_id : int
            Which.
        event : OrderEvent
            What has happened.
        time_ns : int
            When, market time [ns UTC].
        venue_order_id : str or None
            The venue's id, when it has said it.
        note : str
            What the venue had to say.

        Returns
        -------
        Order
            As it is now.

        Raises
        ------
        IllegalTransition
            When its state doesn't allow the event; nothing has changed then.
        """
        order = self.get(order_id)
        return self._keep(
            replace(
                order,
                state=advance(order.state, event),
                updated_ns=time_ns,
                venue_order_id=venue_order_id or order.venue_order_id,
                note=note or order.note,
            ),
            event,
        )

    def amend(self, order_id: int, stop_price: float, time_ns: int, *, note: str = "") -> Order:
        """Move the stop price of an order that stands, in place.

        Raises
        ------
        IllegalTransition
            When its state doesn't allow it; nothing has changed then.
        """
        order = self.get(order_id)
        state = advance(order.state, OrderEvent.AMEND)
        moved = replace(order, state=state, stop_price=stop_price, updated_ns=time_ns, note=note or order.note)
        return self._keep(moved, OrderEvent.AMEND)

    def fill(self, order_id: int, quantity: Decimal, time_ns: int) -> Order:
        """Move an order by an execution.

        Raises
        ------
        Overfill
            When more is filled than was ordered; nothing has changed then.
        IllegalTransition
            When its state doesn't allow a fill; nothing has changed then.
        """
        order = self.get(order_id)
        filled = EXACT.add(order.filled_quantity, quantity)
        if filled > order.quantity:
            raise Overfill(
                f"order {order_id}: {plain(quantity)} more would make {plain(filled)} filled "
                f"of {plain(order.quantity)} ordered"
            )
        event = OrderEvent.FILL_REST if filled == order.quantity else OrderEvent.FILL_PART
        state = advance(order.state, event)
        return self._keep(replace(order, state=state, filled_quantity=filled, updated_ns=time_ns), event)

    def _keep(self, order: Order, event: OrderEvent) -> Order:
        if order.state in TERMINAL:
            self._live.pop(order.order_id, None)
        else:
            self._live[order.order_id] = order
        self._journal.update_order(order, event)
        return order
