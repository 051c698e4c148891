"""The status document: a pure function of a sample, in plain values that any JSON reader understands.

Times are UTC: ISO 8601 texts where a person or a script reads them, `_ms` (since the Unix epoch) where the page
counts with them. What can't be known is null, never a guess.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from trader import __version__
from trader.clock import NS_PER_S, format_utc
from trader.codes import (
    HALT_TEXT,
    LIMIT_TEXT,
    VETO_TEXT,
    Breaker,
    Halt,
    Level,
    Limit,
    Role,
    ServiceState,
    Veto,
    WorkerState,
)
from trader.config.sections import Config
from trader.core.rulebook import rules_of
from trader.dashboard.source import Sample
from trader.units import timeframe_ns

NS_PER_MS = 1_000_000

Document = dict[str, Any]


def status_document(sample: Sample, config: Config, account: Any, positions: list[Document] | None = None) -> Document:
    """Return everything that the page shows of the present.

    Parameters
    ----------
    sample : Sample
        What could be read.
    config : Config
        The configuration that the dashboard runs on.
    account : record or mapping or None
        Of the sample's book, or the ledger's while there is no book; fields of `core.records.ACCOUNT`.
    positions : list of dict, optional
        To be shown in place of the book's.

    Returns
    -------
    dict
        The document, ready for JSON.
    """
    return {
        "time": format_utc(sample.utc_ns, "milliseconds"),
        "sampled_ms": sample.utc_ns // NS_PER_MS,
        "source": _source_name(sample, account),
        "service": service_view(sample, config),
        "market": market_view(sample, config, account),
        "entries": entries_view(sample, account),
        "account": account_view(account) if account is not None else None,
        "limits": limits_view(sample, account),
        "positions": positions_view(sample, config) if positions is None else positions,
        "workers": workers_view(sample),
        "strategies": strategies_view(sample, config),
        "health": checks_view(sample),
        "exchange": exchange_view(sample),
    }


def _source_name(sample: Sample, account: Any) -> str:
    if sample.engine_up:
        return "engine"
    if sample.book is not None:
        return "memory"
    return "ledger" if account is not None else "none"


def service_view(sample: Sample, config: Config) -> Document:
    """Return what the supervisor says of the service."""
    service = sample.service
    running = service is not None and int(service["state"]) not in (ServiceState.INIT, ServiceState.STOPPED)
    live = bool(service["live"]) if service is not None else config.engine.enable_trading
    return {
        "running": running,
        "state": ServiceState(int(service["state"])).name.lower() if service is not None else "stopped",
        "mode": "live" if live else "paper",
        "instance": config.instance,
        "quote": config.quote,
        "version": __version__,
        "pid": int(service["pid"]) if service is not None else None,
        "started": format_utc(int(service["started_ns"]), "seconds") if service is not None else None,
        "uptime_s": sample.age_s(int(service["started_boot_ns"])) if service is not None else None,
        "epoch": int(service["config_epoch"]) if service is not None else None,
        "reloads": int(service["reloads"]) if service is not None else 0,
        "reload_rejected": int(service["reload_rejected"]) if service is not None else 0,
    }


def market_view(sample: Sample, config: Config, account: Any) -> Document:
    """Return the market's time, how fresh its data is, and when the next decision is due."""
    beat = (sample.beats or {}).get(Role.ENGINE)
    age_s = sample.age_s(int(beat["fed_ns"])) if beat is not None else None
    event_ns = int(account["event_ns"]) if account is not None else 0
    market = config.market
    pace = market_pace(config)
    return {
        "source": market.source,
        "timeframe": market.timeframe,
        "speed": pace,
        "symbols": len(market.symbols),
        "names": list(market.symbols),
        "strategies": strategy_names(sample, config),
        "time": format_utc(event_ns, "seconds") if event_ns else None,
        "time_ms": event_ns // NS_PER_MS if event_ns else None,
        "data_age_s": age_s,
        "stale": sample.engine_up and age_s is not None and age_s > stale_after_s(config),
        "next_decision_s": _next_decision_s(config, event_ns, pace, age_s) if sample.engine_up else None,
    }


def market_pace(config: Config) -> float | None:
    """Return market seconds per second; None for a replay without pace."""
    if config.market.source == "exchange":
        return 1.0
    return config.market.speed or None


