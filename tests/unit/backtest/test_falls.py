"""How far curves fell, compiled: the same as numpy's definition in trader.domain.metrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader.backtest import falls
from trader.domain import metrics
from trader.domain.metrics import Curve


def curve(equity: list[float], initial: float = 100.0) -> Curve:
    """Return a curve of uneven steps."""
    times = 50 + np.cumsum(1 + np.arange(len(equity), dtype=np.int64) % 7)
    return Curve(50, initial, times, np.array(equity, np.float64))


@settings(max_examples=200)
@given(st.lists(st.sampled_from([0.0, 50.0, 99.5, 100.0, 100.5, 130.0, 131.0]) | st.floats(1.0, 1e6), max_size=60))
def test_falls_of_any_curve_are_those_by_definition(equity: list[float]) -> None:
    """One pass finds what numpy's running maxima do."""
    found, wanted = falls.falls_of(curve(equity)), metrics.falls_of(curve(equity))
    assert found == pytest.approx(wanted, rel=1e-15)


def test_falls_of_a_curve_that_never_falls_are_none() -> None:
    """No fall has no length either."""
    assert falls.falls_of(curve([100.0, 100.0, 101.0])) == (0.0, 0.0, 0.0)
