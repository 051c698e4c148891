"""When a configuration is read anew, and for how long it is on probation.

Any number of requests that come while one reload runs are one more reload. A configuration that has come into
force is on probation: when a worker dies or the monitor objects within that time, everyone goes back to the one
before. One that stands it becomes `last-good.yaml`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from trader.clock import NS_PER_S, boottime_ns
from trader.codes import Veto
from trader.config.diff import Change, Needs
from trader.config.loading import strategy_files
from trader.config.sections import Config
from trader.errors import TraderError
from trader.logs.events import Event, log_event
from trader.supervisor import reload
from trader.supervisor.fallback import Keepsake
from trader.supervisor.keys import KeyWatch
from trader.supervisor.station import Station

PROBATION_S = 30.0
#: an objection counts when it lasts: a worker that a reload restarted is missed for a moment [s]
OBJECTION_S = 5.0
#: objections that a configuration can not have caused
NOT_ITS_FAULT = Veto.DISK

T = TypeVar("T")
log = logging.getLogger(__name__)


class Host(reload.Configured, Protocol):
    """The supervisor, as a reload sees it."""

    def background(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do something beside the loop's other work, until the service stops."""

    def reload_begins(self) -> None:
        """Show that a reload goes on."""

    def reload_ends(self, rejected: str | None) -> None:
        """Show that it has ended, and why nothing came of it."""

    def trust(self) -> None:
        """Allow what was withheld while no valid configuration was there."""


@dataclass(frozen=True, slots=True)
class Probation:
    """A configuration that has to prove itself."""

    until_ns: int  #: CLOCK_BOOTTIME
    content: bytes | None  #: its file; None: it has none
    old: Config | None = None  #: what to go back to; None: the service has just started
    old_epoch: int = 0
    old_content: bytes | None = None
    found: tuple[Change, ...] = ()


