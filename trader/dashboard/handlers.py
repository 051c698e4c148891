"""What is answered to whom: pages, documents, commands, the websocket."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import orjson
from tornado import web, websocket

from trader.clock import parse_utc
from trader.dashboard import view
from trader.dashboard.board import Board, encode
from trader.dashboard.hub import Hub
from trader.dashboard.prometheus import exposition
from trader.dashboard.security import COOKIE, HEADERS, SESSION_S, Guard
from trader.errors import ControlError, NotRunning
from trader.process.control import CommandRefused

Send = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]

MOST_ROWS = 1000
MOST_POINTS = 5000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """What the handlers work with."""

    board: Board
    hub: Hub
    guard: Guard
    send: Send  #: a command to the supervisor


class Refusal(web.HTTPError):
    """A request that is answered with an error document."""

    def __init__(self, status: HTTPStatus, code: str, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(status, "%s", message)
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s


class Base(web.RequestHandler):
    """Headers, the checks that hold for everything, errors as documents."""

    #: whether whoever may not read may still have this
    public: ClassVar[bool] = False

    def initialize(self, services: Services) -> None:
        """Take what the application was built with."""
        self.services = services

    def set_default_headers(self) -> None:
        """Set what no answer goes without."""
        self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)
        self.set_header("Cache-Control", "no-store")

    def prepare(self) -> None:
        """Refuse what is not meant for us and who may not read."""
        guard = self.services.guard
        if not guard.host_allowed(self.request.host):
            refuse(HTTPStatus.MISDIRECTED_REQUEST, "host", f"{self.request.host} is not a name of this dashboard")
        if not self.public and not guard.open_to_read and not self.authorised():
            refuse(HTTPStatus.UNAUTHORIZED, "token", "sign in, or send the token as Authorization: Bearer")

    def authorised(self) -> bool:
        """Return whether the request brings the token or a session."""
        guard, address = self.services.guard, self.request.remote_ip or ""
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return guard.session_valid(self.get_cookie(COOKIE))
        self._slow_down(address)
        return guard.token_matches(token.strip(), address)

    def _slow_down(self, address: str) -> None:
        wait_s = self.services.guard.wait_s(address)
        if wait_s:
            raise Refusal(
                HTTPStatus.TOO_MANY_REQUESTS, "wait", f"too many wrong tokens: try again in {wait_s} s", wait_s
            )

    def check_etag_header(self) -> bool:
        """Leave entity tags to the files: documents change each second."""
        return False

    def compute_etag(self) -> str | None:
        """Return none, for the same reason."""
        return None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer an error as `{"error": {code, message}}`, never with a traceback."""
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        code, message = HTTPStatus(status_code).name.lower(), HTTPStatus(status_code).phrase
        if isinstance(error, Refusal):
            code, message = error.code, error.message
            if error.retry_after_s is not None:
                self.set_header("Retry-After", str(error.retry_after_s))
        elif isinstance(error, web.MissingArgumentError):
            message = f"the argument {error.arg_name} is missing"
        if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", ", ".join(self._allowed()))
        self._json({"error": {"code": code, "message": message}})

    def _allowed(self) -> list[str]:
        plain = web.RequestHandler
        return [
            name
            for name in self.SUPPORTED_METHODS
            if getattr(type(self), name.lower()) is not getattr(plain, name.lower())
        ]

    def _json(self, document: Any) -> None:
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.finish(document if isinstance(document, bytes) else encode(document))

    def _count(self, name: str, default: int, most: int) -> int:
        text = self.get_query_argument(name, str(default))
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:12]) <= most:
            refuse(HTTPStatus.BAD_REQUEST, "argument", f"{name} must be a number from 1 to {most}")
        return int(text)

    def _symbol(self) -> str | None:
        symbol = self.get_query_argument("symbol", None)
        if symbol is not None and symbol not in self.services.board.config.market.symbols:
            refuse(HTTPStatus.NOT_FOUND, "symbol", f"{symbol[:40]!r} is not among the configured symbols")
        return symbol


def refuse(status: HTTPStatus, code: str, message: str) -> NoReturn:
    """End a request with an error document."""
    raise Refusal(status, code, message)


class Page(Base):
    """The page itself; it holds no numbers, so everybody may have it."""

    public = True

    def get(self) -> None:
        """Answer the page."""
        self.set_header("Cache-Control", "no-cache")
        self.render("index.html", asset=self.static_url)


class Static(web.StaticFileHandler):
    """The page's own files."""

    def set_extra_headers(self, path: str) -> None:
        """Let browsers keep what is named by its hash, and ask again for the rest.

        Icons are kept for a day: the one for "disconnected" is needed when nobody answers.
        """
        for name, value in HEADERS.items():
            self.set_header(name, value)
        if path.endswith(".svg"):
            self.set_header("Cache-Control", "max-age=86400")
        elif not self.get_argument("v", None):
            self.set_header("Cache-Control", "no-cache")


class Status(Base):
    """`/api/status`: the present."""

    def get(self) -> None:
        """Answer the status document."""
        board = self.services.board
        self._json(board.encoded("status", lambda: board.status))


