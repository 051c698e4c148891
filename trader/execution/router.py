"""The router: approved requests out, executions in, exact amounts in the journal.

It takes `Approved` only: a request that risk hasn't passed has no type that can be sent. Kernels decide in floats
when and where an order fills; here their ticks and lots become exact amounts, which are journaled, and the
kernels' cash and quantities are set back to the floats nearest to the exact ones. So nothing drifts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from trader.codes import CoreEvent, Halt, Reason, Side
from trader.core import kernels
from trader.core.accounting import mark_account
from trader.core.rulebook import rules_of, write_rules
from trader.domain.fill import Fill
from trader.domain.instrument import Instrument
from trader.domain.invalidation import Invalidation
from trader.domain.order import TERMINAL, Order, OrderEvent, OrderKind, OrderState
from trader.domain.round_trip import RoundTrip
from trader.domain.verdict import Approved
from trader.errors import OrderError
from trader.execution.announce import announce_fill, announce_halt, announce_order
from trader.execution.ports import Accounts, Journal
from trader.execution.tracker import OrderTracker
from trader.execution.venue import MatchedVenue, Report, Venue
from trader.units import EXACT, exact, plain

Records = npt.NDArray[np.void]

_NAN = float("nan")
_KINDS = {
    Reason.STOP: OrderKind.STOP,
    Reason.STOP_GAP: OrderKind.STOP,
    Reason.TRAILING: OrderKind.STOP,
    Reason.TARGET: OrderKind.TARGET,
    Reason.TARGET_GAP: OrderKind.TARGET,
}
_FILLS = (CoreEvent.ENTRY_FILLED, CoreEvent.EXIT_FILLED)


@dataclass(frozen=True, slots=True)
class Settled:
    """One thing that has happened, in exact amounts; what doesn't apply is None."""

    kind: CoreEvent
    time_ns: int  #: market time [ns UTC]
    symbol: str = ""  #: "" for the account
    order: Order | None = None
    fill: Fill | None = None
    round_trip: RoundTrip | None = None
    reason: Reason = Reason.NONE
    halt: Halt | None = None  #: of HALTED and RESUMED


