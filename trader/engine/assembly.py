"""Puts the engine together: feed, ledger, core arrays, strategies, risk, execution."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trader.codes import Halt
from trader.config.secrets import resolve_credentials
from trader.config.sections import Config
from trader.engine.advice import Advice, EntriesOf
from trader.engine.decision_engine import AutonomousDecisionEngine
from trader.engine.fence import Fence
from trader.engine.kernels import ready_kernels
from trader.engine.live_assembly import Account, build_live, open_live_ledger, read_account
from trader.engine.live_desk import LiveDesk
from trader.engine.panel import StrategyPanel
from trader.engine.publisher import Publisher
from trader.engine.venue_watch import VenueWatch
from trader.engine.wiring import fill_store, lookback_bars, paper_router, strategy_gauges, wire
from trader.errors import ConfigError
from trader.execution.router import OrderRouter
from trader.ledger.journal import Ledger
from trader.ledger.reader import LedgerReader
from trader.market.connection import ExchangeConnection
from trader.market.doctor import refuse_unfit
from trader.market.exchange_feed import ExchangeFeed
from trader.market.factory import make_connection, open_feed
from trader.market.feed import Feed
from trader.market.store import CandleStore
from trader.process.context import WorkerContext
from trader.risk.lookback import HistoryOf, gauges_of, warming_bars
from trader.risk.manager import EnhancedRiskManager
from trader.state.paths import InstancePaths
from trader.state.reader import StateReader
from trader.state.segment import Segment
from trader.strategy.advised import equip
from trader.strategy.registry import Bound, create
from trader.units import exact

log = logging.getLogger(__name__)

Records = npt.NDArray[np.void]


@dataclass(slots=True)
class Assembly:
    """The parts of a running engine, and what a reload does to them."""

    config: Config
    feed: Feed
    store: CandleStore
    ledger: Ledger
    risk: EnhancedRiskManager
    router: OrderRouter
    engine: AutonomousDecisionEngine
    publisher: Publisher
    advice: Advice
    paths: InstancePaths
    connection: ExchangeConnection | None = None  #: to the venue, where the market is one
    watch: VenueWatch | None = None  #: of its errors
    live: LiveDesk | None = None  #: its side of the engine, while it trades there

    async def close(self) -> None:
        """Let go of strategies, the market, the venue and the ledger."""
        self.advice.close()
        self.feed.close()
        if self.live is not None:
            await self.live.close()
        if self.connection is not None:
            await self.connection.close()
        self.ledger.close()

    def check_reload(self, config: Config) -> None:
        """Raise a TraderError when a new configuration can't be put in force here."""
        bound = bind_strategies(config)
        gauges_of(config, strategy_gauges(bound))

    def _history_of(self) -> HistoryOf:
        until_ns = int(self.engine.book.desk["account"]["event_ns"][0]) or self.feed.start_ns
        return lambda slot, bars: self.feed.history(slot, until_ns, bars)

    def apply(self, config: Config, epoch: int) -> None:
        """Put a checked configuration in force: limits, intervals, costs, strategies."""
        book = self.engine.book
        account = book.desk["account"][0]
        self.advice.close()
        bound = bind_strategies(config, self.paths.data_dir)
        store = self.store
        if lookback_bars(bound) > store.capacity:
            store = CandleStore(book.symbols, config.market.timeframe, lookback_bars(bound))
            fill_store(store, self.feed.history, int(account["event_ns"]) or self.feed.start_ns)
        panel = StrategyPanel(bound, store)
        panel.remember_asked(book.slots["candle_ns"].tolist(), int(account["cycle_ns"]))
        _rename_strategies(book.slots, self.engine.panel.names, panel.names)
        self.ledger.rename_strategies(panel.names)
        self.engine.take_panel(panel, store)
        self.store = store
        self.advice = Advice(bound, book, self.feed.instruments, config, entries_in(self.paths.ledger))
        self.engine.max_new_positions = config.engine.max_new_positions_per_cycle
        if config.engine.loop_interval_seconds != self.config.engine.loop_interval_seconds:
            self.engine.schedule.change_interval(config.engine.loop_interval_seconds, int(account["event_ns"]))
        self.risk.apply_limits(config, epoch)
        if self.watch is not None:
            self.watch.configure(config.recovery)
        if self.live is not None:
            self.live.configure(config)
        self.risk.look_back(config, gauges_of(config, strategy_gauges(bound)), self._history_of())
        self.publisher.publish_limits()
        self.config = config


