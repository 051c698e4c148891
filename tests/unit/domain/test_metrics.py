"""The metrics' convention: the written-down fixture, an independent library, and what is undefined."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict

import numpy as np
import pytest

from trader.clock import NS_PER_DAY, NS_PER_S, parse_utc
from trader.domain.metrics import Curve, Metrics, Trips, longest_run, measure, sharpe, sortino, worst_drawdown

START_NS = parse_utc("2024-01-01")
HOUR_NS = 3600 * NS_PER_S
FIXTURE = np.array([1000.0, 1010, 995, 1020, 1010, 1030, 1005, 1040])


def trips_of(pnl: list[float] | np.ndarray, **more: object) -> Trips:
    """Return round trips of one hour each, one after another."""
    pnl = np.array(pnl, dtype=float)
    entry = START_NS + np.arange(len(pnl), dtype=np.int64) * 2 * HOUR_NS
    return Trips(pnl, entry, entry + HOUR_NS, **more)


def fixture() -> Metrics:
    """Return the figures of eight midnights and the seven trades between them."""
    times = START_NS + np.arange(1, 8, dtype=np.int64) * NS_PER_DAY
    return measure(Curve(START_NS, 1000.0, times, FIXTURE[1:]), trips_of(np.diff(FIXTURE)))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sharpe", 4.9799),
        ("sortino", 9.7953),
        ("cagr_frac", 6.7298),
        ("calmar", 277.27),
        ("max_drawdown_frac", 0.024272),
        ("max_drawdown_daily_frac", 0.024272),
        ("max_drawdown", 25.0),
        ("profit_factor", 1.8),
        ("win_rate_frac", 4 / 7),
        ("expectancy", 5.7143),
        ("expectancy_ratio", 0.3429),
        ("sqn", 0.6682),
        ("days", 7.0),
        ("daily_returns", 7),
        ("total_return_frac", 0.04),
    ],
)
def test_measure_of_the_reference_fixture_gives_its_figures(name: str, expected: float) -> None:
    """Eight midnights whose figures other projects' functions and formulas gave."""
    assert getattr(fixture(), name) == pytest.approx(expected, rel=3e-5, abs=5e-5)


def test_measure_of_a_week_is_labelled_indicative() -> None:
    """Below thirty days annualised figures are a hint; from thirty on they are not."""
    assert fixture().indicative
    times = START_NS + np.arange(1, 31, dtype=np.int64) * NS_PER_DAY
    assert not measure(Curve(START_NS, 1.0, times, np.linspace(1, 2, 30)), trips_of([])).indicative


def test_measure_of_intraday_marks_has_the_deeper_drawdown_beside_the_daily_one() -> None:
    """A fall between two midnights shows on the marks and not in the days."""
    times = START_NS + np.arange(1, 49, dtype=np.int64) * HOUR_NS
    equity = np.full(48, 100.0)
    equity[5] = 80.0
    found = measure(Curve(START_NS, 100.0, times, equity), trips_of([]))
    assert (found.max_drawdown_frac, found.max_drawdown_daily_frac) == (pytest.approx(0.2), 0.0)
    assert found.longest_drawdown_s == 2 * 3600
    assert found.sharpe is None


def test_measure_counts_a_midnight_without_a_mark_at_the_last_one_before() -> None:
    """A gap in the data carries the last equity on."""
    times = START_NS + np.array([20, 60, 72], dtype=np.int64) * HOUR_NS
    found = measure(Curve(START_NS, 100.0, times, np.array([110.0, 121.0, 121.0])), trips_of([]))
    assert found.daily_returns == 3  # 100 -> 110, 110 -> 110 (nothing between 20 h and 60 h), 110 -> 121
    assert found.sharpe == pytest.approx(sharpe(np.array([0.1, 0.0, 0.1])))


