"""Statistics of a ledger: what `trader report` tells, with the performance history where there is one.

Amounts are summed exactly and become floats at the very end; fractions are 0..1, and what a published interface
wants in percent (`win_rate`, `max_drawdown`, `..._percent`) is labelled in `units`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from trader.clock import NS_PER_DAY, NS_PER_S, format_utc
from trader.codes import Decided, Side, halt_names
from trader.domain.round_trip import RoundTrip
from trader.ledger import performance
from trader.ledger.metrics import MetricsReader
from trader.ledger.performance import Closed, DailyCurve, exact_sum, grouped, results
from trader.ledger.reader import Day, LedgerReader
from trader.units import EXACT, plain

_ZERO = Decimal(0)

#: what is in percent, whatever else is a fraction
PERCENT = ("summary.win_rate", "summary.max_drawdown", "summary.total_pnl_percent", "summary.daily_pnl_percent",
           "recent_performance.*.pnl_percent", "recent_performance.*.win_rate",
           "recent_performance.*.max_drawdown")  # fmt: skip


def report(reader: LedgerReader, history: MetricsReader | None = None) -> dict[str, Any]:
    """Return the performance that a ledger shows, ready for JSON.

    Parameters
    ----------
    reader : LedgerReader
        Of the ledger.
    history : MetricsReader, optional
        Of the performance history beside it; without it nothing is said of single marks.

    Returns
    -------
    dict
        `summary`, `metrics`, `recent_performance`, `capital_stats`, `trading_activity`, `days`, `by_symbol`,
        `by_strategy`, `by_reason`, `decisions`, `trades` (round trips, oldest first) and `units`.
    """
    with reader.snapshot():
        meta, account = reader.meta(), reader.account()
        trips = reader.round_trips(newest_first=False)
        summary = _summary(reader, meta, account, trips)
        closed = [_closed(trip) for trip in trips]
        found: dict[str, Any] = {
            "summary": summary,
            "metrics": _figures(reader, account, trips, summary["initial_capital"]),
            "trading_activity": performance.activity(closed),
            "days": _days(reader.days(), account, trips),
            "by_symbol": grouped(trips, lambda trip: trip.symbol),
            "by_strategy": grouped(trips, lambda trip: trip.strategy),
            "by_reason": grouped(closed, lambda trip: trip.exit_reason),
            "decisions": {Decided(kind).name.lower(): count for kind, count in reader.decision_counts().items()},
            "trades": [_trade(trip) for trip in trips],
            "units": {"percent": PERCENT},
        }
        now_ns = int(account["event_ns"]) if account is not None else 0
    return found | _from_history(history, trips, now_ns, summary, found["metrics"])


def _from_history(
    history: MetricsReader | None,
    trips: Sequence[RoundTrip],
    now_ns: int,
    summary: dict[str, Any],
    figures: dict[str, Any],
) -> dict[str, Any]:
    """Return what the snapshots add; the figures of single marks go into `figures`."""
    if history is None:
        return {"recent_performance": {}, "capital_stats": {}}
    capital, initial = summary["current_capital"], summary["initial_capital"]
    figures |= performance.of_marks(history, initial)
    return {
        "recent_performance": performance.recent_performance(history, trips, now_ns, capital, initial),
        "capital_stats": performance.capital_stats(history),
    }


def _summary(
    reader: LedgerReader, meta: dict[str, str], account: np.void | None, trips: Sequence[RoundTrip]
) -> dict[str, Any]:
    initial = Decimal(meta["initial_capital"])
    figures = results(trips)
    equity = float(account["equity"]) if account is not None else float(initial)
    day_start = float(account["day_start_equity"]) if account is not None else equity
    fees = exact_sum(fill.fee for fill in reader.fills() if fill.fee_currency == meta["quote"])
    win_rate, drawdown = figures["win_rate_frac"], float(account["max_drawdown_frac"]) if account is not None else 0.0
    return {
        "instance": meta["instance"],
        "mode": meta["mode"],
        "quote": meta["quote"],
        "initial_capital": float(initial),
        "current_capital": equity,
        "cash": float(reader.balances().get(meta["quote"], _ZERO)),
        "equity": equity,
        "total_pnl": equity - float(initial),
        "total_pnl_percent": (equity / float(initial) - 1.0) * 100.0,
        "daily_pnl": equity - day_start,
        "daily_pnl_percent": (equity / day_start - 1.0) * 100.0 if day_start > 0 else None,
        "realised_pnl": figures["pnl"],
        "realised_pnl_exact": figures["pnl_exact"],
        "fees_paid": float(fees),
        "total_trades": figures["trades"],
        "winning_trades": figures["wins"],
        "losing_trades": figures["losses"],
        "daily_trades": int(account["day_trades"]) if account is not None else 0,
        "win_rate": win_rate * 100.0 if win_rate is not None else 0.0,
        "max_drawdown": drawdown * 100.0,
        "max_drawdown_frac": drawdown,
        "open_positions": len(reader.holdings()),
        "loops": int(account["cycles"]) if account is not None else 0,
        "decisions": int(account["decisions"]) if account is not None else 0,
        "halts": halt_names(int(account["halt_mask"])) if account is not None else [],
        "until": format_utc(reader.cursor_ns()) if reader.cursor_ns() else None,
        **{key: value for key, value in figures.items() if key not in ("pnl", "pnl_exact")},
    }


def _figures(
    reader: LedgerReader, account: np.void | None, trips: Sequence[RoundTrip], initial: float
) -> dict[str, Any]:
    """Return the metrics that daily equity, round trips and fills define; empty before the first event."""
    days = reader.days()
    if account is None or not days:
        return {}
    curve = DailyCurve(
        initial=initial,
        start_ns=days[0].time_ns,
        starts=_every_day(days),
        final=float(account["equity"]),
        end_ns=int(account["event_ns"]),
        max_drawdown_frac=float(account["max_drawdown_frac"]),
    )
    fills = reader.fills()
    paid = exact_sum(fill.fee for fill in fills if fill.fee_currency == reader.meta()["quote"])
    traded = exact_sum(EXACT.multiply(fill.price, fill.quantity) for fill in fills)
    opened = [holding.entry_ns for holding in reader.holdings()]
    return performance.figures(curve, trips, opened, float(paid), float(traded))


def _every_day(days: Sequence[Day]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the first equity of every UTC day from the first to the last."""
    known = np.array([day.day for day in days])
    equity = np.array([day.start_equity for day in days])
    every = np.arange(known[0], known[-1] + 1)
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = equity[np.searchsorted(known, every)]
    return found


