"""What the service and the ledger hold, as plain documents: the same for --json and for the tables."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from trader.clock import NS_PER_S, boottime_ns, format_utc
from trader.codes import Breaker, Decided, Direction, Role, ServiceState, Side, WorkerState, halt_names, limit_names
from trader.errors import StateError

if TYPE_CHECKING:
    import numpy as np

    from trader.domain.decision import Decision
    from trader.domain.order import Order
    from trader.ledger.reader import LedgerReader, Position
    from trader.state.reader import StateReader

Document = dict[str, Any]

#: of the record VENUE, with real orders
_VENUE_COUNTS = ("differences", "blocked", "orders_open", "orders_unknown", "stops_standing", "stops_missing")
_ACCOUNT_FIELDS = (
    "equity",
    "cash",
    "initial_capital",
    "gross_exposure",
    "unrealised_pnl",
    "realised_pnl",
    "fees_paid",
    "peak_equity",
    "drawdown_frac",
    "max_drawdown_frac",
    "day_start_equity",
    "day_trades",
    "open_positions",
    "pending_orders",
    "round_trips",
    "wins",
    "losses",
    "loss_streak",
    "cycles",
    "decisions",
)


def moment(time_ns: int) -> str | None:
    """Return a time in UTC, or None for 0: never."""
    return format_utc(int(time_ns)) if time_ns else None


def status(reader: StateReader) -> Document:
    """Return what the running service says of itself.

    Raises
    ------
    NotRunning
        When none runs.
    """
    now_ns = boottime_ns()
    service = reader.service()
    meta = reader.meta(Role.SUPERVISOR)
    return {
        "running": True,
        "state": ServiceState(int(service["state"])).name.lower(),
        "mode": "live" if service["live"] else "paper",
        "instance": meta.get("instance"),
        "quote": meta.get("quote"),
        "pid": int(service["pid"]),
        "run_id": reader.run_id,
        "started": moment(service["started_ns"]),
        "uptime_s": _age_s(now_ns, service["started_boot_ns"]),
        "config_epoch": int(service["config_epoch"]),
        "reloads": int(service["reloads"]),
        "reloads_rejected": int(service["reload_rejected"]),
        "lease_s": _left_s(now_ns, reader.lease_until_ns()),
        "clear_s": _clear_s(now_ns, reader),
        "account": _account_or_none(reader),
        "limits": _limits_or_none(reader),
        "strategies": _strategies(reader),
        "venue": _venue(reader, now_ns),
        "workers": [_worker(reader, row, now_ns) for row in reader.workers() if row["role"] != Role.SUPERVISOR],
    }


def _venue(reader: StateReader, now_ns: int) -> Document | None:
    """Return what the engine says of its exchange; None without one, or before it has said anything."""
    try:
        record = reader.venue()
    except StateError:
        return None
    if not record["exchange"]:
        return None
    found: Document = {
        "connected": bool(record["feed_connected"]),
        "maintenance": bool(record["maintenance"]),
        "breaker": Breaker(int(record["breaker"])).name.lower(),
        "clock_skew_s": float(record["clock_skew_ns"]) / 1e9,
        "errors_in_window": int(record["errors_in_window"]),
    }
    if record["live"]:
        found |= {name: int(record[name]) for name in _VENUE_COUNTS}
        found["compared_s"] = _age_s(now_ns, record["reconciled_ns"]) if record["reconciled_ns"] else None
        found["naked_s"] = float(record["naked_ns"]) / 1e9
        found["naked_longest_s"] = float(record["naked_longest_ns"]) / 1e9
    return found


def account(record: np.void) -> Document:
    """Return an account, shared or from the ledger."""
    found: Document = {name: _number(record[name]) for name in _ACCOUNT_FIELDS}
    initial, equity = found["initial_capital"], found["equity"]
    profit = equity - initial if initial is not None and equity is not None else None
    found["total_pnl"] = profit
    found["total_pnl_frac"] = profit / initial if profit is not None and initial else None
    day_start = found["day_start_equity"]
    found["day_pnl"] = equity - day_start if equity is not None and day_start is not None else None
    found["halts"] = halt_names(int(record["halt_mask"]))
    found["market_time"] = moment(record["event_ns"])
    return found


def positions(held: Iterable[Position], slots: Mapping[str, np.void]) -> list[Document]:
    """Return open positions with their exit plans.

    Parameters
    ----------
    held : iterable of Position
        From the ledger, exact.
    slots : mapping of str to record
        The running service's newer prices and levels, by symbol (dtype SLOT); empty when none runs.
    """
    return [_position(position, slots.get(position.symbol)) for position in held]


def _position(position: Position, slot: np.void | None) -> Document:
    holding = position.holding
    source: Any = slot if slot is not None and slot["quantity"] != 0 else _levels(position)
    mark = float(source["mark_price"])
    quantity = holding.quantity
    return {
        "symbol": position.symbol,
        "side": "long" if quantity > 0 else "short",
        "quantity": abs(quantity),
        "entry_price": holding.entry_price,
        "entry_time": moment(holding.entry_ns),
        "mark_price": _number(mark),
        "notional": _number(abs(float(quantity)) * mark),
        "unrealised_pnl": _number(float(quantity) * (mark - float(holding.entry_price))),
        "fees": holding.fees,
        "stop_price": _number(source["stop_price"]),
        "target_price": _number(source["target_price"]),
        "trailing_stop_frac": _number(source["trailing_stop_frac"]),
        "expires": moment(source["expires_ns"]),
        "invalidations": [str(rule) for rule in position.invalidations],
        "strategy": holding.strategy,
        "position_id": holding.position_id,
        "decision_id": holding.decision_id,
    }


def _levels(position: Position) -> Document:
    names = ("mark_price", "stop_price", "target_price", "trailing_stop_frac", "expires_ns")
    return {name: getattr(position, name) for name in names}


def orders(found: Iterable[Order], reader: LedgerReader) -> list[Document]:
    """Return orders, each with the average price of its fills."""
    listed = list(found)
    prices = _average_prices([order.order_id for order in listed], reader)
    return [_order(order, prices.get(order.order_id)) for order in listed]


def _average_prices(order_ids: list[int], reader: LedgerReader) -> dict[int, Decimal]:
    if not order_ids:
        return {}
    statement = "SELECT order_id, price, quantity FROM fills WHERE order_id BETWEEN ? AND ?"
    sums: dict[int, tuple[Decimal, Decimal]] = {}
    for order_id, price, quantity in reader.query(statement, (min(order_ids), max(order_ids))):
        notional, total = sums.get(order_id, (Decimal(0), Decimal(0)))
        sums[order_id] = notional + Decimal(price) * Decimal(quantity), total + Decimal(quantity)
    return {order_id: notional / total for order_id, (notional, total) in sums.items() if total}


def _order(order: Order, price: Decimal | None) -> Document:
    return {
        "order_id": order.order_id,
        "client_order_id": order.client_order_id,
        "venue_order_id": order.venue_order_id,
        "symbol": order.symbol,
        "side": Side(order.side),
        "kind": order.kind.value,
        "state": order.state.value,
        "quantity": order.quantity,
        "filled_quantity": order.filled_quantity,
        "average_price": price,
        "reason": order.reason,
        "strategy": order.strategy,
        "reduce_only": order.reduce_only,
        "stop_price": order.stop_price,
        "target_price": order.target_price,
        "invalidations": [str(rule) for rule in order.invalidations],
        "created": moment(order.created_ns),
        "updated": moment(order.updated_ns),
        "decision_id": order.decision_id,
        "note": order.note,
    }


def decisions(found: Iterable[Decision]) -> list[Document]:
    """Return decisions with every code in words, and each broken limit with both numbers."""
    return [_decision(decision) for decision in found]


def _decision(decision: Decision) -> Document:
    broken = _broken(decision.detail)
    words = "; ".join(f"{item['limit']} {_short(item['observed'])} against {_short(item['bound'])}" for item in broken)
    return {
        "decision_id": decision.decision_id,
        "cycle": decision.cycle,
        "time": moment(decision.time_ns),
        "strategy": decision.strategy,
        "symbol": decision.symbol or None,
        "candle_time": moment(decision.candle_ns),
        "price": _number(decision.price),
        "direction": Direction(decision.direction),
        "confidence": _number(decision.confidence),
        "value": _number(decision.value),
        "decided": Decided(decision.decided),
        "limits": limit_names(decision.mask),
        "broken": broken,
        "order_id": decision.order_id or None,
        "detail": words or decision.detail,
        "note": decision.note,
    }


def _broken(detail: str) -> list[Document]:
    # a refusal's detail is {limit: [observed, bound]}; any other is prose
    if not detail.startswith("{"):
        return []
    try:
        pairs = json.loads(detail)
        return [{"limit": name, "observed": seen, "bound": bound} for name, (seen, bound) in pairs.items()]
    except (ValueError, TypeError, AttributeError):
        return []


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _limits_or_none(reader: StateReader) -> Document | None:
    """Return the limits in force; None while there is no engine."""
    try:
        record = reader.limits()
    except StateError:
        return None
    from trader.core.rulebook import rules_of

    names = (name for name in record.dtype.names or () if name != "rules" and not name.startswith("rule_"))
    return {name: _number(record[name].item()) for name in names} | {"invalidations": list(map(str, rules_of(record)))}


def _strategies(reader: StateReader) -> list[Document]:
    """Return how the strategies are doing; nothing while there is no engine."""
    try:
        rows = reader.strategies()
    except StateError:
        return []
    return [
        {
            "name": bytes(row["name"]).decode("utf-8", "replace"),
            "asked": int(row["asked"]),
            "failures": int(row["failures"]),
            "failures_in_row": int(row["failures_in_row"]),
            "disabled": bool(row["disabled"]),
            "last_failure": moment(row["failed_ns"]),
        }
        for row in rows
    ]


def _account_or_none(reader: StateReader) -> Document | None:
    try:
        book = reader.book()
    except StateError:
        return None  # the engine is starting, or being replaced
    return account(book.account) | {"symbols": list(book.symbols)}


def _clear_s(now_ns: int, reader: StateReader) -> float:
    try:
        return _left_s(now_ns, reader.clear_until_ns())
    except StateError:
        return 0.0


def _worker(reader: StateReader, row: np.void, now_ns: int) -> Document:
    role = Role(int(row["role"]))
    found: Document = {
        "role": role.name.lower(),
        "state": WorkerState(int(row["state"])).name.lower(),
        "pid": int(row["pid"]) or None,
        "generation": int(row["generation"]),
        "restarts": int(row["restarts"]),
        "exit_code": int(row["exit_code"]),
        "uptime_s": _age_s(now_ns, row["started_ns"]),
    }
    try:
        beat = reader.beat(role)
    except StateError:
        return found | dict.fromkeys(("beat_age_s", "loop_lag_s", "memory_bytes", "config_epoch", "log_dropped"))
    return found | {
        "beat_age_s": _age_s(now_ns, beat["beat_ns"]),
        "loop_lag_s": int(beat["loop_lag_ns"]) / NS_PER_S,
        "memory_bytes": int(beat["rss_bytes"]),
        "config_epoch": int(beat["config_epoch"]),
        "log_dropped": int(beat["log_dropped"]),
    }


def _age_s(now_ns: int, then_ns: int) -> float | None:
    return round((now_ns - int(then_ns)) / NS_PER_S, 3) if then_ns else None


def _left_s(now_ns: int, until_ns: int) -> float:
    return round(max(0, until_ns - now_ns) / NS_PER_S, 3)


def _number(value: Any) -> Any:
    number = value.item() if hasattr(value, "item") else value
    return None if isinstance(number, float) and not math.isfinite(number) else number
