"""What a system driven from Python says of itself: from shared memory, or from the ledger when it is stopped."""

from __future__ import annotations

from typing import Any

import numpy as np

from trader.cli import documents
from trader.cli.checkup import health
from trader.codes import Breaker
from trader.config.sections import Config
from trader.errors import LedgerError, NotRunning, StateError
from trader.state.paths import InstancePaths
from trader.state.reader import StateReader

Document = dict[str, Any]


def status(paths: InstancePaths, config: Config) -> Document:
    """Return how a service is doing; see `AutonomousTradingSystem.get_status`.

    Parameters
    ----------
    paths : InstancePaths
        Of the instance.
    config : Config
        In force.
    """
    reader = StateReader(paths)
    try:
        found = documents.status(reader)
    except (NotRunning, StateError):
        found = {"running": False, "account": None, "workers": [], "strategies": []}
    account = found.get("account") or _account_on_disk(paths)
    uptime_s = float(found.get("uptime_s") or 0.0)
    return {
        "is_running": found["running"] and found.get("state") in ("running", "degraded", "reloading"),
        "state": found.get("state", "stopped"),
        "mode": found.get("mode", "live" if config.engine.enable_trading else "paper"),
        "uptime_seconds": uptime_s,
        "uptime_formatted": format_span(uptime_s),
        "loops": int(account["cycles"]) if account else 0,
        "decisions": int(account["decisions"]) if account else 0,
        "risk_stats": _risk_stats(account, config),
        "error_stats": _error_stats(reader, found["workers"]),
        "health": _health(paths, config),
        "strategies": found["strategies"],
        "workers": found["workers"],
    }


def performance(paths: InstancePaths, config: Config) -> Document:
    """Return performance; see `AutonomousTradingSystem.get_performance_report`."""
    from trader.cli.output import plain_values
    from trader.ledger.metrics import MetricsReader
    from trader.ledger.reader import LedgerReader
    from trader.ledger.statistics import report

    history = MetricsReader(paths.metrics)
    try:
        with LedgerReader(paths.ledger) as reader:
            found: Document = plain_values(report(reader, history))
    except LedgerError:
        return _empty(config)
    finally:
        history.close()
    return found


def format_span(seconds: float) -> str:
    """Return a length of time as days, hours, minutes and seconds, as in "1d 02h 03m 04s"."""
    whole = int(seconds)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, left = divmod(rest, 60)
    return (f"{days}d " if days else "") + f"{hours:02d}h {minutes:02d}m {left:02d}s"


def _account_on_disk(paths: InstancePaths) -> Document | None:
    from trader.ledger.reader import LedgerReader

    try:
        with LedgerReader(paths.ledger) as reader:
            record: np.void | None = reader.account()
    except LedgerError:
        return None
    return None if record is None else documents.account(record)


def _risk_stats(account: Document | None, config: Config) -> Document:
    if account is None:
        capital = float(config.initial_capital)
        empty = dict.fromkeys(("total_pnl", "total_pnl_percent", "daily_pnl", "drawdown_percent", "win_rate"), 0.0)
        counts = dict.fromkeys(("open_positions", "daily_trades", "total_trades"), 0)
        return {"current_capital": capital, "initial_capital": capital, **empty, **counts, "halts": []}
    trips = int(account["round_trips"])
    return {
        "current_capital": account["equity"],
        "initial_capital": account["initial_capital"],
        "cash": account["cash"],
        "total_pnl": account["total_pnl"],
        "total_pnl_percent": (account["total_pnl_frac"] or 0.0) * 100.0,
        "daily_pnl": account["day_pnl"],
        "unrealised_pnl": account["unrealised_pnl"],
        "open_positions": account["open_positions"],
        "daily_trades": account["day_trades"],
        "total_trades": trips,
        "win_rate": 100.0 * account["wins"] / trips if trips else 0.0,
        "drawdown_percent": (account["drawdown_frac"] or 0.0) * 100.0,
        "max_drawdown_percent": (account["max_drawdown_frac"] or 0.0) * 100.0,
        "halts": account["halts"],
    }


def _error_stats(reader: StateReader, workers: list[Document]) -> Document:
    restarts = sum(int(worker["restarts"]) for worker in workers)
    try:
        venue = reader.venue()
    except (NotRunning, StateError):
        venue = None
    errors, recoveries = (int(venue["errors"]), int(venue["recoveries"])) if venue is not None else (0, 0)
    return {
        "total_errors": errors,
        "consecutive_errors": int(venue["errors_in_row"]) if venue is not None else 0,
        "errors_in_window": int(venue["errors_in_window"]) if venue is not None else 0,
        "recoveries": recoveries,
        "breaker": Breaker(int(venue["breaker"])).name.lower() if venue is not None else "closed",
        "worker_restarts": restarts,
    }


def _health(paths: InstancePaths, config: Config) -> Document:
    rows = health(paths, config)
    levels = [row["level"] for row in rows]
    worst = next((level for level in ("grave", "warning") if level in levels), "ok")
    return {"status": worst, "checks": rows}


def _empty(config: Config) -> Document:
    capital = float(config.initial_capital)
    summary = {
        "initial_capital": capital,
        "current_capital": capital,
        "total_pnl": 0.0,
        "total_pnl_percent": 0.0,
        "daily_pnl": 0.0,
        "total_trades": 0,
        "win_rate": 0.0,
        "max_drawdown": 0.0,
        "open_positions": 0,
        "loops": 0,
        "decisions": 0,
    }
    return {"summary": summary, "recent_performance": {}, "trading_activity": {}, "capital_stats": {}, "trades": []}
