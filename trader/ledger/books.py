"""The books: exact cash and positions, moved by fills and by nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Protocol

from trader.codes import Reason, Side
from trader.domain.fill import Fill
from trader.domain.order import Order
from trader.domain.round_trip import RoundTrip
from trader.units import EXACT

ZERO = Decimal(0)
_SHOWN = Decimal("1e-12")


def currencies(symbol: str) -> tuple[str, str]:
    """Return base and quote of a symbol: BTC/USDT gives BTC and USDT, BTC/USDT:USDT the same."""
    base, _, quote = symbol.partition("/")
    return base, quote.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Holding:
    """One open position, as exact sums over its fills."""

    symbol: str
    position_id: int  #: running number, the same as the kernels'
    entry_order_id: int
    quantity: Decimal  #: signed: > 0 long [base]
    flow: Decimal  #: quote received less quote paid, before fees [quote]
    fees: Decimal  #: [quote]
    entered_quantity: Decimal  #: sum of what was entered, > 0 [base]
    entered_notional: Decimal  #: [quote]
    exited_notional: Decimal  #: [quote]
    entry_ns: int
    strategy: str
    reason: Reason
    decision_id: int

    @property
    def entry_price(self) -> Decimal:
        """Average price of what was entered, rounded to twelve decimals [quote per base]."""
        return average(self.entered_notional, self.entered_quantity)


class Ending(Protocol):
    """What a round trip says of its end; a fill has it."""

    @property
    def time_ns(self) -> int:
        """When [ns UTC]."""

    @property
    def reason(self) -> Reason:
        """Why."""

    @property
    def order_id(self) -> int:
        """By which order."""


def average(notional: Decimal, quantity: Decimal) -> Decimal:
    """Return notional / quantity rounded to twelve decimals; 0 when there is no quantity."""
    return (notional / quantity).quantize(_SHOWN, rounding=ROUND_HALF_EVEN) if quantity else ZERO


class Books:
    """Exact balances by currency and positions by symbol.

    Parameters
    ----------
    balances : mapping
        Amount of each currency at the start.
    holdings : mapping
        Open positions by symbol at the start.
    closed : int
        How many round trips there were before.
    """

    def __init__(
        self, balances: Mapping[str, Decimal], holdings: Mapping[str, Holding] | None = None, closed: int = 0
    ) -> None:
        self.balances = dict(balances)
        self.holdings = dict(holdings or {})
        self.closed = closed
        #: what has changed since the ledger last wrote it
        self.changed_balances: set[str] = set()
        self.changed_holdings: set[str] = set()

    def balance(self, currency: str) -> Decimal:
        """Return what is held of a currency."""
        return self.balances.get(currency, ZERO)

    def quantity(self, symbol: str) -> Decimal:
        """Return the signed quantity of the position in a symbol [base]; 0 when flat."""
        holding = self.holdings.get(symbol)
        return holding.quantity if holding else ZERO

    def strategy(self, symbol: str) -> str:
        """Return the name of the strategy that opened the position in a symbol; "" when flat."""
        holding = self.holdings.get(symbol)
        return holding.strategy if holding else ""

    def apply(self, fill: Fill, order: Order) -> tuple[RoundTrip, ...]:
        """Move cash and position by one fill.

        A fill that crosses zero closes one position and opens the next; its fee is divided by
        quantity, and the two parts add up to it exactly.

        Parameters
        ----------
        fill : Fill
            What was executed.
        order : Order
            The order that it belongs to: a position remembers who opened it.

        Returns
        -------
        tuple of RoundTrip
            The position that this fill closed, if it closed one.
        """
        base, quote = currencies(fill.symbol)
        signed = fill.quantity if fill.side is Side.BUY else fill.quantity.copy_negate()
        flow = EXACT.multiply(signed.copy_negate(), fill.price)
        self._move(base, signed)
        self._move(quote, flow)
        self._move(fill.fee_currency, fill.fee.copy_negate())
        held_change = EXACT.subtract(signed, fill.fee) if fill.fee_currency == base else signed
        if order.reduce_only:
            held_change = self._within_holding(fill.symbol, held_change)
        self.changed_holdings.add(fill.symbol)
        return self._move_holding(fill, order, held_change, fee_in_quote(fill)) if held_change else ()

    def _within_holding(self, symbol: str, change: Decimal) -> Decimal:
        """Return as much of a change as the position has: what goes beyond it came out of the balance beside it.

        An exit in the currency that its fee is taken in (BNB sold where fees are paid in BNB) takes more than it sells.
        """
        held = self.quantity(symbol)
        if held == 0 or (held > 0) == (change > 0):
            return ZERO
        return max(change, held.copy_negate()) if held > 0 else min(change, held.copy_negate())

    def adjust(self, currency: str, amount: Decimal) -> None:
        """Move a balance by what no fill explains."""
        self._move(currency, amount)

    def write_off(self, symbol: str, quantity: Decimal, ending: Ending) -> tuple[RoundTrip, ...]:
        """Take a part of a position away for nothing; the balance stays as it is.

        Parameters
        ----------
        symbol : str
            Whose position.
        quantity : Decimal
            How much of it [base], > 0, at most all of it.
        ending : Ending
            When and why, and the order that the position's end is put down to.

        Returns
        -------
        tuple of RoundTrip
            The position that this ended, if it ended one.
        """
        holding = self.holdings[symbol]
        self.changed_holdings.add(symbol)
        sign = 1 if holding.quantity > 0 else -1
        rest = EXACT.subtract(holding.quantity, EXACT.multiply(Decimal(sign), quantity))
        if rest != 0:
            self.holdings[symbol] = replace(holding, quantity=rest)
            return ()
        del self.holdings[symbol]
        self.closed += 1
        return (_closed(holding, ending, holding.quantity, ""),)

    def _move(self, currency: str, amount: Decimal) -> None:
        self.balances[currency] = EXACT.add(self.balance(currency), amount)
        self.changed_balances.add(currency)

    def _move_holding(self, fill: Fill, order: Order, change: Decimal, fee: Decimal) -> tuple[RoundTrip, ...]:
        holding = self.holdings.get(fill.symbol)
        if holding is None:
            self._open(fill, order, change, fee)
            return ()
        if (holding.quantity > 0) == (change > 0):
            self.holdings[fill.symbol] = _entered(holding, fill, change, fee)
            return ()
        rest = EXACT.add(holding.quantity, change)
        if rest != 0 and (rest > 0) == (change > 0):
            closing = holding.quantity.copy_negate()
            share = (fee * (closing / change)).quantize(_SHOWN, rounding=ROUND_HALF_EVEN)
            trip = _closed(_exited(holding, fill, closing, share), fill, holding.quantity, order.note)
            del self.holdings[fill.symbol]
            self.closed += 1
            self._open(fill, order, rest, EXACT.subtract(fee, share))
            return (trip,)
        after = _exited(holding, fill, change, fee)
        if rest != 0:
            self.holdings[fill.symbol] = after
            return ()
        del self.holdings[fill.symbol]
        self.closed += 1
        return (_closed(after, fill, holding.quantity, order.note),)

    def _open(self, fill: Fill, order: Order, change: Decimal, fee: Decimal) -> None:
        # every position ever opened is either closed or open, so their count is the next number
        number = self.closed + len(self.holdings) + 1
        self.holdings[fill.symbol] = _opened(number, fill, order, change, fee)


def fee_in_quote(fill: Fill) -> Decimal:
    """Return a fill's fee in quote currency; a fee in a third currency counts in its balance only."""
    base, quote = currencies(fill.symbol)
    if fill.fee_currency == quote:
        return fill.fee
    return EXACT.multiply(fill.fee, fill.price) if fill.fee_currency == base else ZERO


