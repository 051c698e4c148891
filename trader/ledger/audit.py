"""The audit: the ledger against itself, the paper venue and shared memory, each by its own arithmetic.

Every check computes from the fills what it compares with, and never from what the journal derived: an
error in the books must not be able to agree with itself.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from trader.codes import Side
from trader.core.records import ACCOUNT
from trader.domain.adjustment import Adjustment
from trader.domain.fill import Fill
from trader.domain.order import TERMINAL, Order, OrderState, advance
from trader.errors import IllegalTransition, NotRunning, StateError
from trader.ledger import rows, schema, seals
from trader.ledger.reader import LedgerReader
from trader.state.paths import InstancePaths
from trader.units import EXACT, plain

_ZERO = Decimal(0)
_RELATIVE = 1e-9
_PATIENCE_S = 5.0
_ACCOUNT_FLOATS = tuple(name for name in schema.ACCOUNT_FIELDS if ACCOUNT[name].kind == "f")
_SLOT_SHARED = ("quantity", "entry_price", "stop_price", "target_price", "best_price", "mark_price")


class SharedBook(Protocol):
    """Account and slots as shared memory shows them."""

    @property
    def account(self) -> Any:
        """Record of ACCOUNT."""

    @property
    def slots(self) -> Any:
        """Records of SLOT."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbol of each slot."""


class SharedState(Protocol):
    """What the audit asks of a `StateReader`."""

    def book(self) -> SharedBook:
        """Return account and slots of one moment."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that does not agree."""

    check: str
    subject: str  #: an order, a fill, a symbol, a currency, ...
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.check}: {self.subject}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was checked, how much of it, and what did not agree."""

    checks: Mapping[str, int]  #: name of the check to how many things it looked at
    differences: tuple[Difference, ...]

    @property
    def is_clean(self) -> bool:
        """Whether everything agrees."""
        return not self.differences


@dataclass(slots=True)
class _Evidence:
    """Everything that the checks look at, of one committed moment."""

    reader: LedgerReader
    meta: dict[str, str]
    orders: dict[int, Order]
    fills: list[Fill]
    adjustments: list[Adjustment]

    def by_order(self) -> dict[int, list[Fill]]:
        grouped: dict[int, list[Fill]] = defaultdict(list)
        for fill in self.fills:
            grouped[fill.order_id].append(fill)
        return grouped


def audit(paths: InstancePaths, state: SharedState | None = None) -> AuditReport:
    """Check everything about a ledger that can be known independently.

    Parameters
    ----------
    paths : InstancePaths
        Where the ledger is.
    state : StateReader, optional
        Shared memory to hold it against; None: not running.

    Returns
    -------
    AuditReport
        Every difference there is.

    Raises
    ------
    LedgerError
        When there is no ledger, or it can't be read.
    """
    counts: dict[str, int] = {}
    differences: list[Difference] = []
    with LedgerReader(paths.ledger) as reader:
        with reader.snapshot():
            orders = {order.order_id: order for order in reader.orders(newest_first=False)}
            adjustments = [rows.adjustment_from(row) for row in rows.fetch(reader.connection, "adjustments")]
            evidence = _Evidence(reader, reader.meta(), orders, reader.fills(newest_first=False), adjustments)
            for name, check in _CHECKS.items():
                counts[name], found = check(name, evidence)
                differences.extend(found)
        if state is not None:
            count, found = _shared_memory(reader, state)
            if count:
                counts["shared_memory"] = count
            differences.extend(found)
    return AuditReport(counts, tuple(differences))


#: symbol, order that opened, order that closed; entered quantity, flow, fees, result
_Trip = tuple[tuple[str, int, int], tuple[str, str, str, str]]

Result = tuple[int, list[Difference]]


def _seals(name: str, evidence: _Evidence) -> Result:
    connection, layout = evidence.reader.connection, evidence.reader.layout
    found = [
        Difference(name, f"{table} {key}", "as it was written", "changed since")
        for table in layout.sealed()
        for key in seals.broken_rows(connection, table, layout.columns(table))
    ]
    found += [
        Difference(name, f"decisions {block}", "as they were written", "changed since")
        for block in seals.broken_decision_blocks(connection, layout.columns("decisions"))
    ]
    counted = seals.count_problems(connection, layout.columns("cursor"))
    found += [Difference(name, "rows", "as many as were written", text) for text in counted]
    return len(layout.sealed()) + 1, found


def _order_states(name: str, evidence: _Evidence) -> Result:
    """Check that each order's recorded events lead by legal steps to the state that it is said to be in."""
    events: dict[int, list[Any]] = defaultdict(list)
    for step in evidence.reader.order_steps():
        events[step.order_id].append(step)
    found = []
    for order in evidence.orders.values():
        state = OrderState.INTENDED
        for step in events[order.order_id]:
            try:
                state = advance(state, step.event)
            except IllegalTransition:
                found.append(Difference(name, f"order {order.order_id}", f"a legal step from {state}", step.event))
                break
            if state is not step.state:
                found.append(Difference(name, f"order {order.order_id} after {step.event}", state, step.state))
        else:
            if state is not order.state:
                found.append(Difference(name, f"order {order.order_id}", state, order.state))
    return len(evidence.orders), found


