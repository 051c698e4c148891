"""`download`: candles of a venue into files that a replay reads."""

from __future__ import annotations

import asyncio
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trader.cli.output import emit
from trader.cli.place import config_path
from trader.clock import format_utc, utc_ns
from trader.errors import EXIT_FAILED, EXIT_OK, UsageError

if TYPE_CHECKING:
    from trader.config.sections import MarketConfig
    from trader.market.download import Downloaded, Progress

#: between two plain lines about the same symbol [s]
LINE_S = 10.0

#: holes that are listed on the screen, the longest first; --json lists all
GAPS_SHOWN = 10


def download(arguments: Namespace) -> int:
    """Download candles; exit 1 when a file could not be completed."""
    market = _market(arguments)
    folder = arguments.candles or (Path(market.candles).expanduser() if market.candles else None)
    if folder is None:
        raise UsageError("say with --candles DIR where the files are to be")
    until_ns = arguments.until if arguments.until is not None else utc_ns()
    if arguments.since >= until_ns:
        raise UsageError(f"--until: {format_utc(until_ns)} is not after --since, {format_utc(arguments.since)}")
    with _progress() as progress:
        results = asyncio.run(_run(market, folder, arguments.since, until_ns, progress))
    document = {"exchange": market.exchange, "timeframe": market.timeframe, "files": _documents(results)}
    emit(document, _text(results), as_json=arguments.json)
    return EXIT_FAILED if any(one.error for one in results) else EXIT_OK


def _market(arguments: Namespace) -> MarketConfig:
    """Return the section `market` that is meant: the configuration's venue, unless another one is named."""
    from pydantic import ValidationError

    from trader.config.loading import load
    from trader.config.problems import describe
    from trader.config.sections import MarketConfig

    given = load(config_path(arguments)).market
    kept = ("exchange", "symbols", "timeframe", "candles", "exchange_config", "sandbox")
    values: dict[str, Any] = {name: getattr(given, name) for name in kept}
    if arguments.exchange is not None and arguments.exchange != given.exchange:
        values |= {"exchange": arguments.exchange, "exchange_config": {}, "sandbox": False}
    values |= {name: getattr(arguments, name) for name in ("symbols", "timeframe") if getattr(arguments, name)}
    try:
        return MarketConfig(source="exchange", stream=False, **values)
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise UsageError("\n".join(f"--{one['loc'][0]}: {describe(one)}" for one in found)) from None


async def _run(
    market: MarketConfig, folder: Path, since_ns: int, until_ns: int, progress: Progress
) -> list[Downloaded]:
    from trader.market.connection import ExchangeConnection
    from trader.market.download import Download

    connection = ExchangeConnection(market)
    try:
        await connection.open()
        work = Download(connection, folder, since_ns, until_ns, progress)
        return [await work.run(symbol) for symbol in market.symbols]
    finally:
        await connection.close()


@contextmanager
def _progress() -> Iterator[Progress]:
    if not sys.stderr.isatty():
        yield _PlainLines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def show(symbol: str, done: int, wanted: int) -> None:
            if symbol not in tasks:
                tasks[symbol] = bars.add_task(symbol, total=wanted)
            bars.update(tasks[symbol], completed=done)

        yield show


class _PlainLines:
    """A line at the start of a symbol, at its end, and now and then between them."""

    def __init__(self) -> None:
        self._shown: dict[str, float] = {}

    def __call__(self, symbol: str, done: int, wanted: int) -> None:
        """Say how many candles of how many are done."""
        now = time.monotonic()
        if done not in (0, wanted) and now - self._shown.get(symbol, 0.0) < LINE_S:
            return
        self._shown[symbol] = now
        sys.stderr.write(f"{symbol}: {done} of {wanted} candles\n")
        sys.stderr.flush()


def _documents(results: list[Downloaded]) -> list[dict[str, Any]]:
    return [
        {
            "symbol": one.symbol,
            "file": str(one.path),
            "candles": one.rows,
            "added": one.added,
            "first": format_utc(one.first_ns) if one.rows else None,
            "last": format_utc(one.last_ns) if one.rows else None,
            "left_out": one.left_out,
            "missing": one.missing,
            "gaps": [{"from": format_utc(start_ns), "until": format_utc(end_ns)} for start_ns, end_ns in one.gaps],
            "error": one.error or None,
        }
        for one in results
    ]


def _text(results: list[Downloaded]) -> str:
    return "\n".join(line for one in results for line in _lines(one))


def _lines(one: Downloaded) -> Iterator[str]:
    if one.rows:
        span = f"{format_utc(one.first_ns)} to {format_utc(one.last_ns)}"
        yield f"{one.symbol}: {one.rows} candles, {one.added} of them new, {span}: {one.path}"
    if one.gaps:
        yield f"  {one.missing} candles are missing in {len(one.gaps)} gaps of the venue; the longest:"
    longest = sorted(one.gaps, key=lambda gap: gap[0] - gap[1])[:GAPS_SHOWN]
    for start_ns, end_ns in sorted(longest):
        yield f"  {format_utc(start_ns)} to {format_utc(end_ns)}"
    if one.left_out:
        yield f"  {one.left_out} rows of the venue can be no candles and were left out"
    if one.error:
        yield f"  not complete: {one.error}"
