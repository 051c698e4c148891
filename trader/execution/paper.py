"""The paper venue: no network, no account, exact balances of its own.

The kernels decide when and at which price an order fills; this venue makes that an execution in exact amounts
and keeps its own balances, so that an audit can hold them against the ledger's.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from trader.codes import Reason, Side
from trader.domain.fill import Fill
from trader.domain.instrument import Instrument
from trader.domain.order import TERMINAL, Order, OrderEvent
from trader.errors import OrderError
from trader.execution.ports import PaperStore
from trader.execution.venue import Report
from trader.units import EXACT

_ZERO = Decimal(0)


class PaperVenue:
    """Takes every order and executes what the kernels match.

    Parameters
    ----------
    store : PaperStore
        Where the balances are kept; the ledger.
    open_orders : sequence of Order
        Orders that were live before a restart.
    """

    name = "paper"

    def __init__(self, store: PaperStore, open_orders: Sequence[Order] = ()) -> None:
        self._store = store
        self._balances = store.paper_balances()
        self._orders = {order.client_order_id: order for order in open_orders}

    def submit(self, order: Order) -> Sequence[Report]:
        """Take an order; a client order id that is live already is rejected, as venues do."""
        if order.client_order_id in self._orders:
            return (Report(order.order_id, OrderEvent.REJECT, note="client order id is in use"),)
        self._orders[order.client_order_id] = order
        return (Report(order.order_id, OrderEvent.ACKNOWLEDGE, venue_order_id=f"paper-{order.order_id}"),)

    def cancel(self, order: Order) -> Sequence[Report]:
        """End an order at once."""
        self._orders.pop(order.client_order_id, None)
        return (Report(order.order_id, OrderEvent.CANCEL),)

    def deliver(self) -> None:
        """Send nothing: everything was answered at once."""

    def execute(
        self, order: Order, instrument: Instrument, *, lots: int, ticks: int, fee: Decimal, time_ns: int, reason: Reason
    ) -> Fill:
        """Execute a part of an order, or all of it.

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
            Its trade id follows from the order and what was filled before: a replay makes the same one.

        Raises
        ------
        OrderError
            When the order has ended, or the execution is of nothing.
        """
        if order.state in TERMINAL or lots <= 0 or ticks <= 0:
            raise OrderError(
                f"order {order.order_id} in state {order.state} can not execute {lots} lots at {ticks} ticks"
            )
        quantity = EXACT.multiply(Decimal(lots), instrument.lot_size)
        price = EXACT.multiply(Decimal(ticks), instrument.tick_size)
        before = int(order.filled_quantity / instrument.lot_size)
        cost = EXACT.multiply(quantity, price)
        sign = 1 if order.side is Side.BUY else -1
        self._move(instrument.base, EXACT.multiply(quantity, Decimal(sign)))
        self._move(instrument.quote, EXACT.subtract(EXACT.multiply(cost, Decimal(-sign)), fee))
        if EXACT.add(order.filled_quantity, quantity) >= order.quantity:
            self._orders.pop(order.client_order_id, None)
        return Fill(
            trade_id=f"{order.client_order_id}/{before}",
            order_id=order.order_id,
            symbol=order.symbol,
            side=order.side,
            price=price,
            quantity=quantity,
            fee=fee,
            fee_currency=instrument.quote,
            time_ns=time_ns,
            reason=reason,
        )

    def _move(self, currency: str, amount: Decimal) -> None:
        total = EXACT.add(self._balances.get(currency, _ZERO), amount)
        self._balances[currency] = total
        self._store.set_paper_balance(currency, total)