class Reloads:
    """Reads configurations anew, one after the other.

    Parameters
    ----------
    host : Host
        The supervisor.
    stations : mapping of str to Station
        The workers, by role.
    path : Path or None
        The file that a reload reads.
    content : bytes or None
        Of the configuration that the service started on.
    keepsake : Keepsake
        Where a configuration that held is kept.
    veto : callable
        Returns what the monitor objects to now.
    probation_s : float
        How long a configuration is on probation [s].
    """

    def __init__(
        self,
        host: Host,
        stations: Mapping[str, Station],
        path: Path | None,
        content: bytes | None,
        keepsake: Keepsake,
        veto: Callable[[], Veto],
        probation_s: float = PROBATION_S,
    ) -> None:
        self.applied = 0  #: reloads that came into force
        self.rejected = 0  #: reloads that did not, or were taken back
        self._host = host
        self._stations = stations
        self._path = path
        self._content = content
        self._files = strategy_files(host.config)
        self._keys = KeyWatch(host.config)
        self._keepsake = keepsake
        self._veto = veto
        self._probation_ns = int(probation_s * NS_PER_S)
        self._probation: Probation | None = None
        self._objected_ns = 0
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[dict[str, Any]] | None = None

    @property
    def on_probation(self) -> bool:
        """Whether the configuration in force may still be taken back."""
        return self._probation is not None and self._probation.old is not None

    async def request(self) -> dict[str, Any]:
        """Reload, together with everyone else who asked since the running reload began.

        Returns
        -------
        dict
            What was done.

        Raises
        ------
        TraderError
            When the configuration was rejected; the one in force stays.
        """
        if self._next is None:
            self._next = self._host.background(self._in_turn())
        return await asyncio.shield(self._next)

    async def request_quietly(self) -> None:
        """Reload for someone who does not wait: a rejection is logged and counted."""
        with suppress(TraderError):
            await self.request()

    def started(self) -> None:
        """Begin the probation of the configuration that the service started on."""
        self._objected_ns = boottime_ns()
        self._probation = Probation(boottime_ns() + self._probation_ns, self._content)

    def worker_died(self, station: Station, how: str) -> None:
        """Take a death into account: it speaks against a configuration on probation."""
        if not self._lock.locked():  # a reload that goes on looks after its own dead
            self._speak_against(f"the {station.role} died: {how}")

    def tick(self, now_ns: int) -> None:
        """End a probation that was stood, and look for objections until then."""
        probation = self._probation
        if probation is None:
            return
        veto = self._veto() & ~NOT_ITS_FAULT
        if not veto or self._lock.locked():
            self._objected_ns = now_ns
        if now_ns - self._objected_ns > OBJECTION_S * NS_PER_S:
            self._objected_ns = now_ns
            self._speak_against(f"the monitor objects: {veto!r}")
        elif not veto and now_ns >= probation.until_ns:
            self._probation = None
            self._keep(probation.content)

    def _keep(self, content: bytes | None) -> None:
        if content is None:
            return
        try:
            self._keepsake.keep(content)
        except OSError as error:
            log.warning("%s can not be written: %s", self._keepsake.last_good, error.strerror)

    def _speak_against(self, what: str) -> None:
        probation = self._probation
        if probation is None:
            return
        if probation.old is None:  # there is nothing to go back to: it has to show longer that it holds
            self._probation = Probation(boottime_ns() + self._probation_ns, probation.content)
            return
        self._probation = None
        self._host.configure(probation.old, probation.old_epoch)
        self._host.background(self._take_back(probation, what))

    async def _take_back(self, probation: Probation, what: str) -> None:
        assert probation.old is not None
        async with self._lock:
            self._host.reload_begins()
            reason = f"taken back, because within {self._probation_ns / NS_PER_S:g} s of it {what}"
            log_event(
                log,
                logging.ERROR,
                Event.RELOAD_TAKEN_BACK,
                f"the last reload is {reason}; configuration {probation.old_epoch} is in force again",
                config_epoch=probation.old_epoch,
                reason=what,
            )
            try:
                await reload.take_back(self._host, self._stations, probation.found, probation.old, probation.old_epoch)
                self._content = probation.old_content
            finally:
                self.rejected += 1
                self._host.reload_ends(reason)

    async def _in_turn(self) -> dict[str, Any]:
        async with self._lock:
            self._next = None
            self._host.reload_begins()
            rejected = None
            rotated = self._rotated_keys()
            try:
                return {**await self._reload(), **({"warnings": rotated} if rotated else {})}
            except TraderError as error:
                rejected = str(error)
                self.rejected += 1
                epoch = self._host.config_epoch
                words = f"reload rejected, configuration {epoch} stays in force: {error}"
                log_event(log, logging.ERROR, Event.RELOAD_REJECTED, words, config_epoch=epoch, reason=str(error))
                raise
            finally:
                self._host.reload_ends(rejected)

    async def _reload(self) -> dict[str, Any]:
        host = self._host
        old, old_epoch = host.config, host.config_epoch
        new, found, content = reload.read_new(self._path, old)
        files = strategy_files(new)
        found = (*found, *_edited(self._files, files))
        if not found:
            self._tell(f"reloaded, configuration {old_epoch} stays in force: nothing has changed", [])
            self._after(content)
            if self._probation is None:
                self.started()
            return {"changed": [], "restarted": [], "config_epoch": old_epoch}
        outcome = await reload.apply(host, self._stations, new, found, self._path)
        self._files = files
        self._keys.take(new)
        before = self._probation if self.on_probation else None
        self._probation = Probation(
            boottime_ns() + self._probation_ns,
            content,
            before.old if before else old,
            before.old_epoch if before else old_epoch,
            before.old_content if before else self._content,
            (*before.found, *found) if before else found,
        )
        self._after(content)
        text = "; ".join(str(change) for change in found)
        self._tell(f"reloaded, configuration {host.config_epoch} is in force: {text}", found)
        return outcome.document()

    def _tell(self, words: str, found: Sequence[Change]) -> None:
        epoch, keys = self._host.config_epoch, " ".join(change.key for change in found)
        log_event(log, logging.INFO, Event.RELOAD_APPLIED, words, config_epoch=epoch, changed=keys)

    def _rotated_keys(self) -> list[str]:
        """Warn of secrets that a reload does not take, and return the warnings."""
        warnings = []
        for key in self._keys.rotated():
            words = f"{key}: another secret is there than the service started with; a restart takes it"
            log_event(log, logging.WARNING, Event.KEY_ROTATED, words, key=key)
            warnings.append(words)
        return warnings

    def _after(self, content: bytes) -> None:
        self.applied += 1
        self._content = content
        self._host.trust()


# an owner's strategy that was mended comes into force as any other change does
def _edited(old: Mapping[str, str], new: Mapping[str, str]) -> list[Change]:
    return [
        Change(f"strategies ({path})", old[path], digest, Needs.HOT)
        for path, digest in new.items()
        if path in old and old[path] != digest
    ]
