"""What a sweep remembers of indicators: the same values, only of arrays that nobody can write, within its room."""

from __future__ import annotations

import numpy as np
import pytest

from trader.strategy.indicators import RSI, Memory, remembering, rolling_mean_std


def fixed(bars: int, seed: int = 1) -> np.ndarray:
    """Return prices that nobody can write."""
    prices = 100.0 + np.random.default_rng(seed).standard_normal(bars).cumsum()
    prices.flags.writeable = False
    return prices


def counting(calls: list[int]):
    """Return an indicator that counts how often it is computed."""

    def computed(values: np.ndarray, period: int) -> np.ndarray:
        calls.append(period)
        return values + period

    return computed


def test_memory_asked_twice_computes_once_and_hands_out_copies() -> None:
    """Whoever writes into what it got spoils nothing for the next."""
    calls: list[int] = []
    function, memory, prices = counting(calls), Memory(10**6), fixed(100)
    first = memory.recall(function, (prices, 5), {})
    first[:] = 0.0
    assert (memory.recall(function, (prices, 5), {}) == prices + 5).all()
    assert (memory.recall(function, (prices,), {"period": 6}) == prices + 6).all()
    assert calls == [5, 6]


def test_memory_of_an_array_that_can_change_is_none() -> None:
    """The same array may hold other values the next time."""
    calls: list[int] = []
    function, memory, prices = counting(calls), Memory(10**6), fixed(100).copy()
    memory.recall(function, (prices, 5), {})
    prices[:] = 1.0
    assert (memory.recall(function, (prices, 5), {}) == 6.0).all()
    assert calls == [5, 5]


def test_memory_that_is_full_forgets_the_oldest() -> None:
    """Room for two of three."""
    calls: list[int] = []
    function, memory, prices = counting(calls), Memory(1_700), fixed(100)
    for period in (1, 2, 3, 3, 2, 1):
        assert (memory.recall(function, (prices, period), {}) == prices + period).all()
    assert calls == [1, 2, 3, 1]


def test_memory_too_small_for_anything_still_answers() -> None:
    """A room of nothing."""
    assert (Memory(0).recall(counting([]), (fixed(100), 2), {}) == fixed(100) + 2).all()


@pytest.mark.parametrize("ask", [lambda prices: RSI(prices, 14), lambda prices: RSI(prices, timeperiod=14)])
def test_indicator_within_a_memory_says_what_it_says_without(ask) -> None:
    """By place or by name; and outside again nothing is looked up."""
    prices, memory = fixed(500), Memory(10**6)
    with remembering(memory):
        inside = [ask(prices) for _ in range(2)]
    np.testing.assert_array_equal(inside[0], ask(prices))
    np.testing.assert_array_equal(inside[1], inside[0])
    assert inside[0] is not inside[1]


def test_indicator_of_two_series_is_remembered_as_both() -> None:
    """Mean and deviation come together."""
    with remembering(Memory(10**6)):
        first, second = (rolling_mean_std(fixed(300), 20) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_remembering_ends_with_its_block_though_a_strategy_raises() -> None:
    """The next strategy is asked outside."""
    with pytest.raises(ValueError, match="broken"), remembering(Memory(10**6)):
        raise ValueError("broken")
    assert RSI(fixed(100), 14).flags.owndata
