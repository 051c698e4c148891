"""The fence around new risk: the supervisor's lease and the monitor's clearance.

Both are words in the shared memory of another process, renewed each second and worth three
seconds. Whoever hangs, stops or dies stops renewing, and entries stop by themselves. What can't
be read counts as run out.
"""

from __future__ import annotations

from dataclasses import dataclass

from trader.clock import boottime_ns
from trader.errors import StateError, TraderError
from trader.state.reader import StateReader


@dataclass(frozen=True, slots=True)
class Gate:
    """What the fence showed at one moment; all in CLOCK_BOOTTIME ns."""

    now_ns: int
    lease_until_ns: int
    clear_until_ns: int

    @property
    def is_open(self) -> bool:
        """Whether orders that add risk may pass."""
        return self.now_ns <= self.lease_until_ns and self.now_ns <= self.clear_until_ns


class Fence:
    """Reads lease and clearance; one reading serves one market event."""

    def __init__(self, reader: StateReader) -> None:
        self._reader = reader

    def read(self) -> Gate:
        """Return lease and clearance as they are now; 0 stands for one that can't be read."""
        return Gate(
            now_ns=boottime_ns(),
            lease_until_ns=self._word(self._reader.lease_until_ns),
            clear_until_ns=self._word(self._reader.clear_until_ns),
        )

    @staticmethod
    def _word(read: object) -> int:
        try:
            return int(read())  # type: ignore[operator]
        except (StateError, TraderError):
            return 0
