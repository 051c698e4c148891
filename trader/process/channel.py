"""The line between the supervisor and one worker: whole messages, never a blocked end.

A SOCK_SEQPACKET pair instead of a stream: a message arrives whole or not at all. So a worker that is
killed or stopped in the middle of a send can neither block the supervisor nor leave half a message.
Both ends are non-blocking; nothing is shared between two workers.
"""

from __future__ import annotations

import pickle
import socket
from dataclasses import dataclass
from typing import Any

from trader.config.sections import Config
from trader.errors import EXIT_OK, WorkerError

#: a kernel buffer holds at least one message of this size
MAX_MESSAGE_BYTES = 128 * 1024


class ChannelClosed(WorkerError):
    """The other end of the line is gone."""


class ChannelFull(WorkerError):
    """The other end does not take its messages."""


class MessageTooLarge(WorkerError):
    """A message is larger than the line takes."""


@dataclass(frozen=True, slots=True)
class Command:
    """Supervisor to worker: do this and answer."""

    number: int
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prepare:
    """Supervisor to worker: build this configuration beside the running one."""

    number: int
    config: Config
    epoch: int


@dataclass(frozen=True, slots=True)
class Commit:
    """Supervisor to worker: run on what was prepared."""

    number: int


@dataclass(frozen=True, slots=True)
class Abort:
    """Supervisor to worker: forget what was prepared."""

    number: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Supervisor to worker: finish in order and exit."""


@dataclass(frozen=True, slots=True)
class Started:
    """Worker to supervisor: recovered and ready."""

    info: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NeedsTime:
    """Worker to supervisor: the start takes so many seconds more, at most, and is going on."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """Worker to supervisor: the answer to a numbered message; an error text, or a result."""

    number: int
    result: dict[str, Any]
    error: str | None = None
    exit_code: int = EXIT_OK  #: of the error's kind: EXIT_CONFIG when it is about the configuration


@dataclass(frozen=True, slots=True)
class Finished:
    """Worker to supervisor: the work is done by itself (a replay has ended)."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Worker to supervisor: cannot go on, and why."""

    exit_code: int
    message: str


Message = Command | Prepare | Commit | Abort | Stop | Started | NeedsTime | Reply | Finished | Failed


class Channel:
    """One end of the line."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        sock.settimeout(0)

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Return both ends of a new line."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self.socket.fileno()

    def send(self, message: Message) -> None:
        """Send one message, whole, without waiting.

        Raises
        ------
        ChannelFull
            When the other end does not read.
        MessageTooLarge
            When the message is larger than `MAX_MESSAGE_BYTES`.
        ChannelClosed
            When the other end is gone.
        """
        data = pickle.dumps(message)
        if len(data) > MAX_MESSAGE_BYTES:
            raise MessageTooLarge(f"a {type(message).__name__} of {len(data)} bytes is over {MAX_MESSAGE_BYTES} bytes")
        try:
            self.socket.send(data)
        except BlockingIOError:
            raise ChannelFull from None
        except OSError as error:
            raise ChannelClosed from error

    def receive(self) -> Message | None:
        """Return the next message, or None when there is none yet.

        Raises
        ------
        ChannelClosed
            When the other end is gone and everything it sent was read.
        """
        try:
            data = self.socket.recv(MAX_MESSAGE_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ChannelClosed from error
        if not data:
            raise ChannelClosed
        message: Message = pickle.loads(data)  # noqa: S301 - an anonymous pair with our own child at the other end
        return message

    def close(self) -> None:
        """Close this end."""
        self.socket.close()
