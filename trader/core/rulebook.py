"""Invalidation rules and gauges in slots, as the values of the domain that they are; numpy only, for every process."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trader.codes import RuleKind
from trader.core.records import MAX_GAUGES, RULE
from trader.domain.invalidation import Gauge, Invalidation

Records = npt.NDArray[np.void]

_RULE_FIELDS = ("rule_kind", "rule_frame_ns", "rule_period", "rule_level")
_GAUGE_STATE = ("gauge_count", "gauge_close", "gauge_up", "gauge_down")
_GAUGE_FIELDS = ("gauge_frame_ns", "gauge_period", *_GAUGE_STATE)


def rules_of(record: Any) -> tuple[Invalidation, ...]:
    """Return the rules that a record of SLOT or LIMITS holds."""
    count = int(record["rules"])
    columns = (record[field][:count].tolist() for field in _RULE_FIELDS)
    return tuple(
        Invalidation(RuleKind(kind), math.nan if kind == RuleKind.AGE_OVER else level, frame_ns, period)
        for kind, frame_ns, period, level in zip(*columns, strict=True)
    )


def write_rules(record: Any, rules: Sequence[Invalidation]) -> None:
    """Make these the rules of a record of SLOT or LIMITS.

    Parameters
    ----------
    record : record of SLOT or LIMITS
        One record, not an array; what it held is gone.
    rules : sequence of Invalidation
        At most as many as there is room for.

    Raises
    ------
    ValueError
        When there are more.
    """
    room = len(record["rule_kind"])
    if len(rules) > room:
        raise ValueError(f"{len(rules)} invalidations, and there is room for {room}")
    packed = pack(rules)
    for field in _RULE_FIELDS:
        record[field] = 0
        record[field][: len(rules)] = packed[field.removeprefix("rule_")]
    record["rules"] = len(rules)


def pack(rules: Sequence[Invalidation]) -> Records:
    """Return rules as records of RULE."""
    rows = [(int(one.kind), one.frame_ns, one.period, 0.0 if math.isnan(one.level) else one.level) for one in rules]
    return np.array(rows, RULE)


def gauges_of(record: Any) -> tuple[Gauge, ...]:
    """Return the gauges that a record of SLOT keeps."""
    count = int(record["gauges"])
    columns = (record[field][:count].tolist() for field in ("gauge_frame_ns", "gauge_period"))
    return tuple(Gauge(frame_ns, period) for frame_ns, period in zip(*columns, strict=True))


def gauges_needed(declared: Iterable[Gauge], rules: Iterable[Invalidation]) -> tuple[Gauge, ...]:
    """Return the gauges that a slot has to keep: those its rules look at first, then those that were declared.

    Rules of an open position protect money: they are looked after even when what declared their gauges is gone.
    What there is no room for is left out.
    """
    named = (rule.gauge for rule in rules)
    every = dict.fromkeys([*(gauge for gauge in named if gauge is not None), *declared])
    return tuple(every)[:MAX_GAUGES]


def write_gauges(record: Any, gauges: Sequence[Gauge]) -> tuple[Gauge, ...]:
    """Make these the gauges of a record of SLOT; those that it has come first and go on as they are.

    Returns
    -------
    tuple of Gauge
        Those that are new and know nothing yet.
    """
    old = gauges_of(record)
    states = {gauge: [record[field][at].item() for field in _GAUGE_STATE] for at, gauge in enumerate(old)}
    for field in _GAUGE_FIELDS:
        record[field] = 0
    for at, gauge in enumerate(sorted(gauges, key=lambda gauge: old.index(gauge) if gauge in old else len(old))):
        record["gauge_frame_ns"][at], record["gauge_period"][at] = gauge.frame_ns, gauge.period
        for field, value in zip(_GAUGE_STATE, states.get(gauge, (0, 0.0, 0.0, 0.0)), strict=True):
            record[field][at] = value
    record["gauges"] = len(gauges)
    return tuple(gauge for gauge in gauges if gauge not in states)


def gauge_rows(record: Any) -> list[list[int | float]]:
    """Return the gauges of a slot with all that they know, as `restore_gauges` takes them."""
    count = int(record["gauges"])
    return [list(row) for row in zip(*(record[field][:count].tolist() for field in _GAUGE_FIELDS), strict=True)]


def restore_gauges(record: Any, rows: Sequence[Sequence[int | float]]) -> None:
    """Write gauges back as `gauge_rows` gave them, bit by bit."""
    for field in _GAUGE_FIELDS:
        record[field] = 0
    record["gauges"] = len(rows)
    for at, row in enumerate(rows):
        for field, value in zip(_GAUGE_FIELDS, row, strict=True):
            record[field][at] = value
