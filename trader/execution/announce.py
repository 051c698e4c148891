"""Announcements: what was sent and executed, told to the logs once the ledger has it on disk."""

from __future__ import annotations

import logging
from typing import Any

from trader.clock import format_utc
from trader.codes import HALT_TEXT, Halt, halt_names
from trader.domain.fill import Fill
from trader.domain.order import Order, OrderState
from trader.domain.round_trip import RoundTrip
from trader.logs.events import Event, log_event, log_trade_event
from trader.units import plain

log = logging.getLogger(__name__)


def announce_halt(halt: Halt, time_ns: int, *, active: bool) -> None:
    """Log that a loss limit halted entries, or that they go on."""
    message = HALT_TEXT[halt] if active else f"entries resume: {halt_names(halt)[0]} is over"
    level, event = (logging.WARNING, Event.HALTED) if active else (logging.INFO, Event.RESUMED)
    log_event(log, level, event, message, halt=halt_names(halt)[0], market_time=format_utc(time_ns))


def announce_order(order: Order) -> None:
    """Log that an order was sent, or what became of it without a fill."""
    kind = {OrderState.REJECTED: Event.ORDER_REJECTED, OrderState.CANCELED: Event.ORDER_CANCELED}.get(
        order.state, Event.ORDER_SENT
    )
    log_trade_event(kind, order.symbol, _side(order), quantity=plain(order.quantity), **_facts(order, order.updated_ns))


def announce_fill(order: Order, fill: Fill, trip: RoundTrip | None, *, opened: bool) -> None:
    """Log an execution, and the position that it opened or closed."""
    facts = {**_facts(order, fill.time_ns), "fee": plain(fill.fee), "reason": fill.reason.name.lower()}
    amounts: dict[str, Any] = {"price": plain(fill.price), "quantity": plain(fill.quantity)}
    log_trade_event(Event.ORDER_FILLED, fill.symbol, _side(order), **amounts, **facts)
    if opened:
        log_trade_event(Event.POSITION_OPENED, fill.symbol, "open", **amounts, **facts)
    if trip is not None:
        log_trade_event(
            Event.POSITION_CLOSED,
            trip.symbol,
            "close",
            price=plain(trip.exit_price),
            quantity=plain(trip.quantity),
            pnl=plain(trip.pnl),
            fees=plain(trip.fees),
            reason=trip.exit_reason.name.lower(),
            position_id=trip.position_id,
            strategy=trip.strategy,
            market_time=format_utc(trip.exit_ns),
        )


def _side(order: Order) -> str:
    return order.side.name.lower()


def _facts(order: Order, time_ns: int) -> dict[str, Any]:
    return {
        "order_id": order.order_id,
        "client_order_id": order.client_order_id,
        "strategy": order.strategy or None,
        "reason": order.reason.name.lower(),
        "decision_id": order.decision_id or None,
        "market_time": format_utc(time_ns),
        "note": order.note or None,
    }
