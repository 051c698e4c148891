"""`check-strategy`: whether strategies look ahead, and how much of the past they need."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trader.cli.output import emit, table
from trader.cli.progress import ProgressLine
from trader.clock import format_utc
from trader.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from trader.backtest.lookahead import Change, Verdict

#: findings of each kind that the text shows for a strategy and symbol; --json has up to 1000
SHOWN = 5

COLUMNS = {
    "strategy": "STRATEGY",
    "symbol": "SYMBOL",
    "bars": "CANDLES",
    "opinions": "OPINIONS",
    "cuts": "CUTS",
    "windows": "WINDOWS",
    "lookback_bars": "LOOKBACK",
    "needed_bars": "NEEDED",
    "verdict": "VERDICT",
}


def check_strategy(arguments: Namespace) -> int:
    """Check every configured strategy on every symbol that it is asked for; fail when one looks ahead."""
    from trader.backtest.history import load
    from trader.cli.history import history_config, use_kernels
    from trader.strategy.registry import create

    use_kernels()
    config = history_config(arguments)
    bound = create(config.strategies, config.market.symbols, config.market.timeframe)
    progress = ProgressLine()
    try:
        progress("reading candles", 0.0)
        history = load(config.market)
        verdicts = [
            _check(one.strategy, one.name, history.candles(slot), arguments, progress)
            for one in bound
            for slot in one.slots
        ]
    finally:
        progress.close()
    clean = all(verdict.is_clean for verdict in verdicts)
    document = {
        "clean": clean,
        "timeframe": config.market.timeframe,
        "seed": arguments.seed,
        "checks": [_document(verdict) for verdict in verdicts],
    }
    emit(document, _text(verdicts), as_json=arguments.json)
    return EXIT_OK if clean else EXIT_FAILED


def _check(strategy: Any, name: str, candles: Any, arguments: Namespace, progress: ProgressLine) -> Verdict:
    from trader.backtest.lookahead import check

    def tell(done: float) -> None:
        progress(f"{name} {candles.symbol}", done)

    return check(strategy, name, candles, cuts=arguments.cuts, seed=arguments.seed, progress=tell)


def _document(verdict: Verdict) -> dict[str, Any]:
    return {
        "strategy": verdict.strategy,
        "symbol": verdict.symbol,
        "clean": verdict.is_clean,
        "bars": verdict.bars,
        "opinions": verdict.opinions,
        "cuts": verdict.cuts,
        "windows": verdict.windows,
        "lookback_bars": verdict.lookback_bars,
        "warmup_bars": verdict.warmup_bars,
        "needed_bars": verdict.needed_bars,
        "changed_bars": verdict.changed_bars,
        "changed": [_change(change) for change in verdict.changed],
        "unlike_bars": verdict.unlike_bars,
        "unlike": [_change(change) for change in verdict.unlike],
        "faulty_bars": verdict.faulty_bars,
        "error": verdict.error or None,
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "bar": change.bar,
        "candle": format_utc(change.open_ns),
        "known_bars": change.known_bars,
        "field": change.field,
        "with_future": change.with_future,
        "without_future": change.without_future,
    }


def _text(verdicts: Sequence[Verdict]) -> str:
    rows = [{**{key: getattr(one, key, None) for key in COLUMNS}, "verdict": _words(one)} for one in verdicts]
    parts = [table(rows, COLUMNS, "no strategy is configured")]
    parts += [_findings(verdict) for verdict in verdicts if not verdict.is_clean]
    wrong = sum(not verdict.is_clean for verdict in verdicts)
    ahead = sum(verdict.changed_bars > 0 for verdict in verdicts)
    if ahead:
        parts.append(f"look-ahead in {ahead} of {len(verdicts)} checks: a backtest of it is worth nothing")
    elif wrong:
        parts.append(f"no look-ahead, but {wrong} of {len(verdicts)} checks failed")
    else:
        parts.append("no signal changed when the future was added, and windows say what the whole history says")
    return "\n\n".join(parts)


def _words(verdict: Verdict) -> str:
    if verdict.is_clean:
        return "fine" if verdict.opinions else "had no opinion: nothing is shown"
    if verdict.error:
        return "raised"
    found = (
        (verdict.changed_bars, "looks ahead"),
        (verdict.unlike_bars, "lookback too short"),
        (verdict.faulty_bars, "nonsense"),
    )
    return ", ".join(words for count, words in found if count)


def _findings(verdict: Verdict) -> str:
    lines = [f"{verdict.strategy} on {verdict.symbol}:"]
    if verdict.error:
        lines.append(f"  {verdict.error}")
    if verdict.changed_bars:
        lines.append(f"  {verdict.changed_bars} bars changed when the future was added")
        lines += [f"    {_line(change)} with {change.known_bars} candles" for change in verdict.changed[:SHOWN]]
    if verdict.unlike_bars:
        many = "more than that" if verdict.needed_bars is None else f"{verdict.needed_bars}"
        lines.append(
            f"  {verdict.unlike_bars} of {verdict.windows} windows of lookback_bars ({verdict.lookback_bars}) say"
            f" something else than the whole history; it needs {many}"
        )
        lines += [f"    {_line(change)} in the window" for change in verdict.unlike[:SHOWN]]
    if verdict.faulty_bars:
        lines.append(f"  {verdict.faulty_bars} answers are no opinion: direction, confidence (0..1), stop or target")
    return "\n".join(lines)


def _line(change: Change) -> str:
    return (
        f"candle {change.bar} ({format_utc(change.open_ns)}): {change.field} {change.with_future:.8g} with all candles,"
        f" {change.without_future:.8g}"
    )
