"""Records as text: a line for people, a JSON object for tools. Both redact and neither can be forged.

A JSON line has these members, always in this order; `event`, `fields` and `exception` only where
there is something to say:

    time       UTC, ISO 8601 with microseconds and Z
    level      DEBUG, INFO, WARNING, ERROR, CRITICAL
    role       supervisor, engine, monitor, dashboard, ...
    pid        process id
    run_id     of the service's run
    logger     dotted name of the module
    message    for people
    event      stable name, see `trader.logs.events`
    fields     facts of the event: strings, numbers, booleans; null for NaN and infinity
    exception  the traceback
"""

from __future__ import annotations

import json
import logging
import math
import os
from decimal import Decimal
from functools import lru_cache
from typing import Any

import orjson

from trader.clock import format_utc
from trader.logs.redaction import HIDDEN, is_secret_name, one_line, redact

MAX_MESSAGE_CHARS = 16_384

_ENCODE = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode

_COLOURS = {"DEBUG": "\x1b[2m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[1;31m"}
_RESET = "\x1b[0m"


def message_of(record: logging.LogRecord) -> str:
    """Return a record's message: redacted, on one line, of bounded length."""
    try:
        text = record.getMessage()
    except Exception as error:  # noqa: BLE001 - a format that does not fit its arguments is still worth reading
        text = f"{record.msg} {record.args} ({type(error).__name__}: {error})"
    if len(text) > MAX_MESSAGE_CHARS:
        text = f"{text[:MAX_MESSAGE_CHARS]} ... ({len(text)} characters)"
    return one_line(redact(text))


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return an event's facts as plain values, without secrets; empty for a record that is no event."""
    fields = getattr(record, "fields", None)
    if not isinstance(fields, dict):
        return {}
    return {
        str(name): HIDDEN if _names_secret(str(name)) else plain_value(value)
        for name, value in fields.items()
        if value is not None
    }


def event_of(record: logging.LogRecord) -> str | None:
    """Return the stable name of an event, or None."""
    event = getattr(record, "event", None)
    return one_line(str(event)) if event is not None else None


def exception_of(record: logging.LogRecord) -> str | None:
    """Return the traceback, redacted, or None; its lines are its own, other controls are escaped."""
    if not record.exc_text:
        return None
    return "\n".join(one_line(line) for line in redact(record.exc_text).split("\n"))


@lru_cache(1024)
def _names_secret(name: str) -> bool:
    return is_secret_name(name)


def plain_value(value: Any) -> Any:
    """Return a value as JSON can hold it, without secrets; NaN and infinity become null."""
    if value is None or isinstance(value, bool | int):
        return value if value is None else (bool(value) if isinstance(value, bool) else int(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): HIDDEN if _names_secret(str(key)) else plain_value(item) for key, item in value.items()}
    return redact(str(value))[:MAX_MESSAGE_CHARS]


class HumanFormatter(logging.Formatter):
    """A line per record: time, level, role, message; a traceback indented below it.

    Several sinks that share one formatter share the line as well.
    """

    def __init__(self, role: str, *, colour: bool = False, date: bool = True) -> None:
        super().__init__()
        self._role = role
        self._colour = colour
        self._date = date

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        made = record.__dict__.get("_made")
        if made is not None and made[0] is self:
            return str(made[1])
        line = self._line(record)
        record.__dict__["_made"] = (self, line)
        return line

    def _line(self, record: logging.LogRecord) -> str:
        time_text = format_utc(int(record.created * 1e6) * 1000, "milliseconds")
        if not self._date:
            time_text = time_text[11:]
        line = f"{time_text} {record.levelname:<8}{self._role:<11}{message_of(record)}"
        colour = _COLOURS.get(record.levelname) if self._colour else None
        if colour:
            line = f"{colour}{line}{_RESET}"
        exception = exception_of(record)
        if exception:
            # entries start in the first column: what an exception says can not look like one
            line += "".join(f"\n    {part}" for part in exception.split("\n"))
        return line


class JsonFormatter(logging.Formatter):
    """A JSON object per record, as the module's docstring says."""

    def __init__(self, role: str, run_id: str) -> None:
        super().__init__()
        self._role = role
        self._run_id = run_id
        self._pid = os.getpid()

    def format(self, record: logging.LogRecord) -> str:
        """Return the object on one line, without its end."""
        entry: dict[str, Any] = {
            "time": format_utc(int(record.created * 1e6) * 1000, "microseconds"),
            "level": record.levelname,
            "role": self._role,
            "pid": self._pid,
            "run_id": self._run_id,
            "logger": record.name,
            "message": message_of(record),
        }
        optional = {"event": event_of(record), "fields": fields_of(record), "exception": exception_of(record)}
        entry |= {name: value for name, value in optional.items() if value}
        try:
            found = orjson.dumps(entry)
        except (TypeError, ValueError):  # a number beyond 64 bits, half a surrogate pair
            return _ENCODE(entry)
        # not every reader of lines means line feeds only: beyond ASCII everything is escaped
        return found.decode("ascii") if found.isascii() else _ENCODE(entry)
