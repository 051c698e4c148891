"""Rows: how each value of the domain stands in the ledger, and how it is read back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from trader.codes import Reason, Side
from trader.core.rulebook import gauge_rows, restore_gauges, rules_of, write_rules
from trader.domain.adjustment import Adjustment, AdjustmentKind
from trader.domain.decision import Decision
from trader.domain.fill import Fill
from trader.domain.invalidation import join, split
from trader.domain.order import Order, OrderKind, OrderState
from trader.domain.round_trip import RoundTrip
from trader.ledger.books import Holding
from trader.ledger.schema import ACCOUNT_FIELDS, SEALED, SLOT_FIELDS, SLOT_FIELDS_COMPUTED
from trader.units import plain

Records = npt.NDArray[np.void]
NAN = float("nan")


def select(table: str, rest: str = "") -> str:
    """Return a query of a sealed table's columns in their order."""
    return f"SELECT {', '.join(SEALED[table])} FROM {table} {rest}"  # noqa: S608 - names are our own


def order_row(order: Order) -> tuple[Any, ...]:
    """Return an order as a row of `orders`."""
    return (
        order.order_id,
        order.client_order_id,
        order.symbol,
        int(order.side),
        order.kind.value,
        plain(order.quantity),
        plain(order.filled_quantity),
        order.state.value,
        int(order.reason),
        order.strategy,
        int(order.reduce_only),
        order.decision_id,
        order.created_ns,
        order.updated_ns,
        float(order.stop_price),
        float(order.target_price),
        join(order.invalidations),
        order.venue_order_id,
        order.note,
    )


def order_from(row: Sequence[Any]) -> Order:
    """Return the order that a row of `orders` holds."""
    return Order(
        order_id=row[0],
        client_order_id=row[1],
        symbol=row[2],
        side=Side(row[3]),
        kind=OrderKind(row[4]),
        quantity=Decimal(row[5]),
        filled_quantity=Decimal(row[6]),
        state=OrderState(row[7]),
        reason=Reason(row[8]),
        strategy=row[9],
        reduce_only=bool(row[10]),
        decision_id=row[11],
        created_ns=row[12],
        updated_ns=row[13],
        stop_price=nan_if_none(row[14]),
        target_price=nan_if_none(row[15]),
        invalidations=split(row[16]),
        venue_order_id=row[17],
        note=row[18],
    )


def fill_row(fill_id: int, fill: Fill) -> tuple[Any, ...]:
    """Return a fill as a row of `fills`."""
    return (
        fill_id,
        fill.trade_id,
        fill.order_id,
        fill.symbol,
        int(fill.side),
        plain(fill.price),
        plain(fill.quantity),
        plain(fill.fee),
        fill.fee_currency,
        fill.time_ns,
        int(fill.reason),
    )


def fill_from(row: Sequence[Any]) -> Fill:
    """Return the fill that a row of `fills` holds."""
    return Fill(
        trade_id=row[1],
        order_id=row[2],
        symbol=row[3],
        side=Side(row[4]),
        price=Decimal(row[5]),
        quantity=Decimal(row[6]),
        fee=Decimal(row[7]),
        fee_currency=row[8],
        time_ns=row[9],
        reason=Reason(row[10]),
    )


def holding_row(holding: Holding) -> tuple[Any, ...]:
    """Return an open position as a row of `positions`."""
    return (
        holding.symbol,
        holding.position_id,
        holding.entry_order_id,
        plain(holding.quantity),
        plain(holding.flow),
        plain(holding.fees),
        plain(holding.entered_quantity),
        plain(holding.entered_notional),
        plain(holding.exited_notional),
        holding.entry_ns,
        holding.strategy,
        int(holding.reason),
        holding.decision_id,
    )


def holding_from(row: Sequence[Any]) -> Holding:
    """Return the open position that a row of `positions` holds."""
    return Holding(
        symbol=row[0],
        position_id=row[1],
        entry_order_id=row[2],
        quantity=Decimal(row[3]),
        flow=Decimal(row[4]),
        fees=Decimal(row[5]),
        entered_quantity=Decimal(row[6]),
        entered_notional=Decimal(row[7]),
        exited_notional=Decimal(row[8]),
        entry_ns=row[9],
        strategy=row[10],
        reason=Reason(row[11]),
        decision_id=row[12],
    )


def round_trip_row(trip: RoundTrip) -> tuple[Any, ...]:
    """Return a round trip as a row of `round_trips`."""
    return (
        trip.position_id,
        trip.symbol,
        int(trip.side),
        plain(trip.quantity),
        plain(trip.entry_price),
        plain(trip.exit_price),
        trip.entry_ns,
        trip.exit_ns,
        plain(trip.gross_pnl),
        plain(trip.fees),
        plain(trip.pnl),
        trip.strategy,
        int(trip.entry_reason),
        int(trip.exit_reason),
        trip.decision_id,
        trip.entry_order_id,
        trip.exit_order_id,
        trip.exit_note,
    )


