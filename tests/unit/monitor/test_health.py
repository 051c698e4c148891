"""Health checks: what is grave vetoes, what is bad is told, what is fine is neither."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from trader.codes import Veto
from trader.core.records import ACCOUNT, new_slots
from trader.monitor.health import DISK_GRAVE_BYTES, DISK_LOW_BYTES, ENGINE_SILENT_S, Level, Observed, check_all, veto_of
from trader.state.reader import Book


def _book(cash: float, equity: float, quantity: float = 0.0, mark: float = math.nan, drawdown: float = 0.0) -> Book:
    account = np.zeros(1, ACCOUNT)[0]
    account["cash"], account["equity"], account["drawdown_frac"] = cash, equity, drawdown
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
)


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
    ],
)
def test_checks_bad_finding_warns_without_veto(change: dict[str, object], name: str) -> None:
    """What trading survives is told, and trading goes on."""
    observed = replace(FINE, **change)
    assert [found for found, level in _levels(observed).items() if level is Level.WARNING] == [name]
    assert veto_of(check_all(observed)) == Veto(0)


def test_checks_books_within_rounding_are_consistent() -> None:
    """Sums of floats may differ in their last bits."""
    book = _book(0.1, 0.1 + 0.2 * 3.0 + 1e-16, 0.2, 3.0)
    assert _levels(replace(FINE, book=book))["books"] is Level.OK
