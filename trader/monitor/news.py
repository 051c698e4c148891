"""News: what has changed between two looks and is worth telling an owner; what lasts is told with its end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trader.clock import NS_PER_DAY, NS_PER_S, boottime_ns, format_utc
from trader.codes import HALT_TEXT, Halt, Level, ServiceState, WorkerState
from trader.errors import LedgerError
from trader.ledger.performance import results
from trader.ledger.reader import LedgerReader
from trader.monitor.alerts import Alert
from trader.monitor.health import Check, Observed, Worker
from trader.state.paths import InstancePaths

#: a finding must last this long before it is told, by its level [s]: what passes by itself is nobody's news
LASTS_S = {Level.GRAVE: 5.0, Level.WARNING: 60.0}
#: checks whose news come under another name
TOLD_ELSEWHERE = frozenset({"drawdown", "breaker", "differences", "workers", "lease", "ledger"})
#: states of the service in which things are missing that will come, or have gone as they should
IN_BETWEEN = (ServiceState.INIT, ServiceState.STARTING, ServiceState.STOPPING, ServiceState.STOPPED)
#: a service that is younger than this has just started [s]
JUST_STARTED_S = 120.0
#: fills that one look tells one by one
MOST_FILLS = 50


class News:
    """Compares each look with the one before.

    Parameters
    ----------
    paths : InstancePaths
        Of the instance; its ledger tells days and fills.
    trades : bool
        Whether entries and exits are wanted.
    """

    def __init__(self, paths: InstancePaths, *, trades: bool = False) -> None:
        self._paths = paths
        self._trades = trades
        self._halts: Halt | None = None
        self._workers: dict[int, Worker] = {}
        self._levels: dict[str, tuple[Level, int]] = {}  # by check: level and since when [CLOCK_BOOTTIME ns]
        self._told: set[str] = set()
        self._day: int | None = None
        self._fill_id: int | None = None
        self._reloads: tuple[int, int] | None = None
        self._greeted = False

    def look(self, observed: Observed, checks: tuple[Check, ...], service: np.void | None) -> Iterator[Alert]:
        """Yield what is new.

        Parameters
        ----------
        observed : Observed
            What was seen.
        checks : tuple of Check
            What follows from it.
        service : record of SERVICE or None
            What the supervisor says.
        """
        if service is not None:
            yield from self._service(service, observed)
        if observed.book is not None:
            yield from self._halted(Halt(int(observed.book.account["halt_mask"])))
            yield from self._differences(observed)
        yield from self._restarts(observed.workers)
        if service is None or service["state"] not in IN_BETWEEN:
            yield from self._health(checks)

    # ------------------------------------------------------------------ the service

    def _service(self, service: np.void, observed: Observed) -> Iterator[Alert]:
        if not self._greeted and service["state"] == ServiceState.RUNNING:
            self._greeted = True
            age_s = (boottime_ns() - int(service["started_boot_ns"])) / NS_PER_S
            if age_s < JUST_STARTED_S:
                mode = "LIVE, real orders" if service["live"] else "paper"
                equity = f", equity {float(observed.book.account['equity']):,.2f}" if observed.book is not None else ""
                yield Alert("service", "", Level.OK, f"the trader has started ({mode}{equity})")
        now = (int(service["reloads"]), int(service["reload_rejected"]))
        before, self._reloads = self._reloads, now
        if before is not None and now[0] > before[0]:
            yield Alert("reload", "", Level.OK, "a new configuration is in force")
        if before is not None and now[1] > before[1]:
            yield Alert("reload", "", Level.WARNING, "a new configuration was rejected, the old one stays; see the log")

    def _restarts(self, workers: tuple[Worker, ...]) -> Iterator[Alert]:
        for worker in workers:
            before = self._workers.get(worker.role)
            self._workers[worker.role] = worker
            name = worker.role.name.lower()
            key = f"restart:{name}"
            if before is not None and worker.restarts > before.restarts:
                yield Alert("restart", key, Level.WARNING, f"the {name} died and is started again; its log says why")
            elif worker.state is WorkerState.FATAL and (before is None or before.state is not WorkerState.FATAL):
                yield Alert("restart", key, Level.GRAVE, f"the {name} was given up; see the log")
            elif worker.state is WorkerState.READY:
                yield Alert("restart", key, Level.OK, f"the {name} is at work again", recovered=True)

    # ------------------------------------------------------------------ entries

    def _halted(self, now: Halt) -> Iterator[Alert]:
        before, self._halts = self._halts, now
        if before is None:
            # an owner's pause is no news to them; neither is it after a restart
            before = now & (Halt.PAUSED | Halt.RECONCILE | Halt.FEED)
        for halt in Halt:
            kind = "breaker" if halt is Halt.BREAKER else "halt"
            level = Level.WARNING if halt in (Halt.PAUSED, Halt.RECONCILE, Halt.FEED, Halt.BREAKER) else Level.GRAVE
            key = f"halt:{(halt.name or '').lower()}"
            if halt & now & ~before:
                yield Alert(kind, key, level, f"entries are halted: {HALT_TEXT[halt]}")
            elif halt & before & ~now:
                yield Alert(kind, key, Level.OK, f"no longer halted: {_halt_name(halt)}", recovered=True)

    def _differences(self, observed: Observed) -> Iterator[Alert]:
        blocked = [one.name for one in observed.symbols if one.blocked]
        count = int(observed.venue["differences"]) if observed.venue is not None else 0
        if blocked or count:
            where = f" in {', '.join(blocked[:5])}" if blocked else ""
            text = f"ledger and venue differ and nothing explains it{where}; entries are blocked there: trader verify"
            yield Alert("difference", "difference", Level.GRAVE, text)
        else:
            yield Alert("difference", "difference", Level.OK, "ledger and venue agree again", recovered=True)

    # ------------------------------------------------------------------ health

    def _health(self, checks: tuple[Check, ...]) -> Iterator[Alert]:
        now_ns = boottime_ns()
        for check in checks:
            if check.name in TOLD_ELSEWHERE:
                continue
            level, since_ns = self._levels.get(check.name, (Level.OK, now_ns))
            if check.level is not level:
                since_ns = now_ns
            self._levels[check.name] = (check.level, since_ns)
            key = f"health:{check.name}"
            if check.level is Level.OK:
                yield Alert("health", key, Level.OK, f"{check.name}: {check.text}", recovered=True)
            elif now_ns - since_ns >= LASTS_S[check.level] * NS_PER_S:
                yield Alert("health", f"{key}", check.level, f"{check.name}: {check.text}")

    # ------------------------------------------------------------------ from the ledger

    def from_ledger(self, observed: Observed) -> list[Alert]:
        """Return the day that has ended and the fills since the last call; reads the ledger, so use a thread."""
        if observed.book is None:
            return []
        day = int(observed.book.account["day"])
        ended, self._day = (self._day if self._day is not None and day > self._day else None), day
        try:
            with LedgerReader(self._paths.ledger) as reader, reader.snapshot():
                found = [] if ended is None else [daily_summary(reader, ended)]
                return found + (self._fills(reader) if self._trades else [])
        except LedgerError:
            return []

    def _fills(self, reader: LedgerReader) -> list[Alert]:
        last = int(reader.query("SELECT coalesce(max(fill_id), 0) FROM fills")[0][0])
        before, self._fill_id = self._fill_id, last
        if before is None or last <= before:
            return []
        quote = reader.meta()["quote"]
        told = [
            Alert("trade", "", Level.OK, f"{'bought' if fill.side > 0 else 'sold'} {fill.quantity} {fill.symbol} "
                  f"at {fill.price} ({fill.reason.name.lower()}), fee {fill.fee} {fill.fee_currency}")
            for fill in reader.fills(MOST_FILLS, after_id=before, newest_first=False)
        ]  # fmt: skip
        if last - before > MOST_FILLS:
            told.append(Alert("trade", "", Level.OK, f"and {last - before - MOST_FILLS} more fills [{quote}]"))
        return told


def daily_summary(reader: LedgerReader, day: int) -> Alert:
    """Return what a UTC day came to, from the ledger."""
    quote = reader.meta()["quote"]
    starts = {one.day: one.start_equity for one in reader.days()}
    later = [number for number in starts if number > day]
    start, end = starts.get(day), starts[min(later)] if later else None
    trips = [trip for trip in reader.round_trips(newest_first=False) if trip.exit_ns // NS_PER_DAY == day]
    figures = results(trips)
    parts = [f"day {format_utc(day * NS_PER_DAY)[:10]}"]
    if start is not None and end is not None:
        parts.append(f"result {end - start:+,.2f} {quote} ({(end / start - 1) * 100:+.2f} %), equity {end:,.2f}")
    parts.append(f"{figures['trades']} round trips" + (f", {figures['wins']} won" if trips else ""))
    if trips:
        parts.append(f"best {figures['best']:+,.2f}, worst {figures['worst']:+,.2f}, fees {figures['fees']:,.2f}")
    return Alert("daily", "", Level.OK, "; ".join(parts))


def _halt_name(halt: Halt) -> str:
    return (halt.name or "").lower().replace("_", " ")
