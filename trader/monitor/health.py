"""Health checks: each is a pure function of what was observed and answers with a state, numbers and advice.

What is grave becomes a bit of the veto, for as long as it lasts. Checks are about things that the engine can't judge
of itself (whether it is alive, whether what it publishes is consistent), about the machine, and about what an
owner should see in one list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from trader.codes import VETO_TEXT, Breaker, Halt, Level, Role, Veto, WorkerState
from trader.monitor.growth import Growth
from trader.state.reader import Book

#: an engine that is silent for this long gets no clearance [s]
ENGINE_SILENT_S = 5.0
#: below this much free space in the data folder entries stop, and below that it is worth a warning [bytes]
DISK_GRAVE_BYTES = 32 * 2**20
DISK_LOW_BYTES = 512 * 2**20
#: relative difference between equity and cash plus positions that rounding can explain
BOOKS_TOLERANCE_FRAC = 1e-9
#: a commit waits for this: beyond it every order does [s]
FSYNC_SLOW_S = 0.25
#: live: how long the venue may go without a comparison, and from when on nothing may be opened [s]
RECONCILE_LATE_S = 900.0
RECONCILE_GRAVE_S = 3600.0
#: the wall clock may step this far between two looks before it is told [s]
CLOCK_STEP_S = 1.0
#: a loop that wakes up later than this has no time for what comes [s]
LOOP_LAG_S = 1.0


@dataclass(frozen=True, slots=True)
class Symbol:
    """How old the last price of a symbol is."""

    name: str
    age_s: float  #: market time since its last price [s]; NaN: none yet
    blocked: bool  #: entries are blocked by an unexplained difference


@dataclass(frozen=True, slots=True)
class Worker:
    """One process of the service."""

    role: Role
    state: WorkerState
    restarts: int
    rss_bytes: int
    loop_lag_s: float
    log_dropped: int  #: lately


@dataclass(frozen=True, slots=True)
class Strategy:
    """How one strategy is doing."""

    name: str
    failures_in_row: int
    disabled: bool


@dataclass(frozen=True, slots=True)
class Observed:
    """What a round of checks looks at; None stands for what could not be read."""

    book: Book | None
    engine_beat_age_s: float | None
    data_age_s: float | None
    stale_after_s: float  #: of the data's age
    max_drawdown_frac: float  #: the configured limit
    free_bytes: int | None
    metrics_error: str | None  #: why history can't be written
    cycle_age_s: float | None = None  #: market time since the last cycle; None: it has no pace that could be missed
    cycle_late_s: float = math.inf  #: bound of that
    symbols: tuple[Symbol, ...] = ()
    mark_stale_s: float = math.inf  #: market time after which a price is stale
    lease_left_s: float | None = None
    workers: tuple[Worker, ...] = ()
    strategies: tuple[Strategy, ...] = ()
    venue: np.void | None = None  #: dtype VENUE; None: the engine has not said
    max_clock_skew_s: float = math.inf
    max_errors: int = 5  #: in a row, before the breaker opens
    reconcile_age_s: float | None = None  #: since the last complete comparison; None: none yet, or none needed
    clock_step_s: float = 0.0  #: how far the wall clock stepped lately
    fsync_s: float | None = None  #: how long a small durable write took; NaN: it could not be done
    free_inodes_frac: float | None = None
    growth: tuple[Growth, ...] = ()
    alerts_error: str | None = None  #: receivers that can't be reached
    alerts_lost: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """One check's answer."""

    name: str
    level: Level
    value: float
    bound: float
    text: str  #: what it means and what to do
    veto: Veto | None = None  #: what it adds to the veto when it is grave
    unit: str = ""  #: of value and bound


def check_all(observed: Observed) -> tuple[Check, ...]:
    """Return every check's answer, in a fixed order."""
    return tuple(check(observed) for check in CHECKS)


def veto_of(checks: tuple[Check, ...]) -> Veto:
    """Return the veto that follows from the grave checks."""
    total = Veto(0)
    for check in checks:
        if check.level is Level.GRAVE and check.veto is not None:
            total |= check.veto
    return total


