"""A reader of the whole service: finds every segment and follows each process' incarnations.

Used by the monitor, the dashboard and the commands. It starts at the supervisor's segment, whose
worker table names the generation that is current for each role; when a worker was replaced, the next read
maps the new segment by itself. Positions, beats and limits are never mixed across generations.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from trader.clock import NS_PER_S, boottime_ns
from trader.codes import Role
from trader.errors import LayoutMismatch, NotRunning, SegmentMissing, StateError
from trader.state.layout import Records
from trader.state.paths import InstancePaths
from trader.state.segment import Segment, as_role
from trader.state.slots import SlotReader, Word

#: how often the supervisor's process is looked up
ALIVE_CHECK_NS = NS_PER_S // 4
#: a position of the equity curve: generation above, position in that generation's ring below
_POSITION_BITS = 32

_SUPERVISOR_FILE = re.compile(r"seg-supervisor-([0-9]+)\.shm")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Book:
    """Account and positions of one moment; they always agree with each other."""

    account: np.void  #: core.records.ACCOUNT
    slots: Records  #: core.records.SLOT, one per symbol
    symbols: tuple[str, ...]
    meta: dict[str, Any]


class _Mapped:
    """A segment and the readers made of it, each made once."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self._readers: dict[str, SlotReader] = {}
        self._words: dict[str, Word] = {}

    def reader(self, slot: str) -> SlotReader:
        found = self._readers.get(slot)
        if found is None:
            found = self._readers[slot] = self.segment.reader(slot)
        return found

    def word(self, name: str) -> int:
        found = self._words.get(name)
        if found is None:
            found = self._words[name] = self.segment.word(name)
        return found.get()


