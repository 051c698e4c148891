"""The router for an exchange: what the venue says becomes exact fills; exits and stops are pursued until done.

The venue answers when it likes. Each answer is taken in as a step (`take`), and after every step each symbol is looked
at anew (`pursue`): what should stand at the venue follows from what is held, what is to end and what is on its way, so
that no order of events can leave a wish behind. A position that is to end is on record (`leaving`) until it has.

On spot a resting stop holds the quantity that it would sell. So an exit waits, on disk, until its stop is gone, and
sells what is left then.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from trader.codes import CoreEvent, Reason
from trader.core import kernels
from trader.core.rulebook import rules_of
from trader.domain.instrument import Instrument
from trader.domain.order import TERMINAL, Order, OrderEvent, OrderKind, OrderState
from trader.domain.verdict import Approved
from trader.execution.answers import Standing, VenueOrder
from trader.execution.client_ids import ClientIds
from trader.execution.exchange_venue import ExchangeVenue, Update
from trader.execution.live_books import lots_covering
from trader.execution.ports import LiveAccounts, LiveJournal
from trader.execution.router import Records, Settled
from trader.execution.steps import Step, reached
from trader.execution.stop_orders import SENT, STANDING, LiveNow, StopOrders

log = logging.getLogger(__name__)

_ENDS = {
    Standing.FILLED: OrderEvent.CANCEL,  # over with less than was ordered
    Standing.CANCELED: OrderEvent.CANCEL,
    Standing.EXPIRED: OrderEvent.EXPIRE,
    Standing.REJECTED: OrderEvent.CANCEL,
}
#: longest pause after an exit was refused [s]
MAX_PAUSE_S = 60.0


class LiveRouter(StopOrders):
    """Sends approved requests to an exchange, and holds positions to their exits and stops there.

    Parameters
    ----------
    ledger : LiveJournal
        Where everything is written down.
    books : LiveAccounts
        Exact cash and positions.
    venue : ExchangeVenue
        The exchange.
    desk, slots : ndarray
        The engine's, dtypes DESK and SLOT.
    symbols : sequence of str
        Symbol of each slot.
    instruments : sequence of Instrument
        Instrument of each slot.
    ids : ClientIds
        Makes client order ids.
    now_ns : callable
        Returns the venue's time [ns UTC].
    entries_pass : callable
        Tells whether an entry that the venue never had may be sent again: nothing halts or fences entries.
    open_orders : iterable of Order
        Orders that were live before a restart.
    """

    def __init__(
        self,
        ledger: LiveJournal,
        books: LiveAccounts,
        venue: ExchangeVenue,
        desk: Records,
        slots: Records,
        symbols: Sequence[str],
        instruments: Sequence[Instrument],
        *,
        ids: ClientIds,
        now_ns: Callable[[], int],
        entries_pass: Callable[[], bool] = lambda: True,
        open_orders: Iterable[Order] = (),
    ) -> None:
        super().__init__(
            ledger, books, venue, desk, slots, symbols, instruments, ids=ids, now_ns=now_ns, open_orders=open_orders
        )
        self.timeout_s = 30.0  #: after which what is left of an order is taken back [s]
        self.entries_pass = entries_pass
        self._notes: dict[str, str] = {}  # which rule of the plan wants a position closed, by symbol
        self._refused: dict[str, tuple[int, float]] = {}  # exits refused in a row, and when to try again
        #: entries that the venue never had, and that wait for the fence before they are sent again
        self.parked: set[int] = set()

    # -- what a start does ---------------------------------------------------------------------

    def recover(self) -> None:
        """Find out what became of every order that was live before a restart."""
        for order in self.tracker.live():
            if order.state is OrderState.INTENDED:
                continue  # nothing of it has left this machine: `pursue` decides
            now = self._now(order.symbol)
            if now.heir is order:
                self._heirs.add(order.order_id)
            self._exchange.look_up(order, now.stop if now.heir is order else None)
            if order.state is OrderState.CANCELING:
                self._exchange.cancel(order)
        self.pursue()

    # -- sending -------------------------------------------------------------------------------

    def send(self, approved: Approved, slot: int, strategy_index: int) -> Order:
        """Send an approved entry as a market order; see `OrderRouter.send`."""
        order = super().send(approved, slot, strategy_index)
        reached(Step.INTENDED)
        return order

    def close(self, slot: int, reason: Reason, decision_id: int = 0) -> Order | None:
        """End a position whatever it takes: an entry in flight and the stop are taken back, and what is left is sold.

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
            The order that closes, which may have to wait for its stop to be gone; None when there is nothing to close,
            nothing is held yet of an entry, or an exit is on its way.
        """
        symbol = self._symbols[slot]
        now = self._now(symbol)
        held = self._books.quantity(symbol)
        if symbol in self._leaving or (held <= 0 and now.entry is None):
            return None
        self._set_leaving(symbol, (reason, decision_id, self._now_ns()))
        order = None
        quantity = self._sellable(slot)
        if quantity > 0 and now.exit is None:
            order = self._intend_exit(slot, quantity)
        self._pursue(slot)
        return self.tracker.get(order.order_id) if order else None

    def withdraw_entry(self, slot: int) -> Order | None:
        """Ask for the end of an entry in flight, and of what it may already have bought."""
        now = self._now(self._symbols[slot])
        if now.entry is not None:
            self.close(slot, Reason.OWNER_CLOSE)
        return now.entry

    def _intend_exit(self, slot: int, quantity: Decimal) -> Order:
        symbol = self._symbols[slot]
        reason, decision_id, _ = self._leaving[symbol]
        lots = -self._lots(slot, quantity)
        note = self._notes.get(symbol, "") if reason is Reason.INVALIDATED else ""
        order = self._order(slot, lots, kind=OrderKind.MARKET, reason=reason, decision_id=decision_id, note=note)
        order = self.tracker.intend(order)
        # an entry in flight leaves the slot; what it still buys is sold afterwards
        kernels.cancel(self._desk, self._slots, slot)
        self._place(order, slot, lots, int(self._slots["strategy"][slot]))
        reached(Step.INTENDED)
        return order

    def _settle_request(self, event: object, time_ns: int) -> Settled:
        """Begin the exit that a kernel asks for."""
        slot, reason = int(event["slot"]), Reason(int(event["reason"]))  # type: ignore[index]
        if not self._slots["pending_order"][slot]:
            kernels.cancel(self._desk, self._slots, slot)  # the kernel's own note of it, which has no order yet
        rule = int(event["rule"])  # type: ignore[index]
        self._notes[self._symbols[slot]] = str(rules_of(self._slots[slot])[rule - 1]) if rule else ""
        order = self.close(slot, reason)
        return Settled(CoreEvent.EXIT_REQUESTED, time_ns, self._symbols[slot], order, reason=reason)

    # -- what the venue says -------------------------------------------------------------------

    def take(self, updates: Iterable[Update]) -> int:
        """Take in what was found out about orders, then see what is to be done now; return how much was new."""
        fills = self._live_ledger.fill_count
        taken = 0
        for update in updates:
            self._take(update)
            taken += 1
        if taken:
            reached(Step.UPDATE_TAKEN)
        self.pursue()
        return self._live_ledger.fill_count - fills

    def _take(self, update: Update) -> None:
        order = self.tracker.get(update.order_id)
        if update.found is not None:
            order = self.adopt(order, update.found)
            if update.found.trigger is not None and order.kind is OrderKind.PROTECT and order.state in STANDING:
                self._adopt_trigger(order, update.found.trigger)
        elif update.stays:
            self.stops.replace_refused(order.symbol)
            log.warning("%s: the venue refuses to move the stop in place: %s", order.symbol, update.note)
        elif update.is_absent:
            self._absent(order, update.note)
        elif update.event is OrderEvent.LOSE_ANSWER:
            if order.state is OrderState.SUBMITTED:
                self.tracker.step(order.order_id, OrderEvent.LOSE_ANSWER, self._now_ns(), note=update.note)
        elif update.event is OrderEvent.REJECT and order.state in SENT:
            self._over(self.tracker.step(order.order_id, OrderEvent.REJECT, self._now_ns(), note=update.note))

    def adopt(self, order: Order, found: VenueOrder) -> Order:
        """Bring an order to where the venue has it: acknowledged, with every execution, over or not."""
        if order.state in (*SENT, OrderState.REJECTED, OrderState.LOST):
            order = self._acknowledge(order, found.venue_order_id)
        for execution in found.executions:
            order = self._book(order, execution)
        if found.is_over and order.state not in TERMINAL and order.filled_quantity >= found.filled:
            order = self.tracker.step(order.order_id, _ENDS[found.standing], self._now_ns())
            self._over(order)
        elif order.state is OrderState.FILLED:
            self._over(order)
        return order

    def _acknowledge(self, order: Order, venue_order_id: str) -> Order:
        was = order.state
        note = ""
        if order.kind is OrderKind.PROTECT:
            if order.order_id in self._heirs:  # it stands since the one before it is gone, however late that is known
                self.stops.was_covered(order.symbol)
            naked_ms = self.stops.is_covered(order.symbol)
            self.stops.stands(order.symbol)
            note = f"without a stop for {naked_ms} ms" if naked_ms is not None else ""
        order = self.tracker.step(
            order.order_id, OrderEvent.ACKNOWLEDGE, self._now_ns(), venue_order_id=venue_order_id, note=note
        )
        slot = self._symbols.index(order.symbol)
        if was in TERMINAL and order.kind is OrderKind.MARKET and not self._slots["pending_order"][slot]:
            log.error("order %s: the venue knows it after all", order.client_order_id)
            # made under other rules, it may be no whole number of lots any more
            lots = lots_covering(order.quantity, self._instruments[slot].lot_size) * int(order.side)
            self._place(order, slot, lots, int(self._slots["strategy"][slot]))
        return order

    def _absent(self, order: Order, note: str) -> None:
        if order.state is OrderState.SUBMITTED:
            order = self.tracker.step(order.order_id, OrderEvent.LOSE_ANSWER, self._now_ns(), note=note)
        if order.state is not OrderState.UNKNOWN or order.order_id in self.parked:
            return
        self.parked.add(order.order_id)
        self._send_again(order)

    def _send_again(self, order: Order) -> None:
        """Send an order again that the venue never had; an entry waits for the fence, and not for ever."""
        slot = self._symbols.index(order.symbol)
        if order.kind is OrderKind.PROTECT:
            wanted = False  # a new one is made, from what is held then
        elif order.reduce_only:
            wanted = self._sellable(slot) == order.quantity
        else:
            fresh = self._now_ns() - order.created_ns <= self.timeout_s * 1e9
            wanted = fresh and order.symbol not in self._leaving
            if wanted and not self.entries_pass():
                return
        self.parked.discard(order.order_id)
        if wanted:
            log.info("order %s: the venue never had it, it is sent again", order.client_order_id)
            self._exchange.submit_again(self.tracker.step(order.order_id, OrderEvent.SUBMIT, self._now_ns()))
        else:
            self._over(self.tracker.step(order.order_id, OrderEvent.NOT_FOUND, self._now_ns()))

    def _over(self, order: Order) -> None:
        self._take_back(order)
        self._heirs.discard(order.order_id)
        if order.state is not OrderState.FILLED:
            self._unannounced.append(order)
        slot = self._symbols.index(order.symbol)
        if order.state is OrderState.REJECTED and order.kind is OrderKind.PROTECT:
            if order.symbol in self._leaving:
                pass  # no stop is wanted any more
            elif self._now(order.symbol).stop is None:
                self._stop_refused(slot, order)
            else:
                self.stops.replace_refused(order.symbol)
                log.warning("%s: the venue refuses to move the stop in one request: %s", order.symbol, order.note)
        elif order.state is OrderState.REJECTED and order.reduce_only:
            count = self._refused.get(order.symbol, (0, 0.0))[0] + 1
            pause_s = min(2.0**count, MAX_PAUSE_S)
            self._refused[order.symbol] = (count, time.monotonic() + pause_s)
            log.error("exit %s was refused, next try in %g s: %s", order.client_order_id, pause_s, order.note)
        elif order.filled_quantity:
            self._refused.pop(order.symbol, None)
        self._write_off_dust(slot)

    # -- pursuing ------------------------------------------------------------------------------

    def pursue(self) -> None:
        """Do in each symbol what is to be done now."""
        for number in sorted(self.parked):
            self._send_again(self.tracker.get(number))
        for slot in range(len(self._symbols)):
            self._pursue(slot)
        self._block()

    def _pursue(self, slot: int) -> None:
        symbol = self._symbols[slot]
        now = self._now(symbol)
        if symbol in self._leaving:
            self._leave(slot, now)
        else:
            self._hold(slot, now)
        if self._books.quantity(symbol) == 0:
            self.stops.is_covered(symbol)
            if now.entry is None and now.stop is not None:
                self._sweeping.add(symbol)
            else:
                self._sweeping.discard(symbol)

    def _leave(self, slot: int, now: LiveNow) -> None:
        """Go on ending a position: entry and stop away, what is left sold, until nothing is left."""
        symbol = self._symbols[slot]
        self._clear_the_way(now)
        if now.stop is not None:
            return
        quantity = self._sellable(slot)
        leaving = now.exit
        if leaving is not None and leaving.state is OrderState.INTENDED:
            if leaving.quantity == quantity:
                self._submit(leaving)
                return
            self._drop(leaving)
            leaving = None
        if leaving is not None:
            self._time_out(leaving)
            return
        if quantity > 0:
            if time.monotonic() >= self._refused.get(symbol, (0, -math.inf))[1]:
                self._submit(self._intend_exit(slot, quantity))
        elif now.entry is None:
            self._write_off_dust(slot)
            if self._books.quantity(symbol) <= 0:
                self._set_leaving(symbol, None)

    def _clear_the_way(self, now: LiveNow) -> None:
        """Take back what stands of entry and stops; a stop that waits to be sent is not sent any more."""
        for order in (now.entry, now.stop, now.heir):
            if order is not None and order.state in STANDING:
                self._take_back_at_venue(order)
            elif order is not None and order.state is OrderState.SUBMITTED and order.kind is OrderKind.PROTECT:
                self._exchange.withdraw(order)

    def _drop(self, order: Order) -> None:
        """End an order that has not left this machine."""
        ended = self.tracker.step(order.order_id, OrderEvent.CANCEL, self._now_ns(), note="another quantity is left")
        self._take_back(ended)

    def _hold(self, slot: int, now: LiveNow) -> None:
        """See that the stop behind a position is what it should be, and that no order lives for ever."""
        for order in (now.entry, now.exit):
            if order is not None:
                self._time_out(order)
        self._see_to_stop(slot, now)

    def _time_out(self, order: Order) -> None:
        age_ns = self._now_ns() - order.created_ns
        if order.state in STANDING and age_ns > self.timeout_s * 1e9:
            log.warning(
                "order %s is open for %.0f s: what is left of it is taken back", order.client_order_id, age_ns / 1e9
            )
            self._take_back_at_venue(order)

    def _set_leaving(self, symbol: str, why: tuple[Reason, int, int] | None) -> None:
        if why is None:
            self._leaving.pop(symbol, None)
            self._refused.pop(symbol, None)
        else:
            self._leaving[symbol] = why
        self._live_ledger.set_leaving(symbol, why)
