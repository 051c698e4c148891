"""Decisions: what one question has come to, as it stands in the records and as it is acted on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trader.clock import format_utc
from trader.domain.invalidation import join, split
from trader.strategy.llm.checks import Final, Verdict
from trader.strategy.llm.reply import Proposal
from trader.strategy.llm.vocabulary import Action, Hold


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done in each symbol, from a moment of market time on."""

    decision_id: str
    market_ns: int  #: when it was asked [ns UTC, market time]
    effective_ns: int  #: when it was there [ns UTC, market time]
    finals: tuple[Final, ...]


def decision_id(market_ns: int) -> str:
    """Return the name of the decision at a moment of market time: known before it is made, the same in a replay."""
    return "llm-" + format_utc(market_ns, "milliseconds").replace("-", "").replace(":", "").replace(".", "")


def held(symbols: Iterable[str], reason: Hold) -> tuple[Final, ...]:
    """Return a hold in every symbol for one reason."""
    return tuple(Final(symbol, Action.HOLD, reason) for symbol in symbols)


def read_decision(record: Mapping[str, Any]) -> Decision:
    """Return the decision that a record tells of."""
    return Decision(
        str(record["decision_id"]),
        int(record["market_ns"]),
        int(record["effective_ns"]),
        tuple(_read_final(one) for one in record["final"]),
    )


def final_document(final: Final) -> dict[str, Any]:
    """Return what is to be done as JSON; floats come back to the last bit."""
    return {
        "symbol": final.symbol,
        "action": final.action.value,
        "reason_code": final.reason.value,
        "confidence": final.confidence,
        "price": _null(final.price),
        "stop_price": _null(final.stop_price),
        "target_price": _null(final.target_price),
        "risk_frac": _null(final.risk_frac),
        "invalidations": join(final.invalidations),
        "justification": final.justification,
    }


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    """Return a check as JSON."""
    return {
        "symbol": verdict.symbol,
        "action": verdict.action.value,
        "check": verdict.check.value,
        "ok": verdict.ok,
        "observed": verdict.observed,
        "limit": verdict.limit,
    }


def proposal_document(proposal: Proposal) -> dict[str, Any]:
    """Return a proposal as JSON."""
    return {
        "symbol": proposal.symbol,
        "action": proposal.action.value,
        "confidence": proposal.confidence,
        "risk_frac": proposal.risk_frac,
        "stop_price": proposal.stop_price,
        "target_price": proposal.target_price,
        "max_hold_minutes": proposal.max_hold_minutes,
        "invalidations": [
            {"metric": rule.metric.value, "timeframe": rule.timeframe, "op": rule.op.value, "value": rule.value}
            for rule in proposal.invalidations
        ],
        "justification": proposal.justification,
    }


def _read_final(one: Mapping[str, Any]) -> Final:
    return Final(
        str(one["symbol"]),
        Action(one["action"]),
        Hold(one["reason_code"]),
        float(one["confidence"]),
        _nan(one["price"]),
        _nan(one["stop_price"]),
        _nan(one["target_price"]),
        _nan(one["risk_frac"]),
        split(str(one["invalidations"])),
        str(one["justification"]),
    )


def _null(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _nan(value: float | None) -> float:
    return math.nan if value is None else float(value)
