"""Growth: whether a process takes more and more memory, told from samples over hours."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from trader.clock import NS_PER_S
from trader.codes import Role

#: samples are kept over this long, and judged once they cover the second [s]
WINDOW_S = 6 * 3600.0
ENOUGH_S = 3600.0
EVERY_S = 60.0
#: growth an hour that is worth a warning: this much, or this part of what the process takes
BOUND_BYTES = 32 * 2**20
BOUND_FRAC = 0.10


@dataclass(frozen=True, slots=True)
class Growth:
    """How fast one process grows."""

    role: Role
    per_hour_bytes: float
    bound_bytes: float


class MemoryWatch:
    """Remembers how much memory each process took, and fits a line to it.

    The line goes through the medians of the first and the last third (a resistant line): one busy minute is
    not growth, and neither is what a process takes in its first ones.
    """

    def __init__(self) -> None:
        self._samples: dict[tuple[Role, int], deque[tuple[int, int]]] = {}

    def look(self, now_ns: int, taken: dict[tuple[Role, int], int]) -> None:
        """Take samples [CLOCK_BOOTTIME ns; bytes by role and process id], no more than one a minute of each."""
        for key, rss_bytes in taken.items():
            samples = self._samples.setdefault(key, deque())
            if samples and now_ns - samples[-1][0] < EVERY_S * NS_PER_S:
                continue
            samples.append((now_ns, rss_bytes))
            while now_ns - samples[0][0] > WINDOW_S * NS_PER_S:
                samples.popleft()
        for gone in self._samples.keys() - taken.keys():
            del self._samples[gone]

    def growth(self) -> tuple[Growth, ...]:
        """Return the growth of each process that was watched for long enough."""
        found = []
        for (role, _), samples in self._samples.items():
            if samples[-1][0] - samples[0][0] < ENOUGH_S * NS_PER_S or len(samples) < 9:
                continue
            third = len(samples) // 3
            first, last = list(samples)[:third], list(samples)[-third:]
            hours = (_middle(last, 0) - _middle(first, 0)) / (3600 * NS_PER_S)
            rise = _middle(last, 1) - _middle(first, 1)
            bound = max(BOUND_BYTES, BOUND_FRAC * _middle(last, 1))
            found.append(Growth(role, rise / hours, bound))
        return tuple(found)


def _middle(samples: list[tuple[int, int]], which: int) -> float:
    return float(sorted(sample[which] for sample in samples)[len(samples) // 2])