def test_measure_of_nothing_has_no_figure_where_none_is_defined() -> None:
    """No trade, no time, no loss: None, and nothing that only looks like a number."""
    empty = measure(Curve(START_NS, 1000.0, np.empty(0, np.int64), np.empty(0)), trips_of([]))
    for name in ("sharpe", "sortino", "calmar", "cagr_frac", "profit_factor", "expectancy", "sqn", "win_rate_frac"):
        assert getattr(empty, name) is None, name
    only_wins = measure(Curve(START_NS, 1000.0, np.array([START_NS + 1]), np.array([1001.0])), trips_of([1.0]))
    assert only_wins.profit_factor is None
    assert only_wins.cagr_frac is None  # a nanosecond's gain over a year is no number
    assert all(value is None or math.isfinite(value) for value in asdict(only_wins).values())


def test_measure_of_a_lost_account_stays_finite() -> None:
    """Equity that ends at or below zero has no growth rate."""
    times = START_NS + np.arange(1, 4, dtype=np.int64) * NS_PER_DAY
    found = measure(Curve(START_NS, 100.0, times, np.array([50.0, 0.0, -1.0])), trips_of([-101.0]))
    assert found.cagr_frac is None
    assert found.calmar is None
    assert all(value is None or math.isfinite(value) for value in asdict(found).values())


def test_exposure_time_of_overlapping_positions_counts_each_moment_once() -> None:
    """Two overlapping spans, one alone and one still open: their union over the whole."""
    entry = START_NS + np.array([0, 1, 10], np.int64) * HOUR_NS
    leave = START_NS + np.array([4, 2, 11], np.int64) * HOUR_NS
    order = np.argsort(leave)
    trips = Trips(np.zeros(3), entry[order], leave[order], open_since_ns=(START_NS + 18 * HOUR_NS,))
    times = START_NS + np.arange(1, 21, dtype=np.int64) * HOUR_NS
    found = measure(Curve(START_NS, 1.0, times, np.ones(20)), trips)
    assert found.exposure_time_frac == pytest.approx((4 + 1 + 2) / 20)


def test_longest_run_finds_the_longest_losing_streak() -> None:
    """Runs at both ends and in the middle."""
    assert longest_run(np.array([True, True, False, True, True, True, False, True])) == 3
    assert longest_run(np.array([False])) == 0
    assert longest_run(np.array([], dtype=bool)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_measure_agrees_with_an_independent_library(seed: int) -> None:
    """empyrical, set to our conventions, gives the same figures to 1e-9."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import empyrical
    chance = np.random.default_rng(seed)
    returns = chance.normal(0.001, 0.02, 250)
    equity = 10_000.0 * np.cumprod(1.0 + returns)
    times = START_NS + np.arange(1, 251, dtype=np.int64) * NS_PER_DAY
    ours = measure(Curve(START_NS, 10_000.0, times, equity), trips_of([1.0, -1.0]))
    theirs = {
        "sharpe": empyrical.sharpe_ratio(returns, annualization=365),
        "sortino": empyrical.sortino_ratio(returns, annualization=365),
        "volatility_frac": empyrical.annual_volatility(returns, annualization=365),
        "cagr_frac": empyrical.annual_return(returns, annualization=365),
        "max_drawdown_frac": -empyrical.max_drawdown(returns),
        "calmar": empyrical.calmar_ratio(returns, annualization=365),
        "total_return_frac": empyrical.cum_returns_final(returns),
    }
    for name, value in theirs.items():
        assert getattr(ours, name) == pytest.approx(float(value), rel=1e-9), name


def test_sortino_without_a_loss_is_undefined() -> None:
    """A division by no loss is no ratio."""
    assert sortino(np.array([0.1, 0.2])) is None


def test_worst_drawdown_counts_from_the_initial_equity() -> None:
    """A curve that only falls falls from where it began."""
    assert worst_drawdown(100.0, np.array([90.0, 80.0])) == (pytest.approx(0.2), 20.0)
