"""A short job that the supervisor has done by a child process, and what came of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from trader.errors import EXIT_OK, GaveUp, TraderError
from trader.process import errand
from trader.process.channel import Channel, ChannelClosed, Failed, Started
from trader.supervisor.child import spawn


class ErrandRefused(TraderError):
    """A job could not be done, for a reason that it gave."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Errand:
    """A job under way. Main thread only.

    Parameters
    ----------
    name : str
        What messages call it.
    entry : str
        The job, as package.module:function.
    *arguments : Any
        Plain values for it.
    begin : callable
        How its process is started: `child.spawn`, or `child.fork` where that is safe.
    """

    def __init__(self, name: str, entry: str, *arguments: Any, begin: Callable[..., Any] = spawn) -> None:
        self._name = name
        self._line, theirs = Channel.pair()
        try:
            self._process = begin(errand.main, (entry, arguments, os.getpid(), theirs.socket), name)
        except BaseException:
            self._line.close()
            raise
        finally:
            theirs.close()

    @property
    def is_done(self) -> bool:
        """Whether the process has ended."""
        return self._process.exitcode is not None

    def wait(self, seconds: float) -> bool:
        """Wait for the end, at most for so long, and return whether it has come."""
        self._process.join(seconds)
        return self.is_done

    def kill(self) -> None:
        """End it at once."""
        if not self.is_done:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.join()

    def result(self) -> dict[str, Any]:
        """Return what an ended job reported, and let go of it.

        Raises
        ------
        ErrandRefused
            With the exit code and the words of whoever refused.
        GaveUp
            When the job itself died.
        """
        exit_code: int = self._process.exitcode
        message = None
        with suppress(ChannelClosed):
            message = self._line.receive()
        self._process.close()
        self._line.close()
        if isinstance(message, Failed):
            raise ErrandRefused(message.message, message.exit_code)
        if exit_code != EXIT_OK or not isinstance(message, Started):
            raise GaveUp(f"{self._name} died (exit code {exit_code}); what it wrote is in the log")
        return message.info
