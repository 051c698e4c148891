"""Reading an answer: all of it or nothing, and nothing is repaired.

A truncated decision that was healed is a decision that nobody has made. So there is no search for JSON in prose, no
stripping of fences and no second try at what does not parse.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from trader.errors import StrategyError
from trader.strategy.llm.schema import DECISION_FIELDS, INVALIDATION_FIELDS, REPLY_FIELDS
from trader.strategy.llm.vocabulary import (
    MAX_INVALIDATIONS,
    MAX_JUSTIFICATION_CHARS,
    RULE_METRICS,
    SCHEMA_VERSION,
    Action,
    Hold,
    Metric,
    Op,
)


class DecisionInvalid(StrategyError):
    """A model's reply is not of the agreed form."""

    def __init__(self, reason: Hold, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Rule:
    """One invalidation as the model has put it."""

    metric: Metric
    timeframe: str
    op: Op
    value: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the model proposes for one symbol; of the right form, and not yet checked against the market."""

    symbol: str
    action: Action
    confidence: float  #: 0..1
    risk_frac: float | None  #: equity lost when the stop is hit, 0..1
    stop_price: float | None
    target_price: float | None
    max_hold_minutes: int | None
    invalidations: tuple[Rule, ...]
    justification: str  #: printable, on one line


def read_reply(text: str, symbols: Sequence[str], timeframes: Sequence[str]) -> tuple[Proposal, ...]:
    """Return the proposals of a reply.

    Parameters
    ----------
    text : str
        The whole content of the message.
    symbols : sequence of str
        Symbols that were asked about; one that is missing is left out of the result.
    timeframes : sequence of str
        Timeframes that an invalidation may name.

    Returns
    -------
    tuple of Proposal
        In the order of the reply, each symbol at most once.

    Raises
    ------
    DecisionInvalid
        With the reason, when any part of it is not of the agreed form: then no part of it counts.
    """
    document = _fields(_parse(text), REPLY_FIELDS, "the reply")
    version = document["schema_version"]
    if isinstance(version, bool) or version != SCHEMA_VERSION:
        _refuse(f"schema_version must be {SCHEMA_VERSION}")
    proposals = tuple(_proposal(one, symbols, timeframes) for one in _list(document["decisions"], "decisions"))
    named = [one.symbol for one in proposals]
    twice = next((symbol for symbol in named if named.count(symbol) > 1), None)
    if twice is not None:
        raise DecisionInvalid(Hold.REPEATED_SYMBOL, f"{twice} is decided upon more than once")
    return proposals


def printable(text: str, limit: int = MAX_JUSTIFICATION_CHARS) -> str:
    """Return a model's text without anything that could end a line, colour a terminal or turn writing; cut."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())[:limit]


# -- JSON, strictly ----------------------------------------------------------------------------


def _parse(text: str) -> Any:
    try:
        return json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=_no_duplicates,
        )
    except DecisionInvalid:
        raise
    except (ValueError, RecursionError) as error:
        raise DecisionInvalid(Hold.REPLY_NOT_JSON, f"the reply is no JSON document: {printable(str(error))}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise DecisionInvalid(Hold.NOT_FINITE, f"the reply holds {name}")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise DecisionInvalid(Hold.NOT_FINITE, f"the reply holds {text[:40]}, which no float can hold")
    return value


def _whole(text: str) -> int:
    if len(text) > 18:
        raise DecisionInvalid(Hold.NOT_FINITE, f"the reply holds a number of {len(text)} digits")
    return int(text)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise DecisionInvalid(Hold.DUPLICATE_KEY, "the reply holds a key twice")
    return document


# -- the form ----------------------------------------------------------------------------------


def _proposal(value: Any, symbols: Sequence[str], timeframes: Sequence[str]) -> Proposal:
    one = _fields(value, DECISION_FIELDS, "a decision")
    symbol = _text(one["symbol"], "symbol")
    if symbol not in symbols:
        raise DecisionInvalid(Hold.UNKNOWN_SYMBOL, f"nobody has asked about {printable(symbol, 40)!r}")
    rules = _list(one["invalidations"], "invalidations")
    if len(rules) > MAX_INVALIDATIONS:
        _refuse(f"{symbol}: {len(rules)} invalidations, at most {MAX_INVALIDATIONS}")
    confidence = _number(one["confidence"], "confidence")
    if not 0 <= confidence <= 1:
        _refuse(f"{symbol}: confidence {confidence:g} is not in 0..1")
    return Proposal(
        symbol=symbol,
        action=Action(_choice(one["action"], [action.value for action in Action], "action")),
        confidence=confidence,
        risk_frac=_optional(one["risk_frac"], "risk_frac"),
        stop_price=_optional(one["stop_price"], "stop_price"),
        target_price=_optional(one["target_price"], "target_price"),
        max_hold_minutes=_minutes(one["max_hold_minutes"]),
        invalidations=tuple(_rule(rule, timeframes) for rule in rules),
        justification=printable(_text(one["justification"], "justification")),
    )


def _rule(value: Any, timeframes: Sequence[str]) -> Rule:
    one = _fields(value, INVALIDATION_FIELDS, "an invalidation")
    return Rule(
        metric=Metric(_choice(one["metric"], [metric.value for metric in RULE_METRICS], "metric")),
        timeframe=_choice(one["timeframe"], timeframes, "timeframe"),
        op=Op(_choice(one["op"], [op.value for op in Op], "op")),
        value=_number(one["value"], "value"),
    )


def _fields(value: Any, fields: Sequence[str], what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse(f"{what} must be an object")
    missing = [field for field in fields if field not in value]
    if missing:
        _refuse(f"{what} lacks {', '.join(missing)}")
    extra = sorted(printable(str(field), 40) for field in value.keys() - set(fields))
    if extra:
        _refuse(f"{what} has what nobody asked for: {', '.join(extra[:5])}")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        _refuse(f"{what} must be a list")
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        _refuse(f"{what} must be a text")
    return value


def _choice(value: Any, allowed: Sequence[str], what: str) -> str:
    if not isinstance(value, str) or value not in allowed:
        _refuse(f"{what} {printable(str(value), 40)!r} is none of {', '.join(allowed)}")
    return value


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(f"{what} must be a number")
    return float(value)


def _optional(value: Any, what: str) -> float | None:
    return None if value is None else _number(value, what)


def _minutes(value: Any) -> int | None:
    if value is None:
        return None
    minutes = _number(value, "max_hold_minutes")
    if minutes != int(minutes):
        _refuse(f"max_hold_minutes {minutes:g} is no whole number")
    return int(minutes)


def _refuse(message: str) -> NoReturn:
    raise DecisionInvalid(Hold.SCHEMA, message)
