"""Differences between venue and ledger: adopted as amounts, marked unexplained, and entries blocked until accepted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

from trader.codes import Reason
from trader.domain.adjustment import Adjustment, AdjustmentKind
from trader.domain.instrument import Instrument
from trader.domain.order import Order
from trader.execution.client_ids import ClientIds
from trader.execution.live_books import LiveBooks
from trader.execution.ports import LiveAccounts, LiveJournal
from trader.execution.router import Records
from trader.execution.venue import Venue
from trader.units import EXACT, plain

log = logging.getLogger(__name__)

_ZERO = Decimal(0)


class Differences(LiveBooks):
    """Adopts what nobody can explain, and blocks entries where it concerns; see `LiveRouter` for the parameters."""

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
        super().__init__(
            ledger, books, venue, desk, slots, symbols, instruments, ids=ids, now_ns=now_ns, open_orders=open_orders
        )
        self._sweeping: set[str] = set()  # symbols whose stop is to go, because nothing is held any more
        self._differences = dict.fromkeys(self._symbols, 0)
        self.count_differences()

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
