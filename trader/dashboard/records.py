"""Decisions, orders and round trips of the ledger as plain values for JSON."""

from __future__ import annotations

import json
import math
from typing import Any

from trader.clock import NS_PER_S, format_utc
from trader.codes import LIMIT_TEXT, Decided, Direction, Reason, Side, limit_names
from trader.domain.decision import Decision
from trader.domain.order import Order
from trader.domain.round_trip import RoundTrip
from trader.units import plain

Document = dict[str, Any]

_NS_PER_MS = 1_000_000

#: what is said of a decision that brings no text of its own
_WHY = {
    Decided.HOLD: "no opinion",
    Decided.ORDERED: "entry sent",
    Decided.DENIED: "denied by the risk check",
    Decided.NOT_CHOSEN: "a better signal took this cycle's entry",
    Decided.EXIT_ORDERED: "exit sent",
    Decided.NOTHING_TO_EXIT: "says flat, and nothing is open",
    Decided.WARMING_UP: "too few candles yet",
    Decided.FAILED: "the strategy failed",
    Decided.NO_NEW_CANDLE: "nothing new to decide on",
}


def decision_view(decision: Decision) -> Document:
    """Return a decision with its reasons in words."""
    return {
        "id": decision.decision_id,
        "cycle": decision.cycle,
        "time": format_utc(decision.time_ns, "seconds"),
        "time_ms": decision.time_ns // _NS_PER_MS,
        "strategy": decision.strategy,
        "symbol": decision.symbol,
        "price": known(decision.price),
        "direction": Direction(decision.direction).name.lower(),
        "confidence": known(decision.confidence),
        "value": known(decision.value),
        "decided": Decided(decision.decided).name.lower(),
        "limits": limit_names(decision.mask),
        "broken": broken_limits(decision),
        "order_id": decision.order_id or None,
        "why": why(decision),
        "note": getattr(decision, "note", "") or None,
    }


def why(decision: Decision) -> str:
    """Return in one line what a decision follows from and what became of it."""
    parts = []
    if math.isfinite(decision.value):
        parts.append(f"{decision.strategy} reads {decision.value:.4g}")
    parts.append(
        "; ".join(map(_broken_text, broken_limits(decision))) or decision.detail or _WHY[Decided(decision.decided)]
    )
    if decision.order_id:
        parts.append(f"order {decision.order_id}")
    return " · ".join(parts)


def broken_limits(decision: Decision) -> list[Document]:
    """Return the limits that a denied entry would have broken, each with both numbers.

    A denial's detail is `{limit: [observed, bound]}`; any other detail is prose.
    """
    if not decision.detail.startswith("{"):
        return []
    try:
        pairs = json.loads(decision.detail)
        return [{"limit": name, "observed": pair[0], "bound": pair[1]} for name, pair in pairs.items()]
    except (ValueError, TypeError, LookupError, AttributeError):
        return []


#: limits that are a yes or no: their two numbers say nothing to people
_PLAIN = {"lease", "veto", "paused", "halted", "position_open", "symbol_blocked", "short_not_allowed", "not_finite"}
_TEXT = {(limit.name or "").lower(): text for limit, text in LIMIT_TEXT.items()}


def _broken_text(item: Document) -> str:
    name = str(item["limit"])
    text = _TEXT.get(name, name)
    if name in _PLAIN or not all(isinstance(item[key], int | float) for key in ("observed", "bound")):
        return text
    return f"{text} ({item['observed']:.4g} against {item['bound']:.4g})"


def trip_view(trip: RoundTrip) -> Document:
    """Return a round trip; exact amounts as texts, the same as numbers for charts."""
    cost = trip.entry_price * trip.quantity
    return {
        "id": f"{trip.position_id}-{trip.exit_order_id}",
        "position_id": trip.position_id,
        "symbol": trip.symbol,
        "side": "long" if trip.side is Side.BUY else "short",
        "strategy": trip.strategy,
        "quantity": float(trip.quantity),
        "entry_price": float(trip.entry_price),
        "exit_price": float(trip.exit_price),
        "opened": format_utc(trip.entry_ns, "seconds"),
        "closed": format_utc(trip.exit_ns, "seconds"),
        "closed_ms": trip.exit_ns // _NS_PER_MS,
        "held_s": (trip.exit_ns - trip.entry_ns) / NS_PER_S,
        "reason": _reason(trip.exit_reason),
        "note": getattr(trip, "exit_note", "") or None,
        "entry_reason": _reason(trip.entry_reason),
        "fees": float(trip.fees),
        "pnl": float(trip.pnl),
        "pnl_exact": plain(trip.pnl),
        "pnl_frac": float(trip.pnl / cost) if cost else None,
        "decision_id": trip.decision_id or None,
    }


def order_view(order: Order) -> Document:
    """Return an order; exact quantities as texts."""
    return {
        "id": order.order_id,
        "client_order_id": order.client_order_id,
        "symbol": order.symbol,
        "side": order.side.name.lower(),
        "kind": order.kind.value,
        "state": order.state.value,
        "quantity": plain(order.quantity),
        "filled_quantity": plain(order.filled_quantity),
        "reason": _reason(order.reason),
        "strategy": order.strategy,
        "reduce_only": order.reduce_only,
        "decision_id": order.decision_id or None,
        "created": format_utc(order.created_ns, "seconds"),
        "created_ms": order.created_ns // _NS_PER_MS,
        "updated": format_utc(order.updated_ns, "seconds"),
        "stop_price": known(order.stop_price),
        "target_price": known(order.target_price),
        "note": order.note,
    }


def model_view(document: Document) -> Document:
    """Return the language model's books without what only its own command shows."""
    return {**document, "decisions": [_model_decision(record) for record in document["decisions"]]}


def _model_decision(record: Document) -> Document:
    market_ns, cost = record.get("market_ns"), record.get("cost_usd")
    return {
        "id": str(record["decision_id"]),
        "time": format_utc(market_ns, "seconds") if isinstance(market_ns, int) else None,
        "text": ", ".join(map(_final_text, record.get("final") or [])) or "nothing",
        "cost_usd": None if cost is None else str(cost),
        "latency_s": known(record.get("latency_s")),
        "model": record.get("model_used") or None,
        "message": record.get("message") or None,
    }


def _final_text(final: Document) -> str:
    reason = str(final.get("reason") or "none")
    words = f"{final.get('symbol', '?')} {final.get('action', '?')}"
    return words if reason == "none" else f"{words} ({reason.replace('_', ' ')})"


def _reason(reason: Reason) -> str:
    return reason.name.lower()


def known(value: Any) -> float | None:
    """Return a number; None for NaN, infinity and what is no number."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
