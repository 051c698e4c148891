"""Events: log records with a stable name and fields that can be searched for.

    journalctl -u trader TRADER_EVENT=order.filled SYMBOL=BTC/USDT -o json
    jq 'select(.event == "decision" and .fields.symbol == "BTC/USDT")' logs/structured.jsonl

Names are part of what an owner's own tools rely on: never rename, only add.
"""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from typing import Any

from trader.logs.records import CheapRecord


class Event(StrEnum):
    """Names of what happens."""

    SERVICE_READY = "service.ready"
    SERVICE_DEGRADED = "service.degraded"  #: something is away; what, stands in the message
    SERVICE_RECOVERED = "service.recovered"  #: and is back
    SERVICE_STOPPING = "service.stopping"
    SERVICE_STOPPED = "service.stopped"
    WORKER_STARTED = "worker.started"
    WORKER_RESTARTED = "worker.restarted"  #: started again after a death or for a reload
    WORKER_READY = "worker.ready"
    WORKER_DIED = "worker.died"
    WORKER_HUNG = "worker.hung"
    WORKER_GAVE_UP = "worker.gave_up"
    RELOAD_APPLIED = "reload.applied"
    RELOAD_REJECTED = "reload.rejected"
    RELOAD_TAKEN_BACK = "reload.taken_back"  #: was in force, and did not stand its probation
    KEY_ROTATED = "key.rotated"  #: a secret on disk is not the one in use
    CONTROL = "control"  #: an owner's command was carried out
    DECISION = "decision"
    ORDER_SENT = "order.sent"
    ORDER_FILLED = "order.filled"
    ORDER_REJECTED = "order.rejected"
    ORDER_CANCELED = "order.canceled"
    POSITION_OPENED = "position.opened"
    POSITION_CLOSED = "position.closed"
    HALTED = "trading.halted"
    RESUMED = "trading.resumed"
    DAY_ROLLED = "trading.day_rolled"
    LOGS_DROPPED = "logs.dropped"
    HEALTH = "health.changed"


TRADES = "trader.trades"
DECISIONS = "trader.decisions"

#: what became of nothing: told at DEBUG only, or every cycle would fill the console
QUIET_DECISIONS = frozenset(
    {"hold", "not_chosen", "nothing_to_exit", "warming_up", "no_new_candle"},
)

_trades = logging.getLogger(TRADES)
_decisions = logging.getLogger(DECISIONS)


class Words:
    """A message that is put together when somebody reads it, and not by whoever has no time."""

    __slots__ = ("_parts",)

    def __init__(self, *parts: Any) -> None:
        self._parts = parts


class _TradeWords(Words):
    __slots__ = ()

    def __str__(self) -> str:
        event_type, symbol, action, price, quantity, fields = self._parts
        words = [str(event_type), str(action), str(symbol)]
        if quantity is not None:
            words.append(f"{quantity}")
        if price is not None:
            words.append(f"at {price}")
        if fields.get("reason"):
            words.append(f"({fields['reason']})")
        if fields.get("pnl") is not None:
            words.append(f"result {fields['pnl']}")
        return " ".join(words)


class _DecisionWords(Words):
    __slots__ = ()

    def __str__(self) -> str:
        decision_type, symbol, justification = self._parts
        return f"{decision_type} {symbol}: {justification}" if justification else f"{decision_type} {symbol}"


def log_event(log: logging.Logger, level: int, event: str, message: str, **fields: Any) -> None:
    """Log a message as a named event with fields.

    Parameters
    ----------
    log : Logger
        The module's own.
    level : int
        As in `logging`.
    event : str
        One of `Event`, or a dotted name of one's own.
    message : str
        What has happened, for people; not a format string.
    **fields
        Searchable facts: symbol, order_id, price, ...; None is left out.
    """
    if log.isEnabledFor(level):
        _hand_over(log, level, event, message, fields)


def log_trade_event(
    event_type: str,
    symbol: str,
    action: str,
    price: Any = None,
    quantity: Any = None,
    confidence: float | None = None,
    **fields: Any,
) -> None:
    """Log what happened to an order or a position; lands in trades.log as well.

    Parameters
    ----------
    event_type : str
        One of `Event`: "order.sent", "order.filled", "position.closed", ...
    symbol : str
        As in BTC/USDT.
    action : str
        "buy", "sell", "close", ...
    price : float or Decimal, optional
        [quote per base].
    quantity : float or Decimal, optional
        [base].
    confidence : float, optional
        0..1.
    **fields
        More facts: fee, pnl [quote], reason, order_id, market_time, ...; reason and pnl are told to people too.
    """
    if not _trades.isEnabledFor(logging.INFO):
        return
    words = _TradeWords(event_type, symbol, action, price, quantity, fields)
    facts = {
        "symbol": symbol, "action": action, "price": price, "quantity": quantity, "confidence": confidence, **fields
    }  # fmt: skip
    _hand_over(_trades, logging.INFO, event_type, words, facts)


def log_decision(
    decision_type: str, symbol: str, confidence: float | None = None, justification: str = "", **fields: Any
) -> None:
    """Log what became of a strategy's opinion; idle ones at DEBUG.

    Parameters
    ----------
    decision_type : str
        A name of `codes.Decided` in lower case: "ordered", "denied", "hold", ...
    symbol : str
        As in BTC/USDT.
    confidence : float, optional
        0..1.
    justification : str
        Why, for people.
    **fields
        More facts: decision_id, strategy, market_time, limits, ...
    """
    level = logging.DEBUG if decision_type in QUIET_DECISIONS else logging.INFO
    if not _decisions.isEnabledFor(level):
        return
    words = _DecisionWords(decision_type, symbol, justification)
    facts = {
        "decision_type": decision_type, "symbol": symbol, "confidence": confidence, "justification": justification,
        **fields,
    }  # fmt: skip
    _hand_over(_decisions, level, Event.DECISION, words, facts)


def _hand_over(log: logging.Logger, level: int, event: str, message: object, fields: dict[str, Any]) -> None:
    """Make the record of an event; the public function's caller is where it comes from."""
    frame = sys._getframe(2)  # noqa: SLF001 - what logging's own findCaller does
    code = frame.f_code
    record = CheapRecord(log.name, level, code.co_filename, frame.f_lineno, message, func=code.co_name)
    record.event, record.fields = event, fields
    log.handle(record)
