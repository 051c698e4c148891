"""The control socket: takes one command per connection and always answers.

Whatever comes in, the worst that happens is a refusal: lines have a length, clients a time limit and a
number, and nothing here runs before the line has been read whole.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from trader.errors import TraderError
from trader.process.control import CommandRefused, encode_error, encode_result

MAX_REQUEST_BYTES = 64 * 1024
MAX_CLIENTS = 32
PATIENCE_S = 10.0

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]

log = logging.getLogger(__name__)


class TooMany(ConnectionError):
    """A client has to make room for another one."""


class ControlServer:
    """Serves commands on a Unix socket.

    Parameters
    ----------
    path : Path
        The socket.
    handlers : mapping of str to callable
        What each command does; a TraderError is a refusal.
    """

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = handlers
        self._clients: set[asyncio.Task[None]] = set()
        self._silent: dict[asyncio.StreamReader, None] = {}  #: who has not sent a whole command yet, oldest first
        self._served = 0  #: whose command is being carried out
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; for the owner's user only.

        Raises
        ------
        TraderError
            When the socket can not be made.
        """
        self._path.unlink(missing_ok=True)  # whoever is here holds the instance's lock: a socket there is dead
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._accept, str(self._path), limit=MAX_REQUEST_BYTES)
        except OSError as error:
            raise TraderError(f"the control socket {self._path} can not be made: {error}") from error
        finally:
            os.umask(before)

    async def close(self) -> None:
        """Stop listening, give running commands a moment, and remove the socket."""
        if self._server is not None:
            self._server.close()
        if self._clients:
            await asyncio.wait(self._clients, timeout=1.0)
        for client in self._clients:
            client.cancel()
        self._path.unlink(missing_ok=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # counted here, not when its task begins: of a crowd that comes at once nobody would be let in
        has_place = len(self._silent) + self._served < MAX_CLIENTS or self._send_one_away()
        if has_place:
            self._silent[reader] = None
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer, has_place=has_place))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, has_place: bool) -> None:
        try:
            if has_place:
                answer = await self._answer(reader)
            else:
                answer = encode_error("busy", f"more than {MAX_CLIENTS} commands at once: try again")
            writer.write(answer)
            async with asyncio.timeout(PATIENCE_S):
                await writer.drain()
        except (OSError, TimeoutError):
            pass  # the client went away, or does not read; nobody is left to be told
        finally:
            with suppress(OSError):
                writer.close()

    def _send_one_away(self) -> bool:
        """Make room at the cost of whoever has been connected longest without sending a command."""
        for reader in self._silent:
            del self._silent[reader]
            reader.set_exception(TooMany())
            return True
        return False

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            name, arguments = self._parse(await self._line(reader))
            self._served += 1
            try:
                return encode_result(await self._handlers[name](arguments))
            finally:
                self._served -= 1
        except CommandRefused as error:
            return encode_error(error.code, str(error))
        except TraderError as error:
            return encode_error("refused", str(error))
        except Exception as error:
            log.exception("a command broke")
            return encode_error("internal", f"{type(error).__name__}: {error}")

    async def _line(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await reader.readline()
        except TooMany:
            words = f"more than {MAX_CLIENTS} clients at once, and you sent no command: try again"
            raise CommandRefused(words, "busy") from None
        except TimeoutError:
            raise CommandRefused(f"no whole command within {PATIENCE_S:g} s", "timeout") from None
        except ValueError:
            raise CommandRefused(f"a command has at most {MAX_REQUEST_BYTES} bytes", "too_large") from None
        except OSError as error:  # nobody is left to read that
            raise CommandRefused(f"the line broke: {error}", "gone") from None
        finally:
            self._silent.pop(reader, None)

    def _parse(self, line: bytes) -> tuple[str, dict[str, Any]]:
        if not line.endswith(b"\n"):
            raise CommandRefused("a command is one line that ends with a line feed", "malformed")
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CommandRefused(f"this is no JSON: {error}", "malformed") from error
        if not isinstance(message, dict) or not isinstance(message.get("command"), str):
            raise CommandRefused('a command looks like {"command": "status", "arguments": {}}', "malformed")
        name, arguments = message["command"], message.get("arguments", {})
        if name not in self._handlers:
            raise CommandRefused(f"unknown command {name[:40]!r}; known: {', '.join(self._handlers)}", "unknown")
        if not isinstance(arguments, dict):
            raise CommandRefused("arguments must be an object", "malformed")
        return name, arguments
