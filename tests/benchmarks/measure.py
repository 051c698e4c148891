"""A small measuring harness: medians over rounds, with contestants taking turns.

A machine that others use drifts by tens of percent within seconds. Contestants therefore run in
turn, round by round, and their ratio is the median of the rounds' ratios: drift hits both alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

#: how long one measurement of one contestant takes at least [s]
SPAN_S = 0.02


@dataclass(frozen=True)
class Measured:
    """What one contestant took."""

    name: str
    median_s: float  #: of the rounds, per call
    best_s: float
    rounds: tuple[float, ...]

    def ratio_to(self, other: Measured) -> float:
        """Return how many times as long as another it took: the median over the rounds."""
        return statistics.median(mine / its for mine, its in zip(self.rounds, other.rounds, strict=True))


def _span(function: Callable[[], object], calls: int, clock: Callable[[], float]) -> float:
    """Return the seconds that a number of calls took."""
    started = clock()
    for _ in range(calls):
        function()
    return clock() - started


def _calls_for(function: Callable[[], object], clock: Callable[[], float]) -> int:
    """Return how many calls fill a span; warms the function up on the way."""
    calls = 1
    while (took := _span(function, calls, clock)) < SPAN_S / 4:
        calls *= 4
    return max(round(calls * SPAN_S / took), 1)


def measure(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int = 15,
    per_call: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Measured]:
    """Measure functions in turn.

    Parameters
    ----------
    contestants : mapping of str to callable
        Functions without arguments, by name.
    rounds : int
        How often each has its turn.
    per_call : int
        How many operations one call makes; times are per operation.
    clock : callable
        What time is read from [s]; `time.process_time` for one thread on a machine that others use.

    Returns
    -------
    dict
        What each took, by name.
    """
    calls = {name: _calls_for(function, clock) for name, function in contestants.items()}
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, function in contestants.items():
            times[name].append(_span(function, calls[name], clock) / calls[name] / per_call)
    return {name: Measured(name, statistics.median(taken), min(taken), tuple(taken)) for name, taken in times.items()}


def readable(seconds: float) -> str:
    """Return a time with a fitting unit: 1.52 us."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def show(title: str, results: Mapping[str, Measured], reference: str | None = None) -> None:
    """Print a table of medians and bests, and of ratios to a reference where there is one."""
    print(f"\n{title}")
    for name, result in results.items():
        ratio = f"  x{result.ratio_to(results[reference]):.2f}" if reference else ""
        print(f"  {name:<44} {readable(result.median_s):>10}  best {readable(result.best_s):>10}{ratio}")