class SnapshotDocument(Base):
    """`/api/snapshot`: what the websocket sends first, for pages without one."""

    def get(self) -> None:
        """Answer the snapshot."""
        self._json(self.services.board.snapshot())


class Performance(Base):
    """`/api/performance`: the summary under its published names."""

    def get(self) -> None:
        """Answer the summary."""
        board = self.services.board
        self._json(board.encoded("performance", lambda: view.performance_document(board.status)))


class Positions(Base):
    """`/api/positions`: open positions with their exit plans."""

    def get(self) -> None:
        """Answer the positions."""
        board = self.services.board
        self._json(board.encoded("positions", lambda: {"positions": board.status["positions"]}))


class Orders(Base):
    """`/api/orders`: the newest orders."""

    def get(self) -> None:
        """Answer orders, newest first; `limit`, `symbol`."""
        limit, symbol = self._count("limit", 50, MOST_ROWS), self._symbol()
        self._json({"orders": self.services.board.history.orders(limit, symbol)})


class Trades(Base):
    """`/api/trades`: the newest round trips."""

    def get(self) -> None:
        """Answer round trips, newest first; `limit`."""
        self._json({"trades": self.services.board.history.trips(self._count("limit", 50, MOST_ROWS))})


class Decisions(Base):
    """`/api/decisions`: the newest decisions with their reasons."""

    def get(self) -> None:
        """Answer decisions, newest first; `limit`, `symbol`, `since` (ISO 8601)."""
        limit, symbol = self._count("limit", 50, MOST_ROWS), self._symbol()
        self._json({"decisions": self.services.board.history.decisions(limit, symbol, self._since())})

    def _since(self) -> int | None:
        text = self.get_query_argument("since", None)
        if text is None:
            return None
        try:
            return parse_utc(text)
        except (ValueError, OverflowError):
            refuse(HTTPStatus.BAD_REQUEST, "argument", "since must be an ISO 8601 time, as in 2024-01-03T12:00:00Z")


class Equity(Base):
    """`/api/equity`: the curve over any range, thinned here."""

    def get(self) -> None:
        """Answer points of [market time ms, equity, drawdown 0..1]; `points`, `since_ms`."""
        points = self._count("points", 1000, MOST_POINTS)
        text = self.get_query_argument("since_ms", "0")
        if not text.lstrip("-").isdecimal() or len(text) > 16:
            refuse(HTTPStatus.BAD_REQUEST, "argument", "since_ms must be milliseconds since the Unix epoch")
        self._json({"points": self.services.board.curve(points, max(0, int(text)))})


class Healthz(Base):
    """`/healthz`: 200 while the service does its work, else 503 with reasons."""

    public = True

    def get(self) -> None:
        """Answer the health document."""
        document = view.health_document(self.services.board.refresh())
        self.set_status(HTTPStatus.OK if document["ok"] else HTTPStatus.SERVICE_UNAVAILABLE)
        self._json(document)


class Metrics(Base):
    """`/metrics`: for Prometheus."""

    def get(self) -> None:
        """Answer the metrics."""
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.finish(exposition(self.services.board.refresh()))


class Unknown(Base):
    """Whatever else is asked for."""

    public = True

    def prepare(self) -> None:
        """Refuse with a document, whatever the method."""
        super().prepare()
        refuse(HTTPStatus.NOT_FOUND, "not_found", "there is nothing at this address")


class Acting(Base):
    """What all POSTs share: a JSON object as body, from our own page or from a script."""

    def _body(self) -> dict[str, Any]:
        if not Guard.origin_allowed(self.request.headers.get("Origin"), self.request.host):
            refuse(HTTPStatus.FORBIDDEN, "origin", "another site's page can not act here")
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "content_type", "send the body as application/json")
        try:
            body = orjson.loads(self.request.body or b"{}")
        except orjson.JSONDecodeError:
            refuse(HTTPStatus.BAD_REQUEST, "json", "the body is not JSON")
        if not isinstance(body, dict):
            refuse(HTTPStatus.BAD_REQUEST, "json", "the body must be a JSON object")
        return body


class Login(Acting):
    """`POST /api/login`: the token for a session cookie; DELETE ends the session."""

    public = True

    def post(self) -> None:
        """Begin a session."""
        body, guard, address = self._body(), self.services.guard, self.request.remote_ip or ""
        token = body.get("token")
        if not isinstance(token, str):
            refuse(HTTPStatus.BAD_REQUEST, "token", "token must be a text")
        self._slow_down(address)
        if not guard.has_token:
            refuse(HTTPStatus.FORBIDDEN, "no_token", NO_TOKEN)
        if not guard.token_matches(token, address):
            log.warning("a wrong dashboard token came from %s", address)
            refuse(HTTPStatus.UNAUTHORIZED, "token", "this is not the token")
        secure = self.request.protocol == "https"
        key = guard.new_session()
        self.set_cookie(COOKIE, key, httponly=True, samesite="Strict", secure=secure, max_age=SESSION_S)
        self._json({"ok": True})

    def delete(self) -> None:
        """End the session."""
        self.services.guard.end_session(self.get_cookie(COOKIE))
        self.clear_cookie(COOKIE)
        self._json({"ok": True})


