"""The control line: how commands and the dashboard ask the supervisor for something.

One Unix socket, one request per connection, one line of JSON each way:
{"command": ..., "arguments": {...}} and {"ok": true, "result": {...}} or
{"ok": false, "error": {"code": ..., "message": ...}}.
"""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

from trader.clock import boottime_ns
from trader.errors import ControlError, NotRunning

MAX_LINE_BYTES = 256 * 1024
COMMANDS = ("status", "pause", "resume", "flatten", "close", "accept", "reload", "stop")


class CommandRefused(ControlError):
    """The service refused a command; `code` says in one word why."""

    def __init__(self, message: str, code: str = "refused") -> None:
        super().__init__(message)
        self.code = code


def encode_request(command: str, arguments: dict[str, Any] | None = None) -> bytes:
    """Return a request as it goes over the line."""
    return json.dumps({"command": command, "arguments": arguments or {}}, allow_nan=False).encode() + b"\n"


def encode_result(result: dict[str, Any]) -> bytes:
    """Return a granted answer as it goes over the line."""
    return json.dumps({"ok": True, "result": result}).encode() + b"\n"


def encode_error(code: str, message: str) -> bytes:
    """Return a refusal as it goes over the line."""
    return json.dumps({"ok": False, "error": {"code": code, "message": message}}).encode() + b"\n"


def decode_answer(line: bytes) -> dict[str, Any]:
    """Return the result in an answer.

    Raises
    ------
    CommandRefused
        When the service said no.
    ControlError
        When the line is no answer.
    """
    try:
        answer = json.loads(line)
        if answer["ok"]:
            result: dict[str, Any] = answer["result"]
            return result
        error = answer["error"]
        code, message = str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError) as problem:
        raise ControlError(f"the service answered something unreadable: {line[:200]!r}") from problem
    raise CommandRefused(message, code)


def request(
    socket_path: Path, command: str, arguments: dict[str, Any] | None = None, timeout_s: float = 10.0
) -> dict[str, Any]:
    """Send one command and return its result.

    Parameters
    ----------
    socket_path : Path
        `InstancePaths.control_socket`.
    command : str
        One of `COMMANDS`.
    arguments : dict, optional
        The command's arguments.
    timeout_s : float
        Over all: connecting, sending, waiting [s].

    Returns
    -------
    dict
        The result.

    Raises
    ------
    NotRunning
        When nothing listens there.
    ControlError
        When the service refused, or did not answer in time.
    """
    deadline_ns = boottime_ns() + int(timeout_s * 1e9)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        try:
            _limit(line, deadline_ns)
            line.connect(str(socket_path))
            line.sendall(encode_request(command, arguments))
            data = bytearray()
            while not data.endswith(b"\n") and len(data) <= MAX_LINE_BYTES:
                _limit(line, deadline_ns)
                if not (part := line.recv(65536)):
                    break
                data += part
        except OSError as error:
            raise _connection_error(error, socket_path, command, timeout_s) from error
    if not data:
        raise ControlError(f"the service ended before it answered {command}")
    return decode_answer(bytes(data))


async def arequest(
    socket_path: Path, command: str, arguments: dict[str, Any] | None = None, timeout_s: float = 10.0
) -> dict[str, Any]:
    """Send one command from an event loop and return its result; as `request` otherwise.

    Raises
    ------
    NotRunning
        When nothing listens there.
    ControlError
        When the service refused, or did not answer in time.
    """
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(str(socket_path), limit=MAX_LINE_BYTES)
            try:
                writer.write(encode_request(command, arguments))
                await writer.drain()
                data = await reader.readline()
            finally:
                writer.close()
    except (OSError, ValueError) as error:
        raise _connection_error(error, socket_path, command, timeout_s) from error
    if not data:
        raise ControlError(f"the service ended before it answered {command}")
    return decode_answer(data)


def _limit(line: socket.socket, deadline_ns: int) -> None:
    left_s = (deadline_ns - boottime_ns()) / 1e9
    if left_s <= 0:
        raise TimeoutError
    line.settimeout(left_s)


def _connection_error(error: Exception, path: Path, command: str, timeout_s: float) -> ControlError | NotRunning:
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return NotRunning(f"no service listens at {path}")
    if isinstance(error, TimeoutError):
        return ControlError(f"no answer to {command} within {timeout_s:g} s")
    if isinstance(error, PermissionError):
        return ControlError(f"{path} belongs to another user: run the command as the service's user")
    return ControlError(f"{command} could not be sent: {error}")