class OrderRouter:
    """Sends what risk approved and settles what was executed.

    Parameters
    ----------
    ledger : Journal
        Where everything is written down.
    books : Accounts
        Exact cash and positions.
    venue : Venue
        Where orders are executed.
    desk : ndarray of DESK, shape (1,)
        The engine's.
    slots : ndarray of SLOT, shape (n_symbols,)
        The engine's; orders in flight are put there.
    symbols : sequence of str
        Symbol of each slot.
    instruments : sequence of Instrument
        Instrument of each slot.
    instance : str
        Name of the instance; part of every client order id.
    open_orders : iterable of Order
        Orders that were live before a restart (`Restored.open_orders`).
    """

    def __init__(
        self,
        ledger: Journal,
        books: Accounts,
        venue: Venue,
        desk: Records,
        slots: Records,
        symbols: Sequence[str],
        instruments: Sequence[Instrument],
        instance: str,
        open_orders: Iterable[Order] = (),
    ) -> None:
        self.tracker = OrderTracker(ledger, open_orders)
        self._ledger = ledger
        self._books = books
        self._venue = venue
        self._slots = slots
        self._desk = desk
        self._symbols = tuple(symbols)
        self._instruments = tuple(instruments)
        self._instance = instance
        self._unannounced: list[Order | Settled] = []

    # -- sending -------------------------------------------------------------------------------

    def send(self, approved: Approved, slot: int, strategy_index: int) -> Order:
        """Send an approved request as a market order.

        Parameters
        ----------
        approved : Approved
            From the risk check.
        slot : int
            Slot of its symbol.
        strategy_index : int
            Index of the strategy that asked for it; -1: none.

        Returns
        -------
        Order
            As the venue left it: in flight, or rejected.

        Raises
        ------
        OrderError
            When the request isn't of that slot, or no whole number of lots, or an order is in flight there.
        """
        request = approved.request
        if request.symbol != self._symbols[slot]:
            raise OrderError(f"a request for {request.symbol} can not go to the slot of {self._symbols[slot]}")
        if self._slots["pending_lots"][slot] != 0:
            raise OrderError(f"{request.symbol}: order {self._slots['pending_order'][slot]} is still in flight")
        lots = self._lots(slot, request.quantity) * int(request.side)
        order = self._order(
            slot,
            lots,
            kind=OrderKind.MARKET,
            reason=request.reason,
            strategy=request.strategy,
            reduce_only=request.reduce_only,
            decision_id=request.decision_id,
            stop_price=request.stop_price,
            target_price=request.target_price,
            invalidations=request.invalidations,
        )
        return self._put_in_flight(order, slot, lots, strategy_index)

    def close(self, slot: int, reason: Reason, decision_id: int = 0) -> Order | None:
        """Send a market order for the whole position; an entry in flight is canceled first.

        Parameters
        ----------
        slot : int
            Which symbol.
        reason : Reason
            Why.
        decision_id : int
            The decision that it follows from; 0: none.

        Returns
        -------
        Order or None
            The order that closes; None when nothing is open, or an exit is in flight already.
        """
        held = self._books.quantity(self._symbols[slot])
        self.withdraw_entry(slot)
        if not held or self._slots["pending_lots"][slot] != 0:
            return None
        lots = -self._lots(slot, held)
        order = self._order(slot, lots, kind=OrderKind.MARKET, reason=reason, decision_id=decision_id)
        return self._put_in_flight(order, slot, lots, int(self._slots["strategy"][slot]))

    def withdraw_entry(self, slot: int) -> Order | None:
        """Cancel the order in flight of a symbol when it is one that opens risk; None when there is none."""
        pending = int(self._slots["pending_order"][slot])
        if not pending or self.tracker.get(pending).reduce_only:
            return None
        return self.cancel(slot)

    def cancel(self, slot: int) -> Order | None:
        """Cancel the order in flight of a symbol; None when there is none."""
        pending = int(self._slots["pending_order"][slot])
        if not pending:
            return None
        now_ns = self._now_ns()
        order = self.tracker.step(pending, OrderEvent.REQUEST_CANCEL, now_ns)
        for report in self._venue.cancel(order):
            order = self._apply(report, now_ns)
        if order.state in TERMINAL:
            kernels.cancel(self._desk, self._slots, slot)
            self._unannounced.append(order)
        return order

    # -- settling ------------------------------------------------------------------------------

    def settle(self, events: Records, n: int) -> list[Settled]:
        """Journal what a kernel reported, in exact amounts, and set the floats back to them.

        Parameters
        ----------
        events : ndarray of CORE_EVENT
            As a kernel filled it.
        n : int
            How many of them are filled.

        Returns
        -------
        list of Settled
            One for each event, in order.
        """
        if n == 0:
            return []
        settled = [self._settle_one(event) for event in events[:n]]
        self._unannounced.extend(settled)
        filled = {item.symbol for item in settled if item.fill is not None}
        if filled:
            self._end_rests(filled)
            self._anchor(filled)
        return settled

    def _settle_one(self, event: np.void) -> Settled:
        kind = CoreEvent(int(event["kind"]))
        time_ns = int(event["time_ns"])
        if kind in _FILLS:
            return self._settle_fill(kind, event, time_ns)
        if kind is CoreEvent.ORDER_REJECTED:
            note = "the order no longer fits the account at the price it would get"
            order = self.tracker.step(int(event["order"]), OrderEvent.REJECT, time_ns, note=note)
            return Settled(kind, time_ns, order.symbol, order, reason=order.reason)
        if kind is CoreEvent.EXIT_REQUESTED:
            return self._settle_request(event, time_ns)
        if kind is CoreEvent.DAY_ROLLED:
            self._ledger.record_day(int(event["lots"]), float(event["price"]), time_ns)
            return Settled(kind, time_ns)
        halt = Halt(int(event["reason"]))
        self._ledger.record_halt(halt, active=kind is CoreEvent.HALTED, time_ns=time_ns)
        return Settled(kind, time_ns, halt=halt)

    def _settle_fill(self, kind: CoreEvent, event: np.void, time_ns: int) -> Settled:
        slot, lots, reason = int(event["slot"]), int(event["lots"]), Reason(int(event["reason"]))
        order = self._order_of(event, slot, lots, reason)
        fill = self._matched().execute(
            order,
            self._instruments[slot],
            lots=lots,
            ticks=int(event["ticks"]),
            fee=self._fee(slot, lots, int(event["ticks"])),
            time_ns=time_ns,
            reason=reason,
        )
        if not self._ledger.record_fill(fill):
            raise OrderError(f"trade {fill.trade_id} was settled before")
        order = self.tracker.fill(order.order_id, fill.quantity, time_ns)
        trips = self._books.apply(fill, order)
        for trip in trips:
            self._ledger.record_round_trip(trip)
        return Settled(kind, time_ns, order.symbol, order, fill, trips[0] if trips else None, reason)

    def _order_of(self, event: np.void, slot: int, lots: int, reason: Reason) -> Order:
        if event["order"]:
            return self.tracker.get(int(event["order"]))
        # An exit plan's level was reached: until now it was a plan, and it becomes an order by being filled.
        signed = lots * int(event["side"])
        order = self._order(slot, signed, kind=_KINDS.get(reason, OrderKind.MARKET), reason=reason)
        return self._hand_over(order)

    def _end_rests(self, symbols: set[str]) -> None:
        # A kernel takes back the rest of an order when less was left to close than was ordered.
        for order in self.tracker.live():
            slot = self._symbols.index(order.symbol)
            if order.symbol in symbols and self._slots["pending_order"][slot] != order.order_id:
                order = self.tracker.step(order.order_id, OrderEvent.REQUEST_CANCEL, order.updated_ns)  # noqa: PLW2901
                for report in self._venue.cancel(order):
                    self._apply(report, order.updated_ns)

    def _settle_request(self, event: np.void, time_ns: int) -> Settled:
        slot, reason = int(event["slot"]), Reason(int(event["reason"]))
        lots = int(event["lots"]) * int(event["side"])
        rule = int(event["rule"])
        note = f"{rules_of(self._slots[slot])[rule - 1]}" if rule else ""
        order = self._order(slot, lots, kind=OrderKind.MARKET, reason=reason, time_ns=time_ns, note=note)
        order = self._put_in_flight(order, slot, lots, int(self._slots["strategy"][slot]))
        return Settled(CoreEvent.EXIT_REQUESTED, time_ns, order.symbol, order, reason=reason)

    def _anchor(self, symbols: Iterable[str]) -> None:
        """Set cash and quantities to the floats nearest to the exact amounts, and value the account anew."""
        for symbol in symbols:
            slot = self._symbols.index(symbol)
            self._slots["quantity"][slot] = float(self._books.quantity(symbol))
        quote = self._instruments[0].quote
        self._desk["account"]["cash"] = float(self._books.balance(quote))
        mark_account(self._desk[0]["account"], self._slots)

    def announce(self) -> None:
        """Tell the logs what was sent and executed since the last time; called once the ledger has it on disk."""
        news, self._unannounced = self._unannounced, []
        for item in news:
            if isinstance(item, Order):
                announce_order(item)
            elif item.fill is not None and item.order is not None:
                opened = item.kind is CoreEvent.ENTRY_FILLED and item.order.filled_quantity == item.fill.quantity
                announce_fill(item.order, item.fill, item.round_trip, opened=opened)
            elif item.kind is CoreEvent.ORDER_REJECTED and item.order is not None:
                announce_order(item.order)
            elif item.halt is not None:
                announce_halt(item.halt, item.time_ns, active=item.kind is CoreEvent.HALTED)

    # -- reports of the venue ------------------------------------------------------------------

    def receive(self, reports: Iterable[Report]) -> list[Order]:
        """Take in what a venue says about orders after they were handed over."""
        orders = []
        for report in reports:
            order = self._apply(report, self._now_ns())
            if order.state in TERMINAL:
                self._take_back(order)
                self._unannounced.append(order)
            orders.append(order)
        return orders

    def _take_back(self, order: Order) -> None:
        slot = self._symbols.index(order.symbol)
        if self._slots["pending_order"][slot] == order.order_id:
            kernels.cancel(self._desk, self._slots, slot)

    def _apply(self, report: Report, time_ns: int) -> Order:
        return self.tracker.step(
            report.order_id, report.event, time_ns, venue_order_id=report.venue_order_id, note=report.note
        )

    # -- making orders -------------------------------------------------------------------------

    def _order(
        self,
        slot: int,
        lots: int,
        *,
        kind: OrderKind,
        reason: Reason,
        strategy: str | None = None,
        reduce_only: bool = True,
        decision_id: int = 0,
        stop_price: float = _NAN,
        target_price: float = _NAN,
        invalidations: tuple[Invalidation, ...] = (),
        time_ns: int | None = None,
        note: str = "",
    ) -> Order:
        symbol, order_id = self._symbols[slot], self._ledger.next_order_id()
        now_ns = self._now_ns() if time_ns is None else time_ns
        return Order(
            order_id=order_id,
            client_order_id=self._client_order_id(order_id),
            symbol=symbol,
            side=Side.BUY if lots > 0 else Side.SELL,
            kind=kind,
            quantity=EXACT.multiply(Decimal(abs(lots)), self._instruments[slot].lot_size),
            filled_quantity=Decimal(0),
            state=OrderState.INTENDED,
            reason=reason,
            strategy=self._books.strategy(symbol) if strategy is None else strategy,
            reduce_only=reduce_only,
            decision_id=decision_id,
            created_ns=now_ns,
            updated_ns=now_ns,
            stop_price=stop_price,
            target_price=target_price,
            invalidations=invalidations,
            note=note,
        )

    def _client_order_id(self, order_id: int) -> str:
        return f"{self._instance}-{order_id}"

    def _put_in_flight(self, order: Order, slot: int, lots: int, strategy_index: int) -> Order:
        placed = self._hand_over(order)
        self._unannounced.append(placed)
        if placed.state not in TERMINAL:
            self._place(placed, slot, lots, strategy_index)
        return placed

    def _place(self, placed: Order, slot: int, lots: int, strategy_index: int) -> None:
        kernels.place(
            self._desk,
            self._slots,
            slot,
            lots,
            placed.order_id,
            int(placed.reason),
            strategy_index,
            placed.stop_price,
            placed.target_price,
        )
        if placed.invalidations:
            write_rules(self._slots[slot], placed.invalidations)

    def _hand_over(self, order: Order) -> Order:
        order = self.tracker.begin(order)
        for report in self._venue.submit(order):
            order = self._apply(report, order.created_ns)
        return order

    def _matched(self) -> MatchedVenue:
        if not isinstance(self._venue, MatchedVenue):
            raise OrderError(f"the kernels must not match orders of {self._venue.name}, which matches them itself")
        return self._venue

    def _lots(self, slot: int, quantity: Decimal) -> int:
        step = self._instruments[slot].lot_size
        lots = (quantity / step).to_integral_value()
        if lots == 0 or EXACT.multiply(lots, step) != quantity:
            raise OrderError(f"{self._symbols[slot]}: {plain(quantity)} is no whole number of lots of {plain(step)}")
        return int(lots)

    def _fee(self, slot: int, lots: int, ticks: int) -> Decimal:
        instrument = self._instruments[slot]
        price = EXACT.multiply(Decimal(ticks), instrument.tick_size)
        notional = EXACT.multiply(EXACT.multiply(Decimal(lots), instrument.lot_size), price)
        return EXACT.multiply(notional, exact(float(self._slots["fee_rate_frac"][slot])))

    def _now_ns(self) -> int:
        return int(self._desk["account"]["event_ns"][0])
