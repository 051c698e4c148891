"""`backtest`: a configuration over candles of the past."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trader.cli.output import duration, money, pairs, percent, plain_values, table
from trader.cli.place import config_path
from trader.cli.progress import ProgressLine
from trader.clock import format_utc
from trader.errors import EXIT_OK

if TYPE_CHECKING:
    from trader.backtest.result import BacktestResult, Group
    from trader.config.sections import Config

GROUP_COLUMNS = {
    "name": "",
    "trades": "TRADES",
    "won": "WON",
    "result": "RESULT",
    "paid": "FEES",
    "factor": "FACTOR",
    "best": "BEST",
    "worst": "WORST",
    "held": "HELD",
}
#: --json without a file: standard output
STDOUT = Path("-")


def backtest(arguments: Namespace) -> int:
    """Backtest, and write what was asked for."""
    kernels = use_kernels()
    config = history_config(arguments)
    from trader.backtest.history import load
    from trader.backtest.runner import run

    progress = ProgressLine()
    try:
        progress("reading candles", 0.0)
        history = load(config.market)
        result = run(config, history, progress, arguments.data_dir)
    finally:
        progress.close()
    keep_kernels(kernels)
    if arguments.trades is not None:
        arguments.trades.write_text(result.trades_csv(), encoding="utf-8")
    if arguments.html is not None:
        from trader.backtest.report import page

        arguments.html.write_text(page(result, history), encoding="utf-8")
    if arguments.json is not None:
        write_json(arguments.json, result.document())
    if arguments.json != STDOUT:
        sys.stdout.write(summary(result) + "\n")
    return EXIT_OK


def use_kernels() -> Path | None:
    """Point the compiler to the cache of kernels, before it is imported, and return it; one that is set stays."""
    if "NUMBA_CACHE_DIR" not in os.environ and "numba" not in sys.modules:
        from trader.process.compile_cache import use_compile_cache

        return use_compile_cache(Path(tempfile.gettempdir()) / f"trader-{os.geteuid()}")
    return None


def keep_kernels(folder: Path | None) -> None:
    """Seal what was compiled, now that it has run to its end: what is not sealed, the next start compiles anew."""
    if folder is not None:
        from trader.process.compile_cache import seal

        seal(folder)


def history_config(arguments: Namespace) -> Config:
    """Return the configuration of a backtest: the service's own, on candles of the past."""
    from trader.backtest.settings import with_values
    from trader.config.loading import load

    values: dict[str, Any] = {"market.source": "replay", "market.speed": 0}
    if arguments.candles is not None:
        values["market.candles"] = str(arguments.candles)
    if arguments.symbols is not None:
        values["market.symbols"] = arguments.symbols
    if arguments.timeframe is not None:
        values["market.timeframe"] = arguments.timeframe
    for name in ("since", "until"):
        if getattr(arguments, name) is not None:
            values[f"market.{name}"] = format_utc(getattr(arguments, name))
    if arguments.strategy:
        values["strategies"] = [{"use": name} for name in arguments.strategy]
    return with_values(load(config_path(arguments)), values)


def write_json(path: Path, document: Any) -> None:
    """Write a document as JSON to a file, or to standard output for `-`."""
    text = json.dumps(plain_values(document), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    if path == STDOUT:
        sys.stdout.write(text)
    else:
        path.write_text(text, encoding="utf-8")


def summary(result: BacktestResult) -> str:
    """Return a result as text for people."""
    parts = [_head(result), _figures(result)]
    for groups, title in ((result.by_symbol, "SYMBOL"), (result.by_strategy, "STRATEGY"), (result.by_reason, "EXIT")):
        if any(group.trades for group in groups):
            parts.append(table([_row(group) for group in groups], GROUP_COLUMNS | {"name": title}, ""))
    if result.denials:
        counts = sorted(((sum(by.values()), limit) for limit, by in result.denials.items()), reverse=True)
        rows = [{"limit": limit, "count": count} for count, limit in counts]
        parts.append(table(rows, {"limit": "REFUSED BY", "count": "ENTRIES"}, ""))
    for failed in result.failures:
        end = f"; not asked any more from {failed.disabled} on" if failed.disabled else ""
        parts.append(f"strategy {failed.strategy} failed {failed.failures} times: {failed.failure}{end}")
    parts += [f"note: {note}" for note in result.notes]
    return "\n\n".join(part for part in parts if part)


def _head(result: BacktestResult) -> str:
    config = result.config
    rate = result.bars / result.elapsed_s if result.elapsed_s > 0 else 0.0
    return pairs(
        [
            ("backtest", f"{', '.join(one.use for one in config.strategies)} on {', '.join(result.symbols)}"),
            ("from", f"{format_utc(result.start_ns)} to {format_utc(result.end_ns)}, {result.metrics.days:.1f} days"),
            (
                "candles",
                f"{result.bars:,} of {result.timeframe}, in {duration(result.elapsed_s)} ({rate:,.0f} a second)",
            ),
        ]
    )


def _figures(result: BacktestResult) -> str:
    figures, quote, hint = result.metrics, result.config.quote, ""
    if figures.indicative:
        hint = " (indicative: less than 30 days)"
    fallen = f"{percent(figures.max_drawdown_frac)} ({percent(figures.max_drawdown_daily_frac)} at midnights)"
    fallen += f", longest {duration(figures.longest_drawdown_s)}"
    halted = sum(event == "halted" for _, event, _ in result.halts)
    return pairs(
        [
            ("initial capital", money(figures.initial_equity, quote)),
            ("final equity", f"{money(figures.final_equity, quote)} ({_signed(figures.total_return_frac)})"),
            (
                "buy and hold",
                f"{money(result.baseline.final_equity, quote)} ({_signed(result.baseline.total_return_frac)})",
            ),
            ("a year", f"{percent(figures.cagr_frac)}, deviation {percent(figures.volatility_frac)}{hint}"),
            (
                "Sharpe / Sortino / Calmar",
                f"{_figure(figures.sharpe)} / {_figure(figures.sortino)} / {_figure(figures.calmar)}{hint}",
            ),
            ("worst drawdown", fallen),
            (
                "trades",
                f"{figures.trades}, {percent(figures.win_rate_frac)} won; {len(result.open_positions)} still open",
            ),
            ("profit factor / SQN", f"{_figure(figures.profit_factor)} / {_figure(figures.sqn)}"),
            ("expectancy", f"{money(figures.expectancy, quote)} a trade"),
            ("exposure", f"{percent(figures.exposure_time_frac)} of the time; turnover {_figure(figures.turnover)}"),
            ("fees", money(figures.fees, quote)),
            ("halts", f"{halted}, the last {result.halts[-1][0]} ({result.halts[-1][2].lower()})" if halted else None),
        ]
    )


def _row(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "trades": group.trades,
        "won": percent(group.win_rate_frac),
        "result": money(group.pnl),
        "paid": money(group.fees),
        "factor": _figure(group.profit_factor),
        "best": money(group.best),
        "worst": money(group.worst),
        "held": duration(group.average_held_s),
    }


def _signed(fraction: float | None) -> str:
    return "-" if fraction is None else f"{fraction:+.2%}".replace("%", " %")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
