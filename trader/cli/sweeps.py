"""`sweep`: many combinations over candles of the past, and what the best of them is worth."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from trader.cli.history import STDOUT, history_config, keep_kernels, use_kernels, write_json
from trader.cli.output import duration, pairs, percent, table, warn
from trader.cli.progress import ProgressLine
from trader.clock import format_utc
from trader.errors import EXIT_OK

if TYPE_CHECKING:
    from trader.backtest.heatmap import HeatMap
    from trader.backtest.sweep import Outcome, SweepResult
    from trader.backtest.walkforward import WalkForward

#: combinations that the text shows; --json has them all
SHOWN = 15
#: widest heat map that a terminal shows
_CELLS = 14

COLUMNS = {
    "rank": "",
    "values": "COMBINATION",
    "figure": "FIGURE",
    "result": "RETURN",
    "sharpe": "SHARPE",
    "drawdown": "DRAWDOWN",
    "trades": "TRADES",
    "factor": "FACTOR",
}
STEP_COLUMNS = {"test": "TEST", "values": "CHOSEN", "trained": "TRAINING", "tested": "TEST RETURN", "trades": "TRADES"}


def sweep(arguments: Namespace) -> int:
    """Play every combination, rank them, and write what was asked for."""
    kernels = use_kernels()
    from trader.backtest.space import combinations, parse_axis

    tries = combinations([parse_axis(text) for text in arguments.set], arguments.random, arguments.seed)
    config = history_config(arguments)
    from trader.backtest.history import load
    from trader.backtest.sweep import Sweeper
    from trader.backtest.walkforward import walk_forward

    progress, walked = ProgressLine(), None
    try:
        progress("reading candles", 0.0)
        history = load(config.market)
        with Sweeper(config, history, tries, arguments.workers, arguments.dask) as sweeper:
            result = sweeper.run(arguments.objective, progress=progress)
            if arguments.walk_forward is not None:
                train, test = arguments.walk_forward
                walked = walk_forward(sweeper, train, test, arguments.objective, progress)
    finally:
        progress.close()
    keep_kernels(kernels)
    _write(arguments, result, walked)
    return EXIT_OK


def _write(arguments: Namespace, result: SweepResult, walked: WalkForward | None) -> None:
    if arguments.html is not None:
        from trader.backtest.heatmap import page

        arguments.html.write_text(page(result, walked), encoding="utf-8")
    if arguments.json is not None:
        document = result.document() | {"walk_forward": walked.document() if walked else None}
        write_json(arguments.json, document)
    if result.warning:
        warn(result.warning)
    if arguments.json != STDOUT:
        sys.stdout.write(_text(result, walked) + "\n")


def _text(result: SweepResult, walked: WalkForward | None) -> str:
    from trader.backtest.heatmap import heat_maps

    rate = result.trials / result.elapsed_s if result.elapsed_s > 0 else 0.0
    head = pairs(
        [
            ("sweep", f"{result.trials} combinations over {result.bars:,} candles"),
            ("took", f"{duration(result.elapsed_s)} with {result.workers} workers ({rate:,.1f} a second)"),
            ("ranked by", result.objective),
            ("deflated Sharpe ratio", f"{result.deflated.probability:.1%}" if result.deflated else None),
        ]
    )
    rows = [_row(rank, outcome, result.objective) for rank, outcome in enumerate(result.outcomes[:SHOWN], 1)]
    more = f"\n... and {len(result.outcomes) - SHOWN} more" if len(result.outcomes) > SHOWN else ""
    parts = [head, table(rows, COLUMNS, "nothing was tried") + more]
    parts += [_map(one, result.objective) for one in heat_maps(result)]
    refused = [outcome for outcome in result.outcomes if outcome.problem]
    if refused:
        parts.append(f"{len(refused)} combinations are not allowed; the first: {refused[0].problem}")
    if walked is not None:
        parts.append(_walked(walked))
    return "\n\n".join(parts)


def _row(rank: int, outcome: Outcome, objective: str) -> dict[str, Any]:
    from trader.backtest.space import spread

    metrics = outcome.metrics
    return {
        "rank": rank,
        "values": spread(outcome.values),
        "figure": _figure(getattr(metrics, objective) if metrics else None),
        "result": percent(metrics.total_return_frac if metrics else None),
        "sharpe": _figure(metrics.sharpe if metrics else None),
        "drawdown": percent(metrics.max_drawdown_frac if metrics else None),
        "trades": metrics.trades if metrics else None,
        "factor": _figure(metrics.profit_factor if metrics else None),
    }


def _map(one: HeatMap, objective: str) -> str:
    title = f"{objective} by {one.key_y} (down) and {one.key_x} (across)"
    if len(one.values_x) > _CELLS:
        return f"{title}: too wide for a terminal, see --html"
    columns = {"": "", **{str(at): str(value) for at, value in enumerate(one.values_x)}}
    rows = [
        {"": str(value), **{str(at): _figure(figure) for at, figure in enumerate(line)}}
        for value, line in zip(one.values_y, one.figures, strict=True)
    ]
    return f"{title}\n{table(rows, columns, '')}"


def _walked(walked: WalkForward) -> str:
    from trader.backtest.space import spread

    rows = [
        {
            "test": f"{format_utc(step.test_ns[0])[:10]} to {format_utc(step.test_ns[1])[:10]}",
            "values": spread(step.values) if step.values else "nothing",
            "trained": percent(step.trained.total_return_frac if step.trained else None),
            "tested": percent(step.tested.total_return_frac if step.tested else None),
            "trades": step.tested.trades if step.tested else 0,
        }
        for step in walked.steps
    ]
    whole = pairs(
        [
            ("walk forward", f"{len(walked.steps)} tests, {walked.days:.1f} days"),
            ("return in the tests", percent(walked.total_return_frac)),
            ("Sharpe / Sortino", f"{_figure(walked.sharpe)} / {_figure(walked.sortino)}"),
            ("worst drawdown", f"{percent(walked.max_drawdown_frac)} at midnights"),
            ("pace kept from training", percent(walked.efficiency)),
        ]
    )
    return f"{whole}\n\n{table(rows, STEP_COLUMNS, '')}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
