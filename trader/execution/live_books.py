"""Exact books of live trading: what the venue executed becomes fills, and what no fill explains an adjustment.

The kernels' floats are set back to the exact amounts after each change. What can be sold of a position follows from
them, and from what the venue takes as an order.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from trader.codes import CoreEvent, Reason
from trader.core import kernels
from trader.core.live import write_off
from trader.core.records import new_events
from trader.domain.adjustment import Adjustment, AdjustmentKind
from trader.domain.fill import Fill
from trader.domain.instrument import Instrument
from trader.domain.order import Order
from trader.execution.answers import Execution
from trader.execution.client_ids import ClientIds
from trader.execution.ports import LiveAccounts, LiveJournal
from trader.execution.router import OrderRouter, Records, Settled
from trader.execution.venue import Venue
from trader.units import EXACT, exact, floor_to_step, plain

log = logging.getLogger(__name__)

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Ending:
    """What ended a position that no fill ended."""

    time_ns: int
    reason: Reason
    order_id: int


class LiveBooks(OrderRouter):
    """Books what the venue says into ledger, exact books and kernels; see `LiveRouter` for the parameters."""

    def __init__(
        self,
        ledger: LiveJournal,
        books: LiveAccounts,
        venue: Venue,
        desk: Records,
        slots: Records,
        symbols: Sequence[str],
        instruments: Sequence[Instrument],
        *,
        ids: ClientIds,
        now_ns: Callable[[], int],
        open_orders: Iterable[Order] = (),
    ) -> None:
        super().__init__(ledger, books, venue, desk, slots, symbols, instruments, ids.prefix, open_orders)
        self._live_ledger = ledger
        self._live_books = books
        self._ids = ids
        self._clock = now_ns
        self._core_events = new_events(1)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbol of each slot."""
        return self._symbols

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """Instrument of each slot."""
        return self._instruments

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
                lots = lots_covering(exact(abs(float(slot["pending_quantity"]))), new.lot_size)
                slot["pending_lots"] = sign * lots
                slot["pending_quantity"] = float(EXACT.multiply(Decimal(sign * lots), new.lot_size))
        self._instruments = tuple(instruments)

    # -- executions ----------------------------------------------------------------------------

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

    # -- what no fill explains -----------------------------------------------------------------

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

    # -- what can be sold ----------------------------------------------------------------------

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

    def _client_order_id(self, order_id: int) -> str:
        return self._ids.make(order_id)

    def _now_ns(self) -> int:
        return self._clock()


def lots_covering(quantity: Decimal, lot_size: Decimal) -> int:
    """Return the fewest lots that are no less than a quantity."""
    return int((quantity / lot_size).to_integral_value(rounding=ROUND_CEILING))
