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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from trader.clock import NS_PER_S
from trader.codes import CoreEvent, Reason
from trader.core import kernels
from trader.core.live import stop_now, write_off
from trader.core.records import new_events
from trader.core.rulebook import rules_of
from trader.domain.adjustment import Adjustment, AdjustmentKind
from trader.domain.fill import Fill
from trader.domain.instrument import Instrument
from trader.domain.order import TERMINAL, Order, OrderEvent, OrderKind, OrderState
from trader.domain.verdict import Approved
from trader.execution.answers import Execution, Standing, VenueOrder
from trader.execution.client_ids import ClientIds
from trader.execution.exchange_venue import ExchangeVenue, Update
from trader.execution.ports import LiveAccounts, LiveJournal
from trader.execution.router import OrderRouter, Records, Settled
from trader.execution.steps import Step, reached
from trader.execution.stops import StopKeeper, on_tick
from trader.units import EXACT, exact, floor_to_step, plain

log = logging.getLogger(__name__)

_ZERO = Decimal(0)
_SENT = (OrderState.SUBMITTED, OrderState.UNKNOWN)
_STANDING = (OrderState.OPEN, OrderState.PARTIAL)
_ENDS = {
    Standing.FILLED: OrderEvent.CANCEL,  # over with less than was ordered
    Standing.CANCELED: OrderEvent.CANCEL,
    Standing.EXPIRED: OrderEvent.EXPIRE,
    Standing.REJECTED: OrderEvent.CANCEL,
}
#: longest pause after an exit was refused [s]
MAX_PAUSE_S = 60.0
#: how long after a stop was replaced the venue may still show the old one [s]
BOTH_STAND_S = 5.0


@dataclass(frozen=True, slots=True)
class Ending:
    """What ended a position that no fill ended."""

    time_ns: int
    reason: Reason
    order_id: int


@dataclass(slots=True)
class _Now:
    """What is live in one symbol."""

    entry: Order | None = None
    exit: Order | None = None
    stop: Order | None = None
    heir: Order | None = None  #: the stop that is to take the place of that one, in the same request


