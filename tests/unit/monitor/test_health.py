"""Health checks: what is grave vetoes, what is bad is told, what is fine is neither."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from trader.clock import NS_PER_S
from trader.codes import Breaker, Halt, Level, Role, Veto, WorkerState
from trader.core.records import ACCOUNT, new_slots
from trader.monitor.growth import Growth, MemoryWatch
from trader.monitor.health import (
    DISK_GRAVE_BYTES,
    DISK_LOW_BYTES,
    ENGINE_SILENT_S,
    FSYNC_SLOW_S,
    RECONCILE_GRAVE_S,
    RECONCILE_LATE_S,
    Observed,
    Strategy,
    Symbol,
    Worker,
    check_all,
    veto_of,
    worst_first,
)
from trader.state.dtypes import CHECK, MAX_CHECKS, VENUE
from trader.state.reader import Book


def _book(
    cash: float, equity: float, quantity: float = 0.0, mark: float = math.nan, drawdown: float = 0.0, halts: int = 0
) -> Book:
    account = np.zeros(1, ACCOUNT)[0]
    account["cash"], account["equity"], account["drawdown_frac"] = cash, equity, drawdown
    account["halt_mask"] = halts
    slots = new_slots(2)
    slots["quantity"][0], slots["mark_price"][0] = quantity, mark
    return Book(account, slots, ("BTC/USDT", "ETH/USDT"), {})


FINE = Observed(
    book=_book(5_000.0, 10_000.0, 0.5, 10_000.0),  # 5,000 + 0.5 x 10,000
    engine_beat_age_s=0.4,
    data_age_s=1.0,
    stale_after_s=5.0,
    max_drawdown_frac=0.2,
    free_bytes=10 * 2**30,
    metrics_error=None,
    lease_left_s=2.5,
    max_clock_skew_s=1.0,
)


def _venue(**fields: int) -> np.void:
    venue = np.zeros(1, VENUE)[0]
    venue["exchange"] = venue["live"] = venue["feed_connected"] = 1
    for name, value in fields.items():
        venue[name] = value
    return venue


def _worker(**more: object) -> Worker:
    values = {"state": WorkerState.READY, "restarts": 0, "rss_bytes": 1, "loop_lag_s": 0.0, "log_dropped": 0} | more
    return Worker(Role.ENGINE, **values)


LIVE = replace(FINE, venue=_venue(), reconcile_age_s=10.0)


def _levels(observed: Observed) -> dict[str, Level]:
    return {check.name: check.level for check in check_all(observed)}


def test_checks_all_fine_no_veto() -> None:
    """A healthy service gets its clearance."""
    assert set(_levels(FINE).values()) == {Level.OK}
    assert veto_of(check_all(FINE)) == Veto(0)


@pytest.mark.parametrize(
    ("change", "veto"),
    [
        ({"book": None}, Veto.STATE),
        ({"engine_beat_age_s": None}, Veto.ENGINE),
        ({"engine_beat_age_s": ENGINE_SILENT_S + 0.1}, Veto.ENGINE),
        ({"free_bytes": DISK_GRAVE_BYTES - 1}, Veto.DISK),
        ({"book": _book(5_000.0, 10_001.0, 0.5, 10_000.0)}, Veto.BOOKS),
        ({"book": _book(5_000.0, 10_000.0, 0.5, math.nan)}, Veto.BOOKS),
        ({"book": _book(math.nan, 10_000.0)}, Veto.BOOKS),
        ({"book": None, "engine_beat_age_s": None}, Veto.STATE | Veto.ENGINE),
        ({"venue": _venue(clock_skew_ns=1_500_000_000), "reconcile_age_s": 1.0}, Veto.CLOCK),
        ({"venue": _venue(clock_skew_ns=-1_500_000_000), "reconcile_age_s": 1.0}, Veto.CLOCK),
        ({"venue": _venue(), "reconcile_age_s": RECONCILE_GRAVE_S + 1}, Veto.RECONCILE),
    ],
)
def test_checks_grave_finding_vetoes(change: dict[str, object], veto: Veto) -> None:
    """Each grave finding is a bit of the veto, and only its own."""
    assert veto_of(check_all(replace(FINE, **change))) == veto


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"data_age_s": 5.1}, "data"),
        ({"free_bytes": DISK_LOW_BYTES - 1}, "disk"),
        ({"free_bytes": None}, "disk"),
        ({"metrics_error": "disk full"}, "metrics"),
        ({"book": _book(8_000.0, 8_000.0, drawdown=0.2)}, "drawdown"),
        ({"book": _book(8_000.0, 8_000.0, halts=Halt.LEDGER)}, "ledger"),
        ({"cycle_age_s": 500.0, "cycle_late_s": 400.0}, "progress"),
        ({"symbols": (Symbol("BTC/USDT", 200.0, blocked=False),), "mark_stale_s": 180.0}, "prices"),
        ({"symbols": (Symbol("BTC/USDT", math.nan, blocked=False),), "mark_stale_s": 180.0}, "prices"),
        ({"symbols": (Symbol("BTC/USDT", 1.0, blocked=True),)}, "differences"),
        ({"venue": _venue(differences=2), "reconcile_age_s": 1.0}, "differences"),
        ({"venue": _venue(feed_connected=0), "reconcile_age_s": 1.0}, "feed"),
        ({"venue": _venue(maintenance=1), "reconcile_age_s": 1.0}, "feed"),
        ({"venue": _venue(errors_in_row=5), "reconcile_age_s": 1.0}, "errors"),
        ({"venue": _venue(breaker=Breaker.OPEN), "reconcile_age_s": 1.0}, "breaker"),
        ({"venue": _venue(breaker=Breaker.HALF_OPEN), "reconcile_age_s": 1.0}, "breaker"),
        ({"venue": _venue(), "reconcile_age_s": None}, "reconcile"),
        ({"venue": _venue(), "reconcile_age_s": RECONCILE_LATE_S + 1}, "reconcile"),
        ({"venue": _venue(stops_missing=1), "reconcile_age_s": 1.0}, "orders"),
        ({"venue": _venue(orders_unknown=1), "reconcile_age_s": 1.0}, "orders"),
        ({"venue": _venue(live=0, clock_skew_ns=9_000_000_000)}, "clock"),
        ({"clock_step_s": -3600.0}, "clock"),
        ({"lease_left_s": -1.0}, "lease"),
        ({"lease_left_s": None}, "lease"),
        ({"workers": (_worker(state=WorkerState.BACKOFF),)}, "workers"),
        ({"workers": (_worker(loop_lag_s=2.0),)}, "loops"),
        ({"workers": (_worker(log_dropped=3),)}, "logs"),
        ({"strategies": (Strategy("rsi", 3, disabled=False),)}, "strategies"),
        ({"strategies": (Strategy("rsi", 9, disabled=True),)}, "strategies"),
        ({"fsync_s": FSYNC_SLOW_S * 2}, "fsync"),
        ({"fsync_s": math.nan}, "fsync"),
        ({"free_inodes_frac": 0.001}, "disk"),
        ({"growth": (Growth(Role.ENGINE, 50e6, 32e6),)}, "memory"),
        ({"alerts_error": "alerts do not get through: x"}, "alerts"),
    ],
)
def test_checks_bad_finding_warns_without_veto(change: dict[str, object], name: str) -> None:
    """What trading survives is told, and trading goes on."""
    observed = replace(FINE, **change)
    assert [found for found, level in _levels(observed).items() if level is Level.WARNING] == [name]
    assert veto_of(check_all(observed)) == Veto(0)


def test_checks_of_a_live_venue_that_is_fine_are_fine() -> None:
    """Connected, compared lately, its clock ours."""
    assert set(_levels(LIVE).values()) == {Level.OK}


def test_checks_have_names_of_their_own_that_fit_their_record() -> None:
    """The list in shared memory holds them all; names are what owners and Prometheus know them by."""
    checks = check_all(FINE)
    names = [check.name for check in checks]
    assert len(set(names)) == len(names) <= MAX_CHECKS
    assert all(len(name) <= CHECK["name"].itemsize for name in names)
    assert all(check.text for check in checks)


def test_worst_first_keeps_order_among_equals() -> None:
    """What is grave is on top."""
    checks = check_all(replace(FINE, engine_beat_age_s=None, fsync_s=math.nan))
    found = [check.name for check in worst_first(checks)]
    assert found[:3] == ["engine", "fsync", "state"]


def test_memory_watch_tells_growth_and_forgives_a_busy_minute() -> None:
    """100 MiB an hour is growth; one sample of a gigabyte is not, and neither are the first minutes."""
    for per_hour, expected in ((100 * 2**20, True), (0, False)):
        watch, key = MemoryWatch(), (Role.ENGINE, 7)
        for minute in range(180):
            rss = 200 * 2**20 + per_hour * minute // 60 + (2**30 if minute == 90 else 0)
            watch.look(minute * 60 * NS_PER_S, {key: rss})
            if minute < 60:
                assert watch.growth() == ()
        (found,) = watch.growth()
        assert (found.per_hour_bytes > found.bound_bytes) is expected
        assert found.per_hour_bytes == pytest.approx(per_hour, rel=0.05, abs=1.0)
    watch.look(180 * 60 * NS_PER_S, {})
    assert watch.growth() == ()


def test_checks_books_within_rounding_are_consistent() -> None:
    """Sums of floats may differ in their last bits."""
    book = _book(0.1, 0.1 + 0.2 * 3.0 + 1e-16, 0.2, 3.0)
    assert _levels(replace(FINE, book=book))["books"] is Level.OK
