"""Performance: what the curve and the round trips come to together, over all time and lately.

Figures follow the conventions of `trader.domain.metrics`. Daily ones come from the ledger, which knows the first
equity of every UTC day: equity at midnight, wherever the market does not sleep (the first day begins with the
first event). Those of single marks come from the performance history.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

import numpy as np

from trader.clock import NS_PER_DAY, NS_PER_S, format_utc
from trader.domain import metrics
from trader.domain.market import FloatArray
from trader.ledger.metrics import MetricsReader, Traded
from trader.units import EXACT, exact, plain

Document = dict[str, Any]

#: how far "lately" reaches, under its published names [ns]
RECENT = {"1h": 3600 * NS_PER_S, "1d": NS_PER_DAY, "7d": 7 * NS_PER_DAY}

_ZERO = Decimal(0)


class Trip(Protocol):
    """What figures need of a round trip; `trader.domain.round_trip.RoundTrip` has it."""

    @property
    def symbol(self) -> str: ...  # noqa: D102
    @property
    def strategy(self) -> str: ...  # noqa: D102
    @property
    def entry_ns(self) -> int: ...  # noqa: D102
    @property
    def exit_ns(self) -> int: ...  # noqa: D102
    @property
    def gross_pnl(self) -> Decimal: ...  # noqa: D102
    @property
    def fees(self) -> Decimal: ...  # noqa: D102
    @property
    def pnl(self) -> Decimal: ...  # noqa: D102


class Closed(NamedTuple):
    """A round trip whose reason to close is a word."""

    symbol: str
    strategy: str
    exit_reason: str
    entry_ns: int
    exit_ns: int
    gross_pnl: Decimal
    fees: Decimal
    pnl: Decimal


def results(trips: Sequence[Trip]) -> Document:
    """Return the figures of some round trips.

    Parameters
    ----------
    trips : sequence of Trip
        Oldest first.

    Returns
    -------
    dict
        Counts, sums and averages; None where nothing defines them (a profit factor without a loss).
    """
    gains = [trip.pnl for trip in trips if trip.pnl > 0]
    losses = [trip.pnl for trip in trips if trip.pnl < 0]
    total, gained, lost = exact_sum(trip.pnl for trip in trips), exact_sum(gains), exact_sum(losses)
    held_s = [(trip.exit_ns - trip.entry_ns) / NS_PER_S for trip in trips]
    return {
        "trades": len(trips),
        "wins": len(gains),
        "losses": len(losses),
        "win_rate_frac": len(gains) / len(trips) if trips else None,
        "pnl": float(total),
        "pnl_exact": plain(total),
        "gross_pnl": float(exact_sum(trip.gross_pnl for trip in trips)),
        "fees": float(exact_sum(trip.fees for trip in trips)),
        "profit_factor": float(gained / -lost) if lost else None,
        "expectancy": float(total / len(trips)) if trips else None,
        "average_win": float(gained / len(gains)) if gains else None,
        "average_loss": float(lost / len(losses)) if losses else None,
        "best": float(max(trip.pnl for trip in trips)) if trips else None,
        "worst": float(min(trip.pnl for trip in trips)) if trips else None,
        "average_held_s": sum(held_s) / len(held_s) if held_s else None,
        "longest_loss_streak": longest_run(trip.pnl < 0 for trip in trips),
        "longest_win_streak": longest_run(trip.pnl > 0 for trip in trips),
    }


def grouped(trips: Iterable[Trip], key: Callable[[Any], str]) -> dict[str, Document]:
    """Return the figures of each group of round trips, by name."""
    groups: dict[str, list[Trip]] = {}
    for trip in trips:
        groups.setdefault(key(trip), []).append(trip)
    return {name: results(groups[name]) for name in sorted(groups)}


def activity(trips: Sequence[Closed]) -> Document:
    """Return what was traded: the best and the worst, how long it was held, and by what it can be told apart.

    Parameters
    ----------
    trips : sequence of Closed
        Oldest first.

    Returns
    -------
    dict
        `best` and `worst` round trip, the figures of `results`, `held_s`, `by_symbol`, `by_strategy`,
        `by_exit_reason` and `by_hour` (hour of the UTC day of the exit, "00" to "23").
    """
    held_s = np.array([(trip.exit_ns - trip.entry_ns) / NS_PER_S for trip in trips])
    best = max(trips, key=lambda trip: trip.pnl, default=None)
    worst = min(trips, key=lambda trip: trip.pnl, default=None)
    return {
        "total": results(trips),
        "best": _trip(best),
        "worst": _trip(worst),
        "held_s": spread(held_s),
        "by_symbol": grouped(trips, lambda trip: trip.symbol),
        "by_strategy": grouped(trips, lambda trip: trip.strategy),
        "by_exit_reason": grouped(trips, lambda trip: trip.exit_reason),
        "by_hour": grouped(trips, lambda trip: f"{trip.exit_ns // (3600 * NS_PER_S) % 24:02d}"),
    }


def spread(values: FloatArray) -> Document:
    """Return how values lie: count, mean, median, least, greatest and standard deviation (of a sample, ddof 1)."""
    known = values[np.isfinite(values)]
    if not len(known):
        return {"count": 0, **dict.fromkeys(("mean", "median", "min", "max", "std"))}
    return {
        "count": len(known),
        "mean": float(known.mean()),
        "median": float(np.median(known)),
        "min": float(known.min()),
        "max": float(known.max()),
        "std": float(known.std(ddof=1)) if len(known) > 1 else None,
    }


def capital_stats(history: MetricsReader) -> Document:
    """Return how capital lay over all snapshots that there are [quote]."""
    found = spread(history.series(names=("equity",))["equity"])
    bounds = history.bounds()
    return found | {
        "since": format_utc(bounds[0]) if bounds else None,
        "until": format_utc(bounds[1]) if bounds else None,
    }


def recent_performance(
    history: MetricsReader, trips: Sequence[Trip], now_ns: int, capital: float, initial_capital: float
) -> dict[str, Document]:
    """Return what the last hour, day and week of market time came to.

    Parameters
    ----------
    history : MetricsReader
        Snapshots.
    trips : sequence of Trip
        Round trips, oldest first.
    now_ns : int
        Market time at which "lately" ends [ns UTC].
    capital : float
        Equity at that time [quote].
    initial_capital : float
        Equity before the first snapshot [quote].

    Returns
    -------
    dict
        By "1h", "1d" and "7d"; percent where the name says so.
    """
    span_ns = max(RECENT.values())
    # a snapshot before the week begins says what it began with
    found = history.series(now_ns - 2 * span_ns, now_ns, ("time_ns", "equity"))
    times, equity = found["time_ns"], found["equity"]
    return {
        name: _lately(times, equity, [trip for trip in trips if now_ns - length_ns < trip.exit_ns <= now_ns],
                      now_ns - length_ns, capital, initial_capital)
        for name, length_ns in RECENT.items()
    }  # fmt: skip


def _lately(
    times: Any, equity: FloatArray, trips: Sequence[Trip], since_ns: int, capital: float, initial_capital: float
) -> Document:
    before = int(np.searchsorted(times, since_ns, side="right")) - 1
    start = float(equity[before]) if before >= 0 else initial_capital
    marks = np.append(equity[before + 1 :], capital)
    fall_frac, fall = metrics.worst_drawdown(start, marks)
    figures = results(trips)
    return {
        "since": format_utc(since_ns),
        "start_capital": start,
        "end_capital": capital,
        "pnl": capital - start,
        "pnl_percent": (capital / start - 1.0) * 100.0 if start > 0 else None,
        "max_drawdown": fall_frac * 100.0,
        "max_drawdown_amount": fall,
        "snapshots": len(equity) - before - 1,
        "trades": figures["trades"],
        "wins": figures["wins"],
        "win_rate": figures["win_rate_frac"] * 100.0 if figures["win_rate_frac"] is not None else None,
        "realised_pnl": figures["pnl"],
        "fees": figures["fees"],
    }


class DailyCurve(NamedTuple):
    """Equity by UTC days, and what all marks say."""

    initial: float  #: [quote]
    start_ns: int  #: first event of the first day
    starts: FloatArray  #: first equity of each UTC day, oldest first; a day without an event has that of the next one
    final: float  #: [quote]
    end_ns: int
    max_drawdown_frac: float  #: on all marks


def figures(
    curve: DailyCurve, trips: Sequence[Trip], open_since_ns: Sequence[int], fees: float, notional: float
) -> Document:
    """Return every figure of `trader.domain.metrics` that a ledger defines.

    Parameters
    ----------
    curve : DailyCurve
        Equity.
    trips : sequence of Trip
        Round trips, oldest first.
    open_since_ns : sequence of int
        Entries of positions that are still open [ns UTC].
    fees, notional : float
        Of all fills [quote].

    Returns
    -------
    dict
        As `trader.domain.metrics.Metrics`; None where nothing defines a figure. `indicative`: below thirty days
        annualised figures are no more than a hint.
    """
    times = np.array([curve.end_ns], np.int64)
    columns = metrics.Trips(
        np.array([float(trip.pnl) for trip in trips]),
        np.array([trip.entry_ns for trip in trips], np.int64),
        np.array([trip.exit_ns for trip in trips], np.int64),
        fees,
        notional,
        tuple(open_since_ns),
    )
    found = asdict(
        metrics.measure(metrics.Curve(curve.start_ns, curve.initial, times, np.array([curve.final])), columns)
    )
    returns = metrics.simple_returns(curve.starts)
    daily = metrics.worst_drawdown(curve.initial, curve.starts)
    mean = float(np.append(curve.starts, curve.final).mean())
    growth, deepest = found["cagr_frac"], curve.max_drawdown_frac
    # what one mark at the end can not say, and the ledger's days do
    return found | {
        "daily_returns": len(returns),
        "volatility_frac": metrics.volatility(returns),
        "sharpe": metrics.sharpe(returns),
        "sortino": metrics.sortino(returns),
        "calmar": growth / deepest if growth is not None and deepest > 0 else None,
        "max_drawdown_frac": deepest,
        "max_drawdown_daily_frac": daily[0],
        "max_drawdown_daily": daily[1],
        "turnover": notional / mean if mean > 0 and math.isfinite(notional) else None,
        "max_drawdown": None,
        "longest_drawdown_s": None,
    }


def of_marks(history: MetricsReader, initial: float) -> Document:
    """Return the figures that single marks define: the deepest fall as an amount, and the longest."""
    found = history.series(names=("time_ns", "equity"))
    if not len(found["equity"]):
        return {}
    curve = metrics.Curve(int(found["time_ns"][0]), initial, found["time_ns"], found["equity"])
    return {
        "max_drawdown": metrics.worst_drawdown(initial, found["equity"])[1],
        "longest_drawdown_s": metrics.longest_drawdown_s(curve),
    }


def longest_run(flags: Iterable[bool]) -> int:
    """Return the length of the longest run of True."""
    longest = current = 0
    for flag in flags:
        current = current + 1 if flag else 0
        longest = max(longest, current)
    return longest


def exact_sum(amounts: Iterable[Decimal]) -> Decimal:
    """Return a sum that keeps every digit."""
    total = _ZERO
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total


def closed_from(trade: Traded) -> Closed:
    """Return a round trip that somebody recorded with floats."""
    net, paid = exact(trade.pnl), exact(trade.fees)
    gross = EXACT.add(net, paid)
    return Closed(trade.symbol, trade.strategy, trade.exit_reason, trade.entry_ns, trade.exit_ns, gross, paid, net)


def _trip(trip: Closed | None) -> Document | None:
    if trip is None:
        return None
    return {
        "symbol": trip.symbol,
        "strategy": trip.strategy,
        "exit_reason": trip.exit_reason,
        "pnl": float(trip.pnl),
        "entry_time": format_utc(trip.entry_ns),
        "exit_time": format_utc(trip.exit_ns),
        "held_s": (trip.exit_ns - trip.entry_ns) / NS_PER_S,
    }