def _order_quantities(name: str, evidence: _Evidence) -> Result:
    """Check that fills add up to what each order says is filled, which is all of it exactly when it is FILLED."""
    fills, found = evidence.by_order(), []
    for order in evidence.orders.values():
        total, subject = _sum(fill.quantity for fill in fills[order.order_id]), f"order {order.order_id}"
        if total != order.filled_quantity:
            found.append(Difference(name, subject, f"{plain(total)} filled", plain(order.filled_quantity)))
        if order.filled_quantity > order.quantity:
            found.append(Difference(name, subject, f"at most {plain(order.quantity)}", plain(order.filled_quantity)))
        if (order.filled_quantity == order.quantity) != (order.state is OrderState.FILLED):
            found.append(Difference(name, subject, "filled when all of it is filled", order.state))
    return len(evidence.orders), found


def _fill_orders(name: str, evidence: _Evidence) -> Result:
    """Check that each fill belongs to an order of its symbol and side."""
    found = []
    for fill in evidence.fills:
        order = evidence.orders.get(fill.order_id)
        if order is None:
            found.append(Difference(name, f"trade {fill.trade_id}", f"order {fill.order_id}", "no such order"))
        elif (order.symbol, order.side) != (fill.symbol, fill.side):
            expected, seen = f"{order.side.name} {order.symbol}", f"{fill.side.name} {fill.symbol}"
            found.append(Difference(name, f"trade {fill.trade_id}", expected, seen))
    return len(evidence.fills), found


def _entry_decisions(name: str, evidence: _Evidence) -> Result:
    """Check that each order that opens risk follows from a recorded decision that names it."""
    entries = [order for order in evidence.orders.values() if not order.reduce_only]
    found = []
    for order in entries:
        decision = evidence.reader.decision(order.decision_id)
        subject = f"order {order.order_id}"
        if decision is None:
            found.append(Difference(name, subject, "a decision", f"none with id {order.decision_id}"))
        elif decision.order_id != order.order_id or decision.symbol != order.symbol:
            seen = f"order {decision.order_id} {decision.symbol}"
            found.append(Difference(name, subject, f"decision {order.decision_id} to name it", seen))
    return len(entries), found


def _cash(name: str, evidence: _Evidence) -> Result:
    """Check that each balance is what it began with, moved by fills, fees and adjustments, to the last digit."""
    expected = _moved({evidence.meta["quote"]: Decimal(evidence.meta["initial_capital"])}, evidence.fills)
    for item in evidence.adjustments:
        expected[item.currency] = EXACT.add(expected.get(item.currency, _ZERO), item.amount)
    return _compare_amounts(name, expected, evidence.reader.balances())


def _venue_balances(name: str, evidence: _Evidence) -> Result:
    """Check that the paper venue holds what the ledger says."""
    if evidence.meta["mode"] != "paper":
        return 0, []
    return _compare_amounts(name, evidence.reader.balances(), evidence.reader.paper_balances())


def _positions(name: str, evidence: _Evidence) -> Result:
    """Check that each open position is the sum of its symbol's fills, in the books and in the kernels' floats."""
    expected = {symbol: _walk(symbol, evidence)[0] for symbol in {fill.symbol for fill in evidence.fills}}
    holdings = {holding.symbol: holding for holding in evidence.reader.holdings()}
    slots, found = evidence.reader.slots(), []
    for symbol in sorted(expected.keys() | holdings.keys()):
        held = holdings[symbol].quantity if symbol in holdings else _ZERO
        wanted = expected.get(symbol, _ZERO)
        if held != wanted:
            found.append(Difference(name, symbol, plain(wanted), plain(held)))
    for symbol, slot in slots.items():
        exact, floating = float(expected.get(symbol, _ZERO)), float(slot["quantity"])
        if not _close(exact, floating):
            found.append(Difference(name, f"{symbol} in the state", repr(exact), repr(floating)))
        if symbol in holdings and int(slot["position_id"]) != holdings[symbol].position_id:
            number = str(holdings[symbol].position_id)
            found.append(Difference(name, f"{symbol} in the state", f"position {number}", str(slot["position_id"])))
    return len(expected), found


