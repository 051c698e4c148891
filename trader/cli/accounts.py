"""`report` and `verify`: what the ledger adds up to, and whether everything agrees."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trader.cli.output import Row, duration, emit, money, number, pairs, percent, plain_values, table
from trader.cli.place import instance_paths
from trader.errors import EXIT_FAILED, EXIT_OK, NotRunning

if TYPE_CHECKING:
    from trader.ledger.audit import AuditReport
    from trader.state.paths import InstancePaths
    from trader.state.reader import StateReader

#: how many of the last round trips and days the text shows; --json has them all
SHOWN = 15

GROUP_COLUMNS = {"name": "", "trades": "TRADES", "won": "WON", "result": "RESULT", "paid": "FEES", "best": "BEST"}
TRADE_COLUMNS = {
    "exit_time": "CLOSED",
    "symbol": "SYMBOL",
    "side": "SIDE",
    "quantity": "QUANTITY",
    "entry_price": "ENTRY",
    "exit_price": "EXIT",
    "result": "RESULT",
    "exit_reason": "REASON",
    "held": "HELD",
}
DAY_COLUMNS = {"day": "DAY", "start": "START", "end": "END", "result": "RESULT", "trades": "TRADES"}


def report(arguments: Namespace) -> int:
    """Report performance."""
    from trader.ledger.reader import LedgerReader
    from trader.ledger.statistics import report as statistics

    with LedgerReader(instance_paths(arguments).ledger) as reader:
        document = plain_values(statistics(reader))
    if arguments.html is not None:
        _write_page(arguments.html, document)
    emit(document, _report_text(document), as_json=arguments.json)
    return EXIT_OK


def verify(arguments: Namespace) -> int:
    """Audit; fail on any difference."""
    from trader.ledger.audit import audit

    paths = instance_paths(arguments)
    state = _state_or_none(paths)
    result = audit(paths, state)
    document = {
        "clean": result.is_clean,
        "running": state is not None,
        "checks": dict(result.checks),
        "differences": [
            {"check": item.check, "subject": item.subject, "expected": item.expected, "found": item.found}
            for item in result.differences
        ],
    }
    emit(document, _audit_text(result, running=state is not None), as_json=arguments.json)
    return EXIT_OK if result.is_clean else EXIT_FAILED


def _state_or_none(paths: InstancePaths) -> StateReader | None:
    from trader.state.reader import StateReader

    reader = StateReader(paths)
    try:
        reader.service()
    except NotRunning:
        return None
    return reader


def _audit_text(result: AuditReport, *, running: bool) -> str:
    counts = pairs([(name.replace("_", " "), count) for name, count in result.checks.items()])
    if not running:
        counts += "\n(no service runs: shared memory was not compared)"
    if result.is_clean:
        return f"{counts}\n\neverything agrees"
    found = "\n".join(str(item) for item in result.differences)
    return f"{counts}\n\n{len(result.differences)} differences:\n{found}"


def _report_text(document: dict[str, Any]) -> str:
    summary, trades, days = document["summary"], document["trades"], document["days"]
    parts = [_summary_text(summary)]
    for key, title in (("by_symbol", "SYMBOL"), ("by_strategy", "STRATEGY"), ("by_reason", "EXIT REASON")):
        rows = [_group_row(name, figures) for name, figures in document[key].items()]
        if rows:
            parts.append(table(rows, GROUP_COLUMNS | {"name": title}, ""))
    if days:
        parts.append(_titled("days", len(days), table([_day_row(day) for day in days[-SHOWN:]], DAY_COLUMNS, "")))
    rows = [_trade_row(trade) for trade in trades[-SHOWN:]]
    parts.append(_titled("round trips", len(trades), table(rows, TRADE_COLUMNS, "no round trips yet")))
    return "\n\n".join(parts)


def _write_page(path: Path, document: dict[str, Any]) -> None:
    from itertools import accumulate

    from trader.cli.html import page

    summary, trades = document["summary"], document["trades"]
    tables: list[tuple[str, Sequence[Row], Row]] = [
        (title, [_group_row(name, figures) for name, figures in document[key].items()], GROUP_COLUMNS)
        for key, title in (("by_symbol", "By symbol"), ("by_strategy", "By strategy"), ("by_reason", "By exit reason"))
    ]
    tables.append(("Days", [_day_row(day) for day in document["days"]], DAY_COLUMNS))
    tables.append(("Round trips", [_trade_row(trade) for trade in trades], TRADE_COLUMNS))
    curve = list(accumulate((float(trade["pnl"]) for trade in trades), initial=0.0))
    text = page(f"trader: {summary['instance']}", _summary_text(summary), curve, tables)
    path.write_text(text, encoding="utf-8")


def _titled(what: str, count: int, text: str) -> str:
    return f"last {SHOWN} of {count} {what}:\n{text}" if count > SHOWN else text


def _summary_text(summary: dict[str, Any]) -> str:
    quote = summary["quote"]
    won = summary["win_rate_frac"]
    return pairs(
        [
            ("instance", f"{summary['instance']} ({'LIVE' if summary['mode'] == 'live' else 'PAPER'})"),
            ("until", summary["until"]),
            ("initial capital", money(summary["initial_capital"], quote)),
            ("equity", money(summary["equity"], quote)),
            ("total result", f"{money(summary['total_pnl'], quote)} ({summary['total_pnl_percent']:+.2f} %)"),
            ("realised", money(summary["realised_pnl"], quote)),
            ("fees", money(summary["fees_paid"], quote)),
            ("worst drawdown", percent(summary["max_drawdown_frac"])),
            ("round trips", f"{summary['trades']}" + (f", {percent(won)} won" if won is not None else "")),
            ("profit factor", _ratio(summary["profit_factor"])),
            ("expectancy", money(summary["expectancy"], quote) if summary["expectancy"] is not None else None),
            ("open positions", summary["open_positions"]),
            ("halts", ", ".join(summary["halts"]) or None),
        ]
    )


def _group_row(name: str, figures: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "trades": figures["trades"],
        "won": percent(figures["win_rate_frac"]),
        "result": money(figures["pnl"]),
        "paid": money(figures["fees"]),
        "best": money(figures["best"]),
    }


def _day_row(day: dict[str, Any]) -> dict[str, Any]:
    return {
        "day": day["day"],
        "start": money(day["start_equity"]),
        "end": money(day["end_equity"]),
        "result": money(day["pnl"]),
        "trades": day["trades"],
    }


def _trade_row(trade: dict[str, Any]) -> dict[str, Any]:
    shown = {name: trade[name] for name in ("exit_time", "symbol", "side", "exit_reason")}
    figures = {name: number(float(trade[name])) for name in ("quantity", "entry_price", "exit_price")}
    return shown | figures | {"result": money(float(trade["pnl"])), "held": duration(trade["held_s"])}


def _ratio(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"
