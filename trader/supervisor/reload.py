"""A new configuration in two phases: everyone prepares it, then everyone runs on it, or nobody does.

    read and check the file -> what differs, and does it need more than a reload -> PREPARE to every
    worker -> COMMIT to every worker -> restart the workers that need it

Up to COMMIT nothing has changed, and a no of anyone costs nothing. After it, a worker that does not come
up with the new configuration takes everyone back to the old one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trader.codes import WorkerState
from trader.config.diff import Change, changes, refused, workers
from trader.config.loading import located, parse_config, read
from trader.config.problems import ConfigErrors, Problem
from trader.config.sections import Config
from trader.errors import EXIT_CONFIG, ConfigError, TraderError, WorkerError
from trader.process.channel import Abort, Commit, Message, Prepare
from trader.process.control import CommandRefused
from trader.supervisor.station import START_DEADLINE_S, Station

PREPARE_TIMEOUT_S = 5.0
COMMIT_TIMEOUT_S = 5.0
STOP_GRACE_S = 20.0

log = logging.getLogger(__name__)


class Configured(Protocol):
    """What a reload changes: the supervisor."""

    config: Config
    config_epoch: int

    def configure(self, config: Config, epoch: int) -> None:
        """Take a configuration over for the service itself and for workers to come."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reload did."""

    changed: tuple[Change, ...]
    restarted: tuple[str, ...]
    epoch: int

    def document(self) -> dict[str, object]:
        """Return the answer to the command."""
        return {
            "changed": [str(change) for change in self.changed],
            "restarted": list(self.restarted),
            "config_epoch": self.epoch,
        }


def read_new(path: Path | None, old: Config) -> tuple[Config, tuple[Change, ...], bytes]:
    """Return the configuration in the file, what it changes, and the file's bytes.

    Raises
    ------
    ConfigError
        When the file is not valid.
    CommandRefused
        When there is no file, or it changes what only a restart of the service can change.
    """
    if path is None:
        raise CommandRefused("there is no file to reload: the service runs on the built-in defaults", "rejected")
    content = read(path)  # once: what is checked is what comes into force
    new = parse_config(content, str(path))
    found = changes(old, new)
    if too_much := refused(found):
        keys = "; ".join(str(change) for change in too_much)
        raise CommandRefused(f"a restart of the service is needed for {keys}", "needs_restart")
    return new, tuple(found), content


async def apply(
    service: Configured, stations: Mapping[str, Station], new: Config, found: Sequence[Change], path: Path | None
) -> Outcome:
    """Bring a checked configuration into force.

    Parameters
    ----------
    service : Configured
        The supervisor.
    stations : mapping of str to Station
        The workers, by role.
    new : Config
        The configuration.
    found : sequence of Change
        What it changes.
    path : Path or None
        The file that it was read from, to name lines.

    Returns
    -------
    Outcome
        What was changed and who was restarted.

    Raises
    ------
    ConfigErrors
        When a worker finds it not valid; everything is as before.
    WorkerError
        When a worker did not take it; everything is as before.
    """
    old, old_epoch = service.config, service.config_epoch
    restarting = [station for role, station in stations.items() if role in workers(found)]
    hot = [station for station in stations.values() if station not in restarting and _present(station)]
    await _prepare(hot, new, old_epoch + 1, path)
    service.configure(new, old_epoch + 1)
    try:
        await _commit(hot)
        for station in restarting:
            await _restart(station)
    except TraderError as error:
        log.error("the new configuration does not hold (%s); going back to the old one", error)  # noqa: TRY400
        service.configure(old, old_epoch)
        await _go_back(hot, restarting, old, old_epoch)
        raise
    return Outcome(tuple(found), tuple(station.role for station in restarting), old_epoch + 1)


async def take_back(
    service: Configured, stations: Mapping[str, Station], found: Sequence[Change], old: Config, epoch: int
) -> None:
    """Go back to an older configuration after the newer one was in force; never fails, at worst it restarts workers.

    Parameters
    ----------
    service : Configured
        The supervisor.
    stations : mapping of str to Station
        The workers, by role.
    found : sequence of Change
        What the newer configuration had changed.
    old : Config
        The older one.
    epoch : int
        Its number.
    """
    service.configure(old, epoch)  # first, so that whoever starts meanwhile starts on it
    alive = [station for station in stations.values() if station.child is not None]
    restarting = [station for station in alive if station.role in workers(found) or not station.ready]
    await _go_back([station for station in alive if station not in restarting], restarting, old, epoch)


def _present(station: Station) -> bool:
    """Tell who has to be asked; one that is given up or between two lives starts on what holds by then."""
    return station.state in (WorkerState.STARTING, WorkerState.READY, WorkerState.SUSPECT, WorkerState.RECONCILING)


async def _ask(station: Station, make: Callable[[int], Message], timeout_s: float) -> None:
    reply = await station.ask(make, timeout_s)
    if reply.error is not None:
        cause = ConfigError(reply.error) if reply.exit_code == EXIT_CONFIG else None
        raise WorkerError(f"the {station.role} rejects it: {reply.error}") from cause


async def _prepare(hot: Sequence[Station], new: Config, epoch: int, path: Path | None) -> None:
    asked = (_ask(station, lambda number: Prepare(number, new, epoch), PREPARE_TIMEOUT_S) for station in hot)
    answers = await asyncio.gather(*asked, return_exceptions=True)
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    if not failures:
        return
    await asyncio.gather(*(_ask(station, Abort, PREPARE_TIMEOUT_S) for station in hot), return_exceptions=True)
    if path is not None and (problems := _problems(path, failures)):
        raise ConfigErrors(problems) from failures[0]
    texts = "; ".join(str(failure) for failure in failures)
    raise CommandRefused(texts, "rejected") from failures[0]


def _problems(path: Path, failures: Sequence[BaseException]) -> tuple[Problem, ...]:
    """Return what workers find wrong in the file, as all its problems are told; nothing when a key is not named."""
    texts = {str(failure.__cause__) for failure in failures if isinstance(failure.__cause__, ConfigError)}
    problems = located(path, "\n".join(sorted(texts))) if texts else ()
    return problems if all(problem.key for problem in problems) else ()


async def _commit(hot: Sequence[Station]) -> None:
    for station in hot:
        await _ask(station, Commit, COMMIT_TIMEOUT_S)


async def _restart(station: Station) -> None:
    await station.stop(STOP_GRACE_S)
    station.revive()
    child = station.child
    if child is None or not await _comes_up(station):
        raise WorkerError(f"the {station.role} does not start with it")


async def _comes_up(station: Station) -> bool:
    """Wait for the incarnation that was just started; the station's own deadline ends the wait."""
    generation = station.generation
    async with asyncio.timeout(START_DEADLINE_S[station.role] + 10.0):
        while station.generation == generation and station.state is WorkerState.STARTING:
            await asyncio.sleep(0.05)
    return station.generation == generation and station.state is WorkerState.READY


async def _go_back(hot: Sequence[Station], restarting: Sequence[Station], old: Config, epoch: int) -> None:
    for station in hot:
        try:
            await _ask(station, lambda number: Prepare(number, old, epoch), PREPARE_TIMEOUT_S)
            await _ask(station, Commit, COMMIT_TIMEOUT_S)
        except WorkerError as error:  # whoever can not be asked is started anew, on the old configuration
            log.error("%s: restarting it", error)  # noqa: TRY400
            await station.stop(STOP_GRACE_S)
            station.revive()
    for station in restarting:
        await station.stop(STOP_GRACE_S)
        station.revive()
