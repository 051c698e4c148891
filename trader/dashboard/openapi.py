"""The OpenAPI 3.1 document, made of what the handlers themselves check and answer."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from trader import __version__
from trader.dashboard import acting, documents, models, queries
from trader.dashboard.acting import BODIES, COMMANDS, XSRF_HEADER, Control, Login
from trader.dashboard.routes import REST
from trader.dashboard.security import COOKIE
from trader.dashboard.web import Asking, Base

Schema = dict[str, Any]

_JSON = "application/json"
_REFERENCE = "#/components/schemas/{model}"
#: what each status means, wherever it comes
_STATUSES = {
    "400": "An argument or the body is wrong; the message says which and why.",
    "401": "No token, no session, or a wrong one.",
    "403": "Another site's page, a missing XSRF token, or no token is configured.",
    "404": "There is no such symbol.",
    "405": "The address does not take this method; `Allow` says which it takes.",
    "409": "The service refuses the command, with its reason.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "421": "The Host header names somebody else.",
    "429": "Too many wrong tokens; `Retry-After` says how long to wait.",
    "502": "The service answered something unreadable.",
    "503": "No service runs, or too many questions wait.",
}
_COOKIE_AND_BEARER: list[dict[str, list[str]]] = [{"token": []}, {"session": [], "xsrf": []}]


def description(instance: str) -> Schema:
    """Return the OpenAPI document.

    Parameters
    ----------
    instance : str
        Name of the instance, for the title.

    Returns
    -------
    dict
        Version 3.1.
    """
    schemas = _schemas()
    paths: dict[str, Schema] = {path: {"get": _reading(handler)} for path, handler in REST}
    paths["/api/login"] = _signing_in()
    paths.update((f"/api/control/{name}", {"post": _commanding(name, words)}) for name, words in COMMANDS.items())
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"trader · {instance}",
            "version": __version__,
            "description": "Reading needs no token on a loopback address; every command does. Errors are "
            "`{error: {code, message}}`. The websocket `/ws` sends the snapshot, then what changes.",
        },
        "servers": [{"url": "/"}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
                "xsrf": {"type": "apiKey", "in": "header", "name": XSRF_HEADER},
            },
        },
    }


def _schemas() -> Schema:
    answered = {handler.answers for _, handler in REST if handler.answers is not None}
    answered |= {models.ErrorDocument, models.SessionDocument, models.DoneDocument}
    taken = {queries.Nothing, queries.LoginBody, *BODIES.values()}
    wanted: list[tuple[type[BaseModel], Any]] = [(model, "serialization") for model in _sorted(answered)]
    wanted += [(model, "validation") for model in _sorted(taken)]
    _, schema = models_json_schema(wanted, ref_template=_REFERENCE)
    found: Schema = schema["$defs"]
    return found


def _sorted(found: set[Any]) -> list[type[BaseModel]]:
    return sorted(found, key=lambda model: str(model.__name__))


def _words(text: str | None) -> Schema:
    """Return summary and description of a docstring."""
    lines = re.sub(r"\s+", " ", text or "").strip()
    return {"summary": lines.partition(":")[0].rstrip("."), "description": lines}


def _reference(model: type[BaseModel]) -> Schema:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _error(*statuses: str) -> Schema:
    content = {_JSON: {"schema": _reference(models.ErrorDocument)}}
    answers = {status: {"description": _STATUSES[status], "content": content} for status in sorted(statuses)}
    if "429" in answers:
        answers["429"]["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
    return answers


def _reading(handler: type[Base]) -> Schema:
    errors = ["400", "401", "421", "429"]
    if "symbol" in handler.arguments_model.model_fields:
        errors.append("404")
    if issubclass(handler, Asking):
        errors.append("503")
    if handler.public:
        errors = [status for status in errors if status not in ("401", "429")]
    answers = _error(*errors)
    answers["200"] = {"description": "The document.", "content": _content(handler)}
    answers["304"] = {"description": "It has not changed since the `ETag` in `If-None-Match`."}
    if handler is documents.Healthz:
        answers["503"] = {"description": "The service does not do its work; `problems` says why."}
        answers["503"]["content"] = _content(handler)
    return {
        **_words(handler.__doc__),
        "operationId": f"get{handler.__name__}",
        "tags": ["read"],
        "parameters": _parameters(handler.arguments_model),
        "responses": dict(sorted(answers.items())),
        **({} if handler.public else {"security": [{}, {"token": []}, {"session": []}]}),
    }


def _content(handler: type[Base]) -> Schema:
    if handler is documents.Metrics:
        return {"text/plain": {"schema": {"type": "string"}}}
    content: Schema = {_JSON: {"schema": _reference(handler.answers) if handler.answers else {"type": "object"}}}
    if issubclass(handler.arguments_model, queries.Listing):
        content["text/csv"] = {"schema": {"type": "string"}}
    return content


def _parameters(model: type[BaseModel]) -> list[Schema]:
    schema = model.model_json_schema()
    required = schema.get("required", ())
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": member.get("description", ""),
            "schema": _plain(member),
        }
        for name, member in schema.get("properties", {}).items()
    ]


def _plain(member: Schema) -> Schema:
    """Return a parameter's schema without null: what is left out is not sent."""
    found = {key: value for key, value in member.items() if key not in ("title", "description")}
    choices = [choice for choice in found.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) == 1:
        found = {**{key: value for key, value in found.items() if key != "anyOf"}, **choices[0]}
    if found.get("default", ...) is None:
        del found["default"]
    found.pop("description", None)
    return found


def _commanding(name: str, words: str) -> Schema:
    model = BODIES.get(name, queries.Nothing)
    needed = bool(model.model_json_schema().get("required"))
    answers = _error("400", "401", "403", "404", "409", "413", "415", "421", "429", "502", "503")
    if name != "close":
        del answers["404"]
    answers["200"] = _answered(models.DoneDocument, "The service has done it.")
    return {
        "summary": words.rstrip("."),
        "operationId": name,
        "tags": ["act"],
        "requestBody": {"required": needed, "content": {_JSON: {"schema": _reference(model)}}},
        "responses": dict(sorted(answers.items())),
        "security": _COOKIE_AND_BEARER,
    }


def _answered(model: type[BaseModel], words: str) -> Schema:
    return {"description": words, "content": {_JSON: {"schema": _reference(model)}}}


def _signing_in() -> Schema:
    said = _answered(models.SessionDocument, "Whether this browser is signed in.")
    tag = {"tags": ["session"]}
    wrong = ("400", "401", "403", "413", "415", "421", "429")
    return {
        "get": {
            **tag,
            "summary": "Whether this browser is signed in",
            "operationId": "getSession",
            "responses": {"200": said, **_error("400", "421")},
        },
        "post": {
            **tag,
            "summary": "Begin a session: the token buys a cookie",
            "operationId": "signIn",
            "requestBody": {"required": True, "content": {_JSON: {"schema": _reference(acting.Login.body_model)}}},
            "responses": {"200": said, **_error(*wrong)},
        },
        "delete": {
            **tag,
            "summary": "End the session",
            "operationId": "signOut",
            "responses": {"200": said, **_error("400", "403", "415", "421")},
        },
    }


#: handlers that are described by hand above, for the test that every route is described
BY_HAND = (Control, Login)
