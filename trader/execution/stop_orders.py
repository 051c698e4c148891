"""Stop orders at the venue: placed behind each position, moved with the plan, and taken back when nothing is held.

Where the venue can, a stop moves in one request: replaced by another order, or amended where it rests. Otherwise it is
taken back and placed anew, and the time between is counted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from trader.clock import NS_PER_S
from trader.codes import Reason
from trader.core.live import stop_now
from trader.domain.instrument import Instrument
from trader.domain.order import Order, OrderEvent, OrderKind, OrderState
from trader.execution.client_ids import ClientIds
from trader.execution.differences import Differences
from trader.execution.exchange_venue import ExchangeVenue
from trader.execution.ports import LiveAccounts, LiveJournal
from trader.execution.router import Records
from trader.execution.stops import StopKeeper, on_tick
from trader.units import EXACT, exact, plain

log = logging.getLogger(__name__)

_ZERO = Decimal(0)
#: sent, and nothing is known of it yet
SENT = (OrderState.SUBMITTED, OrderState.UNKNOWN)
#: resting at the venue
STANDING = (OrderState.OPEN, OrderState.PARTIAL)
#: how long after a stop was replaced the venue may still show the old one [s]
BOTH_STAND_S = 5.0


@dataclass(slots=True)
class LiveNow:
    """What is live in one symbol."""

    entry: Order | None = None
    exit: Order | None = None
    stop: Order | None = None
    heir: Order | None = None  #: the stop that is to take the place of that one, in the same request


class StopOrders(Differences):
    """Keeps the stop behind each position what it should be; see `LiveRouter` for the parameters."""

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
        open_orders: Iterable[Order] = (),
    ) -> None:
        super().__init__(
            ledger, books, venue, desk, slots, symbols, instruments, ids=ids, now_ns=now_ns, open_orders=open_orders
        )
        self.stops = StopKeeper()
        self.protects = True  #: whether positions get a stop at the venue
        self._exchange = venue
        self._leaving = ledger.leaving()
        self._heirs: set[int] = set()  # stops that were sent in the place of another one, by order id

    def _now(self, symbol: str) -> LiveNow:
        now = LiveNow()
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

    def _see_to_stop(self, slot: int, now: LiveNow) -> None:
        """Place, move or take back the stop behind a position, whatever is to be done with it now."""
        symbol = self._symbols[slot]
        quantity = self._sellable(slot) if now.exit is None else _ZERO
        level = self._level(slot)
        wanted = self.protects and self._exchange.capabilities.stop is not None and quantity > 0 and level > 0
        if now.stop is None:
            if wanted:
                self._protect(slot, quantity, level)
        elif now.heir is not None:
            self._await_heir(now.stop, now.heir)
        elif now.stop.state in SENT and wanted:
            self.stops.is_naked(symbol)  # the one before it is gone, and nobody knows of this one yet
        elif now.stop.state in STANDING and (
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

    def _adopt_trigger(self, order: Order, trigger: Decimal) -> None:
        """Take over where a stop triggers at the venue: what was to move it has not come, or somebody else has."""
        if trigger == exact(order.stop_price):
            return
        note = f"the venue has it at {plain(trigger)}"
        log.warning("stop %s is wanted at %s, %s", order.client_order_id, order.stop_price, note)
        self.tracker.amend(order.order_id, float(trigger), self._now_ns(), note=note)

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
        both = stop.state in STANDING and heir.state in STANDING
        if both and self._now_ns() - heir.updated_ns > BOTH_STAND_S * NS_PER_S:
            log.warning("%s: two stops stand at the venue, the older one is taken back", stop.symbol)
            self._take_back_at_venue(stop)

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

    def _submit(self, order: Order) -> Order:
        order = self.tracker.step(order.order_id, OrderEvent.SUBMIT, self._now_ns())
        self._exchange.submit(order)
        self._unannounced.append(order)
        return order

    def _take_back_at_venue(self, order: Order) -> None:
        self._exchange.cancel(self.tracker.step(order.order_id, OrderEvent.REQUEST_CANCEL, self._now_ns()))

    # -- where it belongs ----------------------------------------------------------------------

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
