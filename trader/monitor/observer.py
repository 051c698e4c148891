"""Observing: what a round of health checks looks at, read from shared memory and the machine."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from trader.clock import NS_PER_S, boottime_ns, utc_ns
from trader.codes import Role, WorkerState
from trader.config.sections import Config
from trader.errors import TraderError
from trader.monitor.growth import MemoryWatch
from trader.monitor.health import Observed, Strategy, Symbol, Worker
from trader.state.paths import InstancePaths
from trader.state.reader import Book, StateReader
from trader.units import timeframe_ns

#: lost log records and clock steps are told for this long [s]
LATELY_S = 600.0
#: real seconds that may pass beyond the market's own pace before something is late
SLACK_S = 2.0

T = TypeVar("T")


@dataclass(slots=True)
class Told:
    """What the monitor itself knows, besides what can be read."""

    metrics_error: str | None = None
    alerts_error: str | None = None
    alerts_lost: int = 0
    fsync_s: float | None = None


@dataclass(slots=True)
class _Losses:
    """Lost log records of one process, as it counted them over the last minutes."""

    counts: deque[tuple[int, int]] = field(default_factory=deque)

    def lately(self, now_ns: int, count: int) -> int:
        self.counts.append((now_ns, count))
        while now_ns - self.counts[0][0] > LATELY_S * NS_PER_S:
            self.counts.popleft()
        return count - self.counts[0][1]


class Observer:
    """Looks at the service; remembers what only a row of looks can tell.

    Parameters
    ----------
    paths : InstancePaths
        Of the instance.
    reader : StateReader
        Of its shared memory.
    config : Config
        In force.
    """

    def __init__(self, paths: InstancePaths, reader: StateReader, config: Config) -> None:
        self.config = config
        self._paths = paths
        self._reader = reader
        self._memory = MemoryWatch()
        self._losses: dict[tuple[Role, int], _Losses] = {}
        self._offset_ns = utc_ns() - boottime_ns()
        self._step: tuple[int, float] = (0, 0.0)

    def look(self, told: Told) -> Observed:
        """Return what can be seen now; never raises for what can't."""
        reader, config, now_ns = self._reader, self.config, boottime_ns()
        beat, book = or_none(lambda: reader.beat(Role.ENGINE)), or_none(reader.book)
        venue, limits = or_none(reader.venue), or_none(reader.limits)
        lease_ns = or_none(reader.lease_until_ns)
        workers = self._workers(now_ns)
        reconciled_ns = int(venue["reconciled_ns"]) if venue is not None else 0
        return Observed(
            book=book,
            engine_beat_age_s=(now_ns - int(beat["beat_ns"])) / NS_PER_S if beat is not None else None,
            data_age_s=(now_ns - int(beat["fed_ns"])) / NS_PER_S if beat is not None and beat["fed_ns"] else None,
            stale_after_s=stale_after_s(config),
            max_drawdown_frac=config.risk.max_drawdown_frac,
            free_bytes=free_bytes(self._paths.data_dir),
            metrics_error=told.metrics_error,
            cycle_age_s=cycle_age_s(config, book),
            cycle_late_s=2 * config.engine.loop_interval_seconds + timeframe_ns(config.market.timeframe) / NS_PER_S,
            symbols=_symbols(book),
            mark_stale_s=int(limits["stale_mark_ns"]) / NS_PER_S if limits is not None else math.inf,
            lease_left_s=(lease_ns - now_ns) / NS_PER_S if lease_ns is not None else None,
            workers=workers,
            strategies=self._strategies(),
            venue=venue,
            max_clock_skew_s=config.market.max_clock_skew_seconds,
            max_errors=config.recovery.max_consecutive_errors,
            reconcile_age_s=(now_ns - reconciled_ns) / NS_PER_S if reconciled_ns else None,
            clock_step_s=self._clock_step_s(now_ns),
            fsync_s=told.fsync_s,
            free_inodes_frac=free_inodes_frac(self._paths.data_dir),
            growth=self._memory.growth(),
            alerts_error=told.alerts_error,
            alerts_lost=told.alerts_lost,
        )

    def _workers(self, now_ns: int) -> tuple[Worker, ...]:
        rows = or_none(self._reader.workers)
        if rows is None:
            return ()
        found, memory = [], {}
        for role in (Role.ENGINE, Role.MONITOR, Role.DASHBOARD):
            row = rows[role]
            state, pid = WorkerState(int(row["state"])), int(row["pid"])
            if state is WorkerState.STOPPED and not row["generation"]:
                continue  # switched off
            beat = or_none(lambda role=role: self._reader.beat(role))  # type: ignore[misc]
            rss_bytes, dropped, lag_s = 0, 0, 0.0
            if beat is not None and pid > 0:
                rss_bytes, dropped = int(beat["rss_bytes"]), int(beat["log_dropped"])
                lag_s = int(beat["loop_lag_ns"]) / NS_PER_S
                memory[(role, pid)] = rss_bytes
            lost = self._losses.setdefault((role, pid), _Losses()).lately(now_ns, dropped)
            found.append(Worker(role, state, int(row["restarts"]), rss_bytes, lag_s, lost))
        self._memory.look(now_ns, memory)
        for gone in self._losses.keys() - {(role, int(rows[role]["pid"])) for role, _ in self._losses}:
            del self._losses[gone]
        return tuple(found)

    def _strategies(self) -> tuple[Strategy, ...]:
        rows = or_none(self._reader.strategies)
        if rows is None:
            return ()
        return tuple(
            Strategy(bytes(row["name"]).decode("utf-8", "replace"), int(row["failures_in_row"]), bool(row["disabled"]))
            for row in rows
        )

    def _clock_step_s(self, now_ns: int) -> float:
        """Return how far the wall clock stepped against CLOCK_BOOTTIME; told for a while, then forgotten."""
        offset_ns = utc_ns() - now_ns
        moved_s = (offset_ns - self._offset_ns) / NS_PER_S
        self._offset_ns = offset_ns
        if abs(moved_s) > 0.5:  # slewing moves it by half a millisecond a second
            self._step = (now_ns, moved_s)
        return self._step[1] if self._step[1] and now_ns - self._step[0] < LATELY_S * NS_PER_S else 0.0


