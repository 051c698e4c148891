"""What the engine tells people: decisions that something came of, and halts."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from trader.clock import format_utc
from trader.codes import HALT_TEXT, Decided, Halt, Limit, limit_names
from trader.domain.decision import Decision
from trader.logs.events import QUIET_DECISIONS, Event, log_decision, log_event

log = logging.getLogger(__name__)

#: kept in the ledger only: a line for each would fill the journal
_QUIET = frozenset(int(decided) for decided in Decided if decided.name.lower() in QUIET_DECISIONS)


def tell_decisions(decisions: Iterable[Decision]) -> None:
    """Log what became of the opinions of a cycle, but for the idle ones and wishes for what is held already.

    Parameters
    ----------
    decisions : iterable of Decision
        Of one cycle.
    """
    for decision in decisions:
        if decision.decided not in _QUIET and decision.mask != Limit.POSITION_OPEN:
            _tell(decision)


def _tell(decision: Decision) -> None:
    limits = limit_names(decision.mask)
    why = (f"beyond {', '.join(limits)}" if limits else decision.detail, decision.note)
    log_decision(
        Decided(decision.decided).name.lower(),
        decision.symbol,
        decision.confidence,
        "; ".join(words for words in why if words),
        decision_id=decision.decision_id,
        strategy=decision.strategy,
        market_time=format_utc(decision.time_ns),
        order_id=decision.order_id or None,
        limits=limits or None,
    )


def tell_halt(cause: Halt, *, active: bool) -> None:
    """Log that entries are halted for a cause, or no longer are."""
    if active:
        log_event(log, logging.WARNING, Event.HALTED, f"entries are halted: {HALT_TEXT[cause]}", cause=cause.name)
    else:
        log_event(log, logging.INFO, Event.RESUMED, f"no longer halted: {HALT_TEXT[cause]}", cause=cause.name)
