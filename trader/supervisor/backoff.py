"""When a dead worker may start again, and when it has died too often.

A restart waits 0.5 s, 1 s, 2 s ... up to 30 s, with a jitter, and starts over at 0.5 s after a healthy
minute or after progress. The budget counts the deaths of the last five minutes that came without
progress: an engine that is killed again and again while its market moves on is unlucky, one that dies at
the same place again and again is broken. Progress is measured in market time (`Station`), so that on a
live exchange a crash every few seconds never passes for it. A SIGKILL that was not ours (an owner's, the
kernel's when memory is short) says nothing of the worker's code and has a wider budget of its own.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
JITTER_FRAC = 0.2
HEALTHY_S = 60.0
WINDOW_S = 300.0

#: deaths without progress within `WINDOW_S` that a role may have; one more and it is given up
BUDGET = {"engine": 3, "monitor": 5, "dashboard": 5}

#: the same for deaths by a SIGKILL that the supervisor did not send
KILLED_BUDGET = 30


@dataclass(slots=True)
class Backoff:
    """Deaths of one role."""

    budget: int
    jitter: random.Random = field(default_factory=random.Random)
    _in_a_row: int = 0
    _deaths_ns: list[int] = field(default_factory=list)
    _kills_ns: list[int] = field(default_factory=list)

    def died(self, now_ns: int, lived_s: float, *, progressed: bool, killed: bool = False) -> float | None:
        """Count a death and return after how long the next start may come.

        Parameters
        ----------
        now_ns : int
            CLOCK_BOOTTIME [ns].
        lived_s : float
            How long the worker was ready [s].
        progressed : bool
            Whether it got further than any incarnation before.
        killed : bool
            Whether it died of a SIGKILL that was not ours.

        Returns
        -------
        float or None
            Delay [s]; None when the budget is used up.
        """
        if progressed or lived_s >= HEALTHY_S:
            self._in_a_row = 0
        if not progressed:
            counted, budget = (self._kills_ns, KILLED_BUDGET) if killed else (self._deaths_ns, self.budget)
            counted[:] = [at for at in counted if now_ns - at < WINDOW_S * 1e9] + [now_ns]
            if len(counted) > budget:
                return None
        delay = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0**self._in_a_row)
        self._in_a_row += 1
        return delay * (1.0 + JITTER_FRAC * self.jitter.uniform(-1.0, 1.0))

    def recent(self, now_ns: int) -> int:
        """Return how many deaths count now."""
        return sum(1 for at in self._deaths_ns if now_ns - at < WINDOW_S * 1e9)