def _symbols(book: Book | None) -> tuple[Symbol, ...]:
    if book is None:
        return ()
    now_ns = int(book.account["event_ns"])
    return tuple(
        Symbol(name, (now_ns - mark_ns) / NS_PER_S if mark_ns else math.nan, bool(blocked))
        for name, mark_ns, blocked in zip(
            book.symbols, book.slots["mark_ns"].tolist(), book.slots["blocked"].tolist(), strict=False
        )
    )


def cycle_age_s(config: Config, book: Book | None) -> float | None:
    """Return how long ago the last decision cycle was [s of market time]; None before the first."""
    if book is None or not book.account["cycle_ns"] or not np.isfinite(config.engine.loop_interval_seconds):
        return None
    return (int(book.account["event_ns"]) - int(book.account["cycle_ns"])) / NS_PER_S


def stale_after_s(config: Config) -> float:
    """Return how old market data may be before it is worth a warning [real seconds]."""
    market = config.market
    market_s = market.stale_after_seconds or 3 * timeframe_ns(market.timeframe) / NS_PER_S
    pace = market.speed if market.source != "exchange" and market.speed > 0 else 1.0
    return float(max(5.0, market_s / pace + SLACK_S))


def free_bytes(folder: Path) -> int | None:
    """Return the space that is left for us in a folder [bytes], or None when it can't be told."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize


def free_inodes_frac(folder: Path) -> float | None:
    """Return which part of a file system's places for files is free, 0..1; None where they are not counted."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    return status.f_favail / status.f_files if status.f_files else None


def durable_write_s(folder: Path) -> float:
    """Return how long a small write takes to be on disk [s]; NaN when it can't be done. May take long: use a thread."""
    path = folder / ".durable-write"
    begun_ns = boottime_ns()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.pwrite(descriptor, b"durable\n" * 64, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        return math.nan
    return (boottime_ns() - begun_ns) / NS_PER_S


def or_none(read: Callable[[], T]) -> T | None:
    """Return what can be read, or None."""
    try:
        return read()
    except TraderError:
        return None