NO_TOKEN = "no token is configured: set dashboard.token in the configuration, or use the trader command"  # noqa: S105

#: what the page may ask the supervisor for; stopping the service is the owner's business on the machine
COMMANDS = ("pause", "resume", "flatten", "close", "reload")


class Control(Acting):
    """`POST /api/control/COMMAND`: asks the supervisor, answers what it says."""

    async def post(self, command: str) -> None:
        """Send a command."""
        if command not in COMMANDS:
            refuse(HTTPStatus.NOT_FOUND, "command", f"commands are {', '.join(COMMANDS)}")
        if not self.services.guard.has_token:
            refuse(HTTPStatus.FORBIDDEN, "no_token", NO_TOKEN)
        if not self.authorised():
            refuse(HTTPStatus.UNAUTHORIZED, "token", "sign in, or send the token as Authorization: Bearer")
        arguments = self._arguments(command, self._body())
        log.info("command from the dashboard: %s %s", command, arguments or "", extra={"command": command})
        try:
            result = await self.services.send(command, arguments)
        except NotRunning as error:
            refuse(HTTPStatus.SERVICE_UNAVAILABLE, "not_running", str(error))
        except CommandRefused as error:
            refuse(HTTPStatus.CONFLICT, error.code, str(error))
        except ControlError as error:
            refuse(HTTPStatus.BAD_GATEWAY, "control", str(error))
        self._json({"ok": True, "result": result})

    def _arguments(self, command: str, body: dict[str, Any]) -> dict[str, Any]:
        if command == "reload":
            return {"wait": True}
        if command != "close":
            return {}
        symbol = body.get("symbol")
        if not isinstance(symbol, str):
            refuse(HTTPStatus.BAD_REQUEST, "symbol", "symbol must be a text, as in BTC/USDT")
        if symbol not in self.services.board.config.market.symbols:
            refuse(HTTPStatus.NOT_FOUND, "symbol", f"{symbol[:40]!r} is not among the configured symbols")
        return {"symbol": symbol}


class Live(websocket.WebSocketHandler):
    """`/ws`: a snapshot, then what changes, at most once a second; what clients say is ignored."""

    def initialize(self, services: Services) -> None:
        """Take what the application was built with."""
        self.services = services

    def check_origin(self, origin: str) -> bool:
        """Let only our own page in."""
        return Guard.origin_allowed(origin, self.request.host)

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Refuse before the handshake who may not read, or who is one too many."""
        guard = self.services.guard
        allowed = guard.host_allowed(self.request.host)
        reads = guard.open_to_read or guard.session_valid(self.get_cookie(COOKIE))
        if not allowed or not reads or self.services.hub.full:
            self.set_status(HTTPStatus.FORBIDDEN if not (allowed and reads) else HTTPStatus.SERVICE_UNAVAILABLE)
            self.finish()
            return
        await super().get(*args, **kwargs)

    def open(self, *_: str, **__: str) -> None:
        """Send everything."""
        self.set_nodelay(True)
        self.services.hub.join(self, self.services.board.snapshot().decode())

    def on_message(self, message: str | bytes) -> None:
        """Ignore what a page says: commands are POSTs."""

    def on_close(self) -> None:
        """Forget the client."""
        self.services.hub.leave(self)


STATIC = Path(__file__).parent / "static"
TEMPLATES = Path(__file__).parent / "templates"


def make_app(services: Services) -> web.Application:
    """Return the application.

    Parameters
    ----------
    services : Services
        What the handlers work with.

    Returns
    -------
    tornado.web.Application
        To be served by an HTTP server.
    """
    given = {"services": services}
    routes: list[tuple[str, type[web.RequestHandler], dict[str, Any]]] = [
        ("/", Page, given),
        ("/api/status", Status, given),
        ("/api/snapshot", SnapshotDocument, given),
        ("/api/performance", Performance, given),
        ("/api/positions", Positions, given),
        ("/api/orders", Orders, given),
        ("/api/trades", Trades, given),
        ("/api/decisions", Decisions, given),
        ("/api/equity", Equity, given),
        ("/api/login", Login, given),
        ("/api/control/([a-z]+)", Control, given),
        ("/healthz", Healthz, given),
        ("/metrics", Metrics, given),
        ("/ws", Live, given),
    ]
    return web.Application(
        routes,
        default_handler_class=Unknown,
        default_handler_args=given,
        static_path=str(STATIC),
        static_handler_class=Static,
        template_path=str(TEMPLATES),
        compress_response=True,
        websocket_ping_interval=20,
        websocket_max_message_size=4096,
        log_function=_log_request,
    )


def _log_request(handler: web.RequestHandler) -> None:
    status = handler.get_status()
    level = (
        logging.DEBUG if status < HTTPStatus.INTERNAL_SERVER_ERROR or isinstance(handler, Healthz) else logging.ERROR
    )
    log.log(level, "%s %s %s", status, handler.request.method, handler.request.path)