async def assemble(context: WorkerContext, segment: Segment) -> Assembly:
    """Build an engine from its configuration and its ledger.

    The market is validated before the ledger is opened: bad candles start nothing.

    Parameters
    ----------
    context : WorkerContext
        Who this worker is.
    segment : Segment
        Its own segment, mapped read-write.

    Returns
    -------
    Assembly
        Ready to process the first event after the ledger's cursor.

    Raises
    ------
    TraderError
        When a part can't be built.
    """
    config = context.config
    bound = bind_strategies(config, context.paths.data_dir)
    gauges = gauges_of(config, strategy_gauges(bound))
    watch = VenueWatch(config.recovery) if config.market.source == "exchange" else None
    credentials = resolve_credentials(config.credentials) if config.engine.enable_trading else None
    tell = (watch.on_error, watch.on_success) if watch else (None, None)
    connection = make_connection(config, credentials, *tell, persistent=context.generation > 1)
    feed = open_feed(config, connection, max(lookback_bars(bound), warming_bars(config, gauges)))
    try:
        await feed.open()
        account = await _account(config, connection, first=not context.paths.ledger.exists())
    except BaseException:
        if connection is not None:
            await connection.close()
        raise
    # in a thread: a cold compilation takes seconds, and the beat is on this loop
    await asyncio.to_thread(ready_kernels)
    ledger = _open_ledger(config, context.paths.ledger, account, feed)
    wired = wire(config, bound, feed.instruments, ledger, feed.history, feed.start_ns, context.config_epoch)
    book, risk = wired.book, wired.risk
    live: LiveDesk | None = None
    router: OrderRouter
    if account is not None and isinstance(feed, ExchangeFeed) and watch is not None:
        fence = Fence(StateReader(context.paths))
        arrays = (book.desk, book.slots, book.symbols)
        router, live = build_live(
            config, feed, ledger, wired.restored, account, watch, arrays, lambda: _is_open(risk, fence)
        )
    else:
        router = paper_router(config, ledger, wired)
    engine = AutonomousDecisionEngine(
        book,
        wired.store,
        wired.panel,
        risk,
        router,
        ledger,
        wired.schedule,
        max_new_positions=config.engine.max_new_positions_per_cycle,
        match=live is None,
    )
    engine.lift(Halt.LEDGER | Halt.RECONCILE | Halt.FEED | Halt.BREAKER)
    if live is not None:
        engine.halt(Halt.RECONCILE)
    publisher = Publisher(segment, book.desk, book.slots)
    publisher.publish_limits()
    advice = Advice(bound, book, feed.instruments, config, entries_in(context.paths.ledger))
    return Assembly(
        config,
        feed,
        wired.store,
        ledger,
        risk,
        router,
        engine,
        publisher,
        advice,
        context.paths,
        connection,
        watch,
        live,
    )


async def _account(config: Config, connection: ExchangeConnection | None, *, first: bool) -> Account | None:
    if not config.engine.enable_trading:
        return None
    if connection is None:
        raise ConfigError("engine.enable_trading: real orders need market.source: exchange")
    venue = connection

    async def read() -> Account:
        await refuse_unfit(venue, config, first=first)
        return await read_account(config, venue)

    return await venue.patiently(read)


def _open_ledger(config: Config, path: Path, account: Account | None, feed: Feed) -> Ledger:
    if account is None:
        capital = exact(config.initial_capital)
        return Ledger.open(path, instance=config.instance, quote=config.quote, initial_capital=capital)
    return open_live_ledger(config, path, account, feed.instruments)


def _is_open(risk: EnhancedRiskManager, fence: Fence) -> bool:
    """Tell whether nothing halts or fences entries; a comparison with the venue that goes on is no reason."""
    return not risk.halts & ~Halt.RECONCILE and fence.read().is_open


def bind_strategies(config: Config, data_dir: Path | None = None) -> tuple[Bound, ...]:
    """Create the configured strategies, each with the slots that it is asked for; without a folder only to check."""
    bound = create(config.strategies, tuple(config.market.symbols), config.market.timeframe)
    equip(bound, config, data_dir)
    return bound


def entries_in(ledger: Path) -> EntriesOf:
    """Return what answers when a strategy has ordered entries, as far as the ledger has committed them."""

    def entries_of(strategy: str, since_ns: int) -> list[int]:
        with LedgerReader(ledger) as reader:
            rows = reader.query(
                "SELECT created_ns FROM orders WHERE strategy = ? AND reduce_only = 0 AND created_ns > ?",
                (strategy, since_ns),
            )
        return [int(row[0]) for row in rows]

    return entries_of


def _rename_strategies(slots: Records, old: Sequence[str], new: Sequence[str]) -> None:
    """Let positions follow their strategy to its new index; -1 when it is gone."""
    index = {name: position for position, name in enumerate(new)}
    for field in ("strategy", "pending_strategy"):
        slots[field] = [index.get(old[value], -1) if 0 <= value < len(old) else -1 for value in slots[field].tolist()]
