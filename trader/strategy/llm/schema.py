"""The form of an answer, made of the vocabulary: for the wire, for the prompt, and for the check of what comes back.

On the wire are structure and names only (strict modes take no more); ranges and prices are checked by `reply` and
`checks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trader.strategy.llm.vocabulary import MAX_INVALIDATIONS, RULE_METRICS, SCHEMA_VERSION, Action, Op

DECISION_FIELDS = (
    "symbol",
    "action",
    "confidence",
    "risk_frac",
    "stop_price",
    "target_price",
    "max_hold_minutes",
    "invalidations",
    "justification",
)
INVALIDATION_FIELDS = ("metric", "timeframe", "op", "value")
REPLY_FIELDS = ("schema_version", "decisions")

RULES_TEXT = (
    f"at most {MAX_INVALIDATIONS} rules, each a metric ({', '.join(RULE_METRICS)}), a timeframe, "
    f"an op ({', '.join(Op)}) and a value."
)

_NUMBER_OR_NULL = {"type": ["number", "null"]}


def reply_schema(symbols: Sequence[str], timeframes: Sequence[str], *, allow_short: bool) -> dict[str, Any]:
    """Return the JSON schema of an answer.

    Parameters
    ----------
    symbols : sequence of str
        Symbols that are asked about.
    timeframes : sequence of str
        Timeframes that an invalidation may name.
    allow_short : bool
        Whether short positions may be proposed.
    """
    actions = [action.value for action in Action if allow_short or action is not Action.OPEN_SHORT]
    rule = _object(
        INVALIDATION_FIELDS,
        {
            "metric": {"type": "string", "enum": [metric.value for metric in RULE_METRICS]},
            "timeframe": {"type": "string", "enum": list(timeframes)},
            "op": {"type": "string", "enum": [op.value for op in Op]},
            "value": {"type": "number"},
        },
    )
    decision = _object(
        DECISION_FIELDS,
        {
            "symbol": {"type": "string", "enum": list(symbols)},
            "action": {"type": "string", "enum": actions},
            "confidence": {"type": "number"},
            "risk_frac": _NUMBER_OR_NULL,
            "stop_price": _NUMBER_OR_NULL,
            "target_price": _NUMBER_OR_NULL,
            "max_hold_minutes": {"type": ["integer", "null"]},
            "invalidations": {"type": "array", "items": rule},
            "justification": {"type": "string"},
        },
    )
    return _object(
        REPLY_FIELDS,
        {
            "schema_version": {"type": "integer", "enum": [SCHEMA_VERSION]},
            "decisions": {"type": "array", "items": decision},
        },
    )


def _object(fields: Sequence[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {field: properties[field] for field in fields},
        "required": list(fields),
        "additionalProperties": False,
    }
