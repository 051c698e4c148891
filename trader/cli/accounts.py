"""`report` and `verify`: what the ledger adds up to, and whether everything agrees."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trader.cli.output import Row, duration, emit, money, number, pairs, percent, plain_values, table
from trader.cli.place import instance_paths
from trader.errors import EXIT_FAILED, EXIT_OK, NotRunning, TraderError

if TYPE_CHECKING:
    from trader.ledger.audit import AuditReport
    from trader.state.paths import InstancePaths
    from trader.state.reader import StateReader

#: how many of the last round trips and days the text shows; --json has them all
SHOWN = 15

#: points of the page's curve: more than a screen has columns
CURVE_POINTS = 1800

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
RECENT_COLUMNS = {
    "name": "LATELY",
    "start": "FROM",
    "end": "TO",
    "result": "RESULT",
    "percent": "",
    "fall": "DRAWDOWN",
    "trades": "TRADES",
    "won": "WON",
}
DAY_COLUMNS = {"day": "DAY", "start": "START", "end": "END", "result": "RESULT", "trades": "TRADES"}


def report(arguments: Namespace) -> int:
    """Report performance."""
    from trader.ledger.metrics import MetricsReader
    from trader.ledger.reader import LedgerReader
    from trader.ledger.statistics import report as statistics

    paths = instance_paths(arguments)
    history = MetricsReader(paths.metrics)
    try:
        with LedgerReader(paths.ledger) as reader:
            document = plain_values(statistics(reader, history))
        if arguments.html is not None:
            _write_page(arguments.html, document, [equity for _, equity, _ in history.equity(points=CURVE_POINTS)])
    finally:
        history.close()
    emit(document, _report_text(document), as_json=arguments.json)
    return EXIT_OK


def verify(arguments: Namespace) -> int:
    """Audit; fail on any difference."""
    from trader.ledger.audit import audit

    paths = instance_paths(arguments)
    state = _state_or_none(paths)
    result, venue = _with_venue(arguments, paths, audit(paths, state))
    document = {
        "clean": result.is_clean,
        "running": state is not None,
        "venue": venue,
        "checks": dict(result.checks),
        "differences": [
            {"check": item.check, "subject": item.subject, "expected": item.expected, "found": item.found}
            for item in result.differences
        ],
    }
    text = _audit_text(result, running=state is not None)
    emit(document, f"{text}\n(venue: {venue})" if venue else text, as_json=arguments.json)
    return EXIT_OK if result.is_clean else EXIT_FAILED


def _with_venue(arguments: Namespace, paths: InstancePaths, result: AuditReport) -> tuple[AuditReport, str | None]:
    """Return the audit with the exchange's own books, and what is to be said of them; None on paper."""
    from trader.ledger.audit import AuditReport
    from trader.ledger.reader import LedgerReader

    with LedgerReader(paths.ledger) as reader:
        if reader.meta()["mode"] != "live":
            return result, None
    from trader.cli.place import config_path
    from trader.config.loading import load
    from trader.engine.venue_audit import audit_venue

    try:
        count, found = audit_venue(load(config_path(arguments)), paths)
    except TraderError as error:
        return result, f"not compared: {error}"
    checks = {**result.checks, "venue": count}
    return AuditReport(checks, (*result.differences, *found)), "compared"


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


GROUPS = (
    ("by_symbol", "SYMBOL", "By symbol"),
    ("by_strategy", "STRATEGY", "By strategy"),
    ("by_exit_reason", "EXIT REASON", "By exit reason"),
    ("by_hour", "HOUR (UTC)", "By hour of day"),
)


def _report_text(document: dict[str, Any]) -> str:
    summary, trades, days = document["summary"], document["trades"], document["days"]
    quote, activity = summary["quote"], document["trading_activity"]
    parts = [_summary_text(summary), _metrics_text(document["metrics"], quote)]
    if document["recent_performance"]:
        rows = [_recent_row(name, figures) for name, figures in document["recent_performance"].items()]
        parts += [table(rows, RECENT_COLUMNS, ""), _capital_text(document["capital_stats"], quote)]
    if trades:
        parts.append(_activity_text(activity, quote))
    for key, title, _ in GROUPS:
        rows = [_group_row(name, figures) for name, figures in activity[key].items()]
        if rows:
            parts.append(table(rows, GROUP_COLUMNS | {"name": title}, ""))
    if days:
        parts.append(_titled("days", len(days), table([_day_row(day) for day in days[-SHOWN:]], DAY_COLUMNS, "")))
    rows = [_trade_row(trade) for trade in trades[-SHOWN:]]
    parts.append(_titled("round trips", len(trades), table(rows, TRADE_COLUMNS, "no round trips yet")))
    return "\n\n".join(part for part in parts if part)


