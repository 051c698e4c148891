"""The curve is bounded, rising in time, and never loses its end."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trader.core.records import EQUITY_POINT
from trader.dashboard.curve import Curve, Point, points_of, thinned


def _points(*times: int) -> list[Point]:
    return [(time, float(time), 0.0) for time in times]


def test_curve_points_that_are_not_newer_are_left_out() -> None:
    """Read twice, kept once."""
    curve = Curve(_points(1, 2, 3))
    assert curve.extend(_points(2, 3, 4)) == 1
    assert curve.since(0, 10) == _points(1, 2, 3, 4)


def test_curve_since_leaves_out_what_was_seen() -> None:
    """Strictly after."""
    assert Curve(_points(1, 2, 3)).since(2, 10) == _points(3)
    assert Curve().since(0, 10) == []


@given(st.integers(1, 400), st.integers(4, 40))
def test_curve_full_stays_bounded_and_keeps_first_and_last(count: int, most: int) -> None:
    """However many come, memory doesn't grow and the whole span stays."""
    curve = Curve(_points(*range(1, count + 1)), most=most)
    assert len(curve) <= most
    assert curve.last_ms == count
    assert curve.since(0, most)[0][0] == 1


@given(st.lists(st.integers(0, 10_000), unique=True, max_size=300).map(sorted), st.integers(1, 50))
def test_thinned_is_short_and_ends_with_the_last(times: list[int], most: int) -> None:
    """Never more than asked for, always up to the present, always in order."""
    points = _points(*times)
    found = thinned(points, most)
    assert len(found) <= most
    assert found[-1:] == points[-1:]
    assert found == sorted(found)


def test_points_of_records_are_milliseconds_equity_and_drawdown() -> None:
    """Plain values, in the record's order."""
    record = np.zeros(1, EQUITY_POINT)
    record["time_ns"], record["equity"], record["drawdown_frac"] = 1_500_000_000, 99.5, 0.25
    assert points_of(record) == [(1500, 99.5, 0.25)]