def stale_after_s(config: Config) -> float:
    """Return how old market data may be before it is shown as stale [real seconds]."""
    market_s = config.market.stale_after_seconds or 3 * timeframe_ns(config.market.timeframe) / NS_PER_S
    return max(5.0, market_s / (market_pace(config) or 1.0) + 2.0)


def _next_decision_s(config: Config, event_ns: int, pace: float | None, age_s: float | None) -> float | None:
    if not event_ns or pace is None:
        return None
    interval_ns = round(config.engine.loop_interval_seconds * NS_PER_S)
    left_s = (interval_ns - event_ns % interval_ns) / NS_PER_S / pace
    return max(0.0, left_s - (age_s or 0.0))


def strategy_names(sample: Sample, config: Config) -> list[str]:
    """Return the names of the strategies, by the index that a slot has."""
    if sample.strategies is not None and len(sample.strategies):
        return [name.decode("utf-8", "replace") for name in sample.strategies["name"]]
    named = sample.book.meta.get("strategies") if sample.book is not None else None
    return [str(name) for name in named] if named else [strategy.use for strategy in config.strategies]


def entries_view(sample: Sample, account: Any) -> Document:
    """Return whether entries are allowed, and every reason why not."""
    mask = int(account["halt_mask"]) if account is not None else 0
    reasons = [{"code": _code(halt), "text": HALT_TEXT[halt]} for halt in Halt if mask & halt]
    lease_s = (sample.lease_until_ns - sample.boot_ns) / NS_PER_S if sample.lease_until_ns else None
    clear_s = (sample.clear_until_ns - sample.boot_ns) / NS_PER_S if sample.clear_until_ns else None
    if sample.engine_up:
        if lease_s is None or lease_s < 0:
            reasons.append({"code": "lease", "text": LIMIT_TEXT[Limit.LEASE]})
        if clear_s is None or clear_s < 0:
            vetoes = [
                {"code": f"veto_{_code(veto)}", "text": VETO_TEXT[veto]} for veto in Veto if sample.veto_mask & veto
            ]
            reasons.extend(vetoes or [{"code": "veto", "text": LIMIT_TEXT[Limit.VETO]}])
    return {
        "open": sample.engine_up and not reasons,
        "paused": bool(mask & Halt.PAUSED),
        "reasons": reasons,
        "lease_s": lease_s,
        "clear_s": clear_s,
    }


def _code(flag: Halt | Veto) -> str:
    return (flag.name or "").lower()


def account_view(account: Any) -> Document:
    """Return the account's figures; `account` has the fields of `core.records.ACCOUNT`."""
    equity, initial = float(account["equity"]), float(account["initial_capital"])
    day_start = float(account["day_start_equity"])
    closed = int(account["round_trips"])
    floats = ("cash", "gross_exposure", "unrealised_pnl", "realised_pnl", "fees_paid", "peak_equity", "drawdown_frac")
    counts = ("open_positions", "pending_orders", "round_trips", "wins", "losses", "loss_streak", "day_trades")
    return {
        "equity": equity,
        "initial_capital": initial,
        "total_pnl": equity - initial,
        "total_pnl_frac": _ratio(equity - initial, initial),
        "daily_pnl": equity - day_start,
        "daily_pnl_frac": _ratio(equity - day_start, day_start),
        "day_start_equity": day_start,
        "max_drawdown_frac": float(account["max_drawdown_frac"]),
        "win_frac": int(account["wins"]) / closed if closed else None,
        "cycles": int(account["cycles"]),
        "decisions": int(account["decisions"]),
        "halt_mask": int(account["halt_mask"]),
        **{name: float(account[name]) for name in floats},
        **{name: int(account[name]) for name in counts},
    }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def limits_view(sample: Sample, account: Any) -> list[Document]:
    """Return each limit as used of allowed, the way the risk check counts it."""
    limits = sample.limits
    if limits is None or account is None:
        return []
    equity, day_start = float(account["equity"]), float(account["day_start_equity"])
    loss_frac = max(0.0, -(_ratio(equity - day_start, day_start) or 0.0))
    largest_frac, largest = _largest_exposure(sample, equity)
    open_now = int(account["open_positions"]) + _entries_in_flight(sample)
    gross_frac = _ratio(float(account["gross_exposure"]), equity) or 0.0
    rows: list[Document] = [
        _limit("daily_loss", "Daily loss", loss_frac, limits["max_daily_loss_frac"]),
        _limit("drawdown", "Drawdown", account["drawdown_frac"], limits["max_drawdown_frac"]),
        _limit("open_positions", "Open positions", open_now, limits["max_open_positions"]),
        _limit("daily_trades", "Entries today", int(account["day_trades"]), limits["max_daily_trades"]),
        _limit("symbol_exposure", "Largest position", largest_frac, limits["max_symbol_exposure_frac"], largest),
        _limit("gross_exposure", "Gross exposure", gross_frac, limits["max_gross_exposure_frac"]),
    ]
    if int(limits["loss_streak_limit"]):
        rows.append(_limit("loss_streak", "Losses in a row", int(account["loss_streak"]), limits["loss_streak_limit"]))
    return rows


