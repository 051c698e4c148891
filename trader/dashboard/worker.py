"""The dashboard's worker: a Tornado server on the worker's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import resource
import socket
from pathlib import Path
from typing import Any

from trader.config import secrets
from trader.config.owner_token import ensure_token, read_token, token_file
from trader.config.secrets import Secret
from trader.config.sections import Config
from trader.dashboard.app import Server, make_server
from trader.dashboard.archive import Archive
from trader.dashboard.board import Board
from trader.dashboard.history import History
from trader.dashboard.hub import Hub
from trader.dashboard.listening import listen
from trader.dashboard.security import Guard
from trader.dashboard.source import Source
from trader.dashboard.web import Services
from trader.errors import ConfigError, ControlError, WorkerError
from trader.process import control
from trader.process.context import WorkerContext
from trader.process.worker import Beat
from trader.state.reader import StateReader
from trader.state.segment import Segment

PUSH_S = 1.0
COMMAND_TIMEOUT_S = 20.0
#: a port that a dying predecessor still holds is tried for this long [s]
BIND_PATIENCE_S = 3.0
#: open files: sockets, most of all
MOST_FILES = 8192

log = logging.getLogger(__name__)


class DashboardService:
    """The service that the dashboard process runs; see `trader.process.worker.WorkerService`."""

    def __init__(self, context: WorkerContext, segment: Segment, beat: Beat) -> None:  # noqa: ARG002 - the protocol's
        self._context = context
        self._config = context.config
        self._beat = beat
        self._hub = Hub()
        self._board: Board
        self._archive: Archive
        self._guard: Guard
        self._token_stamp: tuple[int, int] = (0, 0)
        self._server: Server | None = None
        self._prepared: Config | None = None
        self._stopping = asyncio.Event()

    async def start(self) -> dict[str, Any]:
        """Listen.

        Returns
        -------
        dict
            The address: `host`, `port` and `url`.

        Raises
        ------
        TraderError
            When the port is taken or the token can't be had.
        """
        section = self._config.dashboard
        _allow_many_files()
        paths = self._context.paths
        self._guard = Guard(section.host, self._token(), hosts=section.hosts)
        self._board = Board(self._config, Source(StateReader(paths)), History(paths))
        self._archive = Archive(paths, self._config)
        self._server = make_server(Services(self._board, self._archive, self._hub, self._guard, self._send))
        sockets = list(self._context.sockets) or await self._bind(section.host, section.port)
        self._server.add_sockets(sockets)
        host, port = sockets[0].getsockname()[:2]
        url = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
        log.info("the dashboard listens on %s", url)
        return {"host": host, "port": port, "url": url}

    async def run(self) -> None:
        """Push once a second until stopped."""
        seen_ms, seen_records = 0, -1
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while not self._stopping.is_set():
            self._beat.iterations += 1
            if len(self._hub):
                update = self._board.update(seen_ms, seen_records).decode()
                seen_ms, seen_records = self._board.curve_end_ms, self._board.records_version
                snapshot = self._board.snapshot().body.decode() if self._hub.lagging() else None
                self._hub.push(update, snapshot)
            else:
                self._board.refresh()
                seen_ms, seen_records = self._board.curve_end_ms, self._board.records_version
            self._look_at_token()
            # on a grid: what a push takes is no pause; one that took longer than its turn is not caught up with
            due_s = max(due_s + PUSH_S, loop.time() + PUSH_S / 4)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), due_s - loop.time())
        await self._close()

    async def stop(self) -> None:
        """Leave `run`."""
        self._stopping.set()

    async def command(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - the protocol's
        """Refuse: the dashboard takes no commands."""
        raise ControlError(f"the dashboard knows no command {name}")

    def prepare(self, config: Config, epoch: int) -> None:  # noqa: ARG002 - the protocol's
        """Keep a new configuration at hand; a new address or token restarts this process instead."""
        self._prepared = config

    def commit(self) -> None:
        """Show the new configuration."""
        if self._prepared is not None:
            self._config = self._board.config = self._prepared
            self._archive.reconfigure(self._prepared)
            self._prepared = None

    def abort(self) -> None:
        """Forget the new configuration."""
        self._prepared = None

    def _token(self) -> Secret | None:
        """Return the configured token, or this instance's own, made at the first start."""
        section, path = self._config.dashboard, token_file(self._context.paths.data_dir)
        if section.token is not None:
            return secrets.resolve(section.token, "dashboard.token")
        try:
            token = ensure_token(path)
            self._token_stamp = _stamp(path)
        except ConfigError as error:
            log.error("no command will be taken: %s", error)
            return None
        return token

    def _look_at_token(self) -> None:
        """Take the token that `trader token --new` has made."""
        path = token_file(self._context.paths.data_dir)
        if self._config.dashboard.token is not None or _stamp(path) in (self._token_stamp, (0, 0)):
            return
        self._token_stamp = _stamp(path)
        with contextlib.suppress(ConfigError):
            self._guard.replace_token(read_token(path))
            log.info("the dashboard's token was renewed: whoever was signed in has to sign in again")

    async def _send(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return await control.arequest(self._context.paths.control_socket, command, arguments, COMMAND_TIMEOUT_S)

    async def _bind(self, host: str, port: int) -> list[socket.socket]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + BIND_PATIENCE_S
        while True:
            try:
                return listen(host, port)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or loop.time() > deadline:
                    reason = error.strerror or str(error)
                    raise WorkerError(
                        f"the dashboard can not listen on {host} port {port}: {reason}; "
                        "set dashboard.port to a free one, or dashboard.enable to false"
                    ) from error
            await asyncio.sleep(0.1)

    async def _close(self) -> None:
        self._hub.close()
        if self._server is not None:
            self._server.stop()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._server.close_all_connections(), 2.0)
        self._board.history.close()
        await self._archive.close()


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_ino, status.st_mtime_ns


def _allow_many_files() -> None:
    """Raise the number of open files, as far as we may: the usual 1,024 are fewer than the pages that may listen."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