def round_trip_from(row: Sequence[Any]) -> RoundTrip:
    """Return the round trip that a row of `round_trips` holds."""
    return RoundTrip(
        position_id=row[0],
        symbol=row[1],
        side=Side(row[2]),
        quantity=Decimal(row[3]),
        entry_price=Decimal(row[4]),
        exit_price=Decimal(row[5]),
        entry_ns=row[6],
        exit_ns=row[7],
        gross_pnl=Decimal(row[8]),
        fees=Decimal(row[9]),
        pnl=Decimal(row[10]),
        strategy=row[11],
        entry_reason=Reason(row[12]),
        exit_reason=Reason(row[13]),
        decision_id=row[14],
        entry_order_id=row[15],
        exit_order_id=row[16],
        exit_note=row[17],
    )


def adjustment_row(adjustment: Adjustment) -> tuple[Any, ...]:
    """Return an adjustment as a row of `adjustments`."""
    return (
        adjustment.adjustment_id,
        adjustment.time_ns,
        adjustment.kind.value,
        adjustment.currency,
        plain(adjustment.amount),
        adjustment.symbol,
        plain(adjustment.position_change),
        adjustment.fills,
        plain(adjustment.expected),
        plain(adjustment.found),
        adjustment.note,
        int(adjustment.accepted),
    )


def adjustment_from(row: Sequence[Any]) -> Adjustment:
    """Return the adjustment that a row of `adjustments` holds."""
    return Adjustment(
        adjustment_id=row[0],
        time_ns=row[1],
        kind=AdjustmentKind(row[2]),
        currency=row[3],
        amount=Decimal(row[4]),
        symbol=row[5],
        position_change=Decimal(row[6]),
        fills=row[7],
        expected=Decimal(row[8]),
        found=Decimal(row[9]),
        note=row[10],
        accepted=bool(row[11]),
    )


def decision_from(row: Sequence[Any], names: dict[int, str]) -> Decision:
    """Return the decision that a row of `decisions` holds."""
    return Decision(
        decision_id=row[0],
        cycle=row[1],
        time_ns=row[2],
        strategy=names[row[3]],
        symbol=names[row[4]],
        candle_ns=row[5],
        price=nan_if_none(row[6]),
        direction=row[7],
        confidence=nan_if_none(row[8]),
        value=nan_if_none(row[9]),
        decided=row[10],
        mask=row[11],
        order_id=row[12],
        detail=row[13] or "",
        note=row[14] or "",
    )


def account_row(account: Records) -> tuple[Any, ...]:
    """Return the account (shape (1,), dtype ACCOUNT) as a row of `account`."""
    record = account[0]
    return (1, *(record[field].item() for field in ACCOUNT_FIELDS))


def fill_account(account: Records, row: Sequence[Any]) -> None:
    """Write a row of `account` into the record it came from, bit by bit."""
    for field, value in zip(ACCOUNT_FIELDS, row[1:], strict=True):
        account[field] = nan_if_none(value)


def slot_row(slot: np.void, symbol: str, strategy_names: Sequence[str]) -> tuple[Any, ...]:
    """Return one slot as a row of `slots`."""
    names = (_name(slot["strategy"], strategy_names), _name(slot["pending_strategy"], strategy_names))
    plan = (join(rules_of(slot)), json.dumps(gauge_rows(slot), separators=(",", ":")) if slot["gauges"] else "")
    return (symbol, *names, *plan, *(slot[field].item() for field in SLOT_FIELDS))


def fill_slot(slots: Records, index: int, row: Sequence[Any], strategy_names: Sequence[str]) -> None:
    """Write a row of `slots` into its record; a strategy that is gone leaves -1 and the exit plan stays."""
    slots["strategy"][index] = _index(row[1], strategy_names)
    slots["pending_strategy"][index] = _index(row[2], strategy_names)
    write_rules(slots[index], split(row[3]))
    restore_gauges(slots[index], json.loads(row[4]) if row[4] else ())
    for field in SLOT_FIELDS_COMPUTED:
        slots[field][index] = NAN
    for field, value in zip(SLOT_FIELDS, row[5:], strict=True):
        slots[field][index] = nan_if_none(value)


def nan_if_none(value: Any) -> Any:
    """Return NaN for NULL, which is how SQLite keeps a NaN."""
    return NAN if value is None else value


def fetch(connection: sqlite3.Connection, table: str, rest: str = "", values: Sequence[Any] = ()) -> list[Any]:
    """Return rows of a sealed table."""
    return connection.execute(select(table, rest), values).fetchall()


def _name(index: int, names: Sequence[str]) -> str | None:
    return names[index] if 0 <= index < len(names) else None


def _index(name: str | None, names: Sequence[str]) -> int:
    return names.index(name) if name is not None and name in names else -1
