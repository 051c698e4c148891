"""What a request may ask for: the arguments of each document and the bodies of each command.

A name that is not listed, a value of the wrong type and a number out of range are refused; the OpenAPI document says
the same, because it is made of these models.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from trader.clock import parse_utc
from trader.codes import Decided, Limit

#: rows of one answer
MOST_ROWS = 10_000
#: points of a curve, and candles
MOST_POINTS = 5_000
_LAST_NS = 2**63 - 1
#: the last moment that 64 bits of nanoseconds can name [ms]
LAST_MS = _LAST_NS // 10**6

_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _moment(text: str) -> str:
    moment_ns(text)
    return text


def moment_ns(text: str) -> int:
    """Return the time that an RFC 3339 date-time, or a date, names [ns]; beyond what 64 bits hold: the nearest.

    Raises
    ------
    ValueError
        When it names none.
    """
    try:
        found = parse_utc(text.upper())
    except (ValueError, OverflowError):
        parts = _RFC3339.fullmatch(text)
        if parts is None:
            raise ValueError("no time: write 2024-01-03 or 2024-01-03T12:05:00Z") from None
        found = _unusual(parts)
    return max(0, min(found, _LAST_NS))


def _unusual(parts: re.Match[str]) -> int:
    """Return a time that RFC 3339 allows and datetime does not know: leap seconds, and years off its scale."""
    year, month, day, hour, minute, second = (int(parts[index]) for index in range(1, 7))
    if year < 1:
        return 0
    leap = second == 60
    moment = datetime(year, month, day, hour, minute, 59 if leap else second, tzinfo=UTC) + timedelta(seconds=leap)
    return parse_utc(moment.isoformat())


Count = Annotated[int, Field(ge=1, le=MOST_ROWS, description="Rows, at most.")]
Points = Annotated[int, Field(ge=2, le=MOST_POINTS)]
Ms = Annotated[int, Field(ge=0, le=LAST_MS, description="Milliseconds since the Unix epoch, UTC.")]
Moment = Annotated[
    str,
    AfterValidator(_moment),
    WithJsonSchema({"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}),
    Field(description="Market time, UTC, as in 2024-01-03T12:00:00Z."),
]
Symbol = Annotated[str, Field(max_length=64, description="A configured symbol, as in BTC/USDT.")]
Id = Annotated[int, Field(ge=0, le=_LAST_NS, description="`next` of the page before.")]
Format = Annotated[Literal["json", "csv"], Field(description="csv: a file for a spreadsheet.")]

DECIDED = tuple(kind.name.lower() for kind in Decided)
LIMITS = tuple((limit.name or "").lower() for limit in Limit)
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def _one_of(names: tuple[str, ...]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return text

    return check


class Arguments(BaseModel):
    """No argument at all."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


class Listing(Arguments):
    """A table without pages."""

    format: Format = "json"


class OrdersQuery(Listing):
    """Which orders."""

    limit: Count = 50
    symbol: Symbol | None = None
    before: Id | None = None


class TradesQuery(Listing):
    """Which round trips."""

    limit: Count = 50
    symbol: Symbol | None = None
    before: Annotated[str, Field(pattern=r"^[0-9]{1,19}-[0-9]{1,19}$")] | None = None


class DecisionsQuery(Listing):
    """Which decisions."""

    limit: Count = 50
    symbol: Symbol | None = None
    since: Moment | None = None
    until: Moment | None = None
    decided: (
        Annotated[str, AfterValidator(_one_of(DECIDED)), Field(json_schema_extra={"enum": list(DECIDED)})] | None
    ) = None
    broken: Annotated[str, AfterValidator(_one_of(LIMITS)), Field(json_schema_extra={"enum": list(LIMITS)})] | None = (
        None
    )
    acted: bool = Field(default=False, description="Only those that ordered something, or would have.")
    before: Id | None = None


class EquityQuery(Arguments):
    """Which part of the curve, and how finely."""

    points: Points = 1000
    since_ms: Ms = 0
    until_ms: Ms = LAST_MS


class CandlesQuery(Arguments):
    """Which candles, and how many at most."""

    symbol: Symbol
    points: Points = 500
    since_ms: Ms = 0
    until_ms: Ms = LAST_MS


class ProfitQuery(Arguments):
    """Over which time, by the close of a round trip."""

    since_ms: Ms = 0
    until_ms: Ms = LAST_MS


class LogsQuery(Listing):
    """Which lines of the log."""

    limit: Annotated[int, Field(ge=1, le=1000, description="Lines, at most.")] = 100
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        default="DEBUG", description="This level and above."
    )
    role: Literal["supervisor", "engine", "monitor", "dashboard"] | None = None
    contains: Annotated[str, Field(max_length=200)] | None = None
    before: Annotated[str, Field(pattern=r"^[0-9]{1,19}-[0-9]{1,19}$")] | None = None


class Nothing(BaseModel):
    """A body that may be left out, or is an empty object."""

    model_config = ConfigDict(extra="forbid", strict=True)


class CloseBody(Nothing):
    """Which position to close."""

    symbol: str = Field(max_length=64, description="As in BTC/USDT.")


class LoginBody(Nothing):
    """What buys a session."""

    token: str = Field(max_length=1024, description="The dashboard's token; `trader token` shows it.")


def problem_of(error: Any) -> tuple[str, str]:
    """Return the member that a validation error names first, and what is wrong with it, for people."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "request"
    if first["type"] == "extra_forbidden":
        return place, f"{place[:40]} is not known here"
    if first["type"] == "missing":
        return place, f"{place} is missing"
    return place, f"{place}: {first['msg']}"
