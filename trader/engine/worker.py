"""The engine's worker: builds the engine from configuration and ledger, feeds it, commits.

One step (a market event, a command) is computed in memory, committed to the ledger, then published and
logged, in this order: what anyone can see is on disk. While the market is played as fast as possible
many steps share one commit; a crash then repeats the steps that were not committed, with the same
result, because everything that decides is a function of the ledger and the candles.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

from trader.clock import format_utc
from trader.codes import Halt, Reason, halt_names
from trader.config.sections import Config
from trader.domain.market import MarketEvent
from trader.engine.assembly import Assembly, assemble
from trader.engine.fence import Fence
from trader.engine.live_desk import LiveDesk
from trader.errors import ControlError, LedgerUnwritable
from trader.execution.steps import Step, reached
from trader.process.context import WorkerContext
from trader.process.lock import LockFile
from trader.process.worker import Beat
from trader.state.reader import StateReader
from trader.state.segment import Segment

log = logging.getLogger(__name__)

#: steps of a market without pace that share one commit, and how long the loop may be kept busy [s]
SLICE_S = 0.05
#: how often a fenced or unwritable market is looked at again [s]
WAIT_S = 0.05
#: how often a ledger that can't be written is tried again [s]
LEDGER_RETRY_S = 1.0
#: how long a start waits for the first complete comparison with the venue [s]
RECONCILE_PATIENCE_S = 60.0


class EngineService:
    """The service that the engine process runs; see `trader.process.worker.WorkerService`."""

    def __init__(self, context: WorkerContext, segment: Segment, beat: Beat) -> None:
        self._context = context
        self._segment = segment
        self._beat = beat
        self._config = context.config
        # the supervisor holds a lock of its own; this one stands against an engine started in any other way
        self._lock = LockFile(context.paths.engine_lock, "engine")
        self._stopping = asyncio.Event()
        self._parts: Assembly
        self._prepared: tuple[Config, int] | None = None
        self._fence = Fence(StateReader(context.paths))

    # --------------------------------------------------------------- lifecycle

    async def start(self) -> dict[str, Any]:
        """Lock, validate the market, recover from the ledger, check the kernels, publish.

        Returns
        -------
        dict
            Facts for the supervisor's log: cursor, equity, open positions.

        Raises
        ------
        TraderError
            When the engine must not trade; the type decides the exit code.
        """
        self._lock.take()
        self._parts = await assemble(self._context, self._segment)
        self._commit()
        if self._parts.live is not None:
            await self._reconcile(self._parts.live)
        account = self._parts.engine.book.desk["account"][0]
        self._beat.market_ns = int(account["event_ns"])
        return {
            "cursor": format_utc(int(account["event_ns"])),
            "equity": float(account["equity"]),
            "open_positions": int(account["open_positions"]),
        }

    async def _reconcile(self, live: LiveDesk) -> None:
        """Compare with the venue before anything is decided; a venue that doesn't answer leaves entries halted."""
        live.begin()
        deadline = time.monotonic() + RECONCILE_PATIENCE_S
        while self._parts.engine.halts & Halt.RECONCILE and not self._stopping.is_set():
            self._collect(live)
            self._commit()
            if time.monotonic() > deadline:
                log.error("the venue could not be compared with yet: entries stay halted until it can, exits are armed")
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(live.arrived.wait(), WAIT_S)

    def _collect(self, live: LiveDesk) -> None:
        self._judge_feed()
        live.collect(self._parts.engine)

    async def run(self) -> None:
        """Process the market until it ends or `stop` is called."""
        parts = self._parts
        cursor_ns = int(parts.engine.book.desk["account"]["event_ns"][0]) or parts.feed.start_ns
        events = parts.feed.events(cursor_ns)
        await self._commit_until_written()  # a market that waits begins when the disk has room
        # no commit after an error: a step that broke in its middle must never have happened
        if self._config.market.speed == 0 and self._config.market.source != "exchange":
            await self._run_unpaced(events)
        else:
            await self._run_paced(events)
        await self._commit_until_written()
        await self._close()
        if not self._stopping.is_set():
            log.info("the market has ended at %s", format_utc(self._beat.market_ns))

    async def stop(self) -> None:
        """Let the current step end, then leave `run`."""
        self._stopping.set()

    async def _close(self) -> None:
        await self._parts.close()
        self._lock.release()

    # --------------------------------------------------------------- the market

    async def _run_unpaced(self, events: AsyncIterator[MarketEvent]) -> None:
        """Play events as fast as they can be processed, committing once a slice."""
        slice_end = time.monotonic() + SLICE_S
        async for event in events:
            await self._while_closed()
            if self._stopping.is_set():
                return
            self._step(event)
            if self._ask(event.time_ns, waits=True):
                await self._parts.advice.wait()
            if time.monotonic() >= slice_end:
                await self._commit_until_written()
                await asyncio.sleep(0)
                slice_end = time.monotonic() + SLICE_S

    async def _run_paced(self, events: AsyncIterator[MarketEvent]) -> None:
        """Process each event when it comes, and look at exits and limits in between."""
        live = self._parts.live
        stopping = asyncio.ensure_future(self._stopping.wait())
        coming = asyncio.ensure_future(anext(events, None))
        arrived = asyncio.ensure_future((live.arrived if live else asyncio.Event()).wait())
        try:
            while True:
                interval_s = self._config.engine.exit_interval_seconds
                done, _ = await asyncio.wait(
                    {coming, stopping, arrived}, timeout=interval_s, return_when=asyncio.FIRST_COMPLETED
                )
                if stopping in done:
                    return
                if live is not None:
                    self._collect(live)
                    if arrived in done:
                        arrived = asyncio.ensure_future(live.arrived.wait())
                if coming in done:
                    event = coming.result()
                    if event is None:
                        return
                    await self._while_closed()
                    self._step(event)
                    self._ask(event.time_ns, waits=False)
                    coming = asyncio.ensure_future(anext(events, None))
                elif arrived not in done and not self._parts.feed.waits:
                    self._judge_feed()
                    self._parts.engine.on_time(self._parts.feed.now_ns(), self._fence.read())
                    self._ask(self._parts.feed.now_ns(), waits=False)
                await self._commit_until_written()
        finally:
            for task in (stopping, coming, arrived):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    def _judge_feed(self) -> None:
        """Halt entries while a venue's data is stale, being caught up with, or its clock and ours differ too much."""
        health = self._parts.feed.health()
        if health is None:
            return
        engine = self._parts.engine
        if health.connected:
            self._beat.fed()
        if health.unfit and not engine.halts & Halt.FEED:
            log.warning("market data: %s", health.unfit)
            engine.halt(Halt.FEED)
        elif not health.unfit and engine.halts & Halt.FEED:
            engine.lift(Halt.FEED)
        if self._parts.watch is not None:
            self._parts.watch.judge(engine, health)

    def _ask(self, now_ns: int, *, waits: bool) -> bool:
        """Ask strategies that take their time; a market without pace waits for them, any other goes on."""
        parts = self._parts
        if not parts.advice:
            return False
        parts.advice.observe()
        parts.advice.ask(now_ns, parts.store, None if waits else parts.feed.now_ns)
        return True

    def _step(self, event: MarketEvent) -> None:
        self._judge_feed()
        self._parts.engine.on_market(event, self._fence.read())
        self._parts.publisher.note_equity()
        self._beat.iterations += 1
        self._beat.market_ns = event.time_ns
        self._beat.fed()

    async def _while_closed(self) -> None:
        """Let a replayed market wait while trading is fenced.

        History that went on while nothing may be opened would be traded with holes that never were:
        a replay disturbed by a crash must end like an undisturbed one.
        """
        if not self._parts.feed.waits or self._fence.read().is_open:
            return
        log.info("the replay waits: lease or clearance is missing")
        await self._commit_until_written()
        while not self._stopping.is_set() and not self._fence.read().is_open:
            await asyncio.sleep(WAIT_S)

    # ------------------------------------------------------------------- commit

    def _commit(self) -> bool:
        """Commit, then publish; on a full disk halt entries and keep the work for later.

        Returns whether the ledger is written and needs no reserve for it.
        """
        parts = self._parts
        parts.publisher.publish_strategies(parts.engine.panel.rows())
        try:
            book = parts.engine.book
            parts.ledger.save_state(book.desk, book.slots, int(book.desk["account"]["event_ns"][0]))
            reached(Step.COMMIT_BEGINS)
            parts.ledger.commit()
            reached(Step.COMMITTED)
        except LedgerUnwritable as error:
            if not parts.engine.halts & Halt.LEDGER:
                log.error("%s; entries are halted until it can be written", error)
                parts.engine.halt(Halt.LEDGER)
            parts.publisher.publish()
            return False
        if parts.engine.halts & Halt.LEDGER and not parts.ledger.strained:
            log.warning("the ledger can be written again")
            parts.engine.lift(Halt.LEDGER)
        elif parts.ledger.strained and not parts.engine.halts & Halt.LEDGER:
            log.error("the disk is full: the ledger lives on its reserve, entries are halted; free space on it")
            parts.engine.halt(Halt.LEDGER)
        parts.publisher.publish()
        self._tell_venue()
        reached(Step.PUBLISHED)
        parts.router.announce()
        if parts.live is not None:
            parts.live.deliver()
        return not parts.ledger.strained

    def _tell_venue(self) -> None:
        parts = self._parts
        if parts.live is not None:
            parts.live.tell(parts.publisher.venue, parts.feed.health())
        elif parts.watch is not None:
            parts.watch.tell(parts.publisher.venue, parts.feed.health())
        else:
            return
        parts.publisher.publish_venue()

    async def _commit_until_written(self) -> None:
        """Commit; a replayed market waits for the disk, any other goes on with entries halted."""
        while not self._commit() and self._parts.feed.waits and not self._stopping.is_set():
            await asyncio.sleep(LEDGER_RETRY_S)

    # ----------------------------------------------------------------- commands

    async def command(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Carry out an owner's command between two steps.

        Parameters
        ----------
        name : str
            pause, resume, flatten, close or accept.
        arguments : dict
            For close: `symbol`; accept takes one.

        Returns
        -------
        dict
            What was done.

        Raises
        ------
        ControlError
            When the command or its arguments make no sense now.
        """
        handler = _COMMANDS.get(name)
        if handler is None:
            raise ControlError(f"the engine knows no command {name!r}: {', '.join(_COMMANDS)}")
        result = handler(self._parts, arguments)
        log.info("command %s: %s", name, result)
        await self._commit_until_written()
        return result

    # ------------------------------------------------------------------- reload

    def prepare(self, config: Config, epoch: int) -> None:
        """Build what a new configuration needs beside what runs; nothing is changed yet.

        Raises
        ------
        TraderError
            When the configuration can't be used.
        """
        self._parts.check_reload(config)
        self._prepared = (config, epoch)

    def commit(self) -> None:
        """Put the prepared configuration in force, between two steps."""
        if self._prepared is None:
            return
        config, epoch = self._prepared
        self._prepared = None
        self._parts.apply(config, epoch)
        self._config = config
        self._beat.config_epoch = epoch
        self._commit()

    def abort(self) -> None:
        """Forget the prepared configuration."""
        self._prepared = None


def _pause(parts: Assembly, _: dict[str, Any]) -> dict[str, Any]:
    parts.engine.pause()
    return {"halts": halt_names(parts.engine.halts)}


def _resume(parts: Assembly, _: dict[str, Any]) -> dict[str, Any]:
    parts.engine.resume()
    return {"halts": halt_names(parts.engine.halts)}


def _flatten(parts: Assembly, _: dict[str, Any]) -> dict[str, Any]:
    return {"closing": list(parts.engine.flatten()), "halts": halt_names(parts.engine.halts)}


def _close(parts: Assembly, arguments: dict[str, Any]) -> dict[str, Any]:
    symbol = arguments.get("symbol")
    if symbol not in parts.engine.book.symbols:
        raise ControlError(f"{symbol!r} is not traded here; symbols: {', '.join(parts.engine.book.symbols)}")
    if not parts.engine.close(symbol, Reason.OWNER_CLOSE):
        raise ControlError(f"there is no open position in {symbol}, or its exit is already on the way")
    return {"closing": [symbol]}


def _accept(parts: Assembly, arguments: dict[str, Any]) -> dict[str, Any]:
    if parts.live is None:
        raise ControlError("there is nothing to accept: on paper nothing can differ from a venue")
    symbol = arguments.get("symbol")
    if symbol is not None and symbol not in parts.engine.book.symbols:
        raise ControlError(f"{symbol!r} is not traded here; symbols: {', '.join(parts.engine.book.symbols)}")
    return {"accepted": [item.note for item in parts.live.router.accept(symbol)]}


_COMMANDS = {"pause": _pause, "resume": _resume, "flatten": _flatten, "close": _close, "accept": _accept}