# ------------------------------------------------------------------------------------ the engine


def _state(observed: Observed) -> Check:
    if observed.book is None:
        return Check("state", Level.GRAVE, math.nan, math.nan, VETO_TEXT[Veto.STATE], Veto.STATE)
    return Check("state", Level.OK, 0, 0, "account and positions are readable")


def _books(observed: Observed) -> Check:
    if observed.book is None:
        return Check("books", Level.OK, math.nan, BOOKS_TOLERANCE_FRAC, "nothing to check")
    difference = books_difference_frac(observed.book)
    if not difference <= BOOKS_TOLERANCE_FRAC:  # NaN is grave, too
        return Check("books", Level.GRAVE, difference, BOOKS_TOLERANCE_FRAC, VETO_TEXT[Veto.BOOKS], Veto.BOOKS)
    return Check("books", Level.OK, difference, BOOKS_TOLERANCE_FRAC, "equity is cash and positions together")


def books_difference_frac(book: Book) -> float:
    """Return how far equity is from cash plus marked positions, relative to equity; NaN when it can't be told."""
    slots = book.slots[book.slots["quantity"] != 0]
    cash, equity = float(book.account["cash"]), float(book.account["equity"])
    held = float(np.sum(slots["quantity"] * slots["mark_price"]))
    scale = max(abs(equity), abs(cash), abs(held), 1e-9)
    return abs(equity - cash - held) / scale


def _engine(observed: Observed) -> Check:
    age_s = observed.engine_beat_age_s
    if age_s is None or age_s > ENGINE_SILENT_S:
        value = math.nan if age_s is None else age_s
        return Check("engine", Level.GRAVE, value, ENGINE_SILENT_S, VETO_TEXT[Veto.ENGINE], Veto.ENGINE, "s")
    return Check("engine", Level.OK, age_s, ENGINE_SILENT_S, "the engine beats", unit="s")


def _progress(observed: Observed) -> Check:
    age_s, bound_s = observed.cycle_age_s, observed.cycle_late_s
    if age_s is None:
        return Check("progress", Level.OK, math.nan, bound_s, "no cycle is due", unit="s")
    if age_s > bound_s:
        text = f"the last decision cycle was {age_s:.0f} s of market time ago; look at the feed and the engine's log"
        return Check("progress", Level.WARNING, age_s, bound_s, text, unit="s")
    return Check("progress", Level.OK, age_s, bound_s, "decision cycles are run in time", unit="s")


def _lease(observed: Observed) -> Check:
    left_s = observed.lease_left_s
    if left_s is None or left_s <= 0:
        text = "the supervisor's trading lease has run out: entries are refused; look at `trader status`"
        return Check("lease", Level.WARNING, math.nan if left_s is None else left_s, 0, text, unit="s")
    return Check("lease", Level.OK, left_s, 0, "the supervisor renews the trading lease", unit="s")


def _workers(observed: Observed) -> Check:
    down = [
        f"{one.role.name.lower()} ({one.state.name.lower()})"
        for one in observed.workers
        if one.state not in (WorkerState.READY, WorkerState.STARTING, WorkerState.RECONCILING, WorkerState.FINISHED)
    ]
    if down:
        text = f"not at work: {', '.join(down)}; it is restarted by itself, its log says what ailed it"
        return Check("workers", Level.WARNING, len(down), 0, text)
    return Check("workers", Level.OK, 0, 0, "every process is at work")


def _loops(observed: Observed) -> Check:
    slow = max(observed.workers, key=lambda one: one.loop_lag_s, default=None)
    if slow is not None and slow.loop_lag_s > LOOP_LAG_S:
        text = f"the {slow.role.name.lower()} wakes up {slow.loop_lag_s:.1f} s late; the machine has too much to do"
        return Check("loops", Level.WARNING, slow.loop_lag_s, LOOP_LAG_S, text, unit="s")
    return Check("loops", Level.OK, slow.loop_lag_s if slow else 0.0, LOOP_LAG_S, "processes wake up in time", unit="s")


