"""A sweep as heat maps: one for each pair of keys, and the best of everything else in each cell."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from trader.backtest.report import html_table, stand_alone
from trader.backtest.space import spread
from trader.backtest.sweep import Outcome, SweepResult
from trader.backtest.walkforward import WalkForward
from trader.clock import format_utc

#: combinations that the page lists; the JSON document has them all
_LISTED = 200


@dataclass(frozen=True, slots=True)
class HeatMap:
    """The best figure for each pair of values of two keys; None: no combination has one."""

    key_x: str
    key_y: str
    values_x: tuple[Any, ...]
    values_y: tuple[Any, ...]
    figures: tuple[tuple[float | None, ...], ...]  #: by y, then x


def heat_maps(result: SweepResult) -> list[HeatMap]:
    """Return a map for each pair of keys that have more than one value."""
    tried: dict[str, dict[Any, None]] = {}
    for outcome in sorted(result.outcomes, key=lambda one: one.number):
        for key, value in outcome.values.items():
            tried.setdefault(key, {})[value] = None
    varied = {key: tuple(values) for key, values in tried.items() if len(values) > 1}
    return [
        _map(result.outcomes, result.objective, x, y, varied[x], varied[y])
        for y, x in itertools.combinations(varied, 2)
    ]


def _map(
    outcomes: Sequence[Outcome],
    objective: str,
    key_x: str,
    key_y: str,
    values_x: tuple[Any, ...],
    values_y: tuple[Any, ...],
) -> HeatMap:
    best: dict[tuple[Any, Any], float] = {}
    for outcome in outcomes:
        at, figure = (outcome.values[key_y], outcome.values[key_x]), outcome.figure(objective)
        if figure > best.get(at, -math.inf):
            best[at] = figure
    return HeatMap(key_x, key_y, values_x, values_y, tuple(tuple(best.get((y, x)) for x in values_x) for y in values_y))


def page(result: SweepResult, walked: WalkForward | None) -> str:
    """Return a page that stands alone: heat maps, the best combinations, the walk forward.

    Parameters
    ----------
    result : SweepResult
        The sweep.
    walked : WalkForward or None
        Its walk forward, when there was one.
    """
    figures: dict[str, Any] = {}
    parts = [
        "<h1>sweep</h1>",
        f"<p>{result.trials} combinations over {result.bars:,} candles, ranked by {escape(result.objective)}</p>",
    ]
    if result.warning:
        parts.append(f"<p>Warning: {escape(result.warning)}</p>")
    for number, one in enumerate(heat_maps(result)):
        figures[f"map-{number}"] = _figure(one, result.objective)
        parts.append(f'<h2>{escape(one.key_y)} by {escape(one.key_x)}</h2><div class="chart" id="map-{number}"></div>')
    parts.append("<h2>Combinations, the best first</h2>" + _listed(result))
    if walked is not None:
        parts.append("<h2>Walk forward</h2>" + _walked(walked))
    return stand_alone("sweep", parts, figures)


def _figure(one: HeatMap, objective: str) -> dict[str, Any]:
    trace = {
        "type": "heatmap",
        "x": [str(value) for value in one.values_x],
        "y": [str(value) for value in one.values_y],
        "z": [list(line) for line in one.figures],
        "colorscale": "RdYlGn",
        "colorbar": {"title": objective},
        "hoverongaps": False,
    }
    axes = {"xaxis": {"title": one.key_x, "type": "category"}, "yaxis": {"title": one.key_y, "type": "category"}}
    return {"data": [trace], "layout": axes | {"margin": {"l": 80, "r": 20, "t": 10, "b": 60}}}


def _listed(result: SweepResult) -> str:
    names = ("sharpe", "sortino", "calmar", "total_return_frac", "max_drawdown_frac", "trades", "profit_factor")
    rows = [
        [spread(one.values), *(_shown(getattr(one.metrics, name) if one.metrics else None) for name in names)]
        for one in result.outcomes[:_LISTED]
    ]
    return html_table(["combination", *(name.replace("_", " ") for name in names)], rows)


def _walked(walked: WalkForward) -> str:
    rows = [
        [
            format_utc(step.test_ns[0])[:10],
            format_utc(step.test_ns[1])[:10],
            spread(step.values) if step.values else "-",
            _shown(step.trained.total_return_frac if step.trained else None),
            _shown(step.tested.total_return_frac if step.tested else None),
        ]
        for step in walked.steps
    ]
    return html_table(["test from", "to", "chosen", "return in training", "return in the test"], rows)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
