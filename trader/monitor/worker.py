"""The monitor's worker: once a second it reads the state, keeps history, and clears entries or doesn't."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from trader.clock import NS_PER_S, boottime_ns, utc_ns
from trader.codes import Level, Role, ServiceState, Veto
from trader.config.sections import Config
from trader.errors import ControlError, TraderError
from trader.ledger.metrics import HealthChange, MetricsStore, Snapshot
from trader.monitor import health
from trader.monitor.health import Check, Observed
from trader.monitor.performance import SnapshotPicker, with_account
from trader.process.context import WorkerContext
from trader.process.worker import Beat
from trader.state.dtypes import HEALTH
from trader.state.reader import Book, StateReader
from trader.state.segment import Segment
from trader.units import timeframe_ns

#: how long a clearance lasts, and how often it is renewed
CLEAR_TTL_NS = 3 * NS_PER_S
ROUND_S = 1.0
#: the equity ring is emptied more often: a replay without pace could lap it
DRAIN_S = 0.25
#: snapshots that wait for a disk that can't be written
MOST_WAITING = 20_000

T = TypeVar("T")
log = logging.getLogger(__name__)


class MonitorService:
    """The service that the monitor process runs; see `trader.process.worker.WorkerService`."""

    def __init__(self, context: WorkerContext, segment: Segment, beat: Beat) -> None:
        self._config = context.config
        self._paths = context.paths
        self._beat = beat
        self._reader = StateReader(context.paths)
        self._clear = segment.word("clear_until_ns")
        self._veto = segment.word("veto_mask")
        self._health = segment.writer("health")
        self._record = np.zeros(1, HEALTH)
        self._levels: dict[str, Level] = {}
        self._changes: deque[HealthChange] = deque(maxlen=1000)
        self._waiting: deque[Snapshot] = deque(maxlen=MOST_WAITING)
        self._position = 0
        self._written = 0
        self._metrics_error: str | None = None
        self._store: MetricsStore | None = None
        self._picker = SnapshotPicker(context.config.monitor.snapshot_interval_seconds)
        self._prepared: Config | None = None
        self._stopping = asyncio.Event()

    # --------------------------------------------------------------- lifecycle

    async def start(self) -> dict[str, Any]:
        """Open the history; trading does not wait for it when it can't be opened."""
        self._open_store()
        return {"metrics": self._metrics_error or str(self._paths.metrics)}

    async def run(self) -> None:
        """Check and keep history until stopped."""
        try:
            while not self._stopping.is_set():
                self._round()
                for _ in range(int(ROUND_S / DRAIN_S)):
                    self._drain()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), DRAIN_S)
                    if self._stopping.is_set():
                        break
        finally:
            self._clear.set(0)
            self._drain()
            self._write()
            if self._store is not None:
                self._store.close()

    async def stop(self) -> None:
        """Withdraw the clearance and leave `run`."""
        self._clear.set(0)
        self._stopping.set()

    async def command(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - the protocol's
        """Refuse: the monitor takes no commands."""
        raise ControlError(f"the monitor knows no command {name}")

    def prepare(self, config: Config, epoch: int) -> None:  # noqa: ARG002 - the protocol's
        """Keep a new configuration at hand."""
        self._prepared = config

    def commit(self) -> None:
        """Go over to the new configuration."""
        if self._prepared is not None:
            self._config = self._prepared
            self._picker.set_interval(self._config.monitor.snapshot_interval_seconds)
            self._prepared = None

    def abort(self) -> None:
        """Forget the new configuration."""
        self._prepared = None

    # --------------------------------------------------------------- once a second

    def _round(self) -> None:
        observed = self._observe()
        checks = health.check_all(observed)
        veto = health.veto_of(checks)
        self._renew(veto)
        self._note_changes(checks)
        self._publish(observed, checks)
        self._write(observed.book)
        self._beat.iterations += 1

    def _renew(self, veto: Veto) -> None:
        self._veto.set(int(veto))
        self._clear.set(boottime_ns() + CLEAR_TTL_NS if not veto and not self._stopping.is_set() else 0)

    def _observe(self) -> Observed:
        beat = _or_none(lambda: self._reader.beat(Role.ENGINE))
        book = _or_none(self._reader.book)
        now_ns = boottime_ns()
        if beat is not None:
            self._beat.market_ns = int(beat["market_ns"])
        return Observed(
            book=book,
            engine_beat_age_s=(now_ns - int(beat["beat_ns"])) / NS_PER_S if beat is not None else None,
            data_age_s=(now_ns - int(beat["fed_ns"])) / NS_PER_S if beat is not None and beat["fed_ns"] else None,
            stale_after_s=stale_after_s(self._config),
            max_drawdown_frac=self._config.risk.max_drawdown_frac,
            free_bytes=health.free_bytes(self._paths.data_dir),
            metrics_error=self._metrics_error,
        )

    def _note_changes(self, checks: tuple[Check, ...]) -> None:
        for check in checks:
            before = self._levels.get(check.name)
            self._levels[check.name] = check.level
            if before is check.level or (before is None and check.level is Level.OK):
                continue
            # what is not there yet while the service starts is the normal course of a start
            quiet = before is None or self._starting()
            level = logging.DEBUG if quiet else logging.WARNING if check.level else logging.INFO
            log.log(level, "health: %s is %s: %s", check.name, check.level.name.lower(), check.text)
            self._changes.append(HealthChange(utc_ns(), check.name, check.level.name.lower(), check.text))

    def _starting(self) -> bool:
        service = _or_none(self._reader.service)
        return service is not None and service["state"] in (ServiceState.INIT, ServiceState.STARTING)

    def _publish(self, observed: Observed, checks: tuple[Check, ...]) -> None:
        record = self._record
        record["checked_ns"] = boottime_ns()
        record["rounds"] += 1
        record["problems"] = sum(1 << index for index, check in enumerate(checks) if check.level is not Level.OK)
        record["engine_beat_age_ns"] = _ns(observed.engine_beat_age_s)
        record["data_age_ns"] = _ns(observed.data_age_s)
        record["snapshots"] = self._written
        record["free_bytes"] = -1 if observed.free_bytes is None else observed.free_bytes
        record["drawdown_frac"] = observed.book.account["drawdown_frac"] if observed.book is not None else np.nan
        self._health.publish(record)

    # --------------------------------------------------------------- history

    def _drain(self) -> None:
        found = _or_none(lambda: self._reader.equity_since(self._position))
        if found is None:
            return
        points, self._position, lost = found
        if lost:
            log.info("%d points of the equity curve were overwritten before they were read", lost)
        self._waiting.extend(self._picker.pick(points))

    def _write(self, book: Book | None = None) -> None:
        if not self._waiting and not self._changes:
            return
        if self._store is None:
            self._open_store()
        if self._store is None:
            return
        if book is not None and self._waiting:
            self._waiting[-1] = with_account(self._waiting[-1], book.account)
        try:
            self._store.append(self._waiting, self._changes)
        except sqlite3.Error as error:
            self._metrics_error = str(error)  # what waits is written with a later round
            return
        self._metrics_error = None
        self._written += len(self._waiting)
        self._waiting.clear()
        self._changes.clear()

    def _open_store(self) -> None:
        try:
            self._store = MetricsStore.open(self._paths.metrics)
            last_ns = self._store.last_time_ns()
        except (sqlite3.Error, OSError) as error:
            self._metrics_error = str(error)
            log.warning("performance history can not be opened: %s", error)
            return
        if self._store.put_aside is not None:
            log.warning("performance history could not be used; kept as %s, begun anew", self._store.put_aside)
        if not self._waiting:
            self._picker = SnapshotPicker(self._config.monitor.snapshot_interval_seconds, last_ns)
        self._metrics_error = None


def stale_after_s(config: Config) -> float:
    """Return how old market data may be before it is worth a warning [real seconds]."""
    market = config.market
    market_s = market.stale_after_seconds or 3 * timeframe_ns(market.timeframe) / NS_PER_S
    pace = market.speed if market.source != "exchange" and market.speed > 0 else 1.0
    return float(max(5.0, market_s / pace + 2.0))


def _or_none(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except TraderError:
        return None


def _ns(seconds: float | None) -> int:
    return -1 if seconds is None else int(seconds * NS_PER_S)