def _opened(position_id: int, fill: Fill, order: Order, change: Decimal, fee: Decimal) -> Holding:
    notional = EXACT.multiply(change.copy_abs(), fill.price)
    return Holding(
        symbol=fill.symbol,
        position_id=position_id,
        entry_order_id=order.order_id,
        quantity=change,
        flow=EXACT.multiply(change.copy_negate(), fill.price),
        fees=fee,
        entered_quantity=change.copy_abs(),
        entered_notional=notional,
        exited_notional=ZERO,
        entry_ns=fill.time_ns,
        strategy=order.strategy,
        reason=fill.reason,
        decision_id=order.decision_id,
    )


def _entered(holding: Holding, fill: Fill, change: Decimal, fee: Decimal) -> Holding:
    notional = EXACT.multiply(change.copy_abs(), fill.price)
    return replace(
        holding,
        quantity=EXACT.add(holding.quantity, change),
        flow=EXACT.add(holding.flow, EXACT.multiply(change.copy_negate(), fill.price)),
        fees=EXACT.add(holding.fees, fee),
        entered_quantity=EXACT.add(holding.entered_quantity, change.copy_abs()),
        entered_notional=EXACT.add(holding.entered_notional, notional),
    )


def _exited(holding: Holding, fill: Fill, change: Decimal, fee: Decimal) -> Holding:
    notional = EXACT.multiply(change.copy_abs(), fill.price)
    return replace(
        holding,
        quantity=EXACT.add(holding.quantity, change),
        flow=EXACT.add(holding.flow, EXACT.multiply(change.copy_negate(), fill.price)),
        fees=EXACT.add(holding.fees, fee),
        exited_notional=EXACT.add(holding.exited_notional, notional),
    )


def _closed(holding: Holding, fill: Ending, last_quantity: Decimal, exit_note: str) -> RoundTrip:
    # Flat again: all that came in less all that went out is the result, without any division.
    return RoundTrip(
        position_id=holding.position_id,
        entry_order_id=holding.entry_order_id,
        symbol=holding.symbol,
        side=Side.BUY if last_quantity > 0 else Side.SELL,
        quantity=holding.entered_quantity,
        entry_price=holding.entry_price,
        exit_price=average(holding.exited_notional, holding.entered_quantity),
        entry_ns=holding.entry_ns,
        exit_ns=fill.time_ns,
        gross_pnl=holding.flow,
        fees=holding.fees,
        pnl=EXACT.subtract(holding.flow, holding.fees),
        strategy=holding.strategy,
        entry_reason=holding.reason,
        exit_reason=fill.reason,
        decision_id=holding.decision_id,
        exit_order_id=fill.order_id,
        exit_note=exit_note,
    )
