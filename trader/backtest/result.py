"""The result of a backtest: frozen values, and what they are as JSON and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from trader.clock import NS_PER_S, format_utc
from trader.config.sections import Config
from trader.domain.market import FloatArray, IntArray
from trader.domain.metrics import Curve, Metrics, daily_equity

#: how many points of the equity curve a JSON document has at most
CURVE_POINTS = 2000


@dataclass(frozen=True, slots=True)
class Trade:
    """One closed position; amounts in quote currency."""

    position_id: int  #: running number, in the order of opening
    symbol: str
    side: str  #: long or short
    strategy: str
    quantity: float  #: [base]
    entry_price: float  #: average [quote per base]
    exit_price: float  #: average [quote per base]
    entry_ns: int  #: [ns UTC]
    exit_ns: int  #: [ns UTC]
    gross_pnl: float  #: before fees
    fees: float
    pnl: float
    exit_reason: str
    exit_note: str = ""  #: which invalidation came true


@dataclass(frozen=True, slots=True)
class Held:
    """A position that is still open at the end."""

    symbol: str
    side: str  #: long or short
    strategy: str
    quantity: float  #: [base]
    entry_price: float  #: average [quote per base]
    entry_ns: int  #: [ns UTC]
    mark_price: float
    unrealised_pnl: float  #: before the fees of closing
    stop_price: float | None
    target_price: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """What the trades of one symbol, strategy or exit reason came to."""

    name: str
    trades: int
    wins: int
    win_rate_frac: float | None
    pnl: float
    fees: float
    profit_factor: float | None
    expectancy: float | None
    best: float | None
    worst: float | None
    average_held_s: float | None


@dataclass(frozen=True, slots=True)
class Baseline:
    """Buy and hold: the capital split evenly over the symbols, bought at the first open, never touched again."""

    final_equity: float
    total_return_frac: float
    cagr_frac: float | None
    sharpe: float | None
    max_drawdown_frac: float
    curve: Curve


@dataclass(frozen=True, slots=True)
class StrategyFailures:
    """What a strategy said that is no opinion."""

    strategy: str
    failures: int  #: opinions asked for that were none
    disabled: str | None  #: from when on it was not asked any more
    failure: str


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """Everything that a backtest found."""

    config: Config
    symbols: tuple[str, ...]
    timeframe: str
    start_ns: int
    end_ns: int
    bars: int
    cycles: int
    metrics: Metrics
    baseline: Baseline
    curve: Curve
    trades: tuple[Trade, ...]  #: in the order they were closed
    open_positions: tuple[Held, ...]
    by_symbol: tuple[Group, ...]
    by_strategy: tuple[Group, ...]
    by_reason: tuple[Group, ...]
    denials: dict[str, dict[str, int]]  #: refused entries by broken limit, then symbol
    decisions: dict[str, dict[str, int]]  #: opinions by strategy, then what became of them
    rejected_orders: int  #: entries that no longer fitted the account at the price they would have got
    halts: tuple[tuple[str, str, str], ...]  #: when, halted or resumed, why
    failures: tuple[StrategyFailures, ...]
    notes: tuple[str, ...]  #: what to know of the candles before believing the figures
    elapsed_s: float

    def document(self) -> dict[str, Any]:
        """Return the result as plain values for JSON; what is undefined is None."""
        return {
            "symbols": list(self.symbols),
            "timeframe": self.timeframe,
            "start": format_utc(self.start_ns),
            "end": format_utc(self.end_ns),
            "bars": self.bars,
            "cycles": self.cycles,
            "quote": self.config.quote,
            "metrics": asdict(self.metrics),
            "baseline": {item.name: getattr(self.baseline, item.name) for item in fields(Baseline)[:-1]},
            "by_symbol": {one.name: _without_name(one) for one in self.by_symbol},
            "by_strategy": {one.name: _without_name(one) for one in self.by_strategy},
            "by_reason": {one.name: _without_name(one) for one in self.by_reason},
            "denials": self.denials,
            "decisions": self.decisions,
            "rejected_orders": self.rejected_orders,
            "halts": [{"time": time, "event": event, "cause": cause.lower()} for time, event, cause in self.halts],
            "strategy_failures": [asdict(one) for one in self.failures],
            "notes": list(self.notes),
            "months": [asdict(month) for month in monthly(self.curve)],
            "days": _days(self.curve),
            "equity": _points(self.curve),
            "trades": [_trade(trade) for trade in self.trades],
            "open_positions": [_timed(asdict(one)) for one in self.open_positions],
            "config": self.config.model_dump(mode="json", exclude={"credentials"}),
            "elapsed_s": self.elapsed_s,
        }

    def trades_csv(self) -> str:
        """Return the trades as CSV, with a header."""
        out = io.StringIO()
        names = [item.name for item in fields(Trade)]
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([name.replace("_ns", "_time") for name in names])
        for trade in self.trades:
            writer.writerow([_cell(name, getattr(trade, name)) for name in names])
        return out.getvalue()


@dataclass(frozen=True, slots=True)
class Month:
    """What one UTC month came to."""

    month: str  #: as in 2024-03
    start_equity: float
    end_equity: float
    return_frac: float | None


def monthly(curve: Curve) -> tuple[Month, ...]:
    """Return the result of each UTC month, the broken ones at both ends too."""
    if not len(curve.time_ns):
        return ()
    # a mark at midnight of the first belongs to the month that ends there
    month = (curve.time_ns - 1).astype("datetime64[ns]").astype("datetime64[M]")
    last = np.append(np.flatnonzero(month[1:] != month[:-1]), len(month) - 1)
    found, before = [], curve.initial
    for at in last.tolist():
        after = float(curve.equity[at])
        found.append(Month(str(month[at]), before, after, after / before - 1.0 if before > 0.0 else None))
        before = after
    return tuple(found)


def thinned(curve: Curve, points: int) -> tuple[IntArray, FloatArray]:
    """Return at most `points` marks of a curve, beginning and end among them; the lowest and highest stay.

    Each stretch of marks is shown by its lowest and its highest, in their order, so that no drawdown is lost.
    """
    count = len(curve.equity)
    if count <= points:
        return curve.time_ns, curve.equity
    edges = np.linspace(0, count, points // 2, dtype=np.int64)
    keep = {0, count - 1}
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        keep.add(start + int(curve.equity[start:end].argmin()))
        keep.add(start + int(curve.equity[start:end].argmax()))
    at = np.array(sorted(keep))
    return curve.time_ns[at], curve.equity[at]


def groups_of(trades: Sequence[Trade], names: Sequence[str], key: Callable[[Trade], str]) -> tuple[Group, ...]:
    """Return what the trades of each group came to.

    Parameters
    ----------
    trades : sequence of Trade
        All of them.
    names : sequence of str
        Groups to show even without a trade, in their order; others follow by name.
    key : callable
        Returns a trade's group.
    """
    found: dict[str, list[Trade]] = {name: [] for name in names}
    for trade in sorted(trades, key=key):
        found.setdefault(key(trade), []).append(trade)
    return tuple(_group(name, mine) for name, mine in found.items())


def _group(name: str, trades: Sequence[Trade]) -> Group:
    gains = math.fsum(trade.pnl for trade in trades if trade.pnl > 0)
    losses = math.fsum(trade.pnl for trade in trades if trade.pnl < 0)
    wins = sum(trade.pnl > 0 for trade in trades)
    count = len(trades)
    return Group(
        name=name,
        trades=count,
        wins=wins,
        win_rate_frac=wins / count if count else None,
        pnl=gains + losses,
        fees=math.fsum(trade.fees for trade in trades),
        profit_factor=gains / -losses if losses else None,
        expectancy=(gains + losses) / count if count else None,
        best=max((trade.pnl for trade in trades), default=None),
        worst=min((trade.pnl for trade in trades), default=None),
        average_held_s=sum(trade.exit_ns - trade.entry_ns for trade in trades) / count / NS_PER_S if count else None,
    )


def _without_name(group: Group) -> dict[str, Any]:
    document = asdict(group)
    del document["name"]
    return document


def _days(curve: Curve) -> list[dict[str, Any]]:
    times, equity = daily_equity(curve)
    return [
        {"time": format_utc(time), "equity": value} for time, value in zip(times.tolist(), equity.tolist(), strict=True)
    ]


def _points(curve: Curve) -> list[dict[str, Any]]:
    times, equity = thinned(curve, CURVE_POINTS)
    return [
        {"time": format_utc(time), "equity": value} for time, value in zip(times.tolist(), equity.tolist(), strict=True)
    ]


def _trade(trade: Trade) -> dict[str, Any]:
    return _timed(asdict(trade)) | {"held_s": (trade.exit_ns - trade.entry_ns) / NS_PER_S}


def _timed(document: dict[str, Any]) -> dict[str, Any]:
    return {
        name.replace("_ns", "_time"): format_utc(value) if name.endswith("_ns") else value
        for name, value in document.items()
    }


def _cell(name: str, value: Any) -> Any:
    if name.endswith("_ns"):
        return format_utc(value)
    return repr(value) if isinstance(value, float) else value