class StateReader:
    """Reads the state of the service whose files are at `paths`.

    Every method raises `NotRunning` when no service runs there, `SegmentMissing` when the process asked for
    has none, `UnreadableSlot` when it has published nothing yet, and `LayoutMismatch` when the service
    is of another version.

    Not for use by several threads at once.

    Parameters
    ----------
    paths : InstancePaths
        Files of the instance, as `trader.state.paths.find` gives them.
    """

    def __init__(self, paths: InstancePaths) -> None:
        self._paths = paths
        self._mapped: dict[Role, _Mapped] = {}
        self._alive_until_ns = 0
        self._table_sequence = 0
        self._generations: list[int] = []

    @property
    def run_id(self) -> str:
        """Name of the service's run."""
        return self._supervisor().segment.run_id

    def service(self) -> np.void:
        """Return what the supervisor says of the service: a record of dtype `SERVICE`."""
        return _one(self._supervisor().reader("service").read()["service"])

    def workers(self) -> Records:
        """Return the worker table: records of dtype `WORKER`, row = codes.Role."""
        return self._supervisor().reader("workers").read()["workers"]

    def lease_until_ns(self) -> int:
        """Return how long entries are allowed [CLOCK_BOOTTIME ns]; 0: not at all."""
        return self._supervisor().word("lease_until_ns")

    def clear_until_ns(self) -> int:
        """Return how long the monitor has no objection [CLOCK_BOOTTIME ns]."""
        return self._of(Role.MONITOR, lambda mapped: mapped.word("clear_until_ns"))

    def veto_mask(self) -> int:
        """Return the monitor's objections."""
        return self._of(Role.MONITOR, lambda mapped: mapped.word("veto_mask"))

    def health(self) -> np.void:
        """Return the monitor's last findings: a record of dtype `HEALTH`."""
        return self._of(Role.MONITOR, lambda mapped: _one(mapped.reader("health").read()["health"]))

    def checks(self) -> Records:
        """Return the monitor's health checks, worst first: records of dtype `CHECK`."""
        found: Records = self._of(Role.MONITOR, lambda mapped: mapped.reader("checks").read()["checks"])
        named: Records = found[found["name"] != b""]
        return named

    def book(self) -> Book:
        """Return account and positions of one moment."""
        return self._of(Role.ENGINE, _book)

    def book_version(self) -> tuple[int, int]:
        """Return generation and number of the newest book: equal numbers, equal book."""
        return self._of(Role.ENGINE, lambda mapped: (mapped.segment.generation, mapped.reader("book").sequence))

    def limits(self) -> np.void:
        """Return the limits in force: a record of dtype `LIMITS`."""
        return self._of(Role.ENGINE, lambda mapped: _one(mapped.reader("limits").read()["limits"]))

    def strategies(self) -> Records:
        """Return what the engine says of its strategies: records of dtype `STRATEGY`, by index."""
        found: Records = self._of(Role.ENGINE, lambda mapped: mapped.reader("strategies").read()["strategies"])
        named: Records = found[found["name"] != b""]
        return named

    def venue(self) -> np.void:
        """Return what the engine says of its exchange: a record of dtype `VENUE`."""
        return self._of(Role.ENGINE, lambda mapped: _one(mapped.reader("venue").read()["venue"]))

    def beat(self, role: Role | str) -> np.void:
        """Return a worker's last beat: a record of dtype `BEAT`."""
        return self._of(as_role(role), lambda mapped: _one(mapped.reader("beat").read()["beat"]))

    def meta(self, role: Role | str) -> dict[str, Any]:
        """Return the names that a process' segment was made with."""
        return self._of(as_role(role), lambda mapped: mapped.segment.meta)

    def equity_since(self, position: int = 0) -> tuple[Records, int, int]:
        """Return points of the equity curve since a position.

        Parameters
        ----------
        position : int
            0 for all that the current engine has, else what the last call gave back.

        Returns
        -------
        points : ndarray
            Records of dtype `EQUITY_POINT`, oldest first.
        next_position : int
            For the next call; also after the engine was replaced.
        lost : int
            Points of this generation that were overwritten before they were read.
        """
        return self._of(Role.ENGINE, lambda mapped: _equity(mapped.segment, position))

    def _of(self, role: Role, read: Callable[[_Mapped], T]) -> T:
        mapped = self._supervisor() if role is Role.SUPERVISOR else self._worker(role)
        return read(mapped)

    def _supervisor(self) -> _Mapped:
        mapped = self._mapped.get(Role.SUPERVISOR)
        if mapped is None or not self._still_there(mapped.segment):
            self._mapped.clear()
            self._table_sequence = 0
            mapped = self._mapped[Role.SUPERVISOR] = _Mapped(self._find_supervisor())
            self._alive_until_ns = boottime_ns() + ALIVE_CHECK_NS
        return mapped

    def _still_there(self, segment: Segment) -> bool:
        now_ns = boottime_ns()
        if now_ns < self._alive_until_ns:
            return True
        self._alive_until_ns = now_ns + ALIVE_CHECK_NS
        try:
            same = segment.path.stat().st_ino == segment.inode
        except OSError:
            return False
        return same and segment.owner_alive()

    def _find_supervisor(self) -> Segment:
        folder = self._paths.runtime_dir
        try:
            found = [match for path in folder.iterdir() if (match := _SUPERVISOR_FILE.fullmatch(path.name))]
        except PermissionError:
            raise StateError(
                f"{folder}: user {os.geteuid()} may not look into it; ask as root or as the service's user"
            ) from None
        except OSError:
            raise NotRunning(f"no service runs on {self._paths.data_dir}: there is no folder {folder}") from None
        if not found:
            raise NotRunning(f"no service runs on {self._paths.data_dir}: no supervisor's segment in {folder}")
        newest = max(found, key=lambda match: int(match[1]))
        try:
            segment = Segment.attach(folder / newest[0], role=Role.SUPERVISOR)
        except SegmentMissing:
            raise NotRunning(f"no service runs on {self._paths.data_dir}: it has just stopped") from None
        if not segment.owner_alive():
            raise NotRunning(
                f"no service runs on {self._paths.data_dir}: its supervisor, process {segment.header.owner_pid}, "
                "died without cleaning up"
            )
        return segment

    def _worker(self, role: Role) -> _Mapped:
        for last in (False, False, True):
            supervisor = self._supervisor()
            generation = self._generation(supervisor, role)
            mapped = self._mapped.get(role)
            if mapped is not None and mapped.segment.generation == generation:
                return mapped
            self._mapped.pop(role, None)
            if generation == 0:
                break
            path = self._paths.segment(role.name.lower(), generation)
            try:
                segment = Segment.attach(path, role=role, run_id=supervisor.segment.run_id, generation=generation)
            except SegmentMissing:
                self._alive_until_ns = 0  # the worker, or the whole service, may have been replaced just now
            except LayoutMismatch:
                if last:
                    raise
                self._alive_until_ns = 0
            else:
                mapped = self._mapped[role] = _Mapped(segment)
                return mapped
        raise SegmentMissing(f"the {role.name.lower()} has no shared state in {self._paths.runtime_dir}: it is not up")

    def _generation(self, supervisor: _Mapped, role: Role) -> int:
        table = supervisor.reader("workers")
        sequence = table.sequence
        if sequence == 0 or sequence != self._table_sequence:
            self._generations = table.read()["workers"]["generation"].tolist()
            self._table_sequence = sequence
        return self._generations[role]


def _one(records: Records) -> np.void:
    record: np.void = records[0]
    return record


def _book(mapped: _Mapped) -> Book:
    parts = mapped.reader("book").read()
    meta = mapped.segment.meta
    return Book(_one(parts["account"]), parts["slots"], tuple(meta.get("symbols", ())), meta)


def _equity(segment: Segment, position: int) -> tuple[Records, int, int]:
    generation, index = position >> _POSITION_BITS, position & ((1 << _POSITION_BITS) - 1)
    points, after, lost = segment.ring("equity").read_since(index if generation == segment.generation else 0)
    return points, (segment.generation << _POSITION_BITS) | after, lost
