"""Checking up: the health of this machine and of the running service, as `doctor` shows it.

The same list as `/healthz`, looked at anew: what only a row of looks can tell (growing memory, lost log records) is
taken from the monitor. Without a running service the folders are tried instead.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from trader.clock import format_utc
from trader.codes import Level
from trader.errors import LedgerError, LedgerMissing, TraderError

if TYPE_CHECKING:
    from trader.config.sections import Config
    from trader.monitor.health import Check
    from trader.state.paths import InstancePaths
    from trader.state.reader import StateReader

#: checks whose answer takes the memory of whoever has watched for hours
_WATCHED = frozenset({"memory", "logs", "metrics", "alerts", "clock"})

Row = dict[str, Any]


def health(paths: InstancePaths, config: Config) -> list[Row]:
    """Return every health check, worst first.

    Parameters
    ----------
    paths : InstancePaths
        Of the instance.
    config : Config
        In force.

    Returns
    -------
    list of dict
        `name`, `level` (ok, warning, grave), `value`, `bound` (None where there is none), `unit`, `text`, `since`.
    """
    from trader.state.reader import StateReader

    reader = StateReader(paths)
    try:
        reader.service()
    except TraderError:
        return _rows(_at_rest(paths))
    return _running(paths, reader, config)


def published(reader: StateReader) -> list[Row]:
    """Return the monitor's own list, as it was last published; empty while there is none."""
    try:
        found = reader.checks()
    except TraderError:
        return []
    return [
        {
            "name": row["name"].decode(),
            "level": Level(int(row["level"])).name.lower(),
            "value": _finite(float(row["value"])),
            "bound": _finite(float(row["bound"])),
            "unit": row["unit"].decode(),
            "text": row["text"].decode("utf-8", "replace"),
            "since": format_utc(int(row["since_ns"]), "seconds"),
        }
        for row in found
    ]


def _running(paths: InstancePaths, reader: StateReader, config: Config) -> list[Row]:
    from trader.monitor.health import check_all, worst_first
    from trader.monitor.observer import Observer, Told, durable_write_s

    theirs = {row["name"]: row for row in published(reader)}
    observed = Observer(paths, reader, config).look(Told(fsync_s=durable_write_s(paths.data_dir)))
    rows = _rows(list(worst_first(check_all(observed))))
    for row in rows:
        known = theirs.get(row["name"])
        if known is not None and row["name"] in _WATCHED:
            row.update(known)
        elif known is not None and known["level"] == row["level"]:
            row["since"] = known["since"]
    return sorted(rows, key=lambda row: -Level[row["level"].upper()])


def _at_rest(paths: InstancePaths) -> list[Check]:
    """Return what can be told without a service: whether it would find a place to work in."""
    from trader.monitor.health import DISK_LOW_BYTES, FSYNC_SLOW_S, Check
    from trader.monitor.observer import durable_write_s, free_bytes

    folder = next(path for path in (paths.data_dir, *paths.data_dir.parents) if path.exists())
    free, took_s = free_bytes(folder), durable_write_s(paths.data_dir) if paths.data_dir.exists() else None
    checks = [_ledger(paths)]
    room = free is not None and free >= DISK_LOW_BYTES
    text = f"{'room' if room else 'little or no room'} below {folder}"
    checks.append(
        Check("disk", Level.OK if room else Level.WARNING, free or math.nan, DISK_LOW_BYTES, text, unit="bytes")
    )
    if took_s is not None:
        broken = math.isnan(took_s)
        level = Level.GRAVE if broken else Level.WARNING if took_s > FSYNC_SLOW_S else Level.OK
        words = "nothing can be written" if broken else f"a durable write takes {took_s * 1e3:.1f} ms"
        checks.append(Check("fsync", level, took_s, FSYNC_SLOW_S, f"{words} in {paths.data_dir}", unit="s"))
    logs = next(path for path in (paths.log_dir, *paths.log_dir.parents) if path.exists())
    writable = os.access(logs, os.W_OK | os.X_OK)
    words = f"log files {'can' if writable else 'can not'} be written below {paths.log_dir}"
    checks.append(Check("logs", Level.OK if writable else Level.WARNING, 0 if writable else 1, 0, words))
    return sorted(checks, key=lambda check: -check.level)


def _ledger(paths: InstancePaths) -> Check:
    from trader.ledger.disk import check
    from trader.monitor.health import Check

    try:
        if not paths.ledger.exists():
            raise LedgerMissing
        check(paths.ledger)
    except LedgerMissing:
        return Check("ledger", Level.OK, 0, 0, "there is no ledger yet: it begins when the service first runs")
    except LedgerError as error:
        return Check("ledger", Level.GRAVE, 1, 0, str(error))
    return Check("ledger", Level.OK, 0, 0, f"{paths.ledger} is whole")


def _rows(checks: list[Check]) -> list[Row]:
    return [
        {
            "name": check.name,
            "level": check.level.name.lower(),
            "value": _finite(float(check.value)),
            "bound": _finite(float(check.bound)),
            "unit": check.unit,
            "text": check.text,
            "since": None,
        }
        for check in checks
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