def _round_trips(name: str, evidence: _Evidence) -> Result:
    """Check that the round trips are those that walking through the fills finds, with the same exact results."""
    expected = {
        trip[0]: trip for symbol in {fill.symbol for fill in evidence.fills} for trip in _walk(symbol, evidence)[1]
    }
    found, seen = [], {}
    for trip in evidence.reader.round_trips(newest_first=False):
        key = (trip.symbol, trip.entry_order_id, trip.exit_order_id)
        seen[key] = (plain(trip.quantity), plain(trip.gross_pnl), plain(trip.fees), plain(trip.pnl))
    for key in sorted(expected.keys() | seen.keys()):
        wanted = expected[key][1] if key in expected else None
        if wanted != seen.get(key):
            found.append(Difference(name, f"{key[0]} orders {key[1]} to {key[2]}", str(wanted), str(seen.get(key))))
    return len(seen), found


def _walk(symbol: str, evidence: _Evidence) -> tuple[Decimal, list[_Trip]]:
    """Return what one symbol's fills leave open and the round trips in them, by this module's own arithmetic."""
    trips = []
    held = entered = flow = fees = _ZERO
    entry_order = 0
    gone = [item for item in evidence.adjustments if item.symbol == symbol and item.position_change]
    for number, fill in enumerate(evidence.fills, 1):
        if fill.symbol != symbol:
            continue
        change, fee = _taken(fill, evidence.orders.get(fill.order_id), held), _fee(fill)
        if not change:
            continue
        parts = [(change, fee)]
        after = EXACT.add(held, change)
        if held and after and (held > 0) != (after > 0):
            share = (fee * (held / change).copy_abs()).quantize(Decimal("1e-12"))
            parts = [(held.copy_negate(), share), (after, EXACT.subtract(fee, share))]
        for quantity, part_fee in parts:
            if not held:
                entered = flow = fees = _ZERO
                entry_order = fill.order_id
            if not held or (held > 0) == (quantity > 0):
                entered = EXACT.add(entered, quantity.copy_abs())
            held = EXACT.add(held, quantity)
            flow = EXACT.subtract(flow, EXACT.multiply(quantity, fill.price))
            fees = EXACT.add(fees, part_fee)
            if not held:
                amounts = (plain(entered), plain(flow), plain(fees), plain(EXACT.subtract(flow, fees)))
                trips.append(((symbol, entry_order, fill.order_id), amounts))
        # what went without being sold went after this fill and before the symbol's next one
        following = next((n for n, f in enumerate(evidence.fills[number:], number + 1) if f.symbol == symbol), math.inf)
        for item in gone:
            if number <= item.fills < following and held:
                held = EXACT.add(held, item.position_change)
                if not held:
                    amounts = (plain(entered), plain(flow), plain(fees), plain(EXACT.subtract(flow, fees)))
                    trips.append(((symbol, entry_order, fill.order_id), amounts))
    return held, trips


def _account(name: str, evidence: _Evidence) -> Result:
    """Check that the account's floats are what exact amounts and marks give."""
    account = evidence.reader.account()
    if account is None:
        return 0, []
    quote = evidence.meta["quote"]
    slots = evidence.reader.slots()
    cash = float(evidence.reader.balances().get(quote, _ZERO))
    equity = cash + math.fsum(_worth(slot) for slot in slots.values())
    trips = evidence.reader.round_trips()
    live = [order for order in evidence.orders.values() if order.state not in TERMINAL]
    # at a venue, stops rest beside the one order of a slot, and entries that are taken back live on for a while
    in_slots = sum(int(slot["pending_lots"]) != 0 for slot in slots.values())
    expected = {
        "cash": cash,
        "equity": equity,
        "gross_exposure": math.fsum(abs(_worth(slot)) for slot in slots.values()),
        "fees_paid": float(_sum(_fee(fill) for fill in evidence.fills)),
        "initial_capital": float(Decimal(evidence.meta["initial_capital"])),
        "round_trips": len(trips),
        "wins": sum(trip.pnl > 0 for trip in trips),
        "open_positions": len(evidence.reader.holdings()),
        "pending_orders": len(live) if evidence.meta["mode"] == "paper" else in_slots,
        "event_ns": evidence.reader.cursor_ns(),
    }
    scale = abs(equity)
    found = [
        Difference(name, field, repr(value), repr(account[field].item()))
        for field, value in expected.items()
        if not _close(float(value), float(account[field]), scale if isinstance(value, float) else 0.0)
    ]
    return len(expected), found


def _unexplained(name: str, evidence: _Evidence) -> Result:
    """Check that nothing which differed from the venue waits for the owner."""
    waiting = [item for item in evidence.adjustments if not item.accepted]
    found = [
        Difference(
            name, f"adjustment {item.adjustment_id}", f"{plain(item.expected)} {item.currency}", plain(item.found)
        )
        for item in waiting
    ]
    return len(evidence.adjustments), found