def _write_page(path: Path, document: dict[str, Any], curve: Sequence[float]) -> None:
    from itertools import accumulate

    from trader.cli.html import page

    summary, trades, activity = document["summary"], document["trades"], document["trading_activity"]
    tables: list[tuple[str, Sequence[Row], Row]] = []
    if document["recent_performance"]:
        recent = [_recent_row(name, figures) for name, figures in document["recent_performance"].items()]
        tables.append(("Lately", recent, RECENT_COLUMNS | {"name": ""}))
    tables += [
        (title, [_group_row(name, figures) for name, figures in activity[key].items()], GROUP_COLUMNS)
        for key, _, title in GROUPS
    ]
    tables.append(("Days", [_day_row(day) for day in document["days"]], DAY_COLUMNS))
    tables.append(("Round trips", [_trade_row(trade) for trade in trades], TRADE_COLUMNS))
    quote = summary["quote"]
    head = [_summary_text(summary), _metrics_text(document["metrics"], quote)]
    head += [_capital_text(document["capital_stats"], quote), _activity_text(activity, quote) if trades else ""]
    if len(curve) > 1:
        words, line = "Equity, marked to market", list(curve)
    else:
        words = "Result after each round trip"
        line = list(accumulate((float(trade["pnl"]) for trade in trades), initial=0.0))
    text = page(f"trader: {summary['instance']}", "\n\n".join(part for part in head if part), line, tables, words)
    path.write_text(text, encoding="utf-8")


def _metrics_text(figures: dict[str, Any], quote: str) -> str:
    """Return what the curve comes to; nothing before the first event."""
    if not figures:
        return ""
    hint = ", indicative: below 30 days" if figures["indicative"] else ""
    sharpe, sortino, calmar, ratio, sqn = (
        _ratio(figures[name]) or "-" for name in ("sharpe", "sortino", "calmar", "expectancy_ratio", "sqn")
    )
    at_midnights = percent(figures["max_drawdown_daily_frac"])
    return pairs(
        [
            ("over", f"{figures['days']:.1f} days, {figures['daily_returns']} daily returns{hint}"),
            ("Sharpe / Sortino / Calmar", f"{sharpe} / {sortino} / {calmar}"),
            ("growth a year", percent(figures["cagr_frac"])),
            ("volatility a year", percent(figures["volatility_frac"])),
            ("worst drawdown", f"{percent(figures['max_drawdown_frac'])}, {at_midnights} at midnights"),
            ("longest drawdown", duration(figures["longest_drawdown_s"])),
            ("expectancy ratio / SQN", f"{ratio} / {sqn}"),
            ("average win / loss", f"{money(figures['average_win'])} / {money(figures['average_loss'], quote)}"),
            ("losses in a row", figures["longest_loss_streak"]),
            ("time in the market", percent(figures["exposure_time_frac"])),
            ("turnover", f"{figures['turnover']:.1f} times the equity" if figures["turnover"] is not None else None),
        ]
    )


def _capital_text(stats: dict[str, Any] | None, quote: str) -> str:
    if not stats or not stats["count"]:
        return ""
    names = ("mean", "median", "min", "max", "std")
    return pairs(
        [
            ("capital over", f"{stats['count']:,} snapshots from {stats['since']} to {stats['until']}"),
            (" / ".join(names), " / ".join(money(stats[name]) for name in names) + f" {quote}"),
        ]
    )


def _activity_text(activity: dict[str, Any], quote: str) -> str:
    mean, median, least, most = (duration(activity["held_s"][name]) for name in ("mean", "median", "min", "max"))
    return pairs(
        [
            *((f"{which} round trip", _extreme(activity[which], quote)) for which in ("best", "worst")),
            ("held", f"{mean} on average, median {median}, {least} to {most}"),
        ]
    )


def _extreme(trip: dict[str, Any], quote: str) -> str:
    return f"{money(trip['pnl'], quote)}: {trip['symbol']}, {trip['exit_time']}, {trip['exit_reason']}"


def _recent_row(name: str, figures: dict[str, Any]) -> dict[str, Any]:
    won = figures["win_rate"]
    return {
        "name": name,
        "start": money(figures["start_capital"]),
        "end": money(figures["end_capital"]),
        "result": money(figures["pnl"]),
        "percent": f"{figures['pnl_percent']:+.2f} %" if figures["pnl_percent"] is not None else None,
        "fall": f"{figures['max_drawdown']:.2f} %",
        "trades": figures["trades"],
        "won": f"{won:.2f} %" if won is not None else None,
    }


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
            ("today", f"{money(summary['daily_pnl'], quote)}, {summary['daily_trades']} entries"),
            ("worst drawdown", percent(summary["max_drawdown_frac"])),
            ("round trips", f"{summary['trades']}" + (f", {percent(won)} won" if won is not None else "")),
            ("profit factor", _ratio(summary["profit_factor"])),
            ("expectancy", money(summary["expectancy"], quote) if summary["expectancy"] is not None else None),
            ("open positions", summary["open_positions"]),
            ("cycles / decisions", f"{summary['loops']:,} / {summary['decisions']:,}"),
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
