"""The websocket: a snapshot, then what changes, at most once a second; what clients say is ignored."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from tornado import websocket

from trader.dashboard.security import COOKIE, Guard
from trader.dashboard.web import Services


class Live(websocket.WebSocketHandler):
    """One page that listens."""

    def initialize(self, services: Services) -> None:
        """Take what the application was built with."""
        self.services = services

    def check_origin(self, origin: str) -> bool:
        """Let only our own page in."""
        return Guard.origin_allowed(origin, self.request.host)

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Refuse before the handshake who may not read, or who is one too many."""
        if (status := self._refusal()) is not None:
            self.set_status(status)
            self.finish()
            return
        await super().get(*args, **kwargs)

    def open(self, *_: str, **__: str) -> None:
        """Send everything."""
        self.set_nodelay(True)
        self.services.hub.join(self, self.services.board.snapshot().body.decode())

    def on_message(self, message: str | bytes) -> None:
        """Ignore what a page says: commands are POSTs."""

    def on_close(self) -> None:
        """Forget the client."""
        self.services.hub.leave(self)

    def _refusal(self) -> HTTPStatus | None:
        guard = self.services.guard
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        address = self.request.remote_ip or ""
        if not guard.host_allowed(self.request.host):
            return HTTPStatus.MISDIRECTED_REQUEST
        if not guard.open_to_read and not guard.session_valid(self.get_cookie(COOKIE)):
            if scheme.lower() != "bearer":
                return HTTPStatus.UNAUTHORIZED
            if guard.wait_s(address):
                return HTTPStatus.TOO_MANY_REQUESTS
            if not guard.token_matches(token.strip(), address):
                return HTTPStatus.UNAUTHORIZED
        return HTTPStatus.SERVICE_UNAVAILABLE if self.services.hub.full else None
