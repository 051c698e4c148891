"""Three verdicts on a worker from its beat: alive, progressing, fed.

Only the first one kills. A worker that does not progress or is not fed may be waiting for a slow
exchange, and shooting it would not make the exchange faster.
"""

from __future__ import annotations

from dataclasses import dataclass

#: without a beat for this long a worker is suspected, then taken for hung [s]
SUSPECT_AFTER_S = 2.0
HUNG_AFTER_S = {"engine": 5.0, "monitor": 15.0, "dashboard": 15.0}
#: without an iteration for this long a worker does not progress [s]
IDLE_AFTER_S = 60.0
#: between SIGABRT, which makes it write its traceback, and SIGKILL [s]
ABORT_GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the beats of one worker say."""

    beat_age_s: float
    alive: bool  #: its loop turns
    hung: bool  #: its loop has stood still for so long that it has to be killed
    progressing: bool  #: it iterates
    fed: bool  #: market data arrives; true for a worker that takes none


@dataclass(slots=True)
class Judge:
    """Reads the beats of one incarnation, one after the other."""

    role: str
    stale_after_s: float | None = None  #: without market data for this long it is not fed; None: it takes none
    _iterations: int = -1
    _moved_ns: int = 0
    _since_ns: int = 0

    def judge(self, now_ns: int, beat_ns: int, iterations: int, fed_ns: int) -> Verdict:
        """Return the verdicts now.

        Parameters
        ----------
        now_ns : int
            CLOCK_BOOTTIME [ns].
        beat_ns : int
            When the last beat was published [CLOCK_BOOTTIME ns].
        iterations : int
            Iterations in that beat.
        fed_ns : int
            When market data last arrived [CLOCK_BOOTTIME ns]; 0: never.

        Returns
        -------
        Verdict
            All three, and whether the worker is to be killed.
        """
        self._since_ns = self._since_ns or now_ns  # a worker that has just come up has not been starved yet
        if iterations != self._iterations:
            self._iterations, self._moved_ns = iterations, now_ns
        age_s = max(0, now_ns - beat_ns) / 1e9
        return Verdict(
            beat_age_s=age_s,
            alive=age_s < SUSPECT_AFTER_S,
            hung=age_s >= HUNG_AFTER_S[self.role],
            progressing=now_ns - self._moved_ns < IDLE_AFTER_S * 1e9,
            fed=self.stale_after_s is None or now_ns - max(fed_ns, self._since_ns) < self.stale_after_s * 1e9,
        )
