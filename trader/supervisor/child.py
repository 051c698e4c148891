"""One process of a worker: born by spawn, watched by pidfd, spoken to over its own line.

Spawn and never fork: a fork of a process with threads, or of one that runs an event loop, deadlocks
numba and leaks signals (measured). pidfd and never a bare PID: a number may already be another process's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import multiprocess
from multiprocess import resource_tracker

from trader.errors import WorkerError
from trader.process import bootstrap
from trader.process.channel import Channel, ChannelClosed, Message, Reply
from trader.process.context import WorkerContext

_SPAWN = multiprocess.get_context("spawn")
_FORK = multiprocess.get_context("fork")


class Listener(Protocol):
    """Whoever looks after a child."""

    def heard(self, message: Message) -> None:
        """Take a message that is no answer."""

    def ended(self, exit_code: int) -> None:
        """Take note of the end; everything that the child said was heard before. -9: SIGKILL."""


@contextmanager
def quiet_spawn() -> Iterator[None]:
    """Start processes in here: they do not run our main module again, and no signal ends them half-born.

    No resource tracker either, a process of 10 MiB that would look after named semaphores and shared memory of
    multiprocess: nothing here makes any. Children are told that the tracker is /dev/null.
    """
    real = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    getfd = resource_tracker.getfd
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    resource_tracker.getfd = lambda: nowhere
    before = signal.pthread_sigmask(signal.SIG_BLOCK, bootstrap.IGNORED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        resource_tracker.getfd = getfd
        os.close(nowhere)
        sys.modules["__main__"] = real


def spawn(target: Callable[..., None], arguments: tuple[Any, ...], name: str) -> Any:
    """Start a process and return it. Main thread only: a child dies with the thread that started it."""
    process = _SPAWN.Process(target=target, args=arguments, name=name, daemon=True)
    with quiet_spawn():
        process.start()
    return process


def fork(target: Callable[..., None], arguments: tuple[Any, ...], name: str) -> Any:
    """Start a process that has all our modules already, and return it.

    Only before the event loop and any thread exist: what a fork could break is not there yet, and what a spawn would
    import again takes half a second.
    """
    process = _FORK.Process(target=target, args=arguments, name=name, daemon=True)
    process.start()
    return process


class Child:
    """A running worker process.

    Parameters
    ----------
    entry : str
        The service, as package.module:Class.
    context : WorkerContext
        What it starts from.
    listener : Listener
        Who is told what it says and how it ends.
    """

    def __init__(self, entry: str, context: WorkerContext, listener: Listener) -> None:
        self._listener = listener
        self._answers: dict[int, asyncio.Future[Reply]] = {}
        self._asked = 0
        self.exited = asyncio.Event()
        self._line, theirs = Channel.pair()
        try:
            self._process = spawn(bootstrap.main, (entry, context, theirs.socket), context.role)
        except BaseException:
            self._line.close()
            raise
        finally:
            theirs.close()
        self.pid: int = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pidfd, self._reap)
        loop.add_reader(self._line.fileno(), self._hear)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; to nobody when the process has already ended."""
        if self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def tell(self, message: Message) -> None:
        """Send a message that has no answer.

        Raises
        ------
        WorkerError
            When it can not be sent.
        """
        self._line.send(message)

    async def ask(self, make: Callable[[int], Message], timeout_s: float) -> Reply:
        """Send a numbered message and return its answer.

        Raises
        ------
        WorkerError
            When it can not be sent, or the worker ends or does not answer in time.
        """
        self._asked += 1
        number = self._asked
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            self.tell(make(number))
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise WorkerError(f"no answer within {timeout_s:g} s") from None
        finally:
            del self._answers[number]

    def _hear(self) -> None:
        try:
            while (message := self._line.receive()) is not None:
                if not isinstance(message, Reply):
                    self._listener.heard(message)
                elif (answer := self._answers.get(message.number)) is not None and not answer.done():
                    answer.set_result(message)
        except ChannelClosed:
            asyncio.get_running_loop().remove_reader(self._line.fileno())

    def _reap(self) -> None:
        """Note the end: first what it still said, then how it ended."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        self._hear()
        loop.remove_reader(self._line.fileno())
        self._process.join()
        exit_code: int = self._process.exitcode
        self._process.close()
        os.close(self._pidfd)
        self._pidfd = -1
        self._line.close()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(WorkerError("it ended before it answered"))
        self.exited.set()
        self._listener.ended(exit_code)
