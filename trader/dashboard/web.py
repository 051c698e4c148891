"""What every handler shares: headers, who may read, arguments by model, answers with tag and gzip, errors."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from tornado import web

from trader.dashboard.answer import PACK_FROM_BYTES, Encoded, encode
from trader.dashboard.archive import Archive, Busy
from trader.dashboard.board import Board
from trader.dashboard.hub import Hub
from trader.dashboard.models import Document
from trader.dashboard.queries import Arguments, problem_of
from trader.dashboard.security import COOKIE, HEADERS, Guard
from trader.errors import TraderError

Send = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
M = TypeVar("M", bound=BaseModel)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """What the handlers work with."""

    board: Board
    archive: Archive
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


def refuse(status: HTTPStatus, code: str, message: str, retry_after_s: int | None = None) -> NoReturn:
    """End a request with an error document."""
    raise Refusal(status, code, message, retry_after_s)


class Base(web.RequestHandler):
    """A handler; a subclass says what it takes and answers, and the OpenAPI document repeats it."""

    #: whether whoever may not read may still have this
    public: ClassVar[bool] = False
    #: the arguments that are taken
    arguments_model: ClassVar[type[Arguments]] = Arguments
    #: what is answered
    answers: ClassVar[type[Document] | None] = None

    def initialize(self, services: Services) -> None:
        """Take what the application was built with."""
        self.services = services

    def set_default_headers(self) -> None:
        """Set what no answer goes without."""
        headers = self._headers
        del headers["Server"]
        for name, value in _ALWAYS:
            headers[name] = value

    def prepare(self) -> None:
        """Refuse what is not meant for us and who may not read."""
        guard = self.services.guard
        if not guard.host_allowed(self.request.host):
            refuse(HTTPStatus.MISDIRECTED_REQUEST, "host", f"{self.request.host[:80]} is not a name of this dashboard")
        if not self.public and not guard.open_to_read and not self.authorised():
            refuse(HTTPStatus.UNAUTHORIZED, "token", "sign in, or send the token as Authorization: Bearer")

    def head(self, *args: str) -> Any:
        """Answer what GET would, without the body."""
        get: Callable[..., Any] = self.get
        if getattr(type(self), "get", None) is web.RequestHandler.get:
            raise web.HTTPError(HTTPStatus.METHOD_NOT_ALLOWED)
        return get(*args)

    def authorised(self) -> bool:
        """Return whether the request brings the token or a session."""
        guard, address = self.services.guard, self.request.remote_ip or ""
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return guard.session_valid(self.get_cookie(COOKIE))
        self.slow_down(address)
        return guard.token_matches(token.strip(), address)

    def slow_down(self, address: str) -> None:
        """Refuse an address that has brought too many wrong tokens."""
        wait_s = self.services.guard.wait_s(address)
        if wait_s:
            refuse(HTTPStatus.TOO_MANY_REQUESTS, "wait", f"too many wrong tokens: try again in {wait_s} s", wait_s)

    # -- what is asked -------------------------------------------------------------------------

    def arguments(self, model: type[M]) -> M:
        """Return the query's arguments, checked; refuse any that are unknown, repeated or wrong."""
        values: dict[str, Any] = {}
        for name, found in self.request.query_arguments.items():
            if len(found) > 1:
                refuse(HTTPStatus.BAD_REQUEST, "argument", f"{name[:40]} is given more than once")
            try:
                values[name] = found[0].decode()
            except UnicodeDecodeError:
                refuse(HTTPStatus.BAD_REQUEST, "argument", f"{name[:40]} is not UTF-8")
        # a query without = is lost on the way here
        empty = [part for part in self.request.query.split("&") if part and "=" not in part]
        try:
            return model.model_validate({**dict.fromkeys(empty, ""), **values})
        except ValidationError as error:
            refuse(HTTPStatus.BAD_REQUEST, "argument", problem_of(error)[1])

    def known_symbol(self, symbol: str | None) -> str | None:
        """Return a symbol that is configured; refuse another."""
        if symbol is not None and symbol not in self.services.board.config.market.symbols:
            refuse(HTTPStatus.NOT_FOUND, "symbol", f"{symbol[:40]!r} is not among the configured symbols")
        return symbol

    # -- what is answered ----------------------------------------------------------------------

    def answer(self, encoded: Encoded) -> None:
        """Send a document: 304 when the asker has it, packed when the asker takes that."""
        headers, request = self._headers, self.request.headers
        headers["Content-Type"] = encoded.kind
        headers["Etag"] = encoded.etag
        if encoded.name is not None:
            headers["Content-Disposition"] = f'attachment; filename="{encoded.name}"'
        if request.get("If-None-Match") == encoded.etag and self.get_status() == HTTPStatus.OK:
            self.set_status(HTTPStatus.NOT_MODIFIED)
            self.finish()
            return
        body = encoded.body
        if len(body) >= PACK_FROM_BYTES and "gzip" in request.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = encoded.packed
        self.finish(body)

    def answer_document(self, document: Any) -> None:
        """Send a document that nobody else will ask for."""
        self.answer(Encoded(encode(document)))

    def compute_etag(self) -> str | None:
        """Return none: `answer` sets it."""
        return None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer an error as `{"error": {code, message}}`, never with a traceback."""
        answer_error(self, status_code, kwargs.get("exc_info"), self.methods())

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what nobody foresaw; a refusal is an answer, not an incident."""
        if not isinstance(value, web.HTTPError):
            log.error("%s %s broke", self.request.method, self.request.path, exc_info=(typ, value, tb))

    @classmethod
    def methods(cls) -> list[str]:
        """Return the methods that this address takes."""
        plain = web.RequestHandler
        own = [name for name in cls.SUPPORTED_METHODS if getattr(cls, name.lower()) is not getattr(plain, name.lower())]
        return own if "GET" in own else [name for name in own if name != "HEAD"]


