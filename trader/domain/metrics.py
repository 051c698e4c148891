"""What an equity curve and its round trips come to, by one written-down convention.

Equity is marked to market. Daily figures use equity at UTC midnight, simple returns, no risk-free rate, sample
deviation (ddof 1) and 365 days a year; Sortino divides by all N days; CAGR counts calendar days over 365; Calmar is
CAGR over the drawdown on all marks, beside which the daily one stands. Profit factor, expectancy and SQN
are of closed positions, net of fees. What is undefined is None, never 0, -100 or infinity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from trader.clock import NS_PER_DAY, NS_PER_S
from trader.domain.market import FloatArray, IntArray

DAYS_A_YEAR = 365

#: from how many days on annualised figures are more than an indication
ENOUGH_DAYS = 30


@dataclass(frozen=True, slots=True)
class Metrics:
    """Figures of one run; fractions are 0..1, amounts in quote currency, None is undefined."""

    # the curve
    initial_equity: float
    final_equity: float
    total_pnl: float
    total_return_frac: float | None
    days: float  #: calendar days from start to end
    daily_returns: int  #: N of everything that is computed from days
    indicative: bool  #: below 30 days: annualised figures are no more than a hint
    cagr_frac: float | None
    volatility_frac: float | None  #: annualised
    sharpe: float | None  #: annualised
    sortino: float | None  #: annualised
    calmar: float | None
    max_drawdown_frac: float  #: on all marks
    max_drawdown: float  #: on all marks [quote]
    max_drawdown_daily_frac: float  #: on equity at midnight
    longest_drawdown_s: float  #: from a peak until it was reached again, or the end
    # the round trips
    trades: int
    wins: int
    losses: int
    win_rate_frac: float | None
    profit_factor: float | None
    expectancy: float | None  #: [quote a trade]
    expectancy_ratio: float | None  #: (1 + average win / average loss) x win rate - 1
    sqn: float | None
    average_win: float | None
    average_loss: float | None
    best: float | None
    worst: float | None
    average_held_s: float | None
    longest_loss_streak: int
    # what it took
    fees: float
    turnover: float | None  #: notional traded, over the mean equity
    exposure_time_frac: float | None  #: of the time, with a position open


@dataclass(frozen=True, slots=True)
class Curve:
    """Equity over time: `equity[i]` at `time_ns[i]`, before the first of them `initial` from `start_ns` on."""

    start_ns: int
    initial: float
    time_ns: IntArray  #: strictly rising, all after start_ns
    equity: FloatArray


@dataclass(frozen=True, slots=True)
class Trips:
    """Closed positions as columns, in the order they were closed, and what all fills came to."""

    pnl: FloatArray  #: net of fees [quote]
    entry_ns: IntArray
    exit_ns: IntArray
    fees: float = 0.0  #: of all fills, those of open positions too [quote]
    notional: float = 0.0  #: of all fills [quote]
    open_since_ns: tuple[int, ...] = ()  #: entries of positions that are still open


class Falls(NamedTuple):
    """How far and how long a curve was below its peaks."""

    worst_frac: float  #: of the peak
    worst: float  #: [quote]
    longest_s: float  #: from a peak until it was reached again, or the end


def falls_of(curve: Curve) -> Falls:
    """Return how far and how long a curve was below its peaks."""
    return Falls(*worst_drawdown(curve.initial, curve.equity), longest_drawdown_s(curve))


def measure(curve: Curve, trips: Trips, falls: Falls | None = None) -> Metrics:
    """Return every figure of a run.

    Parameters
    ----------
    curve : Curve
        Equity on all marks.
    trips : Trips
        Its round trips.
    falls : Falls, optional
        Of the curve, where they are known already.
    """
    fell = falls_of(curve) if falls is None else falls
    final = float(curve.equity[-1]) if len(curve.equity) else curve.initial
    end_ns = int(curve.time_ns[-1]) if len(curve.time_ns) else curve.start_ns
    days = (end_ns - curve.start_ns) / NS_PER_DAY
    _, daily = daily_equity(curve)
    returns = simple_returns(daily)
    growth = cagr(curve.initial, final, days)
    mean_equity = float(curve.equity.mean()) if len(curve.equity) else curve.initial
    span_ns = end_ns - curve.start_ns
    return Metrics(
        initial_equity=curve.initial,
        final_equity=final,
        total_pnl=final - curve.initial,
        total_return_frac=_ratio(final - curve.initial, curve.initial),
        days=days,
        daily_returns=len(returns),
        indicative=days < ENOUGH_DAYS,
        cagr_frac=growth,
        volatility_frac=volatility(returns),
        sharpe=sharpe(returns),
        sortino=sortino(returns),
        calmar=_ratio(growth, fell.worst_frac),
        max_drawdown_frac=fell.worst_frac,
        max_drawdown=fell.worst,
        max_drawdown_daily_frac=worst_drawdown(daily[0], daily[1:])[0] if len(daily) else 0.0,
        longest_drawdown_s=fell.longest_s,
        **_of_trips(trips),
        fees=trips.fees,
        turnover=_ratio(trips.notional, mean_equity),
        exposure_time_frac=_ratio(_time_in_market_ns(trips, end_ns), span_ns),
    )


# ------------------------------------------------------------------------------------ the curve


def daily_equity(curve: Curve) -> tuple[IntArray, FloatArray]:
    """Return equity at each UTC midnight from the start to the end: times, and the last mark at or before each."""
    end_ns = int(curve.time_ns[-1]) if len(curve.time_ns) else curve.start_ns
    first = -(-curve.start_ns // NS_PER_DAY)
    midnights = np.arange(first, end_ns // NS_PER_DAY + 1, dtype=np.int64) * NS_PER_DAY
    at = np.searchsorted(curve.time_ns, midnights, side="right") - 1
    return midnights, np.where(at < 0, curve.initial, curve.equity[at]) if len(curve.equity) else np.full(
        len(midnights), curve.initial
    )


def simple_returns(equity: FloatArray) -> FloatArray:
    """Return the change from each value to the next, as a fraction of the first; they end where nothing is left."""
    gone = np.flatnonzero(equity <= 0.0)
    if len(gone):
        equity = equity[: gone[0] + 1]
    returns: FloatArray = equity[1:] / equity[:-1] - 1.0 if len(equity) > 1 else np.empty(0)
    return returns


def volatility(returns: FloatArray, per_year: int = DAYS_A_YEAR) -> float | None:
    """Return the annualised deviation of returns."""
    deviation = _deviation(returns)
    return None if deviation is None else deviation * math.sqrt(per_year)


def sharpe(returns: FloatArray, per_year: int = DAYS_A_YEAR) -> float | None:
    """Return mean over deviation (ddof 1), annualised; risk-free rate 0."""
    deviation = _deviation(returns)
    return None if not deviation else _finite(float(returns.mean()) / deviation * math.sqrt(per_year))


def sortino(returns: FloatArray, per_year: int = DAYS_A_YEAR) -> float | None:
    """Return mean over the root of the mean squared loss, annualised; gains count as 0 losses, N divides."""
    if not len(returns):
        return None
    downside = math.sqrt(float(np.square(np.minimum(returns, 0.0)).mean()))
    return _finite(float(returns.mean()) / downside * math.sqrt(per_year)) if downside > 0.0 else None


def cagr(initial: float, final: float, days: float) -> float | None:
    """Return the growth a year of 365 days would have at the same pace; None when nothing is left or no time passed."""
    if not (initial > 0.0 and final > 0.0 and days > 0.0):
        return None
    try:
        return _finite((final / initial) ** (DAYS_A_YEAR / days) - 1.0)
    except OverflowError:  # an hour's gain over a whole year
        return None


def worst_drawdown(initial: float, equity: FloatArray) -> tuple[float, float]:
    """Return the deepest fall below the peak so far: as a fraction of that peak, and as an amount."""
    if not len(equity):
        return 0.0, 0.0
    peak = np.maximum(np.maximum.accumulate(equity), initial)
    below = peak - equity
    return max(float((below / peak).max()), 0.0), max(float(below.max()), 0.0)


def longest_drawdown_s(curve: Curve) -> float:
    """Return the longest time below a peak [s]."""
    if not len(curve.equity):
        return 0.0
    peak = np.maximum(np.maximum.accumulate(curve.equity), curve.initial)
    at_peak = curve.equity >= peak
    times = np.concatenate(([curve.start_ns], curve.time_ns[at_peak], curve.time_ns[-1:]))
    return float(np.diff(times).max()) / NS_PER_S if not at_peak.all() else 0.0


# -------------------------------------------------------------------------------- the round trips


def _of_trips(trips: Trips) -> dict[str, Any]:
    pnl = trips.pnl
    gains, losses = pnl[pnl > 0.0], pnl[pnl < 0.0]
    count = len(pnl)
    average_win = float(gains.mean()) if len(gains) else None
    average_loss = float(losses.mean()) if len(losses) else None
    win_rate = _ratio(len(gains), count)
    ratio = None
    if average_win is not None and average_loss is not None and win_rate is not None:
        ratio = (1.0 + average_win / -average_loss) * win_rate - 1.0
    deviation = _deviation(pnl)
    return {
        "trades": count,
        "wins": len(gains),
        "losses": len(losses),
        "win_rate_frac": win_rate,
        "profit_factor": _ratio(float(gains.sum()), -float(losses.sum())),
        "expectancy": float(pnl.mean()) if count else None,
        "expectancy_ratio": ratio,
        "sqn": math.sqrt(count) * float(pnl.mean()) / deviation if deviation else None,
        "average_win": average_win,
        "average_loss": average_loss,
        "best": float(pnl.max()) if count else None,
        "worst": float(pnl.min()) if count else None,
        "average_held_s": float((trips.exit_ns - trips.entry_ns).mean()) / NS_PER_S if count else None,
        "longest_loss_streak": longest_run(pnl < 0.0),
    }


def longest_run(mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
    """Return the length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0


def _time_in_market_ns(trips: Trips, end_ns: int) -> int:
    """Return how long at least one position was open: the union of their spans."""
    starts = np.concatenate((trips.entry_ns, np.array(trips.open_since_ns, np.int64)))
    ends = np.concatenate((trips.exit_ns, np.full(len(trips.open_since_ns), end_ns, np.int64)))
    if not len(starts):
        return 0
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], ends[order]
    covered = np.concatenate((starts[:1], np.maximum.accumulate(ends)[:-1]))  # up to where it was covered before
    return int(np.maximum(ends - np.maximum(starts, covered), 0).sum())


# ------------------------------------------------------------------------------------------ sums


def _deviation(values: FloatArray) -> float | None:
    """Return the sample deviation; None where there is none, or none but the noise of adding floats."""
    if len(values) < 2:
        return None
    deviation = float(values.std(ddof=1))
    return deviation if deviation > 1e-15 * float(np.abs(values).max()) and math.isfinite(deviation) else None


def _ratio(value: float | None, by: float) -> float | None:
    return _finite(value / by) if value is not None and by else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
