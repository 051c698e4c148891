"""The supervisor's loop: what it does twice a second, and what it does when something happens."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from trader.clock import NS_PER_S, boottime_ns
from trader.codes import ServiceState, Veto, WorkerState
from trader.config.sections import Config
from trader.errors import EXIT_CONFIG, EXIT_GAVE_UP, EXIT_OK, ControlError, TraderError
from trader.logs.events import Event, log_event
from trader.process.channel import Command, Failed
from trader.process.context import WorkerContext
from trader.process.control import CommandRefused
from trader.state.paths import InstancePaths
from trader.state.reader import StateReader
from trader.state.segment import Segment
from trader.supervisor import last_resort, summary
from trader.supervisor.board import Board, is_live
from trader.supervisor.fallback import Keepsake, Source
from trader.supervisor.hangups import Hangups
from trader.supervisor.inherited import for_dashboard
from trader.supervisor.lease import Lease
from trader.supervisor.notify import Notifier
from trader.supervisor.reloading import PROBATION_S, Reloads
from trader.supervisor.server import ControlServer
from trader.supervisor.signals import Signals
from trader.supervisor.station import PROGRESS_INTERVALS, Station
from trader.units import timeframe_ns

ENGINE, MONITOR, DASHBOARD = "engine", "monitor", "dashboard"

#: the order of the start; the engine comes last, when everyone who looks at it is on the way
START_ORDER = (MONITOR, DASHBOARD, ENGINE)
#: the order of the end, and how long each may take [s]
STOP_ORDER = ((ENGINE, 20.0), (DASHBOARD, 5.0), (MONITOR, 5.0))

TICK_S = 0.5
#: a tick that comes this late says that the supervisor, or the machine, was asleep [s]
ASLEEP_S = 1.0
#: beats are not judged for this long after that: everyone needs a moment to wake up [s]
WAKE_UP_S = 3.0
STATUS_INTERVAL_S = 5.0
COMMAND_TIMEOUT_S = 30.0

#: what the service does without a worker that was given up
WITHOUT = {
    "monitor": "; entries are halted until the service is restarted",
    "dashboard": "; trading goes on without it",
}
EXTEND_S = 30.0

S = ServiceState
T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Instance:
    """What one run of the service is made of."""

    source: Source
    config_path: Path | None  #: what a reload reads; another file than the source after a fall-back
    paths: InstancePaths
    run_id: str
    entries: Mapping[str, str]  #: role to package.module:Class
    set_log_level: Callable[[str], None]
    keepsake: Keepsake
    probation_s: float = PROBATION_S
    sockets: tuple[socket.socket, ...] = ()  #: that systemd holds for the dashboard


class Supervisor:
    """Runs one instance from its start to its end. Main thread only."""

    def __init__(self, instance: Instance, signals: Signals, notifier: Notifier) -> None:
        self.config = instance.source.config
        self.config_epoch = 1
        self._instance = instance
        self._paths = instance.paths
        self._signals = signals
        self._notifier = notifier
        self._state = S.INIT
        self._reduce_only = instance.source.reduce_only
        self._gave_up = self._told_degraded = self._unnoted = False
        self._started_ns = boottime_ns()
        self._segment = self._create("supervisor", 1, self._paths.segment("supervisor", 1))
        self._board = Board(self._segment)
        self._lease = Lease(self._segment)
        self._reader = StateReader(self._paths)
        self._stations: dict[str, Station] = {}
        for role in START_ORDER:
            if role != DASHBOARD or self.config.dashboard.enable:
                self._stations[role] = self._station(role)
        self._reloads = Reloads(
            self,
            self._stations,
            instance.config_path,
            instance.source.content if self._reduce_only is None else None,
            instance.keepsake,
            self._veto,
            instance.probation_s,
        )
        self._hangups = Hangups(lambda: self.background(self._reloads.request_quietly()))
        self._server = ControlServer(self._paths.control_socket, self._commands())
        self._end: asyncio.Future[int]
        self._last_tick_ns = 0
        self._judge_from_ns = 0
        self._watchdog_ns = 0
        self._status_ns = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    # --------------------------------------------------------------- life

    async def run(self) -> int:
        """Start everything, keep it running, stop it in order; return the exit code."""
        loop = asyncio.get_running_loop()
        self._end = loop.create_future()
        self._signals.watch = self._wake(loop)
        self._become(S.STARTING)
        try:
            await self._server.start()
            for station in self._stations.values():
                station.start()
            ticking = asyncio.create_task(self._tick_for_ever())
            self._on_signal()
            ticking.add_done_callback(self._tick_ended)
            try:
                exit_code = await self._end
            finally:
                ticking.cancel()
        except Exception as error:
            deliberate = isinstance(error, TraderError)
            log.critical("the supervisor can not go on: %s", error, exc_info=None if deliberate else error)
            exit_code = error.exit_code if isinstance(error, TraderError) else EXIT_GAVE_UP
        await self._shut_down()
        words = f"stopped with exit code {exit_code}"
        log_event(log, logging.INFO, Event.SERVICE_STOPPED, words, exit_code=exit_code)
        return exit_code

    async def _shut_down(self) -> None:
        """Stop the workers in order; whatever goes wrong, nobody stays behind."""
        self._lease.revoke()
        self._hangups.cancel()
        for task in self._tasks:
            task.cancel()
        self._become(S.STOPPING)
        self._notifier.stopping()
        try:
            for role, grace_s in STOP_ORDER:
                if (station := self._stations.get(role)) is not None:
                    self._notifier.extend_timeout(EXTEND_S)
                    self._notifier.watchdog()
                    await self._stop_station(station, grace_s)
            if self._gave_up:
                await last_resort.take_back_entries(self._paths, self.config, self._notifier)
        finally:
            for station in self._stations.values():
                station.kill()
            await self._server.close()
            for station in self._stations.values():
                station.close()
            self._become(S.STOPPED)
            self._segment.unlink()

    async def _stop_station(self, station: Station, grace_s: float) -> None:
        """Stop one worker, pinging systemd meanwhile; a second SIGTERM ends the patience."""
        stopping = asyncio.create_task(station.stop(grace_s))
        while not stopping.done():
            await asyncio.wait({stopping}, timeout=TICK_S)
            self._notifier.watchdog()
            if self._signals.stops > 1:
                for other in self._stations.values():
                    other.kill()
        stopping.result()

    def _finish(self, exit_code: int, why: str, level: int = logging.INFO) -> None:
        if not self._end.done():
            words = f"{why}; stopping with exit code {exit_code}"
            log_event(log, level, Event.SERVICE_STOPPING, words, exit_code=exit_code, reason=why)
            if exit_code != EXIT_OK:
                self._notifier.status(why)
            self._end.set_result(exit_code)

    # --------------------------------------------------------------- what comes in

    def _on_signal(self) -> None:
        if self._signals.stops:
            self._finish(EXIT_OK, "asked to stop")
        elif self._signals.reload and self._state in (S.RUNNING, S.DEGRADED):
            self._signals.reload = False
            self._hangups.note()

    def _wake(self, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
        def wake() -> None:  # runs in the signal handler: the loop is told, and does the rest
            loop.call_soon_threadsafe(self._on_signal)

        return wake

    def background(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do something beside the loop's other work, until the service stops."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _commands(self) -> dict[str, Any]:
        return {
            "status": self._status_command,
            "pause": lambda arguments: self._engine_command("pause", arguments),
            "resume": lambda arguments: self._engine_command("resume", arguments),
            "flatten": lambda arguments: self._engine_command("flatten", arguments),
            "close": self._close_command,
            "accept": lambda arguments: self._engine_command("accept", arguments),
            "reload": self._reload_command,
            "stop": self._stop_command,
        }

    async def _status_command(self, _: dict[str, Any]) -> dict[str, Any]:
        return summary.status_document(
            state=self._state,
            config=self.config,
            epoch=self.config_epoch,
            run_id=self._instance.run_id,
            started_boot_ns=self._started_ns,
            reloads=self._reloads.applied,
            rejected=self._reloads.rejected,
            reduce_only=self._reduce_only,
            stations=self._stations.values(),
            book=summary.read_book(self._reader),
        )

    async def _close_command(self, arguments: dict[str, Any]) -> dict[str, Any]:
        symbol = arguments.get("symbol")
        if symbol not in self.config.market.symbols:
            known = ", ".join(self.config.market.symbols)
            raise CommandRefused(f"{symbol!r} is not traded here; traded: {known}", "unknown_symbol")
        return await self._engine_command("close", arguments)

    async def _engine_command(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        reply = await self._stations[ENGINE].ask(lambda number: Command(number, name, arguments), COMMAND_TIMEOUT_S)
        told = arguments or None
        if reply.error is not None:
            words = f"command {name} refused: {reply.error}"
            log_event(log, logging.WARNING, Event.CONTROL, words, command=name, arguments=told, outcome="refused")
            raise ControlError(reply.error)
        words = f"command {name}: {reply.result}"
        log_event(log, logging.INFO, Event.CONTROL, words, command=name, arguments=told, outcome="done")
        return reply.result

    async def _stop_command(self, _: dict[str, Any]) -> dict[str, Any]:
        self._finish(EXIT_OK, "asked to stop by a command")
        return {"stopping": True}

    async def _reload_command(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if self._state not in (S.RUNNING, S.DEGRADED, S.RELOADING):
            raise CommandRefused(f"the service is {self._state.name.lower()}: reload when it runs", "not_running")
        if arguments.get("wait", True):
            return await self._reloads.request()
        self.background(self._reloads.request_quietly())
        return {"accepted": True}

    # --------------------------------------------------------------- reload

    def reload_begins(self) -> None:
        """Show that a reload goes on."""
        self._become(S.RELOADING)
        self._notifier.reloading()

    def reload_ends(self, rejected: str | None) -> None:
        """Show that it has ended, and why nothing came of it."""
        if self._state is S.RELOADING:
            if rejected:
                self._notifier.status(f"reload rejected: {rejected}")
                self._status_ns = boottime_ns()
            self._become(self._health())
            self._notifier.ready()

    def trust(self) -> None:
        """Allow entries again: a valid configuration is in force."""
        if self._reduce_only is not None:
            log.warning("the configuration is valid again: entries are allowed")
            self._reduce_only = None
            self._allow_entries()

    def _veto(self) -> Veto:
        try:
            return Veto(self._reader.veto_mask())
        except TraderError:
            return Veto(0)

    def configure(self, config: Config, epoch: int) -> None:
        """Take a configuration over for the service itself and for workers to come."""
        self.config, self.config_epoch = config, epoch
        self._instance.set_log_level(config.logging.level)
        self._publish()

    # --------------------------------------------------------------- every half second

    async def _tick_for_ever(self) -> None:
        while True:
            self._tick(boottime_ns())
            await asyncio.sleep(TICK_S)

    def _tick_ended(self, ticking: asyncio.Task[None]) -> None:
        """End the service when its own loop breaks: nothing that it says could be trusted any more."""
        if not ticking.cancelled() and (error := ticking.exception()) is not None and not self._end.done():
            self._lease.revoke()
            self._notifier.trigger_watchdog()  # systemd's SIGABRT leaves a traceback; without systemd we stop in order
            self._end.set_exception(error)

    def _tick(self, now_ns: int) -> None:
        late = self._last_tick_ns and now_ns - self._last_tick_ns > (TICK_S + ASLEEP_S) * NS_PER_S
        self._last_tick_ns = now_ns
        if late:
            log.warning("the supervisor was asleep; beats are judged again in %g s", WAKE_UP_S)
            self._judge_from_ns = now_ns + int(WAKE_UP_S * NS_PER_S)
        self._lease.renew()
        for station in self._stations.values():
            station.tick(now_ns, judge=now_ns >= self._judge_from_ns)
        self._settle_state()
        if self._unnoted:
            self._allow_entries()
        self._reloads.tick(now_ns)
        self._on_signal()
        self._publish()
        self._tell_systemd(now_ns)

    def _tell_systemd(self, now_ns: int) -> None:
        if now_ns - self._watchdog_ns >= self._notifier.watchdog_s / 3 * NS_PER_S:
            self._watchdog_ns = now_ns
            self._notifier.watchdog()
        if self._notifier.listening and now_ns - self._status_ns >= STATUS_INTERVAL_S * NS_PER_S:
            self._status_ns = now_ns
            if self._state is S.STARTING:
                self._notifier.extend_timeout(EXTEND_S)
            book = summary.read_book(self._reader)
            self._notifier.status(summary.status_line(self._state, self.config, book, self._troubles()))

    def _troubles(self) -> list[str]:
        fallback = None if self._reduce_only is None else self._instance.source.path
        return summary.troubles(self._stations.values(), fallback)

    # --------------------------------------------------------------- what stations report

    def make_context(self, role: str, generation: int) -> WorkerContext:
        """Return what the next incarnation of a worker starts from, its segment created."""
        path = self._paths.segment(role, generation)
        path.unlink(missing_ok=True)  # this incarnation is new: whatever is in its place is not ours
        self._create(role, generation, path)
        return WorkerContext(
            role=role,
            generation=generation,
            run_id=self._instance.run_id,
            config=self.config,
            config_epoch=self.config_epoch,
            paths=self._paths,
            supervisor_pid=int(self._segment.header.owner_pid),
            segment=path,
            sockets=for_dashboard(self._instance.sockets, self.config) if role == DASHBOARD else (),
        )

    def changed(self) -> None:
        """Take note that a worker has a new state."""
        self._publish()

    def started(self, station: Station, info: dict[str, Any]) -> None:
        """Take note that a worker is ready."""
        facts = ", ".join(f"{name} {value}" for name, value in info.items())
        words = f"{station.role} is ready" + (f": {facts}" if facts else "")
        log_event(log, logging.INFO, Event.WORKER_READY, words, **station.facts)
        self._settle_state()

    def finished(self) -> None:
        """Take note that the engine's market has ended."""
        self._finish(EXIT_OK, "the market data has ended")

    def died(self, station: Station, how: str, failure: Failed | None) -> None:
        """Take note of a death that nobody asked for."""
        facts = {**station.facts, "exit_code": station.exit_code, "reason": how}
        self._reloads.worker_died(station, how)
        if station.state is WorkerState.FATAL:
            words = f"{station.role} died too often, given up: {how}{WITHOUT.get(station.role, '')}"
            log_event(log, logging.ERROR, Event.WORKER_GAVE_UP, words, **facts)
            if station.role == ENGINE:
                self._gave_up = True
                self._finish(EXIT_GAVE_UP, f"the engine died too often: {how}", logging.ERROR)
        elif self._fails_the_start(station, failure):
            self._finish(failure.exit_code if failure else EXIT_GAVE_UP, f"{station.role}: {how}", logging.ERROR)
        else:
            delay_s = max(0, station.next_start_ns - boottime_ns()) / 1e9
            words = f"{station.role} died: {how}; restarting in {delay_s:.1f} s"
            log_event(log, logging.WARNING, Event.WORKER_DIED, words, **facts, restart_in_s=round(delay_s, 3))
        self._settle_state()

    def _fails_the_start(self, station: Station, failure: Failed | None) -> bool:
        """Tell whether a worker that says why it can not start ends the service.

        It does before it has ever been ready, except that a dashboard which can not listen is no reason not
        to look after open positions.
        """
        if failure is None or station.was_ready or self._state is not S.STARTING:
            return False
        return station.role != DASHBOARD or failure.exit_code == EXIT_CONFIG

    # --------------------------------------------------------------- state

    def _settle_state(self) -> None:
        """Derive the state of the service from the states of its workers."""
        if self._state is S.STARTING and self._all_up():
            self._allow_entries()
            self._reloads.started()
            self._become(self._health())
            mode = "LIVE" if is_live(self.config) else "paper"
            took_s = (boottime_ns() - self._started_ns) / 1e9
            words = f"running ({mode}) after {took_s:.2f} s"
            log_event(log, logging.INFO, Event.SERVICE_READY, words, mode=mode, took_s=round(took_s, 3))
            self._notifier.ready()
        elif self._state in (S.RUNNING, S.DEGRADED) and (health := self._health()) is not self._state:
            self._become(health)
        degraded = self._state is S.DEGRADED
        if self._state in (S.RUNNING, S.DEGRADED) and degraded != self._told_degraded:
            self._told_degraded = degraded
            words = f"degraded: {', '.join(self._troubles())}" if degraded else "everything runs again"
            event = Event.SERVICE_DEGRADED if degraded else Event.SERVICE_RECOVERED
            log_event(log, logging.WARNING if degraded else logging.INFO, event, words)

    def _allow_entries(self) -> None:
        """Note on disk that the service may trade, and only then allow it; on a full disk that waits for space."""
        try:
            self._instance.keepsake.begin()
        except OSError as error:
            if not self._unnoted:
                log.error("%s can not be written: %s; entries wait for it", self._paths.data_dir, error.strerror)
            self._unnoted = True
            return
        self._unnoted = False
        if self._reduce_only is None:
            self._lease.grant()

    def _all_up(self) -> bool:
        return all(
            station.ready or (station.role == DASHBOARD and station.state in (WorkerState.BACKOFF, WorkerState.FATAL))
            for station in self._stations.values()
        )

    def _health(self) -> ServiceState:
        whole = self._reduce_only is None and all(station.ready for station in self._stations.values())
        return S.RUNNING if whole else S.DEGRADED

    def _become(self, state: ServiceState) -> None:
        self._state = state
        self._publish()

    def _publish(self) -> None:
        counts = self._reloads.applied, self._reloads.rejected
        self._board.service(self._state, self.config, self.config_epoch, *counts)
        self._board.workers(self._stations.values())

    def _station(self, role: str) -> Station:
        market = self.config.market
        stale_after_s = None
        progress_ns = 0
        if role == ENGINE:
            stale_market_s = market.stale_after_seconds or 3 * timeframe_ns(market.timeframe) / 1e9
            speed = (market.speed or 1.0) if market.source != "exchange" else 1.0
            stale_after_s = max(10.0, stale_market_s / speed)
            progress_ns = int(PROGRESS_INTERVALS * self.config.engine.loop_interval_seconds * NS_PER_S)
        return Station(role, self._instance.entries[role], self, stale_after_s=stale_after_s, progress_ns=progress_ns)

    def _create(self, role: str, generation: int, path: Path) -> Segment:
        config = self.config
        return Segment.create(
            path,
            role=role,
            generation=generation,
            n_symbols=len(config.market.symbols) if role == ENGINE else 0,
            run_id=self._instance.run_id,
            meta={
                "instance": config.instance,
                "mode": "live" if is_live(config) else "paper",
                "quote": config.quote,
                "symbols": list(config.market.symbols),
                "timeframe": config.market.timeframe,
            },
        )