def answer_error(handler: web.RequestHandler, status_code: int, exc_info: Any, methods: list[str]) -> None:
    """Answer an error as a document.

    Parameters
    ----------
    handler : tornado.web.RequestHandler
        Whose request it is.
    status_code : int
        The status.
    exc_info : tuple or None
        What was raised.
    methods : list of str
        What the address takes, for a method that it does not.
    """
    error = (exc_info or (None, None, None))[1]
    code, message = HTTPStatus(status_code).name.lower(), HTTPStatus(status_code).phrase
    if isinstance(error, Refusal):
        code, message = error.code, error.message
        if error.retry_after_s is not None:
            handler.set_header("Retry-After", str(error.retry_after_s))
        if status_code == HTTPStatus.UNAUTHORIZED:
            handler.set_header("WWW-Authenticate", 'Bearer realm="trader"')
    if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        handler.set_header("Allow", ", ".join(methods))
    handler.set_header("Content-Type", "application/json; charset=UTF-8")
    handler.finish(encode({"error": {"code": code, "message": message}}))


#: set on every answer
_ALWAYS = (*HEADERS.items(), ("Cache-Control", "no-cache"), ("Vary", "Accept-Encoding, Cookie"))


class Asking(Base):
    """A handler that asks the archive; what goes wrong there becomes an error document."""

    async def asked(self, question: Awaitable[Any]) -> Any:
        """Return the archive's answer."""
        try:
            return await question
        except Busy as error:
            refuse(HTTPStatus.SERVICE_UNAVAILABLE, "busy", str(error), 2)
        except TraderError as error:
            refuse(HTTPStatus.SERVICE_UNAVAILABLE, "unreadable", str(error))


class Unknown(Base):
    """Whatever else is asked for."""

    public = True

    def prepare(self) -> None:
        """Refuse with a document, whatever the method."""
        super().prepare()
        refuse(HTTPStatus.NOT_FOUND, "not_found", "there is nothing at this address")
