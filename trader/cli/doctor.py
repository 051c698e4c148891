"""`doctor`: everything that should be right before trading, looked at one by one."""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from trader.cli.output import emit
from trader.cli.place import config_path, instance_paths
from trader.codes import Level
from trader.errors import EXIT_FAILED, EXIT_OK, ConfigError

if TYPE_CHECKING:
    from trader.config.sections import Config
    from trader.market.doctor import Finding

_MARKS = {Level.OK: "ok", Level.WARNING: "warning", Level.GRAVE: "FAILED"}


def doctor(arguments: Namespace) -> int:
    """Examine configuration, venue and keys; exit 1 when something stands in the way of trading."""
    findings = asyncio.run(_collect(arguments))
    checks = _health(arguments)
    grave = Level.GRAVE.name.lower()
    healthy = all(one.level is not Level.GRAVE for one in findings) and all(row["level"] != grave for row in checks)
    rows = [{"name": one.name, "level": _MARKS[one.level].lower(), "text": one.text} for one in findings]
    done = "nothing stands in the way of trading" if healthy else "trading would not start, or not end well"
    emit({"healthy": healthy, "findings": rows, "health": checks}, done, as_json=arguments.json)
    return EXIT_OK if healthy else EXIT_FAILED


def _health(arguments: Namespace) -> list[dict[str, Any]]:
    """Return the health checks of service and machine, and show them as they are known."""
    from trader.cli.checkup import health
    from trader.config.loading import load

    try:
        config = load(config_path(arguments))
    except ConfigError:
        return []  # told among the findings
    rows = health(instance_paths(arguments), config)
    if not arguments.json:
        for row in rows:
            sys.stdout.write(f"{_MARKS[Level[row['level'].upper()]]:<8} {row['name']}: {row['text']}\n")
        sys.stdout.flush()
    return rows


async def _collect(arguments: Namespace) -> list[Finding]:
    found = []
    async for finding in _findings(arguments):
        found.append(finding)
        if not arguments.json:
            sys.stdout.write(f"{_MARKS[finding.level]:<8} {finding.name}: {finding.text}\n")
            sys.stdout.flush()
    return found


async def _findings(arguments: Namespace) -> AsyncIterator[Finding]:
    from trader.config.loading import load
    from trader.market.doctor import failed, ok

    path = config_path(arguments)
    try:
        config = load(path)
    except ConfigError as error:
        for line in str(error).splitlines():
            yield failed("configuration", line)
        return
    yield ok("configuration", f"{path or 'the built-in defaults'}: valid; {_mode(config)}")
    if config.market.source != "exchange":
        yield ok("venue", f"market.source is {config.market.source}: there is no venue to examine")
        return
    async for finding in _venue(config):
        yield finding


async def _venue(config: Config) -> AsyncIterator[Finding]:
    from trader.config.secrets import resolve_credentials
    from trader.market.doctor import examine, failed

    credentials = None
    try:
        credentials = resolve_credentials(config.credentials)
    except ConfigError as error:
        yield failed("credentials", str(error))
    async for finding in examine(config, credentials):
        yield finding


def _mode(config: Config) -> str:
    if not config.engine.enable_trading:
        return "paper"
    return "REAL ORDERS, in the venue's sandbox" if config.market.sandbox else "REAL ORDERS"
