"""Commands that only look: from shared memory while the service runs, from the ledger always."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from trader.cli import documents
from trader.cli.output import duration, emit, money, pairs, percent, plain_values, table
from trader.cli.place import instance_paths
from trader.errors import EXIT_FAILED, EXIT_OK, LedgerError, NotRunning, StateError

if TYPE_CHECKING:
    import numpy as np

    from trader.state.paths import InstancePaths

POSITION_COLUMNS = {
    "symbol": "SYMBOL",
    "side": "SIDE",
    "quantity": "QUANTITY",
    "entry_price": "ENTRY",
    "mark_price": "LAST",
    "unrealised_pnl": "RESULT",
    "stop_price": "STOP",
    "target_price": "TARGET",
    "trailing": "TRAILING",
    "expires": "EXPIRES",
    "entry_time": "SINCE",
    "strategy": "STRATEGY",
    "rules": "CLOSED WHEN",
}
ORDER_COLUMNS = {
    "order_id": "ID",
    "created": "TIME",
    "symbol": "SYMBOL",
    "side": "SIDE",
    "kind": "KIND",
    "quantity": "QUANTITY",
    "filled_quantity": "FILLED",
    "average_price": "PRICE",
    "state": "STATE",
    "reason": "REASON",
    "strategy": "STRATEGY",
    "note": "NOTE",
}
DECISION_COLUMNS = {
    "decision_id": "ID",
    "time": "TIME",
    "symbol": "SYMBOL",
    "strategy": "STRATEGY",
    "direction": "DIRECTION",
    "confidence": "CONFIDENCE",
    "decided": "DECIDED",
    "order_id": "ORDER",
    "detail": "DETAIL",
    "note": "WHY",
}
STRATEGY_COLUMNS = {
    "name": "STRATEGY",
    "asked": "ASKED",
    "failures": "FAILURES",
    "last_failure": "LAST FAILURE",
    "state": "STATE",
}
WORKER_COLUMNS = {
    "role": "WORKER",
    "state": "STATE",
    "pid": "PID",
    "uptime": "UP",
    "restarts": "RESTARTS",
    "beat": "LAST BEAT",
    "memory": "MEMORY",
}


def status(arguments: Namespace) -> int:
    """Show the running service; fail when none runs."""
    from trader.state.reader import StateReader

    paths = instance_paths(arguments)
    try:
        document = documents.status(StateReader(paths))
    except NotRunning as error:
        document = {"running": False, "reason": str(error), "account": _last_account(paths)}
        emit(document, _stopped_text(document), as_json=arguments.json)
        return EXIT_FAILED
    emit(document, _running_text(document), as_json=arguments.json)
    return EXIT_OK


def positions(arguments: Namespace) -> int:
    """Show open positions and their exit plans."""
    from trader.ledger.reader import LedgerReader

    paths = instance_paths(arguments)
    with LedgerReader(paths.ledger) as reader:
        held = reader.positions()
    found = documents.positions(held, _live_slots(paths))
    rows = [
        row
        | {"trailing": _percent_or_none(row["trailing_stop_frac"]), "rules": "; ".join(row["invalidations"]) or None}
        for row in found
    ]
    emit(found, table(plain_values(rows), POSITION_COLUMNS, "no open positions"), as_json=arguments.json)
    return EXIT_OK


def orders(arguments: Namespace) -> int:
    """Show orders, the newest first."""
    from trader.ledger.reader import LedgerReader

    with LedgerReader(instance_paths(arguments).ledger) as reader, reader.snapshot():
        found = documents.orders(reader.orders(arguments.limit or 20, arguments.symbol), reader)
    emit(found, table(plain_values(found), ORDER_COLUMNS, "no orders"), as_json=arguments.json)
    return EXIT_OK


def decisions(arguments: Namespace) -> int:
    """Show decisions, the newest first."""
    from trader.ledger.reader import LedgerReader

    with LedgerReader(instance_paths(arguments).ledger) as reader, reader.snapshot():
        found = documents.decisions(
            reader.decisions(
                arguments.limit or (20 if arguments.since is None else None),
                arguments.symbol,
                arguments.since,
                idle=not arguments.acted,
                until_ns=arguments.until,
            )
        )
    rows = [row | {"confidence": _rounded(row["confidence"])} for row in found]
    emit(found, table(plain_values(rows), DECISION_COLUMNS, "no decisions"), as_json=arguments.json)
    return EXIT_OK


def _live_slots(paths: InstancePaths) -> dict[str, np.void]:
    from trader.state.reader import StateReader

    try:
        book = StateReader(paths).book()
    except (NotRunning, StateError):
        return {}
    return dict(zip(book.symbols, book.slots, strict=False))


def _last_account(paths: InstancePaths) -> dict[str, Any] | None:
    from trader.ledger.reader import LedgerReader

    try:
        with LedgerReader(paths.ledger) as reader:
            record = reader.account()
            return None if record is None else documents.account(record) | {"quote": reader.meta().get("quote")}
    except LedgerError:
        return None


def _running_text(document: dict[str, Any]) -> str:
    quote = document["quote"] or ""
    # a service that has not yet its name in shared memory still has a state
    name = document["instance"] or "trader"
    mode = "LIVE: real orders" if document["mode"] == "live" else "PAPER"
    head = f"{name}: {document['state']}, {mode}, up {duration(document['uptime_s'])}, process {document['pid']}"
    entries = _entries(document)
    account = document["account"]
    body = _account_text(account, quote) if account else "account  the engine has not published one yet"
    workers = [
        {
            **worker,
            "uptime": duration(worker["uptime_s"]),
            "beat": duration(worker["beat_age_s"]),
            "memory": f"{worker['memory_bytes'] / 2**20:.0f} MiB" if worker["memory_bytes"] else "-",
        }
        for worker in document["workers"]
    ]
    parts = [f"{head}\nentries  {entries}", body]
    if document["strategies"]:
        rows = [{**one, "state": _strategy_state(one)} for one in document["strategies"]]
        parts.append(table(rows, STRATEGY_COLUMNS, ""))
    if document["venue"]:
        parts.append(_venue_text(document["venue"]))
    return "\n\n".join((*parts, table(workers, WORKER_COLUMNS, "no workers")))


def _venue_text(venue: dict[str, Any]) -> str:
    """Return the exchange in a few lines; with real orders what is there and what waits for the owner."""
    state = "closed for maintenance" if venue["maintenance"] else "connected" if venue["connected"] else "silent"
    lines: list[tuple[str, object]] = [
        ("exchange", f"{state}, clock {venue['clock_skew_s']:+.1f} s"),
        ("breaker", f"{venue['breaker']}, {venue['errors_in_window']} errors lately"),
    ]
    if "compared_s" in venue:
        ago = "not yet" if venue["compared_s"] is None else f"{duration(venue['compared_s'])} ago"
        accepts = "; `trader verify` names them, `trader accept` ends them" if venue["differences"] else ""
        lines += [
            ("compared", f"{ago}, {venue['differences']} unexplained differences{accepts}"),
            ("orders there", f"{venue['orders_open']} open, {venue['orders_unknown']} looked up"),
            ("stops there", f"{venue['stops_standing']} standing, {venue['stops_missing']} missing"),
        ]
    return pairs(lines)


def _strategy_state(strategy: dict[str, Any]) -> str:
    if strategy["disabled"]:
        return f"DISABLED after {strategy['failures_in_row']} failures in a row: mend it and reload"
    return f"failing, {strategy['failures_in_row']} in a row" if strategy["failures_in_row"] else "fine"


def _entries(document: dict[str, Any]) -> str:
    account = document["account"]
    causes = [
        *(["the supervisor's lease has run out"] if not document["lease_s"] else []),
        *(["the monitor has not given clearance"] if not document["clear_s"] else []),
        *([f"halted: {', '.join(account['halts'])}"] if account and account["halts"] else []),
    ]
    return f"refused ({'; '.join(causes)})" if causes else "allowed"


def _account_text(account: dict[str, Any], quote: str) -> str:
    rate = account["wins"] / account["round_trips"] if account["round_trips"] else None
    return pairs(
        [
            ("equity", f"{money(account['equity'], quote)} ({_signed(account['total_pnl_frac'])})"),
            ("cash", money(account["cash"], quote)),
            ("exposure", money(account["gross_exposure"], quote)),
            ("total result", money(account["total_pnl"], quote)),
            ("today", money(account["day_pnl"], quote)),
            ("drawdown", f"{percent(account['drawdown_frac'])}, at worst {percent(account['max_drawdown_frac'])}"),
            ("open positions", account["open_positions"]),
            ("round trips", f"{account['round_trips']} ({percent(rate)} won)" if rate is not None else 0),
            ("entries today", account["day_trades"]),
            ("cycles", account["cycles"]),
            ("market time", account["market_time"]),
        ]
    )


def _stopped_text(document: dict[str, Any]) -> str:
    account = document["account"]
    head = f"not running: {document['reason']}"
    return head if account is None else f"{head}\n\n{_account_text(account, account['quote'] or '')}"


def _signed(fraction: float | None) -> str:
    return "-" if fraction is None else f"{fraction:+.2%}".replace("%", " %")


def _percent_or_none(fraction: float | None) -> str | None:
    return None if fraction is None else percent(fraction)


def _rounded(confidence: float | None) -> float | None:
    return None if confidence is None else round(confidence, 3)
