"""The scaffold around a worker's service: beats, messages from the supervisor, an orderly end.

Beats come from the worker's own event loop and never from a thread: a thread would go on beating while
the loop is blocked, and a beat must mean that work can be done.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from trader.clock import boottime_ns
from trader.codes import WorkerState
from trader.config.sections import Config
from trader.errors import EXIT_GAVE_UP, EXIT_OK, ControlError, StartAgain, TraderError
from trader.process.channel import (
    Abort,
    Channel,
    ChannelClosed,
    ChannelFull,
    Command,
    Commit,
    Failed,
    Finished,
    Message,
    MessageTooLarge,
    Prepare,
    Reply,
    Started,
    Stop,
)
from trader.process.context import WorkerContext
from trader.state.dtypes import BEAT
from trader.state.segment import Segment

BEAT_INTERVAL_S = 0.5

log = logging.getLogger(__name__)


class WorkerService(Protocol):
    """What a role implements; the scaffold does the rest.

    Synchronous work longer than 100 ms gives way to the loop (`await asyncio.sleep(0)`, or a thread):
    the beat runs on the same loop.
    """

    def __init__(self, context: WorkerContext, segment: Segment, beat: Beat) -> None: ...

    async def start(self) -> dict[str, Any]:
        """Recover; return what the supervisor shall know (a port). A TraderError ends the worker."""

    async def run(self) -> None:
        """Work until `stop`; returning before that means that the work is finished."""

    async def stop(self) -> None:
        """Make `run` return soon, everything saved. May come before `start` has returned."""

    async def command(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Do what an owner asks; raise ControlError to refuse."""

    def prepare(self, config: Config, epoch: int) -> None:
        """Build what a new configuration needs beside the old; raise TraderError to reject it."""

    def commit(self) -> None:
        """Run on what was prepared, from the next iteration on."""

    def abort(self) -> None:
        """Forget what was prepared; the old configuration was never gone."""


