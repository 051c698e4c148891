"""Statistics of a ledger: what the round trips came to.

Amounts are summed exactly and become floats at the very end; fractions are 0..1, and the two that a
published interface wants in percent say so by their name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from trader.clock import NS_PER_DAY, NS_PER_S, format_utc
from trader.codes import Decided, Side, halt_names
from trader.domain.round_trip import RoundTrip
from trader.ledger.reader import Day, LedgerReader
from trader.units import EXACT, plain

_ZERO = Decimal(0)


def report(reader: LedgerReader) -> dict[str, Any]:
    """Return the performance that a ledger shows, ready for JSON.

    Parameters
    ----------
    reader : LedgerReader
        Of the ledger.

    Returns
    -------
    dict
        `summary`, `days`, `by_symbol`, `by_strategy`, `by_reason`, `decisions`, `positions`, and `trades` (round
        trips, oldest first).
    """
    with reader.snapshot():
        meta, account = reader.meta(), reader.account()
        trips = reader.round_trips(newest_first=False)
        return {
            "summary": _summary(reader, meta, account, trips),
            "days": _days(reader.days(), account, trips),
            "by_symbol": _grouped(trips, lambda trip: trip.symbol),
            "by_strategy": _grouped(trips, lambda trip: trip.strategy),
            "by_reason": _grouped(trips, lambda trip: trip.exit_reason.name.lower()),
            "decisions": {Decided(kind).name.lower(): count for kind, count in reader.decision_counts().items()},
            "trades": [_trade(trip) for trip in trips],
        }


def results(trips: Sequence[RoundTrip]) -> dict[str, Any]:
    """Return the figures of some round trips.

    Parameters
    ----------
    trips : sequence of RoundTrip
        Oldest first.

    Returns
    -------
    dict
        Counts, sums and averages; None where nothing defines them (a profit factor without a loss).
    """
    gains = [trip.pnl for trip in trips if trip.pnl > 0]
    losses = [trip.pnl for trip in trips if trip.pnl < 0]
    total, gained, lost = _sum(trip.pnl for trip in trips), _sum(gains), _sum(losses)
    held_s = [(trip.exit_ns - trip.entry_ns) / NS_PER_S for trip in trips]
    return {
        "trades": len(trips),
        "wins": len(gains),
        "losses": len(losses),
        "win_rate_frac": len(gains) / len(trips) if trips else None,
        "pnl": float(total),
        "pnl_exact": plain(total),
        "gross_pnl": float(_sum(trip.gross_pnl for trip in trips)),
        "fees": float(_sum(trip.fees for trip in trips)),
        "profit_factor": float(gained / -lost) if lost else None,
        "expectancy": float(total / len(trips)) if trips else None,
        "average_win": float(gained / len(gains)) if gains else None,
        "average_loss": float(lost / len(losses)) if losses else None,
        "best": float(max((trip.pnl for trip in trips), default=_ZERO)) if trips else None,
        "worst": float(min((trip.pnl for trip in trips), default=_ZERO)) if trips else None,
        "average_held_s": sum(held_s) / len(held_s) if held_s else None,
        "longest_loss_streak": _longest_losing(trips),
    }


def _summary(
    reader: LedgerReader, meta: dict[str, str], account: np.void | None, trips: Sequence[RoundTrip]
) -> dict[str, Any]:
    initial = Decimal(meta["initial_capital"])
    figures = results(trips)
    equity = float(account["equity"]) if account is not None else float(initial)
    fees = _sum(fill.fee for fill in reader.fills() if fill.fee_currency == meta["quote"])
    win_rate, drawdown = figures["win_rate_frac"], float(account["max_drawdown_frac"]) if account is not None else 0.0
    return {
        "instance": meta["instance"],
        "mode": meta["mode"],
        "quote": meta["quote"],
        "initial_capital": float(initial),
        "cash": float(reader.balances().get(meta["quote"], _ZERO)),
        "equity": equity,
        "total_pnl": equity - float(initial),
        "total_pnl_percent": (equity / float(initial) - 1.0) * 100.0,
        "realised_pnl": figures["pnl"],
        "realised_pnl_exact": figures["pnl_exact"],
        "fees_paid": float(fees),
        "win_rate": win_rate * 100.0 if win_rate is not None else 0.0,
        "max_drawdown": drawdown * 100.0,
        "max_drawdown_frac": drawdown,
        "open_positions": len(reader.holdings()),
        "halts": halt_names(int(account["halt_mask"])) if account is not None else [],
        "until": format_utc(reader.cursor_ns()) if reader.cursor_ns() else None,
        **{key: value for key, value in figures.items() if key not in ("pnl", "pnl_exact")},
    }


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
                "realised_pnl": float(_sum(trip.pnl for trip in of_day)),
                "trades": len(of_day),
            }
        )
    return rows


def _grouped(trips: Iterable[RoundTrip], key: Callable[[RoundTrip], str]) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[RoundTrip]] = {}
    for trip in trips:
        groups.setdefault(key(trip), []).append(trip)
    return {name: results(groups[name]) for name in sorted(groups)}


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
        "gross_pnl": plain(trip.gross_pnl),
        "fees": plain(trip.fees),
        "pnl": plain(trip.pnl),
        "entry_order_id": trip.entry_order_id,
        "exit_order_id": trip.exit_order_id,
        "decision_id": trip.decision_id or None,
    }


def _longest_losing(trips: Iterable[RoundTrip]) -> int:
    longest = current = 0
    for trip in trips:
        current = current + 1 if trip.pnl < 0 else 0
        longest = max(longest, current)
    return longest


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    total = _ZERO
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total