def _limit(name: str, label: str, used: Any, allowed: Any, note: str = "") -> Document:
    kind = "count" if isinstance(used, int) else "frac"
    convert = int if kind == "count" else float
    return {
        "name": name,
        "label": label,
        "used": convert(used),
        "allowed": convert(allowed),
        "kind": kind,
        "note": note,
    }


def _entries_in_flight(sample: Sample) -> int:
    if sample.book is None:
        return 0
    slots = sample.book.slots
    return int(np.count_nonzero((slots["quantity"] == 0) & (slots["pending_lots"] != 0)))


def _largest_exposure(sample: Sample, equity: float) -> tuple[float, str]:
    if sample.book is None or equity <= 0 or not len(sample.book.slots):
        return 0.0, ""
    held = np.nan_to_num(np.abs(sample.book.slots["quantity"] * sample.book.slots["mark_price"]))
    index = int(np.argmax(held))
    return float(held[index]) / equity, sample.book.symbols[index] if held[index] > 0 else ""


def positions_view(sample: Sample, config: Config) -> list[Document]:
    """Return the open positions and the entries in flight, each with its exit plan."""
    book = sample.book
    if book is None:
        return []
    names = strategy_names(sample, config)
    now_ns = int(book.account["event_ns"])
    return [
        position_view(symbol, slot, now_ns, names)
        for symbol, slot in zip(book.symbols, book.slots, strict=False)
        if slot["quantity"] != 0 or slot["pending_lots"] != 0
    ]


def position_view(symbol: str, slot: Any, now_ns: int, strategies: list[str]) -> Document:
    """Return one position; `slot` has the fields of `core.records.SLOT`."""
    quantity, mark, entry = float(slot["quantity"]), float(slot["mark_price"]), float(slot["entry_price"])
    side = (quantity > 0) - (quantity < 0)
    stop, kind = _effective_stop(slot, side)
    target = float(slot["target_price"])
    expires_ns = int(slot["expires_ns"])
    return {
        "symbol": symbol,
        "side": ("none", "long", "short")[side],
        "strategy": _strategy(slot, side, strategies),
        "quantity": abs(quantity),
        "entry_price": entry if side else None,
        "entry_time": format_utc(int(slot["entry_ns"]), "seconds") if side else None,
        "entry_ms": int(slot["entry_ns"]) // NS_PER_MS if side else None,
        "age_s": max(0, now_ns - int(slot["entry_ns"])) / NS_PER_S if side else None,
        "mark_price": _known(mark),
        "notional": _known(abs(quantity) * mark),
        "unrealised_pnl": _known(quantity * (mark - entry)) if side else None,
        "unrealised_frac": _known(side * (mark / entry - 1)) if side and entry > 0 else None,
        "stop_price": _known(float(slot["stop_price"])),
        "effective_stop_price": _known(stop),
        "stop_kind": kind,
        "target_price": _known(target),
        "trailing_price": _known(trailing_stop(slot, side)) if side else None,
        "to_stop_frac": _known(stop / mark - 1) if mark > 0 else None,
        "to_target_frac": _known(target / mark - 1) if mark > 0 else None,
        "expires": format_utc(expires_ns, "seconds") if expires_ns else None,
        "expires_in_s": max(0, expires_ns - now_ns) / NS_PER_S if expires_ns else None,
        "rules": [str(rule) for rule in rules_of(slot)],
        "tick_size": float(slot["tick_size"]),
        "lot_size": float(slot["lot_size"]),
        "pending": _pending(slot),
        "blocked": bool(slot["blocked"]),
    }


def _effective_stop(slot: Any, side: int) -> tuple[float, str | None]:
    """Return the stop that is hit first, and whether it is the plan's or the trailing one."""
    stop, trailing = float(slot["stop_price"]), trailing_stop(slot, side)
    if side and math.isfinite(trailing) and not (stop - trailing) * side >= 0:
        return trailing, "trailing"
    return stop, "stop" if math.isfinite(stop) else None


