"""Prices to ticks, quantities to lots."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader.core.rounding import from_steps, price_against, steps_down, steps_near, steps_up

STEPS = ["0.00000001", "0.00001", "0.001", "0.01", "0.05", "0.1", "0.25", "0.5", "1", "5", "100"]


@given(step=st.sampled_from(STEPS), count=st.integers(0, 2**40))
def test_from_steps_any_count_is_the_exact_decimals_float(step: str, count: int) -> None:
    """A number of steps gives the float that the exact decimal has."""
    assert from_steps(count, float(step)) == float(Decimal(step) * count)


@given(step=st.sampled_from(STEPS), count=st.integers(0, 2**40))
def test_steps_price_on_the_grid_stays_there(step: str, count: int) -> None:
    """Rounding up, down and to the nearest leave alone what is on the grid."""
    value = float(Decimal(step) * count)
    assert steps_up(value, float(step)) == steps_down(value, float(step)) == steps_near(value, float(step)) == count


@pytest.mark.parametrize(
    ("price", "side", "slippage", "ticks"),
    [
        (100.0, 1, 0.0005, 10005),  # 100.05 exactly
        (100.0, -1, 0.0005, 9995),  # 99.95 exactly
        (100.01, 1, 0.0005, 10007),  # 100.060005, up
        (100.01, -1, 0.0005, 9995),  # 99.959995, down
        (0.01, -1, 0.5, 1),  # half a tick: the lowest price is one tick
    ],
)
def test_price_against_slippage_is_rounded_against_the_order(
    price: float, side: int, slippage: float, ticks: int
) -> None:
    """A buyer pays the tick above, a seller gets the tick below."""
    assert price_against(price, side, slippage, 0.01) == ticks
