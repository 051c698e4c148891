"""The exchange feed: closed candles of a venue, by stream and by request, on the venue's clock.

What is closed and when it is handed on decides `trader.market.live_candles`; here are the network, the timers and what
is kept for strategies.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

import numpy as np

from trader.clock import NS_PER_S, boottime_ns, format_utc
from trader.domain.instrument import Instrument
from trader.domain.market import Candles, MarketEvent
from trader.errors import MarketDataError
from trader.logs.redaction import redact
from trader.market.candle_requests import CandleRequests
from trader.market.candle_stream import CandleStream
from trader.market.connection import ExchangeConnection, explained
from trader.market.feed import FeedHealth
from trader.market.live_candles import SETTLE_MOST_NS, LiveCandles, Row, to_candles
from trader.market.store import CandleStore
from trader.units import timeframe_ns

log = logging.getLogger(__name__)

#: candles per symbol that are ready for strategies, at least
HISTORY_BARS = 500

#: longest catch-up after a stop, in candles per symbol; what is older stays a gap
CATCH_UP_BARS = 10_000

#: between two measurements of the clock, and two looks at the venue's rules [s]
CLOCK_S, RULES_S = 300.0, 3600.0

#: share of the venue's request rate that asking for every candle may take; beyond, the stream is taken at its word
CONFIRM_SHARE = 0.5

#: requests for candles that are under way at once
CONCURRENT = 8

#: pauses after an answer that says "too many" or "closed for now" [s]
BUSY_PAUSE_S = 10.0

#: longest and shortest time that the loop waits without looking [s]
LOOK_S, SHORTEST_WAIT_S = 1.0, 0.005


class ExchangeFeed:
    """Candles of a venue; see `trader.market.feed.Feed`.

    Parameters
    ----------
    connection : ExchangeConnection
        Not open yet.
    history_bars : int
        How far strategies look back, in candles.
    stale_after_s : float
        Age of the newest word from the venue from which its data is stale [s].
    """

    waits = False

    def __init__(
        self, connection: ExchangeConnection, *, history_bars: int = HISTORY_BARS, stale_after_s: float | None = None
    ) -> None:
        market = connection.market
        self.symbols: tuple[str, ...] = tuple(market.symbols)
        self.timeframe = market.timeframe
        self.timeframe_ns = timeframe_ns(market.timeframe)
        self.connection = connection
        self._stale_after_s = stale_after_s or 3 * self.timeframe_ns / NS_PER_S
        self._requests = CandleRequests(connection, market.timeframe)
        # twice as many: a reload may bring a strategy that looks back further
        self._store = CandleStore(self.symbols, market.timeframe, max(2 * history_bars, HISTORY_BARS))
        self._limit = asyncio.Semaphore(CONCURRENT)
        self._stream: CandleStream | None = None
        self._live: LiveCandles | None = None
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._start_ns = self._grid_ns = self._event_ns = 0
        self._answer_ns = 0  # of the last answered request [ns, boot clock]
        self._busy_until_ns = 0  # no requests before [ns, boot clock]

    # --------------------------------------------------------------- lifecycle

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """Instruments by slot, as the venue publishes them."""
        return self.connection.instruments

    @property
    def start_ns(self) -> int:
        """Market time just before the first event [ns UTC]."""
        return self._start_ns

    async def open(self) -> None:
        """Reach the venue and fetch what strategies look back on; a venue that is down is waited for.

        Raises
        ------
        ConfigError
            When the venue lacks a symbol, the timeframe or what is needed, by name.
        Transient
            When it can't be reached for too long.
        """
        await self.connection.patiently(self._open)
        for slot, symbol in enumerate(self.symbols):
            if not self._store.count(slot):
                log.warning("%s has no %s candles of %s yet", self.connection.venue, self.timeframe, symbol)

    async def _open(self) -> None:
        await self.connection.open()
        with explained(self.connection.venue):
            await self._fetch_history()

    async def _fetch_history(self) -> None:
        now_ns = self.connection.now_ns()
        length_ns = self.timeframe_ns
        since_ns = (now_ns // length_ns - self._store.capacity) * length_ns
        pages = [self._history_of(symbol, since_ns, now_ns) for symbol in self.symbols]
        histories = await asyncio.gather(*pages)
        newest = [rows[-1].open_ns for rows in histories if rows]
        # the grid of long candles is the venue's own
        self._grid_ns = max(newest, default=0) % length_ns
        # what has only just closed may not be final: it comes as an event
        self._start_ns = self._event_ns = self._floor(now_ns - SETTLE_MOST_NS)
        for slot, rows in enumerate(histories):
            closed = [row for row in rows if row.open_ns + length_ns <= self._start_ns]
            self._store.load(slot, to_candles(self.symbols[slot], self.timeframe, closed))

    async def _history_of(self, symbol: str, since_ns: int, until_ns: int) -> list[Row]:
        rows: list[Row] = []
        async with self._limit:
            async for page in self._requests.between(symbol, since_ns, until_ns):
                rows.extend(page.rows)
        return rows

    def close(self) -> None:
        """Stop asking and listening; the connection stays open for who else uses it."""
        for task in self._tasks:
            task.cancel()

    async def wait_closed(self) -> None:
        """Return once everything that `close` has stopped is gone."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -------------------------------------------------------------------- feed

    def now_ns(self) -> int:
        """Return market time now [ns UTC]: the venue's, but not past candles that are still to come."""
        if self._live is None:
            return self._start_ns
        return max(self._event_ns, min(self.connection.now_ns(), self._live.boundary_ns - 1))

    def history(self, slot: int, until_ns: int, bars: int) -> Candles:
        """Return the last `bars` candles of a slot that closed at or before `until_ns`, as far as they are kept."""
        kept = self._store.window(slot, self._store.capacity)
        end = int(np.searchsorted(kept.open_ns, until_ns - self.timeframe_ns, side="right"))
        cut = slice(max(0, end - bars), end)
        columns = (getattr(kept, name)[cut].copy() for name in ("open_ns", "open", "high", "low", "close", "volume"))
        return Candles(kept.symbol, kept.timeframe, *columns)

    async def events(self, after_ns: int) -> AsyncIterator[MarketEvent]:
        """Yield each event later than `after_ns`, missed ones first, until cancelled."""
        live = self._live = self._begin(after_ns)
        self._run(self._keep_clock())
        self._run(self._keep_rules())
        if self._stream is not None:
            self._run(self._stream.run())
        while True:
            now_ns = self.connection.now_ns()
            if boottime_ns() >= self._busy_until_ns:
                for slot in live.due(now_ns):
                    self._run(self._ask(live, slot))
            for event in live.events(now_ns):
                self._store.append(event.candles)
                self._event_ns = event.time_ns
                yield event
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s(live)):
                    await self._news.wait()

    # until something is due, or the venue may be asked again
    def _wait_s(self, live: LiveCandles) -> float:
        due_s = (live.wake_ns() - self.connection.now_ns()) / NS_PER_S
        busy_s = (self._busy_until_ns - boottime_ns()) / NS_PER_S
        return min(max(due_s, busy_s, SHORTEST_WAIT_S), LOOK_S)

    def last_price(self, slot: int) -> tuple[float, int]:
        """Return the newest price of a slot [quote per base], candles being built included, and when it was told.

        Parameters
        ----------
        slot : int
            Index of the symbol.

        Returns
        -------
        tuple of float and int
            NaN and 0 when there is none yet; the time is the venue's [ns UTC].
        """
        return self._live.price(slot) if self._live else (float("nan"), 0)

    def health(self) -> FeedHealth:
        """Return how the feed is doing."""
        live, stream, now_ns = self._live, self._stream, boottime_ns()
        heard_ns = max(self._answer_ns, stream.message_ns if stream else 0)
        age_s = (now_ns - heard_ns) / NS_PER_S if heard_ns else float("inf")
        behind_s = max(0.0, (self.connection.now_ns() - self._event_ns) / NS_PER_S)
        return FeedHealth(
            connected=age_s < self._stale_after_s,
            streaming=stream is not None and stream.connected,
            message_ns=heard_ns,
            behind_s=behind_s,
            skew_ns=self.connection.skew_ns,
            reconnects=stream.reconnects if stream else 0,
            differences=live.counts.differences if live else 0,
            gaps=live.counts.gaps if live else 0,
            unfit=self._objection(age_s, behind_s),
        )

    def _objection(self, age_s: float, behind_s: float) -> str:
        connection = self.connection
        if connection.is_clock_off:
            limit_s = connection.market.max_clock_skew_seconds
            return f"the clock is {connection.skew_ns / 1e9:+.1f} s off the venue's, more than {limit_s:g} s"
        if age_s >= self._stale_after_s:
            return f"nothing came from {connection.venue} for {age_s:.0f} s"
        if behind_s >= self._stale_after_s + self.timeframe_ns / NS_PER_S:
            return f"candles of {behind_s:.0f} s ago are being caught up with"
        return ""

    # ----------------------------------------------------------------- parts

    def _begin(self, after_ns: int) -> LiveCandles:
        if not self._start_ns:
            raise MarketDataError("the feed is not open")
        now_ns = self.connection.now_ns()
        first_ns = self._floor(max(after_ns, now_ns - CATCH_UP_BARS * self.timeframe_ns))
        if first_ns > after_ns + self.timeframe_ns:
            log.warning("candles from %s to %s are not caught up with", format_utc(after_ns), format_utc(first_ns))
        self._event_ns = min(first_ns, self._floor(now_ns))
        trust = self._is_too_much()
        if self.connection.market.stream and self.connection.has("watchOHLCV"):
            self._stream = CandleStream(self.connection, self.symbols, self.timeframe, self._take_rows, self._begun)
        else:
            log.info("%s has no stream of candles, or market.stream is off: they are asked for", self.connection.venue)
        return LiveCandles(
            len(self.symbols),
            self.timeframe_ns,
            self._event_ns,
            now_ns,
            trust_stream=trust and self._stream is not None,
        )

    # would a request per symbol and candle take too much of the venue's rate?
    def _is_too_much(self) -> bool:
        cost_ms = float(self.connection.rest.rateLimit or 0) * len(self.symbols)
        return cost_ms * 1e6 > CONFIRM_SHARE * self.timeframe_ns

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the feed broke", exc_info=error)
            self.connection.on_error(error)

    def _take_rows(self, slot: int, rows: Sequence[Row], bad: int) -> None:
        if self._live is not None:
            self._live.counts.left_out += bad
            self._live.take_streamed(slot, rows, self.connection.now_ns())
            self._news.set()

    def _begun(self, begins: bool) -> None:  # noqa: FBT001 - a callback with a state
        if self._live is not None:
            self._live.begin_stream(self.connection.now_ns() if begins else 0)

    async def _ask(self, live: LiveCandles, slot: int) -> None:
        from ccxt.base.errors import BaseError

        symbol = self.symbols[slot]
        try:
            async with self._limit:
                asked_ns = self.connection.now_ns()
                since_ns = live.since_ns(slot)
                wanted = max(0, (asked_ns - since_ns) // self.timeframe_ns) + 2
                # one more before it: some venues answer with what is after a time, not from it on
                page = await self._requests.page(symbol, since_ns - self.timeframe_ns, wanted + 1)
        except BaseError as error:
            self._failed(live, slot, error)
        except Exception as error:  # noqa: BLE001 - an answer that even ccxt could not read; the next one may be better
            self._failed(live, slot, error)
        else:
            self._answer_ns = boottime_ns()
            self.connection.on_success()
            live.counts.left_out += page.bad
            complete = not page.full or wanted < self._requests.page_rows
            missed = live.take_answer(slot, page.rows, asked_ns, self.connection.now_ns(), complete=complete)
            if missed and self._stream is not None:
                self._stream.restart(f"it says nothing of {symbol}, which is traded")
        self._news.set()

    def _failed(self, live: LiveCandles, slot: int, error: Exception) -> None:
        from ccxt.base.errors import DDoSProtection, OnMaintenance, RateLimitExceeded

        log.warning("%s: no candles of %s: %s", self.connection.venue, self.symbols[slot], redact(str(error)[:200]))
        if isinstance(error, RateLimitExceeded | DDoSProtection | OnMaintenance):
            self._busy_until_ns = boottime_ns() + int(BUSY_PAUSE_S * NS_PER_S)
        live.take_failure(slot, self.connection.now_ns())
        self.connection.on_error(error)

    # the clock drifts, and machines are put to sleep
    async def _keep_clock(self) -> None:
        while True:
            await asyncio.sleep(CLOCK_S)
            was_off = self.connection.is_clock_off
            try:
                await self.connection.measure_clock()
            except Exception as error:  # noqa: BLE001 - measured again the next time
                log.warning("%s: the clock can not be measured: %s", self.connection.venue, str(error)[:200])
                self.connection.on_error(error)
            if self.connection.is_clock_off != was_off:
                log.warning("%s: %s", self.connection.venue, self._objection(0.0, 0.0) or "the clock is right again")

    async def _keep_rules(self) -> None:
        while True:
            await asyncio.sleep(RULES_S)
            try:
                await self.connection.reload_markets()
            except Exception as error:  # noqa: BLE001 - asked again the next time
                log.warning("%s: the rules can not be fetched: %s", self.connection.venue, str(error)[:200])
                self.connection.on_error(error)

    def _floor(self, time_ns: int) -> int:
        return time_ns - (time_ns - self._grid_ns) % self.timeframe_ns