class LiveRouter(OrderRouter):
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
        super().__init__(ledger, books, venue, desk, slots, symbols, instruments, ids.prefix, open_orders)
        self.stops = StopKeeper()
        self.protects = True  #: whether positions get a stop at the venue
        self.timeout_s = 30.0  #: after which what is left of an order is taken back [s]
        self.entries_pass = entries_pass
        self._live_ledger = ledger
        self._live_books = books
        self._exchange = venue
        self._ids = ids
        self._clock = now_ns
        self._leaving = ledger.leaving()
        self._notes: dict[str, str] = {}  # which rule of the plan wants a position closed, by symbol
        self._refused: dict[str, tuple[int, float]] = {}  # exits refused in a row, and when to try again
        self._sweeping: set[str] = set()
        self._heirs: set[int] = set()  # stops that were sent in the place of another one, by order id
        #: entries that the venue never had, and that wait for the fence before they are sent again
        self.parked: set[int] = set()
        self._core_events = new_events(1)
        self._differences = dict.fromkeys(self._symbols, 0)
        self.count_differences()

    # -- what a start does ---------------------------------------------------------------------

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbol of each slot."""
        return self._symbols

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """Instrument of each slot."""
        return self._instruments

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

    def change_instruments(self, instruments: Sequence[Instrument]) -> None:
        """Go on with other steps and minima: rules change while a service runs.

        Orders that are on their way keep what they were made with; what is in flight in a slot is counted in the new
        lots from now on. A position that is no whole number of them is sold as far as it goes, the rest is dust.
        """
        for index, (old, new) in enumerate(zip(self._instruments, instruments, strict=True)):
            if old == new:
                continue
            log.warning(
                "%s: the venue's rules have changed and hold for new orders: tick %s -> %s, lot %s -> %s, smallest "
                "quantity %s -> %s, smallest order %s -> %s",
                new.symbol, plain(old.tick_size), plain(new.tick_size), plain(old.lot_size), plain(new.lot_size),
                plain(old.min_quantity), plain(new.min_quantity), plain(old.min_notional), plain(new.min_notional),
            )  # fmt: skip
            slot = self._slots[index]
            slot["tick_size"], slot["lot_size"] = float(new.tick_size), float(new.lot_size)
            slot["min_quantity"], slot["min_notional"] = float(new.min_quantity), float(new.min_notional)
            if slot["pending_lots"]:
                sign = 1 if slot["pending_lots"] > 0 else -1
                lots = _lots_covering(exact(abs(float(slot["pending_quantity"]))), new.lot_size)
                slot["pending_lots"] = sign * lots
                slot["pending_quantity"] = float(EXACT.multiply(Decimal(sign * lots), new.lot_size))
        self._instruments = tuple(instruments)

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

    def _submit(self, order: Order) -> Order:
        order = self.tracker.step(order.order_id, OrderEvent.SUBMIT, self._now_ns())
        self._exchange.submit(order)
        self._unannounced.append(order)
        return order

    def _take_back_at_venue(self, order: Order) -> None:
        self._exchange.cancel(self.tracker.step(order.order_id, OrderEvent.REQUEST_CANCEL, self._now_ns()))

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
            if update.found.trigger is not None and order.kind is OrderKind.PROTECT and order.state in _STANDING:
                self._adopt_trigger(order, update.found.trigger)
        elif update.stays:
            self.stops.replace_refused(order.symbol)
            log.warning("%s: the venue refuses to move the stop in place: %s", order.symbol, update.note)
        elif update.is_absent:
            self._absent(order, update.note)
        elif update.event is OrderEvent.LOSE_ANSWER:
            if order.state is OrderState.SUBMITTED:
                self.tracker.step(order.order_id, OrderEvent.LOSE_ANSWER, self._now_ns(), note=update.note)
        elif update.event is OrderEvent.REJECT and order.state in _SENT:
            self._over(self.tracker.step(order.order_id, OrderEvent.REJECT, self._now_ns(), note=update.note))

    def adopt(self, order: Order, found: VenueOrder) -> Order:
        """Bring an order to where the venue has it: acknowledged, with every execution, over or not."""
        if order.state in (*_SENT, OrderState.REJECTED, OrderState.LOST):
            order = self._acknowledge(order, found.venue_order_id)
        for execution in found.executions:
            order = self._book(order, execution)
        if found.is_over and order.state not in TERMINAL and order.filled_quantity >= found.filled:
            order = self.tracker.step(order.order_id, _ENDS[found.standing], self._now_ns())
            self._over(order)
        elif order.state is OrderState.FILLED:
            self._over(order)
        return order

    def _adopt_trigger(self, order: Order, trigger: Decimal) -> None:
        """Take over where a stop triggers at the venue: what was to move it has not come, or somebody else has."""
        if trigger == exact(order.stop_price):
            return
        note = f"the venue has it at {plain(trigger)}"
        log.warning("stop %s is wanted at %s, %s", order.client_order_id, order.stop_price, note)
        self.tracker.amend(order.order_id, float(trigger), self._now_ns(), note=note)

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
            lots = _lots_covering(order.quantity, self._instruments[slot].lot_size) * int(order.side)
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

    def _stop_refused(self, slot: int, order: Order) -> None:
        level, mark = self._level(slot), float(self._slots["mark_price"][slot])
        if mark <= level:
            # the price is there already: what the stop was to do is done now
            self.close(slot, Reason.STOP)
            return
        pause_s = self.stops.refused(order.symbol)
        log.error(
            "%s: the venue refuses a stop at %s, next try in %g s; the stop here stays armed: %s",
            order.symbol, order.stop_price, pause_s, order.note,
        )  # fmt: skip

    # -- booking -------------------------------------------------------------------------------

    def _book(self, order: Order, execution: Execution) -> Order:
        trade_id = f"{order.symbol}:{execution.trade_id}"
        if self._live_ledger.knows_trade(trade_id):
            return order
        if EXACT.add(order.filled_quantity, execution.quantity) > order.quantity:
            log.critical("trade %s would fill more than order %s", trade_id, order.client_order_id)
            return order  # the balances will differ, and that is what the owner is shown
        slot = self._symbols.index(order.symbol)
        fill = self._fill(order, slot, execution, trade_id)
        self._ledger.record_fill(fill)
        count = self._move_slot(slot, fill, reduce_only=order.reduce_only)
        order = self.tracker.fill(order.order_id, fill.quantity, fill.time_ns)
        trips = self._books.apply(fill, order)
        for ended in trips:
            self._ledger.record_round_trip(ended)
        for currency, amount in execution.fees[1:]:
            self._adjust(AdjustmentKind.FEE, currency, amount.copy_negate(), note=f"of trade {trade_id}")
        self._anchor({order.symbol})
        opened = any(int(event["kind"]) == CoreEvent.ENTRY_FILLED for event in self._core_events[: max(count, 0)])
        kind = CoreEvent.ENTRY_FILLED if opened else CoreEvent.EXIT_FILLED
        trip = trips[0] if trips else None
        self._unannounced.append(Settled(kind, fill.time_ns, order.symbol, order, fill, trip, fill.reason))
        return order

    def _move_slot(self, slot: int, fill: Fill, *, reduce_only: bool) -> int:
        """Apply a fill to the shared state; return how many events that gave."""
        quantity, fee = float(fill.quantity), self._fee_in_quote(slot, fill)
        if reduce_only:
            # a fee in the base currency leaves the position, too, as far as there is something left of it
            if fill.fee_currency == self._instruments[slot].base:
                quantity = float(EXACT.add(fill.quantity, fill.fee))
            quantity = min(quantity, abs(float(self._slots["quantity"][slot])))
        if quantity <= 0.0:
            self._desk["account"]["fees_paid"] += fee
            return 0
        count: int = kernels.apply_fill(
            self._desk, self._slots, slot, int(fill.side), quantity, float(fill.price), fee,
            fill.time_ns, int(fill.reason), self._core_events, 0,
        )  # fmt: skip
        return count

    def _fill(self, order: Order, slot: int, execution: Execution, trade_id: str) -> Fill:
        currency, fee = execution.fees[0] if execution.fees else (self._instruments[slot].quote, _ZERO)
        return Fill(
            trade_id=trade_id,
            order_id=order.order_id,
            symbol=order.symbol,
            side=order.side,
            price=execution.price,
            quantity=execution.quantity,
            fee=fee,
            fee_currency=currency,
            time_ns=execution.time_ns or self._now_ns(),
            reason=order.reason,
        )

    def _fee_in_quote(self, slot: int, fill: Fill) -> float:
        instrument = self._instruments[slot]
        if fill.fee_currency == instrument.quote:
            return float(fill.fee)
        return float(fill.fee * fill.price) if fill.fee_currency == instrument.base else 0.0

    def _adjust(
        self,
        kind: AdjustmentKind,
        currency: str,
        amount: Decimal,
        *,
        symbol: str = "",
        change: Decimal = _ZERO,
        found: Decimal | None = None,
        note: str = "",
    ) -> Adjustment:
        held = self._books.balance(currency)
        adjustment = Adjustment(
            adjustment_id=self._live_ledger.next_adjustment_id(),
            time_ns=self._now_ns(),
            kind=kind,
            currency=currency,
            amount=amount,
            symbol=symbol,
            position_change=change,
            fills=self._live_ledger.fill_count,
            expected=held,
            found=EXACT.add(held, amount) if found is None else found,
            note=note,
            accepted=kind is not AdjustmentKind.UNEXPLAINED,
        )
        self._live_ledger.record_adjustment(adjustment)
        if amount:
            self._live_books.adjust(currency, amount)
        return adjustment

    def _write_off(self, slot: int, quantity: Decimal, reason: Reason, order_id: int) -> None:
        """Take a quantity out of a position; the adjustment that says so is on record."""
        symbol, time_ns = self._symbols[slot], self._now_ns()
        write_off(self._desk, self._slots, slot, float(quantity), time_ns)
        for trip in self._live_books.write_off(symbol, quantity, Ending(time_ns, reason, order_id)):
            self._ledger.record_round_trip(trip)
            self._unannounced.append(Settled(CoreEvent.EXIT_FILLED, time_ns, symbol, round_trip=trip, reason=reason))
        self._anchor({symbol})

    def _write_off_dust(self, slot: int) -> None:
        symbol = self._symbols[slot]
        held = self._books.quantity(symbol)
        if held <= 0 or self._sellable(slot) > 0 or any(order.symbol == symbol for order in self.tracker.live()):
            return
        last = self._last_filled(symbol)
        base = self._instruments[slot].base
        note = f"{plain(held)} {base} is less than can be sold; it stays in the balance"
        self._adjust(AdjustmentKind.DUST, base, _ZERO, symbol=symbol, change=held.copy_negate(), note=note)
        log.info("%s: %s", symbol, note)
        self._write_off(slot, held, last.reason if last else Reason.NONE, last.order_id if last else 0)

    def _last_filled(self, symbol: str) -> Order | None:
        return self._live_ledger.last_filled_order(symbol)

    # -- differences ---------------------------------------------------------------------------

    def adopt_difference(self, currency: str, found: Decimal) -> Adjustment:
        """Adopt what the venue holds of a currency; nobody knows why it is another amount.

        The balance becomes the venue's. A position shrinks to what is there; what is there beyond it belongs to no
        position, because nobody said that it was to be traded. Entries are blocked until the owner accepts it.

        Parameters
        ----------
        currency : str
            Which.
        found : Decimal
            What the venue holds of it, free or not.

        Returns
        -------
        Adjustment
            As it was recorded.
        """
        held = self._books.balance(currency)
        amount = EXACT.subtract(found, held)
        slot = next((index for index, item in enumerate(self._instruments) if item.base == currency), None)
        symbol, gone = "", _ZERO
        if slot is not None:
            symbol = self._symbols[slot]
            gone = max(EXACT.subtract(self._books.quantity(symbol), max(found, _ZERO)), _ZERO)
        note = f"the venue holds {plain(found)} {currency}, the ledger says {plain(held)}"
        adjustment = self._adjust(
            AdjustmentKind.UNEXPLAINED,
            currency,
            amount,
            symbol=symbol,
            change=gone.copy_negate(),
            found=found,
            note=note,
        )
        log.critical("unexplained difference %d: %s; entries are blocked", adjustment.adjustment_id, note)
        if slot is not None and gone > 0:
            last = self._last_filled(symbol)
            self._write_off(slot, gone, Reason.UNEXPLAINED, last.order_id if last else 0)
        self._anchor(())
        self.count_differences()
        return adjustment

    def open_account(self, balances: Mapping[str, Decimal]) -> None:
        """Record what the account held beside its quote currency before the ledger began."""
        for currency, amount in sorted(balances.items()):
            if amount:
                self._adjust(AdjustmentKind.OPENING, currency, amount, note="held before the ledger began")

    def adopt_rounding(self, currency: str, found: Decimal) -> None:
        """Adopt a difference that is less than the venue's smallest unit for each fill."""
        self._adjust(AdjustmentKind.ROUNDING, currency, EXACT.subtract(found, self._books.balance(currency)))
        self._anchor(())

    def accept(self, symbol: str | None = None) -> list[Adjustment]:
        """Record that the owner accepts unexplained differences; None: in all symbols. Return what was accepted."""
        accepted = [
            item
            for item in self._live_ledger.adjustments(waiting=True)
            if symbol is None or symbol in self._blocked_by(item)
        ]
        for item in accepted:
            self._live_ledger.accept_adjustment(item)
        self.count_differences()
        return accepted

    @property
    def blocked(self) -> int:
        """Symbols in which unexplained differences block entries."""
        return sum(count > 0 for count in self._differences.values())

    @property
    def differences(self) -> int:
        """Unexplained differences that wait for the owner."""
        return len(self._live_ledger.adjustments(waiting=True))

    def count_differences(self) -> None:
        """Block entries in the symbols that unexplained differences concern."""
        self._differences = dict.fromkeys(self._symbols, 0)
        for item in self._live_ledger.adjustments(waiting=True):
            for symbol in self._blocked_by(item):
                self._differences[symbol] += 1
        self._block()

    def _blocked_by(self, item: Adjustment) -> list[str]:
        if item.symbol:
            return [item.symbol]
        quoted = [each.symbol for each in self._instruments if each.quote == item.currency]
        return quoted or [each.symbol for each in self._instruments if each.base == item.currency]

    def _block(self) -> None:
        for slot, symbol in enumerate(self._symbols):
            self._slots["blocked"][slot] = self._differences[symbol] + (symbol in self._sweeping)

    # -- pursuing ------------------------------------------------------------------------------

    def pursue(self) -> None:
        """Do in each symbol what is to be done now."""
        for number in sorted(self.parked):
            self._send_again(self.tracker.get(number))
        for slot in range(len(self._symbols)):
            self._pursue(slot)
        self._block()

    def _now(self, symbol: str) -> _Now:
        now = _Now()
        for order in self.tracker.live():
            if order.symbol != symbol:
                continue
            if order.kind is OrderKind.PROTECT:
                now.stop, now.heir = (order, None) if now.stop is None else (now.stop, order)
            elif order.reduce_only:
                now.exit = order
            else:
                now.entry = order
        return now

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

    def _leave(self, slot: int, now: _Now) -> None:
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

    def _clear_the_way(self, now: _Now) -> None:
        """Take back what stands of entry and stops; a stop that waits to be sent is not sent any more."""
        for order in (now.entry, now.stop, now.heir):
            if order is not None and order.state in _STANDING:
                self._take_back_at_venue(order)
            elif order is not None and order.state is OrderState.SUBMITTED and order.kind is OrderKind.PROTECT:
                self._exchange.withdraw(order)

    def _drop(self, order: Order) -> None:
        """End an order that has not left this machine."""
        ended = self.tracker.step(order.order_id, OrderEvent.CANCEL, self._now_ns(), note="another quantity is left")
        self._take_back(ended)

    def _hold(self, slot: int, now: _Now) -> None:
        """See that the stop behind a position is what it should be, and that no order lives for ever."""
        symbol = self._symbols[slot]
        for order in (now.entry, now.exit):
            if order is not None:
                self._time_out(order)
        quantity = self._sellable(slot) if now.exit is None else _ZERO
        level = self._level(slot)
        wanted = self.protects and self._exchange.capabilities.stop is not None and quantity > 0 and level > 0
        if now.stop is None:
            if wanted:
                self._protect(slot, quantity, level)
        elif now.heir is not None:
            self._await_heir(now.stop, now.heir)
        elif now.stop.state in _SENT and wanted:
            self.stops.is_naked(symbol)  # the one before it is gone, and nobody knows of this one yet
        elif now.stop.state in _STANDING and (
            now.exit is not None or not self._still_serves(slot, now.stop, quantity, level, wanted=wanted)
        ):
            if wanted and self._may_amend(now.stop, quantity):
                self._amend(slot, now.stop, level)
            elif wanted and self._may_replace(now.stop):
                self._replace(slot, now.stop, quantity, level)
            elif self.stops.may_take_back(symbol):
                self._take_back_at_venue(now.stop)
                if wanted:
                    self.stops.is_naked(symbol)

    def _still_serves(self, slot: int, stop: Order, quantity: Decimal, level: float, *, wanted: bool) -> bool:
        """Tell whether a stop stays: it sells all that can be sold, and no more than is held.

        One that was taken under other rules, or at a better price, may sell what a new order could not: a position that
        has become too small for a new order keeps the stop that it has, for there would be no other.
        """
        if not self.protects or stop.symbol in self._leaving:
            return False
        left = EXACT.subtract(stop.quantity, stop.filled_quantity)
        if not quantity <= left <= self._held(slot):
            return False
        if not wanted:
            return quantity == 0 and level > 0
        return not self.stops.should_move(stop.symbol, stop.stop_price, level)

    def _protect(self, slot: int, quantity: Decimal, level: float) -> None:
        symbol = self._symbols[slot]
        self.stops.is_naked(symbol)
        if self.stops.may_place(symbol):
            self._submit(self._intend_stop(slot, quantity, level))

    def _intend_stop(self, slot: int, quantity: Decimal, level: float) -> Order:
        trigger = float(on_tick(level, self._instruments[slot].tick_size))
        order = self._order(
            slot,
            -self._lots(slot, quantity),
            kind=OrderKind.PROTECT,
            reason=self._stop_reason(slot),
            stop_price=trigger,
        )
        self.stops.placed(order.symbol)
        return self.tracker.intend(order)

    def _may_amend(self, stop: Order, quantity: Decimal) -> bool:
        """Tell whether a stop can be moved in place: it stands whole, sells the right quantity, and it was no use."""
        whole = stop.venue_order_id is not None and not stop.filled_quantity and stop.quantity == quantity
        return whole and self._exchange.can_amend and self.stops.may_replace(stop.symbol)

    def _amend(self, slot: int, stop: Order, level: float) -> None:
        """Have a stop moved in place; where it is to trigger is on disk before the request leaves."""
        trigger = float(on_tick(level, self._instruments[slot].tick_size))
        self.stops.placed(stop.symbol)
        moved = self.tracker.amend(stop.order_id, trigger, self._now_ns())
        self._exchange.amend(moved)
        self._unannounced.append(moved)

    def _may_replace(self, stop: Order) -> bool:
        """Tell whether a stop can be replaced in one request: it stands whole, and that was not just refused."""
        whole = stop.venue_order_id is not None and not stop.filled_quantity
        return whole and self._exchange.can_replace and self.stops.may_replace(stop.symbol)

    def _replace(self, slot: int, stop: Order, quantity: Decimal, level: float) -> None:
        """Have a stop replaced with no moment between: the old one stands until the venue says otherwise.

        Both are live then, the new one on disk before the request leaves. What became of each is asked of the venue,
        under its own id: after a lost answer, or a restart, the one that stands is the stop.
        """
        order = self._intend_stop(slot, quantity, level)
        order = self.tracker.step(order.order_id, OrderEvent.SUBMIT, self._now_ns())
        self._heirs.add(order.order_id)
        self._exchange.replace(stop, order)
        self._unannounced.append(order)

    def _await_heir(self, stop: Order, heir: Order) -> None:
        """Wait until one of two stops is gone; should a venue hold both, the older one is taken back."""
        both = stop.state in _STANDING and heir.state in _STANDING
        if both and self._now_ns() - heir.updated_ns > BOTH_STAND_S * NS_PER_S:
            log.warning("%s: two stops stand at the venue, the older one is taken back", stop.symbol)
            self._take_back_at_venue(stop)

    def _time_out(self, order: Order) -> None:
        age_ns = self._now_ns() - order.created_ns
        if order.state in _STANDING and age_ns > self.timeout_s * 1e9:
            log.warning(
                "order %s is open for %.0f s: what is left of it is taken back", order.client_order_id, age_ns / 1e9
            )
            self._take_back_at_venue(order)

    def _level(self, slot: int) -> float:
        """Return where the stop in force stands; NaN: there is none."""
        return float(stop_now(self._slots, slot)[0])

    def reached_level(self, slot: int, price: float) -> Reason:
        """Return why a position is to end at a price: STOP, TRAILING, TARGET, or NONE when it isn't, or already is."""
        if self._books.quantity(self._symbols[slot]) <= 0 or self._symbols[slot] in self._leaving:
            return Reason.NONE
        if price <= self._level(slot):
            return self._stop_reason(slot)
        return Reason.TARGET if price >= float(self._slots["target_price"][slot]) else Reason.NONE

    def _stop_reason(self, slot: int) -> Reason:
        return Reason.TRAILING if stop_now(self._slots, slot)[1] else Reason.STOP

    def _held(self, slot: int) -> Decimal:
        """Return what there is of a position, in the books and in the balance."""
        return min(self._books.quantity(self._symbols[slot]), self._books.balance(self._instruments[slot].base))

    def _sellable(self, slot: int) -> Decimal:
        """Return what can be sold of a position: whole lots of what is held, at least the venue's smallest order."""
        instrument, held = self._instruments[slot], self._held(slot)
        if held <= 0:
            return _ZERO
        quantity = floor_to_step(held, instrument.lot_size)
        mark = float(self._slots["mark_price"][slot])
        notional = float(quantity) * mark if math.isfinite(mark) else math.inf
        enough = quantity >= instrument.min_quantity and notional >= float(instrument.min_notional)
        return quantity if enough else _ZERO

    def _set_leaving(self, symbol: str, why: tuple[Reason, int, int] | None) -> None:
        if why is None:
            self._leaving.pop(symbol, None)
            self._refused.pop(symbol, None)
        else:
            self._leaving[symbol] = why
        self._live_ledger.set_leaving(symbol, why)

    def _client_order_id(self, order_id: int) -> str:
        return self._ids.make(order_id)

    def _now_ns(self) -> int:
        return self._clock()


def _lots_covering(quantity: Decimal, lot_size: Decimal) -> int:
    """Return the fewest lots that are no less than a quantity."""
    return int((quantity / lot_size).to_integral_value(rounding=ROUND_CEILING))
