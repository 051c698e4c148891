"""The dashboard's worker: a Tornado server on the worker's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from typing import Any

from tornado.httpserver import HTTPServer

from trader.config import secrets
from trader.config.sections import Config
from trader.dashboard.board import Board
from trader.dashboard.handlers import Services, make_app
from trader.dashboard.history import History
from trader.dashboard.hub import Hub
from trader.dashboard.listening import listen
from trader.dashboard.security import Guard
from trader.dashboard.source import Source
from trader.errors import ControlError, WorkerError
from trader.process import control
from trader.process.context import WorkerContext
from trader.process.worker import Beat
from trader.state.reader import StateReader
from trader.state.segment import Segment

PUSH_S = 1.0
COMMAND_TIMEOUT_S = 20.0
#: a port that a dying predecessor still holds is tried for this long [s]
BIND_PATIENCE_S = 3.0
MOST_BODY_BYTES = 64 * 1024

log = logging.getLogger(__name__)


class DashboardService:
    """The service that the dashboard process runs; see `trader.process.worker.WorkerService`."""

    def __init__(self, context: WorkerContext, segment: Segment, beat: Beat) -> None:  # noqa: ARG002 - the protocol's
        self._context = context
        self._config = context.config
        self._beat = beat
        self._hub = Hub()
        self._board: Board
        self._server: HTTPServer | None = None
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
        token = secrets.resolve(section.token, "dashboard.token") if section.token is not None else None
        paths = self._context.paths
        self._board = Board(self._config, Source(StateReader(paths)), History(paths))
        services = Services(self._board, self._hub, Guard(section.host, token), self._send)
        self._server = HTTPServer(make_app(services), max_body_size=MOST_BODY_BYTES, idle_connection_timeout=120)
        sockets = list(self._context.sockets) or await self._bind(section.host, section.port)
        self._server.add_sockets(sockets)
        host, port = sockets[0].getsockname()[:2]
        url = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
        log.info("the dashboard listens on %s", url)
        return {"host": host, "port": port, "url": url}

    async def run(self) -> None:
        """Push once a second until stopped."""
        seen_ms, seen_records = 0, -1
        while not self._stopping.is_set():
            self._beat.iterations += 1
            if len(self._hub):
                update = self._board.update(seen_ms, seen_records).decode()
                seen_ms, seen_records = self._board.curve_end_ms, self._board.records_version
                snapshot = self._board.snapshot().decode() if self._hub.lagging() else None
                self._hub.push(update, snapshot)
            else:
                self._board.refresh()
                seen_ms, seen_records = self._board.curve_end_ms, self._board.records_version
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), PUSH_S)
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
            self._prepared = None

    def abort(self) -> None:
        """Forget the new configuration."""
        self._prepared = None

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
