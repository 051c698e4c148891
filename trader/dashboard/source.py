"""Where the dashboard's numbers come from: shared memory, as much of it as can be read at the moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from trader.clock import NS_PER_S, boottime_ns, utc_ns
from trader.codes import Role, WorkerState
from trader.errors import TraderError
from trader.state.layout import Records
from trader.state.reader import Book, StateReader

T = TypeVar("T")

#: an engine whose last beat is older than this is not shown as running [s]
ENGINE_SILENT_S = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What could be read at one moment; None stands for what could not."""

    boot_ns: int  #: CLOCK_BOOTTIME of the sample
    utc_ns: int  #: wall clock of the sample
    service: np.void | None = None  #: SERVICE
    workers: Records | None = None  #: WORKER by role
    beats: Mapping[Role, np.void] | None = None  #: BEAT of whoever has one
    book: Book | None = None  #: of the engine that runs now, or the last one that was seen
    limits: np.void | None = None  #: LIMITS, the last ones that were seen
    engine_up: bool = False  #: whether book and limits are of an engine that is alive
    lease_until_ns: int = 0
    clear_until_ns: int = 0
    veto_mask: int = 0
    health: np.void | None = None  #: HEALTH
    strategies: Records | None = None  #: STRATEGY by index
    checks: Records | None = None  #: CHECK, worst first
    venue: np.void | None = None  #: VENUE

    def age_s(self, boot_ns: int) -> float | None:
        """Return how long ago a CLOCK_BOOTTIME was [s]; None when it was never."""
        return max(0, self.boot_ns - boot_ns) / NS_PER_S if boot_ns > 0 else None


class Source:
    """Takes samples, and remembers the last book and limits while no engine is up.

    Parameters
    ----------
    reader : StateReader
        Of the instance that is shown.
    """

    def __init__(self, reader: StateReader) -> None:
        self.reader = reader
        self._book: Book | None = None
        self._limits: np.void | None = None

    def sample(self) -> Sample:
        """Return what can be read now; never raises for what can't."""
        reader = self.reader
        service = _or_none(reader.service)
        if service is None:
            return Sample(boottime_ns(), utc_ns(), book=self._book, limits=self._limits)
        workers = _or_none(reader.workers)
        roles: tuple[Role, ...] = (Role.ENGINE, Role.MONITOR, Role.DASHBOARD)
        beats = {role: beat for role in roles if (beat := self._beat(role)) is not None}
        self._book = _or_none(reader.book) or self._book
        limits = _or_none(reader.limits)
        self._limits = self._limits if limits is None else limits
        return Sample(
            boot_ns=boottime_ns(),
            utc_ns=utc_ns(),
            service=service,
            workers=workers,
            beats=beats,
            book=self._book,
            limits=self._limits,
            engine_up=self._book is not None and _engine_up(workers, beats.get(Role.ENGINE)),
            lease_until_ns=_or_none(reader.lease_until_ns) or 0,
            clear_until_ns=_or_none(reader.clear_until_ns) or 0,
            veto_mask=_or_none(reader.veto_mask) or 0,
            health=_or_none(reader.health),
            strategies=_or_none(reader.strategies),
            checks=_or_none(reader.checks),
            venue=_or_none(reader.venue),
        )

    def _beat(self, role: Role) -> np.void | None:
        return _or_none(lambda: self.reader.beat(role))


def _engine_up(workers: Records | None, beat: np.void | None) -> bool:
    if workers is None or beat is None:
        return False
    alive = int(workers[Role.ENGINE]["state"]) in (WorkerState.READY, WorkerState.SUSPECT, WorkerState.FINISHED)
    return alive and boottime_ns() - int(beat["beat_ns"]) < ENGINE_SILENT_S * NS_PER_S


def _or_none(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except TraderError:
        return None
