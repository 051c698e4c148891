"""Records that cost their maker little: facts are taken at the call, text is made in the listener's thread.

The standard library's record finds its caller by normalising paths, splits that path, asks for threads and
tasks, and is formatted at the call. That is several times what the engine should pay for a line.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable
from decimal import Decimal
from pathlib import PurePosixPath
from types import NoneType
from typing import Any, Final

#: values that nobody can change after the call: the listener may make text of them later
PLAIN: Final = frozenset({str, int, float, bool, NoneType, Decimal, bytes, PurePosixPath})

_LEVELS: Final = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}
_STARTED_S: Final = time.time()
_LOGGING_FILE: Final = logging.Logger.info.__code__.co_filename


def are_plain(values: Iterable[Any]) -> bool:
    """Tell whether none of these values can change later."""
    return PLAIN.issuperset(map(type, values))


class CheapRecord(logging.LogRecord):
    """A record with all the attributes that formatters know, most of them the same for every record."""

    def __init__(  # noqa: D417 - as the standard library's
        self,
        name: str,
        level: int,
        pathname: str,
        lineno: int,
        msg: object,
        args: Any = None,
        exc_info: Any = None,
        func: str | None = None,
        sinfo: str | None = None,
    ) -> None:
        created = time.time()
        filename = pathname.rpartition("/")[2]
        if args and len(args) == 1 and isinstance(args[0], dict) and args[0]:
            args = args[0]  # log.info("%(a)s", {"a": 1})
        self.__dict__ = {
            "name": name,
            "msg": msg,
            "args": args,
            "levelname": _LEVELS.get(level) or logging.getLevelName(level),
            "levelno": level,
            "pathname": pathname,
            "filename": filename,
            "module": filename.removesuffix(".py"),
            "exc_info": exc_info,
            "exc_text": None,
            "stack_info": sinfo,
            "lineno": lineno,
            "funcName": func,
            "created": created,
            "msecs": created % 1 * 1000,
            "relativeCreated": (created - _STARTED_S) * 1000,
            "thread": None,
            "threadName": None,
            "processName": None,
            "process": None,
            "taskName": None,
        }


def found_caller(*given: Any, **_: Any) -> logging.LogRecord:
    """Make a record for a plain `log.info(...)`: logging's record factory while a pipeline runs.

    logging itself does not look for the caller then (what it gives instead is left out): the first frame outside of
    it is the one.
    """
    name, level, _file, _line, msg, args, exc_info, *rest = given
    frame = sys._getframe(1)  # noqa: SLF001 - what logging's own findCaller does
    while frame.f_code.co_filename == _LOGGING_FILE and frame.f_back is not None:
        frame = frame.f_back
    code = frame.f_code
    return CheapRecord(name, level, code.co_filename, frame.f_lineno, msg, args, exc_info, code.co_name, *rest[1:2])
