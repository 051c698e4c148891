"""Clocks: UTC for what is written down, boot time for what is waited for.

A wall clock steps (NTP, an owner's `date -s`, a resumed machine) and so never measures a
duration here: leases, beats, deadlines and back-offs run on CLOCK_BOOTTIME, which also counts
the time a machine was suspended. Market time is the feed's own (`trader.market`): on a live
exchange it is UTC, in a replay it is the time of the candles.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

NS_PER_S = 1_000_000_000
NS_PER_DAY = 86_400 * NS_PER_S


def utc_ns() -> int:
    """Return the wall clock [ns since the Unix epoch, UTC]."""
    return time.time_ns()


def boottime_ns() -> int:
    """Return CLOCK_BOOTTIME [ns]: never steps, and goes on while the machine is suspended."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def utc_day(time_ns: int) -> int:
    """Return the UTC day of a time, as days since the Unix epoch: the trading day."""
    return time_ns // NS_PER_DAY


def format_utc(time_ns: int, timespec: str = "auto") -> str:
    """Return an ISO 8601 text in UTC with a Z, at most to the microsecond.

    Parameters
    ----------
    time_ns : int
        Time [ns since the Unix epoch].
    timespec : str
        As in `datetime.isoformat`: "auto", "seconds", "milliseconds", "microseconds".

    Returns
    -------
    str
        For example "2024-01-03T12:05:00Z".
    """
    seconds, rest_ns = divmod(time_ns, NS_PER_S)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest_ns // 1000)
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def parse_utc(text: str) -> int:
    """Return the time [ns since the Unix epoch] that an ISO 8601 text names.

    A text without an offset is read as UTC: everything here is UTC, and a local reading would
    shift a replay by the owner's time zone.

    Parameters
    ----------
    text : str
        A date ("2024-01-03") or a time ("2024-01-03T12:05:00Z", any offset).

    Returns
    -------
    int
        Time [ns since the Unix epoch].

    Raises
    ------
    ValueError
        When the text is no ISO 8601 date or time.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * NS_PER_S + delta.microseconds * 1000
