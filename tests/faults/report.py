"""The table of the fault campaign: a row per fault, filled in by its test."""

from __future__ import annotations

import random
import statistics
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

WIDTHS = {"done": 34, "expected": 40, "happened": 44}


@dataclass
class Row:
    """One fault: what the campaign says of it."""

    number: int
    title: str
    done: str
    expected: str
    happened: str = "the test did not get to its end"
    recoveries_s: list[float] = field(default_factory=list)
    passed: bool = False

    @property
    def recovery(self) -> str:
        """Median and worst recovery, and out of how many."""
        if not self.recoveries_s:
            return "-"
        median, worst = statistics.median(self.recoveries_s), max(self.recoveries_s)
        return f"{median:.2f} s / {worst:.2f} s ({len(self.recoveries_s)})"


class Fault:
    """What a test tells about its fault, and what it gets for it: folders and seeded chance."""

    def __init__(
        self, folder: Path, seed: int, repeat: int, make: Callable[[Path, dict[str, Any], random.Random], Any]
    ):
        self._folder = folder
        self._seed = seed
        self._repeat = repeat
        self._make = make
        self.row: Row | None = None

    def is_(self, number: int, title: str, *, done: str, expected: str) -> None:
        """Say which fault this is, what will be done, and what must come of it."""
        self.row = Row(number, title, done, expected)

    def trials(self, at_most: int = 100) -> Iterator[Trial]:
        """Yield each repetition, with chance of its own that depends on seed, fault and repetition only."""
        assert self.row is not None
        for index in range(min(self._repeat, at_most)):
            folder = self._folder / f"trial-{index}"
            yield Trial(folder, random.Random(f"{self._seed}/{self.row.number}/{self.row.title}/{index}"), self)

    def recovered(self, seconds: float) -> None:
        """Note how long the service took to be as before."""
        assert self.row is not None
        self.row.recoveries_s.append(seconds)

    def happened(self, what: str) -> None:
        """Say what happened; the last word of a test whose expectations held."""
        assert self.row is not None
        self.row.happened = what
        self.row.passed = True

    def document(self) -> dict[str, Any] | None:
        """Return the row as plain values."""
        return None if self.row is None else asdict(self.row)


class Trial:
    """One repetition."""

    def __init__(self, folder: Path, rng: random.Random, fault: Fault) -> None:
        self.folder = folder
        self.rng = rng
        self._fault = fault

    def stage(self, config: dict[str, Any], name: str = "service") -> Any:
        """Return a service that is cleaned up after the test."""
        return self._fault._make(self.folder / name, config, self.rng)


def table(rows: Iterable[Row], seed: int) -> list[str]:
    """Return the table as lines of text."""
    heads = ("#", "fault", "what was done", "what was expected", "what happened", "recovery: median / worst (n)")
    widths = (3, 24, *WIDTHS.values(), 28)
    lines = [f"Faults, seed {seed}"]
    lines += _wrapped(heads, widths)
    for row in sorted(rows, key=lambda row: (row.number, row.title)):
        lines.append("-" * (sum(widths) + 2 * len(widths)))
        happened = row.happened if row.passed else f"FAILED: {row.happened}"
        lines += _wrapped((str(row.number), row.title, row.done, row.expected, happened, row.recovery), widths)
    return lines


def _wrapped(cells: Iterable[str], widths: Iterable[int]) -> list[str]:
    columns = [(textwrap.wrap(cell, width) or [""], width) for cell, width in zip(cells, widths, strict=True)]
    height = max(len(lines) for lines, _ in columns)
    return [
        "  ".join((lines[i] if i < len(lines) else "").ljust(width) for lines, width in columns).rstrip()
        for i in range(height)
    ]
