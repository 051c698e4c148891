"""The monitor's worker: once a second it looks at the service, keeps history, clears entries or doesn't, and tells."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import numpy as np

from trader.clock import NS_PER_S, boottime_ns, utc_ns
from trader.codes import Level, Veto
from trader.config.sections import Config
from trader.errors import ControlError
from trader.ledger.metrics import HealthChange
from trader.logs.events import Event, log_event
from trader.monitor import health
from trader.monitor.alerts import Alert, Alerts
from trader.monitor.errand import Errand
from trader.monitor.health import Check, Observed
from trader.monitor.news import IN_BETWEEN, News
from trader.monitor.observer import Observer, Told, durable_write_s, or_none
from trader.monitor.performance import PerformanceMonitor
from trader.process.context import WorkerContext
from trader.process.worker import Beat
from trader.state.dtypes import CHECK, HEALTH, MAX_CHECKS
from trader.state.reader import StateReader
from trader.state.segment import Segment

#: how long a clearance lasts, and how often it is renewed
CLEAR_TTL_NS = 3 * NS_PER_S
ROUND_S = 1.0
#: the equity ring is emptied more often: a replay without pace could lap it
DRAIN_S = 0.25
#: a durable write that takes longer than this is told before it has ended [s]
PROBE_PATIENCE_S = 10.0

log = logging.getLogger(__name__)


class MonitorService:
    """The service that the monitor process runs; see `trader.process.worker.WorkerService`."""

    def __init__(self, context: WorkerContext, segment: Segment, beat: Beat) -> None:
        self._config = context.config
        self._paths = context.paths
        self._beat = beat
        self._reader = StateReader(context.paths)
        self._observer = Observer(context.paths, self._reader, context.config)
        self._clear = segment.word("clear_until_ns")
        self._veto = segment.word("veto_mask")
        self._health = segment.writer("health")
        self._checks = segment.writer("checks")
        self._record = np.zeros(1, HEALTH)
        self._rows = np.zeros(MAX_CHECKS, CHECK)
        self._levels: dict[str, tuple[Level, int]] = {}  # by check: level, and since when [ns UTC]
        self._position = 0
        self._performance: PerformanceMonitor
        self._told = Told()
        self._probe: Errand[float] | None = None
        self._probe_ns = 0  # CLOCK_BOOTTIME at which it began
        self._ledger_look: Errand[list[Alert]] | None = None
        self._prepared: Config | None = None
        self._stopping = asyncio.Event()
        notifications = context.config.notifications
        self._alerts = Alerts(notifications, f"trader {context.config.instance}")
        self._news = News(context.paths, trades="trade" in notifications.events)

    # --------------------------------------------------------------- lifecycle

    async def start(self) -> dict[str, Any]:
        """Open the history; trading does not wait for it when it can't be opened."""
        self._performance = PerformanceMonitor(
            self._config.initial_capital,
            self._paths.data_dir,
            snapshot_interval_seconds=self._config.monitor.snapshot_interval_seconds,
        )
        return {"metrics": self._performance.error or str(self._paths.metrics)}

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
            self._performance.close()
            await asyncio.to_thread(self._alerts.close)

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
            self._config = self._observer.config = self._prepared
            self._performance.set_interval(self._config.monitor.snapshot_interval_seconds)
            self._prepared = None

    def abort(self) -> None:
        """Forget the new configuration."""
        self._prepared = None

    # --------------------------------------------------------------- once a second

    def _round(self) -> None:
        self._measure_disk()
        self._told.metrics_error = self._performance.error
        self._told.alerts_error, self._told.alerts_lost = self._alerts.error, self._alerts.lost
        observed = self._observer.look(self._told)
        if observed.book is not None:
            self._beat.market_ns = int(observed.book.account["event_ns"])
        checks = health.check_all(observed)
        self._renew(health.veto_of(checks))
        self._note_changes(checks)
        self._publish(observed, checks)
        self._tell(observed, checks)
        self._performance.write()
        self._beat.iterations += 1

    def _renew(self, veto: Veto) -> None:
        self._veto.set(int(veto))
        self._clear.set(boottime_ns() + CLEAR_TTL_NS if not veto and not self._stopping.is_set() else 0)

    def _note_changes(self, checks: tuple[Check, ...]) -> None:
        for check in checks:
            before = self._levels.get(check.name)
            if before is not None and before[0] is check.level:
                continue
            now_ns = utc_ns()
            self._levels[check.name] = (check.level, now_ns)
            if before is None and check.level is Level.OK:
                continue
            # what is not there yet, or no longer, is the normal course of a start and of a stop
            quiet = before is None or self._in_between()
            level = logging.DEBUG if quiet else logging.WARNING if check.level else logging.INFO
            name = check.level.name.lower()
            log_event(
                log, level, Event.HEALTH, f"health: {check.name} is {name}: {check.text}",
                check=check.name, state=name, value=check.value, bound=check.bound,
            )  # fmt: skip
            self._performance.note(HealthChange(now_ns, check.name, name, check.text))

    def _in_between(self) -> bool:
        service = or_none(self._reader.service)
        return service is not None and service["state"] in IN_BETWEEN

    def _publish(self, observed: Observed, checks: tuple[Check, ...]) -> None:
        record = self._record
        record["checked_ns"] = boottime_ns()
        record["rounds"] += 1
        record["problems"] = sum(1 << index for index, check in enumerate(checks) if check.level is not Level.OK)
        record["engine_beat_age_ns"] = _ns(observed.engine_beat_age_s)
        record["data_age_ns"] = _ns(observed.data_age_s)
        record["snapshots"] = self._performance.written
        record["free_bytes"] = -1 if observed.free_bytes is None else observed.free_bytes
        record["drawdown_frac"] = observed.book.account["drawdown_frac"] if observed.book is not None else np.nan
        self._health.publish(record)
        self._rows[:] = np.zeros((), CHECK)
        for row, check in zip(self._rows, health.worst_first(checks), strict=False):
            _fill(row, check, self._levels[check.name][1])
        self._checks.publish(self._rows)

    # --------------------------------------------------------------- what takes time

    def _measure_disk(self) -> None:
        """Measure a durable write every `health_interval_seconds`, in a thread: a disk may hang."""
        now_ns = boottime_ns()
        if self._probe is not None:
            if self._probe.done:
                self._told.fsync_s = self._probe.result
                self._probe = None
            elif now_ns - self._probe_ns > PROBE_PATIENCE_S * NS_PER_S:
                self._told.fsync_s = (now_ns - self._probe_ns) / NS_PER_S
            return
        if not self._probe_ns or now_ns - self._probe_ns >= self._config.monitor.health_interval_seconds * NS_PER_S:
            self._probe_ns = now_ns
            self._probe = Errand(lambda: durable_write_s(self._paths.data_dir))

    def _tell(self, observed: Observed, checks: tuple[Check, ...]) -> None:
        if not self._alerts.wanted:
            return
        for alert in self._news.look(observed, checks, or_none(self._reader.service)):
            self._alerts.tell(alert)
        if self._ledger_look is None:
            self._ledger_look = Errand(lambda: self._news.from_ledger(observed))
        elif self._ledger_look.done:
            for alert in self._ledger_look.result or ():
                self._alerts.tell(alert)
            self._ledger_look = None

    def _drain(self) -> None:
        found = or_none(lambda: self._reader.equity_since(self._position))
        if found is None:
            return
        points, self._position, lost = found
        if lost:
            log.info("%d points of the equity curve were overwritten before they were read", lost)
        self._performance.take(points)


def _fill(row: np.void, check: Check, since_ns: int) -> None:
    row["name"], row["level"], row["since_ns"] = check.name.encode(), int(check.level), since_ns
    row["value"], row["bound"], row["unit"] = check.value, check.bound, check.unit.encode()
    # cut between characters
    row["text"] = check.text.encode()[: CHECK["text"].itemsize].decode("utf-8", "ignore").encode()


def _ns(seconds: float | None) -> int:
    return -1 if seconds is None else int(seconds * NS_PER_S)
