"""The exchange side of a running engine: delivers, collects, reconciles, and looks at stops between candles."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from trader.clock import NS_PER_S, boottime_ns
from trader.codes import Breaker, Halt, Reason
from trader.config.sections import Config
from trader.domain.order import OrderKind, OrderState
from trader.engine.decision_engine import AutonomousDecisionEngine
from trader.engine.venue_watch import VenueWatch
from trader.execution.exchange_venue import ExchangeVenue
from trader.execution.live_router import LiveRouter
from trader.execution.order_stream import listen
from trader.execution.reconcile import Comparison, Picture, Reconciler
from trader.market.exchange_feed import ExchangeFeed
from trader.market.feed import FeedHealth

log = logging.getLogger(__name__)

Records = npt.NDArray[np.void]

#: how soon a look is repeated that could not be completed [s]
AGAIN_S = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
#: how long the price may be beyond a stop that stands at the venue before we act ourselves [s]
STOP_GRACE_S = 3.0


class LiveDesk:
    """What the engine's worker calls beside the engine while it trades on an exchange.

    Parameters
    ----------
    config : Config
        The configuration in force.
    feed : ExchangeFeed
        Tells prices between candles.
    venue : ExchangeVenue
        Where orders go.
    router : LiveRouter
        Takes in what comes back.
    reconciler : Reconciler
        Looks and compares.
    watch : VenueWatch
        Takes errors and answers.
    since_ns : int
        From when on trades are looked for [ns UTC].
    """

    def __init__(
        self,
        config: Config,
        feed: ExchangeFeed,
        venue: ExchangeVenue,
        router: LiveRouter,
        reconciler: Reconciler,
        watch: VenueWatch,
        since_ns: int,
    ) -> None:
        self.venue = venue
        self.router = router
        self.arrived = venue.arrived  #: set when `collect` has something to do
        self._feed = feed
        self._reconciler = reconciler
        self._watch = watch
        self._since_ns = since_ns
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._picture: Picture | None = None
        self._tries = 0
        self._look_at_s = 0.0
        self._told_ns = 0  # boot clock of the last complete look
        self._reconnects = 0
        self._beyond_s: dict[int, float] = {}
        self.interval_s = 0.0
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Put keys in force that can change while the service runs."""
        self.interval_s = config.execution.reconcile_interval_seconds
        self.router.protects = config.execution.protective_stop
        self.router.timeout_s = self.venue.timeout_s = config.execution.order_timeout_seconds

    def begin(self) -> None:
        """Find out what became of everything that was live before, and start to listen."""
        self.router.recover()
        self._run(listen(self._feed.connection, self.venue))

    def deliver(self) -> None:
        """Send what the last step has decided; call it once that is on disk."""
        self.venue.deliver()

    # -- steps ---------------------------------------------------------------------------------

    def collect(self, engine: AutonomousDecisionEngine) -> None:
        """Take in what has come from the venue, and see what is to be done now: a step, to be committed."""
        instruments = self._feed.connection.instruments
        if instruments != self.router.instruments:
            self.router.change_instruments(instruments)
        self.router.take(self.venue.collect())
        picture, self._picture = self._picture, None
        if picture is not None:
            self._compare(picture, engine)
        self._look_at_prices()
        self._look_when_due()

    def _compare(self, picture: Picture, engine: AutonomousDecisionEngine) -> None:
        result = self._reconciler.compare(picture)
        self.router.pursue()
        if result.is_complete:
            self._tries = 0
            self._told_ns = boottime_ns()
            self._look_at_s = time.monotonic() + self.interval_s
            if engine.halts & Halt.RECONCILE:
                log.info("ledger and venue agree; unexplained differences: %d", self.router.differences)
                engine.lift(Halt.RECONCILE)
            return
        self._look_again(result)

    def _look_again(self, result: Comparison | None = None) -> None:
        pause_s = AGAIN_S[min(self._tries, len(AGAIN_S) - 1)]
        self._tries += 1
        self._look_at_s = time.monotonic() + pause_s
        if result is not None and self._tries > len(AGAIN_S):
            log.warning(
                "ledger and venue do not agree yet: %d trades booked, %d orders open to question, amounts %s",
                result.booked, result.unresolved, {name: str(value) for name, value in result.differs.items()},
            )  # fmt: skip

    def _look_when_due(self) -> None:
        health = self._feed.health()
        if health.reconnects != self._reconnects:
            self._reconnects = health.reconnects
            self._look_at_s = 0.0
            self.venue.hint_all()
        probing = self._watch.recovery.state is Breaker.HALF_OPEN
        due = time.monotonic() >= self._look_at_s or probing
        if due and self._looking is None and self._picture is None:
            self._look_at_s = time.monotonic() + self.interval_s
            self._looking = self._run(self._look())

    async def _look(self) -> None:
        try:
            self._picture = await self._reconciler.look(self._since_ns)
        except Exception as error:  # noqa: BLE001 - looked again soon
            self._watch.on_error(error)
            self._look_again()
        else:
            self._watch.on_success()
        finally:
            self._looking = None
            self.arrived.set()

    def _look_at_prices(self) -> None:
        """Act on a stop or a target that the price has passed between two candles; the venue's own stop goes first."""
        for slot, symbol in enumerate(self.router.symbols):
            price, _ = self._feed.last_price(slot)
            reason = self.router.reached_level(slot, price) if math.isfinite(price) else Reason.NONE
            if reason is Reason.NONE:
                self._beyond_s.pop(slot, None)
                continue
            since_s = self._beyond_s.setdefault(slot, time.monotonic())
            if reason is Reason.TARGET or time.monotonic() - since_s >= self._grace_s(symbol):
                log.info("%s: price %s has reached the %s between two candles", symbol, price, reason.name.lower())
                self.router.close(slot, reason)

    def _grace_s(self, symbol: str) -> float:
        stands = any(
            order.symbol == symbol and order.kind is OrderKind.PROTECT and order.state is not OrderState.SUBMITTED
            for order in self.router.tracker.live()
        )
        return STOP_GRACE_S if stands else 0.0

    # -- telling -------------------------------------------------------------------------------

    def tell(self, record: Records, health: FeedHealth | None) -> None:
        """Write what is known into a record of `VENUE`."""
        self._watch.tell(record, health)
        live = [order for order in self.router.tracker.live() if order.state is not OrderState.INTENDED]
        stops = self.router.stops
        record["live"] = 1
        record["reconciled_ns"] = self._told_ns
        record["reconciliations"] = self._reconciler.count
        record["differences"] = self.router.differences
        record["blocked"] = self.router.blocked
        record["orders_open"] = len(live)
        record["orders_unknown"] = sum(order.state is OrderState.UNKNOWN for order in live)
        record["stops_standing"] = sum(
            order.kind is OrderKind.PROTECT and order.state in (OrderState.OPEN, OrderState.PARTIAL) for order in live
        )
        record["stops_missing"] = stops.missing
        record["naked_ns"] = int(stops.total_naked_s * NS_PER_S)
        record["naked_longest_ns"] = int(stops.longest_s * NS_PER_S)

    # -- the end -------------------------------------------------------------------------------

    async def close(self) -> None:
        """Ask no more; orders and stops at the venue stay as they are."""
        await self.venue.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        with suppress(asyncio.CancelledError):
            if (error := task.exception()) is not None:
                log.error("a task of the live desk broke", exc_info=error)
                self._watch.on_error(error)