def rss_bytes() -> int:
    """Return the resident memory of this process [bytes]."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


class Beat:
    """What a worker says about itself twice a second.

    The service counts `iterations`, sets `phase` and `market_ns`, and calls `fed` when market data
    arrives; the scaffold publishes.

    Parameters
    ----------
    segment : Segment
        The worker's own segment, with a slot `beat`.
    config_epoch : int
        Epoch of the configuration that the worker was born with.
    log_dropped : callable
        Returns how many log records were dropped so far.
    """

    def __init__(self, segment: Segment, config_epoch: int = 0, log_dropped: Callable[[], int] | None = None) -> None:
        self.iterations = 0
        self.phase = 0
        self.market_ns = 0
        self.config_epoch = config_epoch
        self.state = WorkerState.STARTING
        self._fed_ns = 0
        self._writer = segment.writer("beat")
        self._record = np.zeros(1, BEAT)
        self._record["pid"] = os.getpid()
        self._log_dropped = log_dropped

    def fed(self) -> None:
        """Note that market data arrived now."""
        self._fed_ns = boottime_ns()

    def publish(self, loop_lag_s: float = 0.0) -> None:
        """Write the beat into shared memory."""
        record = self._record
        record["beats"] += 1
        record["beat_ns"] = boottime_ns()
        record["iterations"] = self.iterations
        record["phase"] = self.phase
        record["loop_lag_ns"] = max(0, int(loop_lag_s * 1e9))
        record["fed_ns"] = self._fed_ns
        record["market_ns"] = self.market_ns
        record["config_epoch"] = self.config_epoch
        record["rss_bytes"] = rss_bytes()
        record["log_dropped"] = self._log_dropped() if self._log_dropped else 0
        record["state"] = int(self.state)
        self._writer.publish(record)


class Worker:
    """Runs one service from its start to its end, and answers the supervisor meanwhile."""

    def __init__(
        self, service: WorkerService, channel: Channel, beat: Beat, set_log_level: Callable[[str], None] | None = None
    ) -> None:
        self._service = service
        self._set_log_level = set_log_level
        self._channel = channel
        self._beat = beat
        self._started = False
        self._prepared: Prepare | None = None
        self._stop_asked = asyncio.Event()
        self._outbox: deque[Message] = deque()
        self._answers: set[asyncio.Task[None]] = set()

    async def serve(self) -> int:
        """Return the exit code once the service has finished, was stopped, or has failed."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel.fileno(), self._receive)
        self._beat.publish()
        beats = asyncio.create_task(self._beats())
        try:
            return await self._live(beats)
        finally:
            beats.cancel()
            loop.remove_reader(self._channel.fileno())
            await self._settle_answers()

    async def _live(self, beats: asyncio.Task[None]) -> int:
        life = asyncio.create_task(self._life())
        asked = asyncio.create_task(self._stop_asked.wait())
        await asyncio.wait({life, asked, beats}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if beats.done():
                beats.result()
            if not life.done():
                await self._stop(life)
            life.result()
        except asyncio.CancelledError:
            if not self._stop_asked.is_set():
                raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the supervisor is told and this process ends
            return self._fail(error)
        finally:
            asked.cancel()
        if not self._stop_asked.is_set():
            self._post(Finished())
        return EXIT_OK

    async def _life(self) -> None:
        self._post(Started(await self._service.start()))
        self._started = True
        self._beat.state = WorkerState.READY
        self._beat.publish()
        await self._service.run()

    async def _stop(self, life: asyncio.Task[None]) -> None:
        if not self._started:  # nothing was begun that would have to be finished
            life.cancel()
        await self._service.stop()
        await life

    def _fail(self, error: Exception) -> int:
        deliberate = isinstance(error, TraderError)
        exit_code = error.exit_code if isinstance(error, TraderError) else EXIT_GAVE_UP
        message = str(error) if deliberate else f"{type(error).__name__}: {error}"
        log.error("%s", message, exc_info=None if deliberate else error)
        if not isinstance(error, StartAgain):  # a death without a last word is followed by a restart, also at the start
            self._post(Failed(exit_code, message))
        return exit_code

    async def _beats(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + BEAT_INTERVAL_S
            await asyncio.sleep(BEAT_INTERVAL_S)
            self._beat.publish(loop.time() - due)
            self._flush()

    def _receive(self) -> None:
        try:
            while (message := self._channel.receive()) is not None:
                self._take(message)
        except ChannelClosed:
            os._exit(EXIT_GAVE_UP)  # the supervisor is gone: nothing may go on without it, not even a clean-up

    def _take(self, message: Message) -> None:
        if isinstance(message, Stop):
            self._stop_asked.set()
        elif isinstance(message, Command):
            task = asyncio.create_task(self._answer(message))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)
        elif isinstance(message, Prepare | Commit | Abort):
            self._post(self._reload_step(message))

    async def _answer(self, command: Command) -> None:
        if not self._started:
            text = f"{command.name} has to wait: still starting, try again in a few seconds"
            self._post(Reply(command.number, {}, text))
            return
        try:
            result = await self._service.command(command.name, command.arguments)
        except TraderError as error:
            self._post(Reply(command.number, {}, str(error)))
        except Exception as error:
            log.exception("command %s broke", command.name)
            self._post(Reply(command.number, {}, f"{command.name} broke: {type(error).__name__}: {error}"))
        else:
            self._post(Reply(command.number, result))

    def _reload_step(self, message: Prepare | Commit | Abort) -> Reply:
        try:
            if isinstance(message, Prepare):
                self._service.prepare(message.config, message.epoch)
                self._prepared = message
            elif isinstance(message, Commit):
                self._commit()
            else:
                self._prepared = None
                self._service.abort()
        except TraderError as error:
            return Reply(message.number, {}, str(error), error.exit_code)
        except Exception as error:
            log.exception("%s broke", type(message).__name__)
            return Reply(message.number, {}, f"{type(error).__name__}: {error}")
        return Reply(message.number, {})

    def _commit(self) -> None:
        if self._prepared is None:
            raise ControlError("nothing is prepared")
        self._service.commit()
        self._beat.config_epoch = self._prepared.epoch
        if self._set_log_level is not None:
            self._set_log_level(self._prepared.config.logging.level)
        self._prepared = None

    def _post(self, message: Message) -> None:
        self._outbox.append(message)
        self._flush()

    def _flush(self) -> None:
        """Send what can be sent; what the supervisor does not take yet goes out with a later beat."""
        while self._outbox:
            try:
                self._channel.send(self._outbox[0])
            except (ChannelFull, ChannelClosed):
                return
            except MessageTooLarge as error:
                message = self._outbox[0]
                log.error("%s", error)  # noqa: TRY400 - the message says all
                if isinstance(message, Reply):
                    self._outbox[0] = Reply(message.number, {}, str(error))
                    continue
            self._outbox.popleft()

    async def _settle_answers(self) -> None:
        if self._answers:
            await asyncio.wait(self._answers, timeout=2.0)
        self._flush()


async def run_worker(
    load: Callable[[], type[WorkerService]],
    context: WorkerContext,
    channel: Channel,
    *,
    log_dropped: Callable[[], int] | None = None,
    set_log_level: Callable[[str], None] | None = None,
) -> int:
    """Attach the segment, make the service, run it, and return the exit code.

    Parameters
    ----------
    load : callable
        Imports and returns the service's class; slow, so it runs after the first beat.
    context : WorkerContext
        What the worker starts from.
    channel : Channel
        The line to the supervisor.
    log_dropped : callable, optional
        Returns how many log records were dropped so far.
    set_log_level : callable, optional
        Applies the log level of a new configuration.

    Returns
    -------
    int
        What the process exits with.
    """
    try:
        segment = Segment.attach(context.segment, writable=True, role=context.role, run_id=context.run_id)
        beat = Beat(segment, context.config_epoch, log_dropped)
        beat.publish()
        service = load()(context, segment, beat)
    except Exception as error:
        deliberate = isinstance(error, TraderError)
        log.error("%s", error, exc_info=None if deliberate else error)  # noqa: TRY400 - a refusal needs no traceback
        exit_code = error.exit_code if isinstance(error, TraderError) else EXIT_GAVE_UP
        channel.send(Failed(exit_code, str(error) if deliberate else f"{type(error).__name__}: {error}"))
        return exit_code
    return await Worker(service, channel, beat, set_log_level).serve()
