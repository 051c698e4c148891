"""What takes longer than a glance: ledger queries, candle files, the log. Each kind has a thread of its own.

The event loop goes on meanwhile. Questions queue up to a length; beyond it, and after a time, they are refused, so that
nobody's question stalls the others.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from trader.clock import NS_PER_DAY, format_utc, utc_ns
from trader.codes import Decided, Limit, Reason, Side
from trader.config.sections import Config
from trader.dashboard import records
from trader.dashboard.candles import CandleHistory, together
from trader.dashboard.log_lines import read_lines
from trader.dashboard.queries import CandlesQuery, DecisionsQuery, LogsQuery, OrdersQuery, TradesQuery, moment_ns
from trader.errors import TraderError
from trader.ledger.metrics import MetricsReader
from trader.ledger.reader import LedgerReader
from trader.state.paths import InstancePaths

T = TypeVar("T")
Document = dict[str, Any]

NS_PER_MS = 1_000_000
#: questions of one kind that may wait
MOST_WAITING = 16
#: a ledger query is given up after this [s]
PATIENCE_S = 5.0
#: SQLite looks at the clock every so many of its steps
_STEPS = 20_000
MOST_MARKS = 300
#: symbols whose candles are read when somebody opens the page
MOST_WARM = 8
WARM_EVERY_S = 60.0
MOST_CHANGES = 200
MOST_ANSWERS = 20

log = logging.getLogger(__name__)


class Busy(TraderError):
    """Too many questions wait, or one took too long."""


@dataclass
class _Lane:
    """A thread and how many questions it has."""

    pool: ThreadPoolExecutor
    waiting: int = 0


class Archive:
    """Answers questions about the past.

    Parameters
    ----------
    paths : InstancePaths
        Of the instance that is shown.
    config : Config
        The configuration in force.
    """

    def __init__(self, paths: InstancePaths, config: Config) -> None:
        self._paths = paths
        self._ledger: LedgerReader | None = None
        self._metrics = MetricsReader(paths.metrics)
        self._candles = CandleHistory(config)
        self._llm = config.llm
        self._warmed_s = -WARM_EVERY_S
        self._lanes = {
            name: _Lane(ThreadPoolExecutor(1, thread_name_prefix=f"dashboard-{name}")) for name in ("ledger", "files")
        }

    def reconfigure(self, config: Config) -> None:
        """Show another configuration's candles and budget."""
        self._candles = CandleHistory(config)
        self._llm = config.llm

    async def close(self) -> None:
        """End the threads and close the files."""
        await self._ask("ledger", self._metrics.close)  # in the thread that has opened it
        for lane in self._lanes.values():
            await asyncio.to_thread(lane.pool.shutdown, wait=True, cancel_futures=True)
        if self._ledger is not None:
            self._ledger.close()

    # -- questions -----------------------------------------------------------------------------

    async def orders(self, query: OrdersQuery) -> tuple[list[Document], str | None]:
        """Return orders and where the next page begins."""

        def read(ledger: LedgerReader) -> tuple[list[Document], str | None]:
            found = ledger.orders(limit=query.limit, symbol=query.symbol, before_id=query.before)
            return [records.order_view(item) for item in found], _next(found, query.limit, lambda item: item.order_id)

        return await self._ask_ledger(read, ([], None))

    async def trips(self, query: TradesQuery) -> tuple[list[Document], str | None]:
        """Return round trips and where the next page begins."""
        cursor = tuple(int(part) for part in query.before.split("-")) if query.before else None
        before = (cursor[0], cursor[1]) if cursor else None

        def read(ledger: LedgerReader) -> tuple[list[Document], str | None]:
            found = ledger.round_trips(limit=query.limit, symbol=query.symbol, before=before)
            following = _next(found, query.limit, lambda item: f"{item.exit_ns}-{item.position_id}")
            return [records.trip_view(item) for item in found], following

        return await self._ask_ledger(read, ([], None))

    async def decisions(self, query: DecisionsQuery) -> tuple[list[Document], str | None]:
        """Return decisions and where the next page begins."""
        since_ns = moment_ns(query.since) if query.since else None
        until_ns = moment_ns(query.until) if query.until else None
        decided = Decided[query.decided.upper()] if query.decided else None
        mask = int(Limit[query.broken.upper()]) if query.broken else 0

        def read(ledger: LedgerReader) -> tuple[list[Document], str | None]:
            found = ledger.decisions(
                query.limit,
                query.symbol,
                since_ns,
                until_ns=until_ns,
                before_id=query.before,
                idle=not query.acted,
                decided=decided,
                mask=mask,
            )
            following = _next(found, query.limit, lambda item: item.decision_id)
            return [records.decision_view(item) for item in found], following

        return await self._ask_ledger(read, ([], None))

    async def profit(self, since_ns: int, until_ns: int) -> Document:
        """Return realised profit by UTC day and by symbol."""

        def read(ledger: LedgerReader) -> Document:
            figures = "sum(CAST(pnl AS REAL)), count(*), sum(CAST(pnl AS REAL) > 0), sum(CAST(fees AS REAL))"
            rest = "FROM round_trips WHERE exit_ns BETWEEN ? AND ? GROUP BY 1 ORDER BY 1"
            with ledger.snapshot():
                days = ledger.query(f"SELECT exit_ns / {NS_PER_DAY}, {figures} {rest}", (since_ns, until_ns))  # noqa: S608
                symbols = ledger.query(f"SELECT symbol, {figures} {rest}", (since_ns, until_ns))  # noqa: S608
            return {
                "days": [
                    {"day": format_utc(day * NS_PER_DAY)[:10], "pnl": pnl, "trades": trades, "wins": wins}
                    for day, pnl, trades, wins, _ in days
                ],
                "symbols": [
                    {"symbol": symbol, "pnl": pnl, "trades": trades, "wins": wins, "fees": fees}
                    for symbol, pnl, trades, wins, fees in symbols
                ],
            }

        return await self._ask_ledger(read, {"days": [], "symbols": []})

    async def candles(self, query: CandlesQuery, now_ns: int) -> Document:
        """Return candles of a range, few enough, with the round trips on them; `now_ns`: market time."""
        since_ns, until_ns = query.since_ms * NS_PER_MS, min(query.until_ms * NS_PER_MS, now_ns)

        def read() -> Document:
            bars = self._candles.bars(query.symbol, now_ns)
            first_ms = int(bars.open_ns[0]) // NS_PER_MS if len(bars) else None
            shown, step_ns = together(bars.between(since_ns, until_ns), self._candles.base_ns, query.points)
            return {"step_s": step_ns / 1e9, "first_ms": first_ms, "candles": shown.rows()}

        document = await self._ask("files", read)
        bars = document["candles"]
        from_ns = bars[0][0] * NS_PER_MS if bars else since_ns
        document["marks"] = await self._ask_ledger(lambda ledger: _marks(ledger, query.symbol, from_ns, until_ns), [])
        return document

    def warm(self, symbols: Sequence[str], now_ns: int) -> None:
        """Read symbols' candles ahead of the first question, beside everything else; at most once a minute."""
        if time.monotonic() - self._warmed_s < WARM_EVERY_S or not now_ns:
            return
        self._warmed_s = time.monotonic()

        def read() -> None:
            for symbol in symbols[:MOST_WARM]:
                try:
                    self._candles.bars(symbol, now_ns)
                except TraderError as error:
                    log.debug("no candles of %s: %s", symbol, error)

        self._lanes["files"].pool.submit(read)

    async def lines(self, query: LogsQuery) -> tuple[list[Document], str | None]:
        """Return the newest lines of the log and where the next page begins."""
        return await self._ask("files", lambda: read_lines(self._paths.log_dir, query))

    async def model(self) -> Document | None:
        """Return the language model's books; None when it was never asked."""

        def read() -> Document | None:
            from trader.strategy.llm.status import read_status

            found = read_status(self._llm, self._paths.data_dir, utc_ns(), MOST_ANSWERS)
            return None if found is None else records.model_view(found.document())

        return await self._ask("files", read)

    async def curve(self, points: int, since_ns: int, until_ns: int) -> list[tuple[int, float, float]]:
        """Return the curve of `metrics.db`, thinned."""
        rows = await self._ask("ledger", lambda: self._metrics.equity(since_ns, until_ns, points))
        return [(time_ns // NS_PER_MS, equity, drawdown_frac) for time_ns, equity, drawdown_frac in rows]

    async def health_changes(self) -> list[Document]:
        """Return how health checks changed, newest first."""
        rows = await self._ask("ledger", lambda: _health_changes(self._metrics))
        return [
            {"time": format_utc(recorded_ns, "seconds"), "name": name, "level": level, "text": text}
            for recorded_ns, name, level, text in rows
        ]

    # -- threads -------------------------------------------------------------------------------

    async def _ask(self, lane_name: str, read: Callable[[], T]) -> T:
        lane = self._lanes[lane_name]
        if lane.waiting >= MOST_WAITING:
            raise Busy("too many questions wait already: ask again in a few seconds")
        lane.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(lane.pool, read)
        finally:
            lane.waiting -= 1

    async def _ask_ledger(self, read: Callable[[LedgerReader], T], otherwise: T) -> T:
        def ask() -> T:
            if self._ledger is None:
                if not self._paths.ledger.exists():
                    return otherwise
                self._ledger = LedgerReader(self._paths.ledger)
            give_up_s = time.monotonic() + PATIENCE_S
            self._ledger.connection.set_progress_handler(lambda: time.monotonic() > give_up_s, _STEPS)
            try:
                return read(self._ledger)
            except (TraderError, sqlite3.Error) as error:
                self._ledger.close()
                self._ledger = None
                if time.monotonic() > give_up_s:
                    raise Busy(f"the ledger took longer than {PATIENCE_S:.0f} s: ask for less") from error
                raise

        return await self._ask("ledger", ask)


def _next(found: list[T], limit: int, key: Callable[[T], Any]) -> str | None:
    return str(key(found[-1])) if len(found) == limit else None


def _marks(ledger: LedgerReader, symbol: str, since_ns: int, until_ns: int) -> list[Document]:
    """Return the newest round trips of a range with the levels that they began with, oldest first."""
    rows = ledger.query(
        "SELECT t.side, t.entry_ns, t.entry_price, t.exit_ns, t.exit_price, t.exit_reason, t.pnl, o.stop_price, "
        "o.target_price FROM round_trips t LEFT JOIN orders o ON o.order_id = t.entry_order_id "
        "WHERE t.symbol = ? AND t.exit_ns >= ? AND t.entry_ns <= ? ORDER BY t.position_id DESC LIMIT ?",
        (symbol, since_ns, until_ns, MOST_MARKS),
    )
    return [
        {
            "side": "long" if side == Side.BUY else "short",
            "entry_ms": entry_ns // NS_PER_MS,
            "entry_price": float(entry_price),
            "exit_ms": exit_ns // NS_PER_MS,
            "exit_price": float(exit_price),
            "reason": Reason(reason).name.lower(),
            "pnl": float(pnl),
            "stop_price": records.known(stop),
            "target_price": records.known(target),
            "trailing_price": None,
        }
        for side, entry_ns, entry_price, exit_ns, exit_price, reason, pnl, stop, target in reversed(rows)
    ]


def _health_changes(metrics: MetricsReader) -> list[tuple[int, str, str, str]]:
    return [(item.recorded_ns, item.name, item.level, item.text) for item in metrics.health(MOST_CHANGES)]
