"""What POST does: sign in, and the commands. From our own page or from a script, never from another site's page."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any, ClassVar

import orjson
from pydantic import ValidationError

from trader.dashboard import models, queries
from trader.dashboard.queries import problem_of
from trader.dashboard.security import COOKIE, SESSION_S, Guard
from trader.dashboard.web import Base, M, refuse
from trader.errors import ControlError, NotRunning
from trader.process.control import CommandRefused

XSRF_HEADER = "X-XSRF-Token"
NO_TOKEN = "no token can be had: see the log, or set dashboard.token in the configuration"  # noqa: S105

log = logging.getLogger(__name__)


class Acting(Base):
    """What all POSTs share: our own page or a script, and a JSON object as body, or none."""

    body_model: ClassVar[type[queries.Nothing]] = queries.Nothing

    def body(self, model: type[M]) -> M:
        """Return the body, checked."""
        if not Guard.origin_allowed(self.request.headers.get("Origin"), self.request.host):
            refuse(HTTPStatus.FORBIDDEN, "origin", "another site's page can not act here")
        data = self.request.body
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and (data or kind):
            refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "content_type", "send the body as application/json")
        try:
            found = orjson.loads(data or b"{}")
        except orjson.JSONDecodeError:
            refuse(HTTPStatus.BAD_REQUEST, "json", "the body is not JSON")
        if not isinstance(found, dict):
            refuse(HTTPStatus.BAD_REQUEST, "json", "the body must be a JSON object")
        try:
            return model.model_validate(found)
        except ValidationError as error:
            member, message = problem_of(error)
            refuse(HTTPStatus.BAD_REQUEST, member if member in model.model_fields else "argument", message)

    def need_authority(self) -> None:
        """Refuse who may not act: neither the token, nor a session with its own XSRF token."""
        guard = self.services.guard
        if not guard.has_token:
            refuse(HTTPStatus.FORBIDDEN, "no_token", NO_TOKEN)
        if not self.authorised():
            refuse(HTTPStatus.UNAUTHORIZED, "token", "sign in, or send the token as Authorization: Bearer")
        if "Authorization" not in self.request.headers:
            self.need_xsrf()

    def need_xsrf(self) -> None:
        """Refuse a request that carries a session's cookie, and not what only our own page knows of it."""
        if not self.services.guard.xsrf_matches(self.get_cookie(COOKIE), self.request.headers.get(XSRF_HEADER)):
            refuse(HTTPStatus.FORBIDDEN, "xsrf", f"send the session's {XSRF_HEADER}, as GET /api/login tells it")


class Login(Acting):
    """Sessions: the token buys a cookie that scripts can't read."""

    public = True
    answers = models.SessionDocument
    body_model = queries.LoginBody

    def get(self) -> None:
        """Answer whether this browser is signed in."""
        self.arguments(queries.Arguments)
        key, guard = self.get_cookie(COOKIE), self.services.guard
        self.set_header("Cache-Control", "no-store")
        signed_in = guard.session_valid(key)
        xsrf = guard.xsrf_of(key) if signed_in and key is not None else None
        self.answer_document({"signed_in": signed_in, "xsrf": xsrf, "has_token": guard.has_token})

    def post(self) -> None:
        """Begin a session."""
        guard, address = self.services.guard, self.request.remote_ip or ""
        token = self.body(queries.LoginBody).token
        self.slow_down(address)
        if not guard.has_token:
            refuse(HTTPStatus.FORBIDDEN, "no_token", NO_TOKEN)
        if not guard.token_matches(token, address):
            log.warning("a wrong dashboard token came from %s", address)
            refuse(HTTPStatus.UNAUTHORIZED, "token", "this is not the token")
        secure = self.request.protocol == "https"
        key = guard.new_session()
        self.set_cookie(COOKIE, key, httponly=True, samesite="Strict", secure=secure, max_age=SESSION_S)
        self.set_header("Cache-Control", "no-store")
        self.answer_document({"signed_in": True, "xsrf": guard.xsrf_of(key), "has_token": True})

    def delete(self) -> None:
        """End the session."""
        self.body(queries.Nothing)
        key = self.get_cookie(COOKIE)
        if self.services.guard.session_valid(key):
            self.need_xsrf()
        self.services.guard.end_session(key)
        self.clear_cookie(COOKIE, httponly=True, samesite="Strict")
        self.answer_document({"signed_in": False, "xsrf": None, "has_token": self.services.guard.has_token})


#: what the page may ask the supervisor for; stopping the service is the owner's business on the machine
COMMANDS = {
    "pause": "Open no new positions until resumed; exits go on.",
    "resume": "Open positions again, within the limits.",
    "flatten": "Pause, and close all positions at the market.",
    "close": "Close the position in one symbol at the market.",
    "reload": "Read and check the configuration anew, and answer when it is in force or rejected.",
}
BODIES: dict[str, type[queries.Nothing]] = {"close": queries.CloseBody}


class Control(Acting):
    """A command: asks the supervisor, answers what it says."""

    answers = models.DoneDocument

    async def post(self, command: str) -> None:
        """Send a command."""
        self.need_authority()
        arguments = self._arguments(command)
        log.info("command from the dashboard: %s %s", command, arguments or "", extra={"command": command})
        try:
            result = await self.services.send(command, arguments)
        except NotRunning as error:
            refuse(HTTPStatus.SERVICE_UNAVAILABLE, "not_running", str(error))
        except CommandRefused as error:
            refuse(HTTPStatus.CONFLICT, error.code, str(error))
        except ControlError as error:
            refuse(HTTPStatus.BAD_GATEWAY, "control", str(error))
        self.answer_document({"ok": True, "result": result})

    def _arguments(self, command: str) -> dict[str, Any]:
        body = self.body(BODIES.get(command, queries.Nothing))
        if isinstance(body, queries.CloseBody):
            return {"symbol": self.known_symbol(body.symbol)}
        return {"wait": True} if command == "reload" else {}