def _closed(trip: RoundTrip) -> Closed:
    reason = trip.exit_reason.name.lower()
    return Closed(trip.symbol, trip.strategy, reason, trip.entry_ns, trip.exit_ns, trip.gross_pnl, trip.fees, trip.pnl)


def _days(days: Sequence[Day], account: np.void | None, trips: Sequence[RoundTrip]) -> list[dict[str, Any]]:
    """Return one row per traded day: its result is the next day's first equity less its own."""
    last = float(account["equity"]) if account is not None else 0.0
    ends = [*(day.start_equity for day in days), last][1:]
    closed: dict[int, list[RoundTrip]] = {}
    for trip in trips:
        closed.setdefault(trip.exit_ns // NS_PER_DAY, []).append(trip)
    rows = []
    for day, end in zip(days, ends, strict=True):
        of_day = closed.get(day.day, [])
        rows.append(
            {
                "day": format_utc(day.day * NS_PER_DAY)[:10],
                "start_equity": day.start_equity,
                "end_equity": end,
                "pnl": end - day.start_equity,
                "realised_pnl": float(exact_sum(trip.pnl for trip in of_day)),
                "trades": len(of_day),
            }
        )
    return rows


def _trade(trip: RoundTrip) -> dict[str, Any]:
    return {
        "position_id": trip.position_id,
        "symbol": trip.symbol,
        "side": "long" if trip.side is Side.BUY else "short",
        "strategy": trip.strategy,
        "quantity": plain(trip.quantity),
        "entry_time": format_utc(trip.entry_ns),
        "entry_price": plain(trip.entry_price),
        "exit_time": format_utc(trip.exit_ns),
        "exit_price": plain(trip.exit_price),
        "held_s": (trip.exit_ns - trip.entry_ns) / NS_PER_S,
        "entry_reason": trip.entry_reason.name.lower(),
        "exit_reason": trip.exit_reason.name.lower(),
        "exit_note": trip.exit_note,
        "gross_pnl": plain(trip.gross_pnl),
        "fees": plain(trip.fees),
        "pnl": plain(trip.pnl),
        "entry_order_id": trip.entry_order_id,
        "exit_order_id": trip.exit_order_id,
        "decision_id": trip.decision_id or None,
    }
