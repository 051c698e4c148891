"""One role's place in the service: its incarnations one after the other, and the rules of their life."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from trader.clock import NS_PER_S, boottime_ns
from trader.codes import WorkerState
from trader.errors import StateError, TraderError, WorkerError
from trader.logs.events import Event, log_event
from trader.process.channel import Failed, Finished, Message, NeedsTime, Reply, Started, Stop
from trader.process.context import WorkerContext
from trader.state.segment import Segment
from trader.supervisor.backoff import BUDGET, Backoff
from trader.supervisor.child import Child
from trader.supervisor.judge import ABORT_GRACE_S, Judge, Verdict

S = WorkerState

#: every step in a worker's life that there is
STEPS: Mapping[WorkerState, frozenset[WorkerState]] = {
    S.STOPPED: frozenset({S.STARTING}),
    S.STARTING: frozenset({S.READY, S.KILLING, S.BACKOFF, S.FATAL, S.FINISHED, S.STOPPED}),
    S.RECONCILING: frozenset({S.READY, S.KILLING, S.BACKOFF, S.FATAL, S.FINISHED, S.STOPPED}),
    S.READY: frozenset({S.SUSPECT, S.KILLING, S.BACKOFF, S.FATAL, S.FINISHED, S.STOPPED}),
    S.SUSPECT: frozenset({S.READY, S.KILLING, S.BACKOFF, S.FATAL, S.FINISHED, S.STOPPED}),
    S.KILLING: frozenset({S.BACKOFF, S.FATAL, S.FINISHED, S.STOPPED}),
    S.BACKOFF: frozenset({S.STARTING, S.FATAL, S.STOPPED}),
    S.FATAL: frozenset({S.STARTING, S.STOPPED}),
    S.FINISHED: frozenset({S.STOPPED, S.STARTING}),
}

#: how long a worker may take until it is ready [s], unless it asks for more; a cold engine compiles its kernels first
START_DEADLINE_S = {"engine": 120.0, "monitor": 30.0, "dashboard": 30.0}
#: an incarnation that moved the market on by this many decision intervals has made progress
PROGRESS_INTERVALS = 10

log = logging.getLogger(__name__)


class Desk(Protocol):
    """What a station reports to: the supervisor."""

    def make_context(self, role: str, generation: int) -> WorkerContext:
        """Return what the next incarnation starts from, its segment created."""

    def changed(self) -> None:
        """Take note that a station has a new state."""

    def started(self, station: Station, info: dict[str, Any]) -> None:
        """Take note that a worker is ready."""

    def finished(self) -> None:
        """Take note that the engine's work is done."""

    def died(self, station: Station, how: str, failure: Failed | None) -> None:
        """Take note of a death that nobody asked for; the station's state says what comes next."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """What the supervisor reads from a beat."""

    beat_ns: int
    iterations: int
    fed_ns: int
    market_ns: int


def describe_exit(exit_code: int) -> str:
    """Return how a process ended, in words."""
    if exit_code < 0:
        try:
            return f"killed by {signal.Signals(-exit_code).name}"
        except ValueError:
            return f"killed by signal {-exit_code}"
    return f"exit code {exit_code}"


class Station:
    """Keeps one role staffed.

    Parameters
    ----------
    role : str
        engine, monitor or dashboard.
    entry : str
        Its service, as package.module:Class.
    desk : Desk
        Who is told what happens here.
    stale_after_s : float, optional
        Without market data for this long the worker is not fed [s]; None: it takes none.
    progress_ns : int
        Market time that counts as progress [ns]; 0: this role makes none.
    """

    def __init__(
        self, role: str, entry: str, desk: Desk, *, stale_after_s: float | None = None, progress_ns: int = 0
    ) -> None:
        self.role = role
        self.entry = entry
        self.state = S.STOPPED
        self.generation = 0
        self.restarts = 0
        self.exit_code = 0
        self.started_ns = 0
        self.next_start_ns = 0
        self.was_ready = False  #: some incarnation of this run has been ready
        self.verdict: Verdict | None = None
        self.info: dict[str, Any] = {}
        self.child: Child | None = None
        self._desk = desk
        self._stale_after_s = stale_after_s
        self._progress_ns = progress_ns
        self._best_market_ns = 0
        self._backoff = Backoff(BUDGET[role])
        self._judge = Judge(role, stale_after_s)
        self._segment: Segment | None = None
        self._context: WorkerContext | None = None
        self._ready_ns = 0
        self._ready_by_ns = 0
        self._kill_at_ns = 0
        self._failure: Failed | None = None
        self._finished = False
        self._stopping = False

    @property
    def pid(self) -> int:
        """Process id of the living incarnation; 0: there is none."""
        return self.child.pid if self.child is not None else 0

    @property
    def facts(self) -> dict[str, Any]:
        """What every event about this worker has for a search."""
        return {"worker": self.role, "worker_pid": self.pid or None, "generation": self.generation}

    @property
    def ready(self) -> bool:
        """Whether a worker is there to be asked."""
        return self.child is not None and self.state in (S.READY, S.SUSPECT)

    def start(self) -> None:
        """Begin a new incarnation."""
        old = self._context
        self.generation += 1
        context = self._desk.make_context(self.role, self.generation)
        self._segment = Segment.attach(context.segment, role=self.role, run_id=context.run_id)
        self._judge = Judge(self.role, self._stale_after_s)
        self._failure, self._finished, self._stopping = None, False, False
        self.verdict = None
        self.started_ns = boottime_ns()
        self._ready_by_ns = self.started_ns + int(START_DEADLINE_S[self.role] * NS_PER_S)
        self.child = Child(self.entry, context, self)
        self._context = context
        self._become(S.STARTING)
        if old is not None:  # whoever looked at the old segment now finds the new one in the table
            old.segment.unlink(missing_ok=True)
        event = Event.WORKER_STARTED if self.generation == 1 else Event.WORKER_RESTARTED
        words = f"{self.role} started as process {self.pid}, generation {self.generation}"
        log_event(log, logging.INFO, event, words, **self.facts, restarts=self.restarts)

    def revive(self) -> None:
        """Give a role that used up its budget, or that waits, a new start at once."""
        self._backoff = Backoff(BUDGET[self.role])
        if self.child is None:
            self.start()

    def pulse(self) -> Pulse | None:
        """Return the last beat, or None before the first one."""
        if self._segment is None:
            return None
        try:
            beat = self._segment.reader("beat").read()["beat"][0]
        except StateError:
            return None
        if not beat["beats"]:
            return None
        return Pulse(int(beat["beat_ns"]), int(beat["iterations"]), int(beat["fed_ns"]), int(beat["market_ns"]))

    def tick(self, now_ns: int, *, judge: bool) -> None:
        """Do what is due: a start, a deadline, a verdict, a kill.

        Parameters
        ----------
        now_ns : int
            CLOCK_BOOTTIME [ns].
        judge : bool
            False while the supervisor itself has just been asleep: every beat would look old.
        """
        if self.state is S.BACKOFF and now_ns >= self.next_start_ns:
            self.restarts += 1
            self.start()
        elif self.state is S.STARTING and now_ns > self._ready_by_ns:
            self._abort(now_ns, f"not ready after {(self._ready_by_ns - self.started_ns) / NS_PER_S:.0f} s")
        elif self.state is S.KILLING and self.child is not None and now_ns >= self._kill_at_ns:
            self.child.signal(signal.SIGKILL)
        elif judge and self.ready:
            self._look_at(now_ns)

    async def ask(self, make: Callable[[int], Message], timeout_s: float) -> Reply:
        """Ask the worker something.

        Raises
        ------
        WorkerError
            When there is no worker, or it does not answer.
        """
        if self.child is None or not self.ready:
            raise WorkerError(f"the {self.role} is not up ({self.state.name.lower()}): try again in a few seconds")
        try:
            return await self.child.ask(make, timeout_s)
        except WorkerError as error:
            raise WorkerError(f"the {self.role}: {error}") from error

    async def stop(self, grace_s: float) -> bool:
        """Let the worker finish in order, and kill it when it takes longer.

        Returns
        -------
        bool
            Whether it ended by itself.
        """
        self._stopping = True
        child = self.child
        if child is None:
            if self.state is not S.STOPPED:
                self._become(S.STOPPED)
            return True
        with suppress(WorkerError):
            child.tell(Stop())
        for number, patience_s in ((None, grace_s), (signal.SIGABRT, ABORT_GRACE_S), (signal.SIGKILL, 30.0)):
            if number is not None:
                log.error("%s does not stop: sending %s", self.role, number.name)
                child.signal(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await child.exited.wait()
                return number is None
        return False

    def kill(self) -> None:
        """End the worker at once."""
        self._stopping = True
        if self.child is not None:
            self.child.signal(signal.SIGKILL)

    def close(self) -> None:
        """Let go of the segment and remove its file."""
        self._segment = None
        if self._context is not None:
            self._context.segment.unlink(missing_ok=True)

    def heard(self, message: Message) -> None:
        """Take a message of the worker."""
        if isinstance(message, Started):
            if self.state is S.STARTING:
                self.was_ready = True
                self.info = message.info
                self._ready_ns = boottime_ns()
                self._become(S.READY)
                self._desk.started(self, message.info)
        elif isinstance(message, NeedsTime):
            self._ready_by_ns = boottime_ns() + int((message.seconds + START_DEADLINE_S[self.role]) * NS_PER_S)
        elif isinstance(message, Failed):
            self._failure = message
        elif isinstance(message, Finished):
            self._finished = True

    def ended(self, exit_code: int) -> None:
        """Take note of the worker's end and decide what comes next."""
        self.child = None
        self.exit_code = exit_code
        if self._stopping:
            self._become(S.STOPPED)
        elif self._finished and self.role == "engine" and exit_code == 0:
            self._become(S.FINISHED)
            self._desk.finished()
        else:
            self._bury(boottime_ns())

    def _bury(self, now_ns: int) -> None:
        lived_s = (now_ns - self._ready_ns) / 1e9 if self.state in (S.READY, S.SUSPECT, S.KILLING) else 0.0
        killed = self.exit_code == -signal.SIGKILL and self.state is not S.KILLING
        delay_s = self._backoff.died(now_ns, lived_s, progressed=self._progressed(), killed=killed)
        how = describe_exit(self.exit_code)
        if self._failure is not None:
            how = f"{self._failure.message} ({how})"
        if delay_s is None:
            self._become(S.FATAL)
        else:
            self.next_start_ns = now_ns + int(delay_s * NS_PER_S)
            self._become(S.BACKOFF)
        self._desk.died(self, how, self._failure)

    def _progressed(self) -> bool:
        pulse = self.pulse()
        if not self._progress_ns or pulse is None or not pulse.market_ns:
            return False
        progressed = pulse.market_ns >= self._best_market_ns + self._progress_ns
        if progressed:
            self._best_market_ns = pulse.market_ns
        return progressed

    def _look_at(self, now_ns: int) -> None:
        pulse = self.pulse()
        if pulse is None:
            return
        verdict = self._judge.judge(now_ns, pulse.beat_ns, pulse.iterations, pulse.fed_ns)
        self.verdict = verdict
        if verdict.hung:
            self._abort(now_ns, f"no beat for {verdict.beat_age_s:.1f} s")
        elif verdict.alive != (self.state is S.READY):
            self._become(S.READY if verdict.alive else S.SUSPECT)

    def _abort(self, now_ns: int, why: str) -> None:
        """Kill in two steps: SIGABRT, which makes Python write its traceback, then SIGKILL."""
        words = f"{self.role} (process {self.pid}) hangs: {why}; sending SIGABRT"
        log_event(log, logging.ERROR, Event.WORKER_HUNG, words, **self.facts, reason=why)
        self._kill_at_ns = now_ns + int(ABORT_GRACE_S * NS_PER_S)
        self._become(S.KILLING)
        if self.child is not None:
            self.child.signal(signal.SIGABRT)

    def _become(self, state: WorkerState) -> None:
        if state not in STEPS[self.state]:
            raise TraderError(f"{self.role}: {self.state.name} can not become {state.name}")
        self.state = state
        self._desk.changed()
