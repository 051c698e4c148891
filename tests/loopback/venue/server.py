"""The sockets: requests and websockets, with the script's faults done to the bytes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

from tornado.iostream import StreamClosedError
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from tests.loopback.venue.books import Refused
from tests.loopback.venue.dialect import Answer, Call, Session
from tests.loopback.venue.script import Fault

if TYPE_CHECKING:
    from tests.loopback.venue.venue import FakeVenue

SUPPORTED = ("GET", "POST", "PUT", "DELETE")
RESET = struct.pack("ii", 1, 0)


class Rest(RequestHandler):
    """Every request of the dialect."""

    SUPPORTED_METHODS = SUPPORTED  # type: ignore[assignment]

    def initialize(self, venue: FakeVenue) -> None:
        """Take the venue."""
        self.venue = venue

    async def get(self) -> None:
        """Serve."""
        with contextlib.suppress(StreamClosedError):
            await self._serve()

    post = put = delete = get

    async def _serve(self) -> None:
        request = self.request
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = Call(request.method or "", request.path, request.query, request.body.decode(), headers)
        call.operation = self.venue.dialect.operation(call)
        names = ("*", call.operation, f"{call.method} {call.path}")
        faults = self.venue.script.due(names, call.params)
        started_s = time.monotonic()
        answer = await self._before(call, faults)
        if answer is None:
            answer = self.venue.handle(call)
        sent = await self._send(answer, faults) if answer is not DROPPED else "dropped"
        self.venue.note(call, answer, sent, faults, time.monotonic() - started_s)

    async def _before(self, call: Call, faults: list[Fault]) -> Answer | None:
        venue = self.venue
        for fault in faults:
            params = fault.params
            match fault.action:
                case "drop_before":
                    self.detach().close()
                    return DROPPED
                case "delay":
                    await asyncio.sleep(params.get("seconds", 1.0))
                case "rate_limited":
                    return venue.dialect.too_many(params.get("status", 429), params.get("retry_after"))
                case "clock_error_1021":
                    return venue.dialect.clock_error()
                case "error_5xx":
                    return _server_error(params)
                case "maintenance":
                    venue.close_for(params.get("seconds", 0.0))
                    return venue.dialect.maintenance()
                case _:
                    venue.disturb(fault, call)
        return venue.dialect.maintenance() if venue.in_maintenance() else None

    async def _send(self, answer: Answer, faults: list[Fault]) -> str:
        for fault in faults:
            params = fault.params
            match fault.action:
                case "drop_after":
                    self.detach().close()
                    return "dropped"
                case "reset":
                    stream = self.detach()
                    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    stream.close()
                    return "reset"
                case "delay_after":
                    await asyncio.sleep(params.get("seconds", 1.0))
                case "error_5xx_accepted":
                    answer = _server_error(params)
                case "garbage_json":
                    answer = Answer(str(params.get("text", "<html><body>OK</body></html>")).encode())
                case "truncated_body":
                    await self._truncate(answer, params)
                    return "truncated"
                case "slow_body":
                    await self._trickle(answer, params.get("seconds", 1.0))
                    return "slow"
        self._head(answer)
        await self.finish(answer.body)
        return str(answer.status)

    def _head(self, answer: Answer) -> None:
        self.set_status(answer.status)
        self.set_header("Content-Type", "application/json;charset=UTF-8")
        for name, value in answer.headers.items():
            self.set_header(name, value)

    async def _truncate(self, answer: Answer, params: dict[str, Any]) -> None:
        half = answer.body[: max(1, int(len(answer.body) * params.get("part", 0.5)))]
        if params.get("how", "json") == "json":  # a whole answer as far as HTTP goes
            self._head(answer)
            await self.finish(half)
            return
        stream = self.detach()
        await stream.write(_raw_head(answer) + half)
        stream.close()

    async def _trickle(self, answer: Answer, seconds: float) -> None:
        stream = self.detach()
        await stream.write(_raw_head(answer))
        size = max(1, len(answer.body) // 10)
        for start in range(0, len(answer.body), size):
            await asyncio.sleep(seconds / 10)
            await stream.write(answer.body[start : start + size])
        stream.close()


DROPPED = Answer(b"", 0)


def _server_error(params: dict[str, Any]) -> Answer:
    default = "<html><head><title>Bad gateway</title></head><body>nginx</body></html>"
    return Answer(str(params.get("text", default)).encode(), params.get("status", 503))


def _raw_head(answer: Answer) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} OK", "Content-Type: application/json", f"Content-Length: {len(answer.body)}"]
    return ("\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n").encode()


class Stream(WebSocketHandler):
    """Every websocket of the dialect."""

    def initialize(self, venue: FakeVenue) -> None:
        """Take the venue."""
        self.venue = venue
        self.session: Session | None = None

    def check_origin(self, origin: str) -> bool:
        """Let everybody in."""
        return True

    def open(self, *_: str) -> None:  # type: ignore[override]
        """Greet, unless the venue takes no websockets now."""
        if self.venue.in_maintenance():
            self.close(1013, "maintenance")
            return
        self.set_nodelay(True)
        self.session = Session(self.request.path, self._write, self._cut)
        self.venue.dialect.opened(self.session)

    def on_message(self, message: str | bytes) -> None:
        """Pass a client's message on."""
        if self.session is not None and isinstance(message, str):
            self.venue.dialect.heard(self.session, message)

    def on_close(self) -> None:
        """Forget the client."""
        if self.session is not None:
            self.venue.dialect.closed(self.session)

    def _write(self, text: str) -> None:
        with contextlib.suppress(WebSocketClosedError, StreamClosedError):
            self.write_message(text).add_done_callback(lambda done: done.exception())  # type: ignore[attr-defined]

    def _cut(self) -> None:
        if self.ws_connection is not None:
            self.ws_connection.stream.close()  # type: ignore[attr-defined]


class Control(RequestHandler):
    """Drives a venue that is a process of its own."""

    def initialize(self, venue: FakeVenue) -> None:
        """Take the venue."""
        self.venue = venue

    async def get(self, what: str) -> None:
        """Return books, requests or the configuration."""
        self.write(self.venue.told(what))

    async def post(self, what: str) -> None:
        """Advance the market, or change the script."""
        import json

        try:
            self.write(self.venue.ordered(what, json.loads(self.request.body or b"{}")))
        except (ValueError, TypeError, KeyError, Refused) as error:
            self.set_status(400)
            self.write({"error": str(error)})


def application(venue: FakeVenue) -> Application:
    """Return the venue's web application."""
    mine = {"venue": venue}
    return Application(
        [
            (r"/_venue/(\w+)", Control, mine),
            (r"/stream.*|/ws.*|/private/ws.*|/public/ws.*", Stream, mine),
            (r"/.*", Rest, mine),
        ],
        websocket_ping_interval=20,
        websocket_ping_timeout=15,
        log_function=lambda _: None,
    )
