"""Walk-forward: choose on one window, trade the choice on the next, and go on from there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trader.backtest.sweep import Sweeper
from trader.clock import NS_PER_DAY, format_utc
from trader.domain.market import FloatArray
from trader.domain.metrics import Metrics, cagr, sharpe, sortino, worst_drawdown
from trader.errors import ConfigError

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One window: what was best in training, and what it came to in the test that followed."""

    train_ns: tuple[int, int]  #: first open and end [ns UTC]
    test_ns: tuple[int, int]
    values: dict[str, Any] | None  #: None: nothing in training had a figure to be chosen by
    trained: Metrics | None
    tested: Metrics | None
    returns: FloatArray  #: daily, of the test


@dataclass(frozen=True, slots=True)
class WalkForward:
    """All windows, and their tests one after another."""

    steps: tuple[Step, ...]
    objective: str
    days: float  #: of all tests
    total_return_frac: float
    cagr_frac: float | None
    sharpe: float | None
    sortino: float | None
    max_drawdown_frac: float  #: at midnights
    efficiency: float | None  #: mean daily return in tests, over that in training

    def document(self) -> dict[str, Any]:
        """Return the result as plain values for JSON."""
        whole = {name: getattr(self, name) for name in _WHOLE}
        return whole | {
            "steps": [
                {
                    "train": [format_utc(at) for at in step.train_ns],
                    "test": [format_utc(at) for at in step.test_ns],
                    "values": step.values,
                    "trained": asdict(step.trained) if step.trained else None,
                    "tested": asdict(step.tested) if step.tested else None,
                }
                for step in self.steps
            ]
        }


_WHOLE = (
    "objective",
    "days",
    "total_return_frac",
    "cagr_frac",
    "sharpe",
    "sortino",
    "max_drawdown_frac",
    "efficiency",
)


def windows(start_ns: int, end_ns: int, train_days: float, test_days: float) -> list[tuple[int, int, int]]:
    """Return begin of training, begin of test and end of test of each window; a last broken test counts.

    Parameters
    ----------
    start_ns, end_ns : int
        Of the history [ns UTC].
    train_days, test_days : float
        How long they are; the next window begins one test later.

    Raises
    ------
    ConfigError
        When the history is too short for a single one.
    """
    train_ns, test_ns = round(train_days * NS_PER_DAY), round(test_days * NS_PER_DAY)
    if train_ns <= 0 or test_ns <= 0:
        raise ConfigError(f"--walk-forward {train_days:g}:{test_days:g}: both must be above 0 days")
    found = []
    begin = start_ns
    while begin + train_ns < end_ns:
        split = begin + train_ns
        found.append((begin, split, min(split + test_ns, end_ns)))
        begin += test_ns
    if not found:
        days = (end_ns - start_ns) / NS_PER_DAY
        raise ConfigError(f"--walk-forward {train_days:g}:{test_days:g}: the history has {days:.1f} days only")
    return found


def walk_forward(
    sweeper: Sweeper, train_days: float, test_days: float, objective: str, progress: Progress
) -> WalkForward:
    """Sweep each training window, and play its best combination on the test that follows.

    Each test begins with the initial capital and no position; the tests' returns are put one after another.

    Parameters
    ----------
    sweeper : Sweeper
        What is tried, on which history.
    train_days, test_days : float
        Length of the windows.
    objective : str
        What the best is chosen by.
    progress : callable
        Is told how much is done.

    Raises
    ------
    ConfigError
        When the history is too short for a single window.
    """
    history = sweeper.history
    plan = windows(history.start_ns, history.end_ns, train_days, test_days)
    steps = []
    for index, (begin, split, end) in enumerate(plan):
        progress("walking forward", index / len(plan))
        best = sweeper.run(objective, (begin, split)).best
        tested, returns = sweeper.best_of(best.values, (split, end)) if best else (None, np.zeros(0))
        steps.append(
            Step(
                (begin, split),
                (split, end),
                best.values if best else None,
                best.metrics if best else None,
                tested,
                returns,
            )
        )
    return _together(tuple(steps), objective)


def _together(steps: tuple[Step, ...], objective: str) -> WalkForward:
    returns = np.concatenate([step.returns for step in steps])
    growth = float(np.prod([1.0 + (step.tested.total_return_frac or 0.0) for step in steps if step.tested]))
    days = sum(step.test_ns[1] - step.test_ns[0] for step in steps) / NS_PER_DAY
    curve = np.cumprod(1.0 + returns).astype(np.float64)
    return WalkForward(
        steps=steps,
        objective=objective,
        days=days,
        total_return_frac=growth - 1.0,
        cagr_frac=cagr(1.0, growth, days),
        sharpe=sharpe(returns),
        sortino=sortino(returns),
        max_drawdown_frac=worst_drawdown(1.0, curve)[0],
        efficiency=_efficiency(steps),
    )


def _efficiency(steps: tuple[Step, ...]) -> float | None:
    """Return how much of the training's pace was left in the tests; None where training did not gain."""
    pairs = [(step.trained, step.tested) for step in steps if step.trained and step.tested]
    trained = [_daily(one) for one, _ in pairs]
    tested = [_daily(one) for _, one in pairs]
    if not pairs or sum(trained) <= 0.0:
        return None
    return sum(tested) / sum(trained)


def _daily(metrics: Metrics) -> float:
    return (metrics.total_return_frac or 0.0) / metrics.days if metrics.days > 0 else 0.0
