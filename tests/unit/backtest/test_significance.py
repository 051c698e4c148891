"""The deflated Sharpe ratio: the paper's example, its limits, and a sweep of worthless trials."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trader.backtest.significance import (
    deflated_sharpe,
    expected_best_sharpe,
    moments,
    observed_sharpe,
    probabilistic_sharpe,
)


def test_deflated_sharpe_gives_the_numerical_example_of_the_paper() -> None:
    """Bailey and Lopez de Prado (2014): 100 trials, annual ratio 2.5, 5 years of days, skewness -3, kurtosis 10."""
    expected = expected_best_sharpe(100, math.sqrt(0.5 / 250))
    assert expected == pytest.approx(0.1132, abs=5e-5)
    probability = probabilistic_sharpe(2.5 / math.sqrt(250), expected, 1250, -3.0, 10.0)
    assert probability == pytest.approx(0.9004, abs=5e-5)
    # the paper's second half: with 46 trials the same strategy would have been accepted
    accepted = probabilistic_sharpe(2.5 / math.sqrt(250), expected_best_sharpe(46, math.sqrt(0.5 / 250)), 1250, -3, 10)
    assert accepted == pytest.approx(0.9505, abs=5e-5)


def test_deflated_sharpe_of_the_luckiest_worthless_trial_is_not_convincing() -> None:
    """The best of two hundred random walks looks skilled by itself, and not among the others."""
    chance = np.random.default_rng(20240103)
    walks = chance.normal(0.0, 0.01, (200, 365))
    sharpes = [observed_sharpe(walk) for walk in walks]
    best = int(np.argmax(sharpes))
    alone, among = (deflated_sharpe(moments(walks[best]), some) for some in ([sharpes[best]], sharpes))
    assert alone is not None
    assert alone.convincing
    assert among is not None
    assert not among.convincing
    assert among.trials == 200
    assert among.expected_best == pytest.approx(max(sharpes), rel=0.25)


def test_deflated_sharpe_of_real_skill_survives_the_same_number_of_trials() -> None:
    """One trial that earns every week among two hundred that do not."""
    chance = np.random.default_rng(1)
    walks = chance.normal(0.0, 0.01, (200, 365))
    walks[17] += 0.004
    found = deflated_sharpe(moments(walks[17]), [observed_sharpe(walk) for walk in walks])
    assert found is not None
    assert found.convincing


@pytest.mark.parametrize("returns", [np.empty(0), np.array([0.1]), np.zeros(10), np.full(10, 0.01)])
def test_deflated_sharpe_without_a_ratio_is_none(returns: np.ndarray) -> None:
    """No returns, or none that differ."""
    assert deflated_sharpe(moments(returns), [0.1, 0.2]) is None