def _strategies(observed: Observed) -> Check:
    disabled = [one.name for one in observed.strategies if one.disabled]
    failing = [one.name for one in observed.strategies if one.failures_in_row and not one.disabled]
    if disabled:
        text = f"disabled after failing again and again: {', '.join(disabled)}; mend it and `trader reload`"
        return Check("strategies", Level.WARNING, len(disabled), 0, text)
    if failing:
        return Check("strategies", Level.WARNING, len(failing), 0, f"failing: {', '.join(failing)}; see the log")
    return Check("strategies", Level.OK, 0, 0, "no strategy fails")


# -------------------------------------------------------------------------------- the market, the venue


def _data(observed: Observed) -> Check:
    # The kernels refuse entries on a stale mark by themselves, symbol by symbol; this only tells people.
    age_s = observed.data_age_s
    if age_s is None:
        return Check("data", Level.OK, math.nan, observed.stale_after_s, "no market data yet", unit="s")
    if age_s > observed.stale_after_s:
        text = f"no market data for {age_s:.0f} s; look at the feed and the network"
        return Check("data", Level.WARNING, age_s, observed.stale_after_s, text, unit="s")
    return Check("data", Level.OK, age_s, observed.stale_after_s, "market data is fresh", unit="s")


def _prices(observed: Observed) -> Check:
    old = [one for one in observed.symbols if not one.age_s <= observed.mark_stale_s]
    oldest = max((one.age_s for one in observed.symbols if math.isfinite(one.age_s)), default=math.nan)
    if old:
        names = ", ".join(one.name + (f" ({one.age_s:.0f} s)" if math.isfinite(one.age_s) else "") for one in old[:5])
        more = f" and {len(old) - 5} more" if len(old) > 5 else ""
        text = f"no fresh price: {names}{more}; entries are refused there, look whether it still trades"
        return Check("prices", Level.WARNING, oldest, observed.mark_stale_s, text, unit="s")
    return Check("prices", Level.OK, oldest, observed.mark_stale_s, "every symbol has a fresh price", unit="s")


def _feed(observed: Observed) -> Check:
    venue = observed.venue
    if venue is None or not venue["exchange"]:
        return Check("feed", Level.OK, math.nan, math.nan, "candles do not come from an exchange")
    if venue["maintenance"]:
        text = "the venue says that it is closed for now; entries wait, exits are tried, nothing needs to be done"
        return Check("feed", Level.WARNING, float(venue["feed_reconnects"]), math.nan, text)
    if not venue["feed_connected"]:
        text = "the exchange's feed is down; it reconnects by itself, look at the network if it stays so"
        return Check("feed", Level.WARNING, float(venue["feed_reconnects"]), math.nan, text)
    return Check("feed", Level.OK, float(venue["feed_reconnects"]), math.nan, "the exchange's feed is connected")


def _errors(observed: Observed) -> Check:
    venue = observed.venue
    count, row = (int(venue["errors_in_window"]), int(venue["errors_in_row"])) if venue is not None else (0, 0)
    if row >= observed.max_errors:
        text = f"{row} errors in a row ({count} in the window); entries pause, the log names each"
        return Check("errors", Level.WARNING, row, observed.max_errors, text)
    return Check("errors", Level.OK, row, observed.max_errors, f"{count} errors in the window")


def _breaker(observed: Observed) -> Check:
    state = Breaker(int(observed.venue["breaker"])) if observed.venue is not None else Breaker.CLOSED
    if state is Breaker.CLOSED:
        return Check("breaker", Level.OK, 0, 0, "the circuit breaker is closed")
    words = "is open: entries are paused, exits go on; it tries again by itself"
    text = f"the circuit breaker {words if state is Breaker.OPEN else 'waits for one good answer'}"
    return Check("breaker", Level.WARNING, int(state), 0, text)