_CHECKS: dict[str, Callable[[str, _Evidence], Result]] = {
    "seals": _seals,
    "order_states": _order_states,
    "order_quantities": _order_quantities,
    "fill_orders": _fill_orders,
    "entry_decisions": _entry_decisions,
    "cash": _cash,
    "positions": _positions,
    "round_trips": _round_trips,
    "venue_balances": _venue_balances,
    "unexplained": _unexplained,
    "account": _account,
}


def _shared_memory(reader: LedgerReader, state: SharedState) -> Result:
    """Check that shared memory shows what the ledger says; both are read until they are of the same moment."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            before = _moment(reader)
            book = state.book()
            account, slots = _moment(reader)
        except (StateError, NotRunning):
            return 0, []
        count, found = _compare_book(account, slots, book)
        quiet = account is not None and before[0] is not None and before[0].tobytes() == account.tobytes()
        if not found or (quiet and time.monotonic() > deadline) or time.monotonic() > 2 * _PATIENCE_S + deadline:
            return count, found
        time.sleep(0.02)


def _moment(reader: LedgerReader) -> tuple[Any, dict[str, Any]]:
    with reader.snapshot():
        return reader.account(), reader.slots()


def _compare_book(account: Any, slots: Mapping[str, Any], book: SharedBook) -> Result:
    name = "shared_memory"
    found: list[Difference] = []
    if account is None:
        return 0, found
    scale = abs(float(account["equity"]))
    for field in schema.ACCOUNT_FIELDS:
        floating = field in _ACCOUNT_FLOATS
        if not _close(float(account[field]), float(book.account[field]), scale if floating else 0.0):
            found.append(Difference(name, field, repr(account[field].item()), repr(book.account[field].item())))
    for symbol, shown in zip(book.symbols, book.slots, strict=True):
        if symbol not in slots:
            continue
        for field in _SLOT_SHARED:
            if not _close(float(slots[symbol][field]), float(shown[field])):
                wanted, seen = repr(slots[symbol][field].item()), repr(shown[field].item())
                found.append(Difference(name, f"{symbol} {field}", wanted, seen))
    return len(schema.ACCOUNT_FIELDS) + len(book.symbols) * len(_SLOT_SHARED), found


def _moved(balances: Mapping[str, Decimal], fills: Sequence[Fill]) -> dict[str, Decimal]:
    moved = defaultdict(Decimal, balances)
    for fill in fills:
        base, _, rest = fill.symbol.partition("/")
        quote = rest.partition(":")[0]
        sign = Decimal(1 if fill.side is Side.BUY else -1)
        moved[base] = EXACT.add(moved[base], EXACT.multiply(sign, fill.quantity))
        cost = EXACT.multiply(EXACT.multiply(sign, fill.quantity), fill.price)
        moved[quote] = EXACT.subtract(moved[quote], cost)
        moved[fill.fee_currency] = EXACT.subtract(moved[fill.fee_currency], fill.fee)
    return dict(moved)


def _compare_amounts(name: str, expected: Mapping[str, Decimal], found: Mapping[str, Decimal]) -> Result:
    currencies = sorted(expected.keys() | found.keys())
    return len(currencies), [
        Difference(name, currency, plain(expected.get(currency, _ZERO)), plain(found.get(currency, _ZERO)))
        for currency in currencies
        if expected.get(currency, _ZERO) != found.get(currency, _ZERO)
    ]


def _taken(fill: Fill, order: Order | None, held: Decimal) -> Decimal:
    """Return what a fill does to a position; an exit takes no more from it than there is."""
    change = _held_change(fill)
    if order is None or not order.reduce_only:
        return change
    if held == 0 or (held > 0) == (change > 0):
        return _ZERO
    return held.copy_negate() if abs(change) > abs(held) else change


def _held_change(fill: Fill) -> Decimal:
    signed = fill.quantity if fill.side is Side.BUY else fill.quantity.copy_negate()
    return EXACT.subtract(signed, fill.fee) if fill.fee_currency == fill.symbol.partition("/")[0] else signed


def _fee(fill: Fill) -> Decimal:
    base, _, rest = fill.symbol.partition("/")
    if fill.fee_currency == rest.partition(":")[0]:
        return fill.fee
    return EXACT.multiply(fill.fee, fill.price) if fill.fee_currency == base else _ZERO


def _worth(slot: Any) -> float:
    quantity = float(slot["quantity"])
    return quantity * float(slot["mark_price"]) if quantity else 0.0


def _close(expected: float, found: float, scale: float = 0.0) -> bool:
    if math.isnan(expected) or math.isnan(found):
        return math.isnan(expected) and math.isnan(found)
    return math.isclose(expected, found, rel_tol=_RELATIVE, abs_tol=_RELATIVE * scale)


def _sum(amounts: Any) -> Decimal:
    total = _ZERO
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total