def trailing_stop(slot: Any, side: int) -> float:
    """Return where the trailing stop stands: the nearer one of a fraction's and a range's; NaN without either."""
    trailing = float(slot["best_price"]) * (1 - side * float(slot["trailing_stop_frac"]))
    by_range = float(slot["trailing_price"])
    if math.isfinite(by_range) and not (trailing - by_range) * side >= 0:
        return by_range
    return trailing


def open_mark(position: Document) -> Document:
    """Return an open position as it is drawn over candles."""
    return {
        "side": position["side"],
        "entry_ms": position["entry_ms"],
        "entry_price": position["entry_price"],
        "exit_ms": None,
        "exit_price": None,
        "reason": None,
        "pnl": position["unrealised_pnl"],
        "stop_price": position["stop_price"],
        "target_price": position["target_price"],
        "trailing_price": position["trailing_price"],
    }


def _strategy(slot: Any, side: int, names: list[str]) -> str | None:
    index = int(slot["strategy"] if side else slot["pending_strategy"])
    return names[index] if 0 <= index < len(names) else None


def _pending(slot: Any) -> Document | None:
    lots = int(slot["pending_lots"])
    if not lots:
        return None
    return {
        "side": "buy" if lots > 0 else "sell",
        "quantity": abs(float(slot["pending_quantity"])),
        "order": int(slot["pending_order"]),
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def workers_view(sample: Sample) -> list[Document]:
    """Return the worker table with each one's beat."""
    if sample.workers is None:
        return []
    rows = []
    for role in (Role.ENGINE, Role.MONITOR, Role.DASHBOARD):
        worker = sample.workers[role]
        beat = (sample.beats or {}).get(role)
        alive = int(worker["pid"]) > 0
        rows.append(
            {
                "role": role.name.lower(),
                "state": WorkerState(int(worker["state"])).name.lower(),
                "pid": int(worker["pid"]),
                "generation": int(worker["generation"]),
                "restarts": int(worker["restarts"]),
                "exit_code": int(worker["exit_code"]),
                "up_s": sample.age_s(int(worker["started_ns"])) if alive else None,
                "beat_age_s": sample.age_s(int(beat["beat_ns"])) if beat is not None and alive else None,
                "loop_lag_s": int(beat["loop_lag_ns"]) / NS_PER_S if beat is not None else None,
                "rss_bytes": int(beat["rss_bytes"]) if beat is not None and alive else None,
                "log_dropped": int(beat["log_dropped"]) if beat is not None else None,
            }
        )
    return rows


def strategies_view(sample: Sample, config: Config) -> list[Document]:
    """Return how each strategy is doing; without an engine, only their names."""
    if sample.strategies is None or not len(sample.strategies):
        return [
            {
                "name": name,
                "state": "active",
                "asked": None,
                "failures": None,
                "failures_in_row": None,
                "last_failure": None,
            }
            for name in strategy_names(sample, config)
        ]
    return [
        {
            "name": row["name"].decode("utf-8", "replace"),
            "state": "disabled" if row["disabled"] else "failing" if row["failures_in_row"] else "active",
            "asked": int(row["asked"]),
            "failures": int(row["failures"]),
            "failures_in_row": int(row["failures_in_row"]),
            "last_failure": format_utc(int(row["failed_ns"]), "seconds") if row["failed_ns"] else None,
        }
        for row in sample.strategies
    ]


def checks_view(sample: Sample) -> list[Document]:
    """Return the monitor's health checks, worst first."""
    if sample.checks is None:
        return []
    return [
        {
            "name": row["name"].decode("utf-8", "replace"),
            "level": Level(int(row["level"])).name.lower(),
            "value": _known(float(row["value"])),
            "bound": _known(float(row["bound"])),
            "unit": row["unit"].decode("utf-8", "replace"),
            "since": format_utc(int(row["since_ns"]), "seconds") if row["since_ns"] else None,
            "text": row["text"].decode("utf-8", "replace"),
        }
        for row in sample.checks
    ]


#: members of the exchange's document that are the record's own whole numbers
_VENUE_COUNTS = (
    "errors",
    "errors_in_window",
    "errors_in_row",
    "recoveries",
    "reconciliations",
    "differences",
    "blocked",
    "orders_open",
    "orders_unknown",
    "stops_standing",
    "stops_missing",
)


def exchange_view(sample: Sample) -> Document | None:
    """Return what the engine says of its exchange; None when it trades no exchange's market."""
    venue = sample.venue
    if venue is None or not venue["exchange"]:
        return None
    opens_ns = int(venue["breaker_until_ns"])
    return {
        "live": bool(venue["live"]),
        "connected": bool(venue["feed_connected"]),
        "message_age_s": sample.age_s(int(venue["feed_message_ns"])),
        "reconnects": int(venue["feed_reconnects"]),
        "differences_of_feeds": int(venue["feed_differences"]),
        "clock_skew_s": int(venue["clock_skew_ns"]) / NS_PER_S,
        "maintenance": bool(venue["maintenance"]),
        "breaker": Breaker(int(venue["breaker"])).name.lower(),
        "breaker_opens_in_s": max(0.0, (opens_ns - sample.boot_ns) / NS_PER_S) if opens_ns else None,
        "reconciled_age_s": sample.age_s(int(venue["reconciled_ns"])),
        "naked_s": int(venue["naked_ns"]) / NS_PER_S,
        "naked_longest_s": int(venue["naked_longest_ns"]) / NS_PER_S,
        **{name: int(venue[name]) for name in _VENUE_COUNTS},
    }


def performance_document(status: Document) -> Document:
    """Return the performance summary; the names are the published interface, percent where they say so."""
    account, service = status["account"], status["service"]
    if account is None:
        return {"time": status["time"], "mode": service["mode"], "quote": service["quote"], "available": False}
    return {
        "time": status["time"],
        "mode": service["mode"],
        "quote": service["quote"],
        "available": True,
        "capital": account["equity"],
        "cash": account["cash"],
        "initial_capital": account["initial_capital"],
        "total_pnl": account["total_pnl"],
        "total_pnl_percent": _percent(account["total_pnl_frac"]),
        "daily_pnl": account["daily_pnl"],
        "daily_pnl_percent": _percent(account["daily_pnl_frac"]),
        "realised_pnl": account["realised_pnl"],
        "unrealised_pnl": account["unrealised_pnl"],
        "fees_paid": account["fees_paid"],
        "open_positions": account["open_positions"],
        "total_trades": account["round_trips"],
        "winning_trades": account["wins"],
        "losing_trades": account["losses"],
        "win_rate": _percent(account["win_frac"]),
        "daily_trades": account["day_trades"],
        "drawdown": _percent(account["drawdown_frac"]),
        "max_drawdown": _percent(account["max_drawdown_frac"]),
        "loops": account["cycles"],
        "decisions": account["decisions"],
        "active_strategies": sum(item["state"] != "disabled" for item in status["strategies"]),
        "uptime_s": service["uptime_s"],
        "units": {
            "percent": ["total_pnl_percent", "daily_pnl_percent", "win_rate", "drawdown", "max_drawdown"],
            "quote": [
                "capital",
                "cash",
                "initial_capital",
                "total_pnl",
                "daily_pnl",
                "realised_pnl",
                "unrealised_pnl",
                "fees_paid",
            ],
        },
    }


def _percent(frac: float | None) -> float | None:
    return None if frac is None else frac * 100


def health_document(status: Document) -> Document:
    """Return whether the service does its work, with every reason why not."""
    service, market, entries = status["service"], status["market"], status["entries"]
    problems: list[Document] = []
    if not service["running"]:
        problems.append({"code": "stopped", "text": "no service runs on this data folder"})
    elif status["source"] != "engine":
        problems.append({"code": "engine", "text": "the engine is not up"})
    # an owner's pause and a reached loss limit are the service doing its work
    wanted = ("paused", "daily_loss", "drawdown")
    problems.extend(reason for reason in entries["reasons"] if reason["code"] not in wanted)
    if market["stale"]:
        problems.append({"code": "stale", "text": f"no market data for {market['data_age_s']:.0f} s"})
    return {
        "ok": not problems,
        "problems": problems,
        "state": service["state"],
        "mode": service["mode"],
        "halts": [reason["code"] for reason in entries["reasons"]],
        "entries_open": entries["open"],
        "data_age_s": market["data_age_s"],
        "lease_s": entries["lease_s"],
        "clear_s": entries["clear_s"],
        "breaker": status["exchange"]["breaker"] if status["exchange"] is not None else None,
        "checks": status["health"],
        "time": status["time"],
    }