def _reconcile(observed: Observed) -> Check:
    venue = observed.venue
    if venue is None or not venue["live"]:
        return Check(
            "reconcile", Level.OK, math.nan, RECONCILE_LATE_S, "paper: there is nobody to compare with", unit="s"
        )
    age_s = observed.reconcile_age_s
    if age_s is not None and age_s > RECONCILE_GRAVE_S:
        text = VETO_TEXT[Veto.RECONCILE]
        return Check("reconcile", Level.GRAVE, age_s, RECONCILE_GRAVE_S, text, Veto.RECONCILE, "s")
    if age_s is None or age_s > RECONCILE_LATE_S:
        text = "ledger and venue were not compared lately; look at the exchange's errors in the log"
        return Check("reconcile", Level.WARNING, math.nan if age_s is None else age_s, RECONCILE_LATE_S, text, unit="s")
    return Check("reconcile", Level.OK, age_s, RECONCILE_LATE_S, "ledger and venue were compared lately", unit="s")


def _differences(observed: Observed) -> Check:
    blocked = [one.name for one in observed.symbols if one.blocked]
    count = int(observed.venue["differences"]) if observed.venue is not None else 0
    if blocked or count:
        where = f" in {', '.join(blocked[:5])}" if blocked else ""
        text = (
            f"{max(count, len(blocked))} unexplained differences{where}; entries are blocked there, see `trader verify`"
        )
        return Check("differences", Level.WARNING, max(count, len(blocked)), 0, text)
    return Check("differences", Level.OK, 0, 0, "nothing is unexplained")


def _stops(observed: Observed) -> Check:
    venue = observed.venue
    missing = int(venue["stops_missing"]) if venue is not None else 0
    unknown = int(venue["orders_unknown"]) if venue is not None else 0
    if missing or unknown:
        parts = [*([f"{missing} positions have no stop at the venue"] if missing else []),
                 *([f"{unknown} orders are being looked up"] if unknown else [])]  # fmt: skip
        text = f"{', '.join(parts)}; the software's own stops are armed"
        return Check("orders", Level.WARNING, missing + unknown, 0, text)
    return Check("orders", Level.OK, 0, 0, "every order is known, no stop is missing")


def _clock(observed: Observed) -> Check:
    venue, bound_s = observed.venue, observed.max_clock_skew_s
    if venue is not None and venue["exchange"]:
        skew_s = int(venue["clock_skew_ns"]) / 1e9
        if abs(skew_s) > bound_s:
            level = Level.GRAVE if venue["live"] else Level.WARNING
            return Check("clock", level, skew_s, bound_s, VETO_TEXT[Veto.CLOCK], Veto.CLOCK, "s")
        if abs(observed.clock_step_s) <= CLOCK_STEP_S:
            return Check("clock", Level.OK, skew_s, bound_s, "our clock and the venue's agree", unit="s")
    if abs(observed.clock_step_s) > CLOCK_STEP_S:
        text = f"the wall clock stepped by {observed.clock_step_s:+.1f} s; look at the time service (timedatectl)"
        return Check("clock", Level.WARNING, observed.clock_step_s, CLOCK_STEP_S, text, unit="s")
    return Check("clock", Level.OK, observed.clock_step_s, CLOCK_STEP_S, "the wall clock is steady", unit="s")


# ------------------------------------------------------------------------------- money and the machine


def _drawdown(observed: Observed) -> Check:
    bound = observed.max_drawdown_frac
    value = float(observed.book.account["drawdown_frac"]) if observed.book is not None else math.nan
    if value >= bound:
        text = "drawdown limit reached; entries resume with `trader resume`"
        return Check("drawdown", Level.WARNING, value, bound, text, unit="frac")
    return Check("drawdown", Level.OK, value, bound, "drawdown is within its limit", unit="frac")


def _ledger(observed: Observed) -> Check:
    if observed.book is not None and int(observed.book.account["halt_mask"]) & Halt.LEDGER:
        text = "the ledger can not be written: entries are halted; free disk space, they resume by themselves"
        return Check("ledger", Level.WARNING, 1, 0, text)
    return Check("ledger", Level.OK, 0, 0, "the ledger is written")


