"""Statistics of errors: how many, of which types, how often something worked again."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from trader.clock import NS_PER_S, boottime_ns

#: recent errors whose types are remembered; the window may hold fewer or more
RECENT = 20
#: errors within the window that are remembered one by one; more are counted as this many
MAX_IN_WINDOW = 10_000


@dataclass(frozen=True, slots=True)
class ErrorStatistics:
    """A summary for people and for shared memory."""

    total: int  #: errors so far
    consecutive: int  #: errors since the last success
    recoveries: int  #: times that a success ended a row of errors
    in_window: int
    errors_per_hour: float  #: over the window, or since the start when that is shorter
    recovery_rate: float  #: rows of errors that ended, of all of them; 1 when there was none, 0..1
    recent_types: tuple[tuple[str, int], ...]  #: of the last errors, most frequent first


class ErrorCounter:
    """Counts errors and recoveries.

    Parameters
    ----------
    window_s : float
        Over which errors per hour are counted [s].
    clock : callable
        Returns a clock that never steps [ns].
    """

    def __init__(self, window_s: float, clock: Callable[[], int] = boottime_ns) -> None:
        self.window_s = window_s
        self.total = 0
        self.consecutive = 0
        self.recoveries = 0
        self._rows = 0  # rows of errors that have begun
        self._clock = clock
        self._started_ns = clock()
        self._times: deque[int] = deque(maxlen=MAX_IN_WINDOW)
        self._recent: deque[str] = deque(maxlen=RECENT)

    def error(self, error: BaseException) -> None:
        """Count an error."""
        self.total += 1
        self._rows += self.consecutive == 0
        self.consecutive += 1
        self._times.append(self._clock())
        self._recent.append(type(error).__name__)

    def success(self) -> bool:
        """Note a success; return whether it has ended a row of errors."""
        ended = self.consecutive > 0
        self.recoveries += ended
        self.consecutive = 0
        return ended

    @property
    def in_window(self) -> int:
        """Errors within the window."""
        first = self._clock() - round(self.window_s * NS_PER_S)
        while self._times and self._times[0] < first:
            self._times.popleft()
        return len(self._times)

    def summary(self) -> ErrorStatistics:
        """Return everything that was counted."""
        age_s = (self._clock() - self._started_ns) / NS_PER_S
        hours = max(min(age_s, self.window_s), 1.0) / 3600.0
        counted = self.in_window
        return ErrorStatistics(
            total=self.total,
            consecutive=self.consecutive,
            recoveries=self.recoveries,
            in_window=counted,
            errors_per_hour=counted / hours,
            recovery_rate=self.recoveries / self._rows if self._rows else 1.0,
            recent_types=tuple(Counter(self._recent).most_common()),
        )