def _disk(observed: Observed) -> Check:
    free = observed.free_bytes
    if free is None:
        text = "free space can not be told; look at the data folder"
        return Check("disk", Level.WARNING, math.nan, DISK_LOW_BYTES, text, unit="bytes")
    if free < DISK_GRAVE_BYTES:
        return Check("disk", Level.GRAVE, free, DISK_GRAVE_BYTES, VETO_TEXT[Veto.DISK], Veto.DISK, "bytes")
    if free < DISK_LOW_BYTES:
        text = f"{free // 2**20} MiB left in the data folder; free disk space soon"
        return Check("disk", Level.WARNING, free, DISK_LOW_BYTES, text, unit="bytes")
    if observed.free_inodes_frac is not None and observed.free_inodes_frac < 0.01:
        text = "the file system of the data folder has hardly a place for another file; remove some"
        return Check("disk", Level.WARNING, free, DISK_LOW_BYTES, text, unit="bytes")
    return Check("disk", Level.OK, free, DISK_LOW_BYTES, "there is room in the data folder", unit="bytes")


def _fsync(observed: Observed) -> Check:
    took_s = observed.fsync_s
    if took_s is None:
        return Check("fsync", Level.OK, math.nan, FSYNC_SLOW_S, "not measured yet", unit="s")
    if math.isnan(took_s):
        text = "nothing can be written durably into the data folder; look whether it is read-only or full"
        return Check("fsync", Level.WARNING, took_s, FSYNC_SLOW_S, text, unit="s")
    if took_s > FSYNC_SLOW_S:
        text = f"a durable write takes {took_s:.2f} s, and every order waits for one; look for what else uses the disk"
        return Check("fsync", Level.WARNING, took_s, FSYNC_SLOW_S, text, unit="s")
    return Check("fsync", Level.OK, took_s, FSYNC_SLOW_S, "durable writes are quick", unit="s")


def _memory(observed: Observed) -> Check:
    worst = max(observed.growth, key=lambda one: one.per_hour_bytes / one.bound_bytes, default=None)
    if worst is None:
        return Check("memory", Level.OK, 0, math.nan, "not watched for long enough to tell", unit="bytes/h")
    if worst.per_hour_bytes > worst.bound_bytes:
        role, mib = worst.role.name.lower(), worst.per_hour_bytes / 2**20
        text = f"the {role} grows by {mib:.0f} MiB an hour; restart the service in a quiet hour, and report it"
        return Check("memory", Level.WARNING, worst.per_hour_bytes, worst.bound_bytes, text, unit="bytes/h")
    return Check("memory", Level.OK, worst.per_hour_bytes, worst.bound_bytes, "no process grows", unit="bytes/h")


def _logs(observed: Observed) -> Check:
    lost = [one for one in observed.workers if one.log_dropped > 0]
    count = sum(one.log_dropped for one in lost)
    if count:
        names = ", ".join(one.role.name.lower() for one in lost)
        text = f"{count} log records were lost lately by {names}; look at the disk of the log folder and at journald"
        return Check("logs", Level.WARNING, count, 0, text)
    return Check("logs", Level.OK, 0, 0, "no log record was lost lately")


def _metrics(observed: Observed) -> Check:
    if observed.metrics_error is not None:
        text = f"performance history can not be written: {observed.metrics_error}"
        return Check("metrics", Level.WARNING, 1, 0, text)
    return Check("metrics", Level.OK, 0, 0, "performance history is written")


def _alerts(observed: Observed) -> Check:
    if observed.alerts_error is not None:
        return Check("alerts", Level.WARNING, observed.alerts_lost, 0, observed.alerts_error)
    return Check("alerts", Level.OK, observed.alerts_lost, 0, "alerts reach their receivers, if there are any")


CHECKS: tuple[Callable[[Observed], Check], ...] = (
    _state, _books, _engine, _progress, _lease, _workers, _loops, _strategies,
    _data, _prices, _feed, _errors, _breaker, _reconcile, _differences, _stops, _clock,
    _drawdown, _ledger, _disk, _fsync, _memory, _logs, _metrics, _alerts,
)  # fmt: skip


def worst_first(checks: tuple[Check, ...]) -> Iterator[Check]:
    """Yield checks by level, the grave ones first; in their fixed order among equals."""
    yield from sorted(checks, key=lambda check: -int(check.level))
