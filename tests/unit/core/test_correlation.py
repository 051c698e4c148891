"""Correlations: what numpy says over the same candles, and what counts when too little is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.unit.core.desks import MINUTE_NS, START_NS, Book, started
from trader.codes import Limit
from trader.core.correlation import correlate, keep_closes
from trader.core.records import CANDLE, new_closes

BARS = 20


def rows_of(prices: np.ndarray) -> Any:
    """Return candles of minutes that end with the candle a started book has seen; NaN: missing. Shape (bars, slots)."""
    bars = len(prices)
    rows = []
    for bar, line in enumerate(prices):
        close_ns = START_NS + MINUTE_NS - (bars - 1 - bar) * MINUTE_NS
        for slot, price in enumerate(line):
            if not np.isnan(price):
                rows.append((slot, close_ns - MINUTE_NS, close_ns, price, price, price, price, 1.0))
    return np.array(rows, CANDLE)


def walks(slots: int, bars: int = BARS + 1, seed: int = 3) -> np.ndarray:
    """Return prices that have something in common, shape (bars, slots)."""
    random = np.random.default_rng(seed)
    common = random.normal(0, 0.01, (bars, 1))
    return 100 * np.exp(np.cumsum(common + random.normal(0, 0.006, (bars, slots)), axis=0))


def looking(prices: np.ndarray, bars: int = BARS, **limits: float) -> tuple[Book, Any]:
    """Return a book of as many symbols, with their closes."""
    values = {"bar_ns": MINUTE_NS, "max_correlated_exposure_frac": 0.3, "correlation_threshold": 0.6, **limits}
    book = started(prices.shape[1], costs=False, **values)
    closes = new_closes(prices.shape[1], bars)
    rows = rows_of(prices)
    keep_closes(closes, rows, 0, len(rows), MINUTE_NS)
    return book, closes


def hold(book: Book, slot: int, quantity: float) -> None:
    """Let a position be there, worth 100 for each of it."""
    book.slots["quantity"][slot] = quantity
    book.account["open_positions"] += 1
    book.account["gross_exposure"] += abs(quantity) * 100.0


def asked(book: Book, closes: Any, slot: int = 0, **request: float) -> Limit:
    """Ask for an entry beside what is held."""
    correlate(book.desk, book.slots, closes, slot)
    return Limit(book.ask(slot, **request))


def test_correlation_is_what_numpy_says() -> None:
    """Over the returns of the last candles, and not of those before."""
    prices = walks(3, 60)
    book, closes = looking(prices)
    hold(book, 1, 1.0)
    hold(book, 2, -1.0)
    correlate(book.desk, book.slots, closes, 0)
    returns = prices[-BARS:] / prices[-BARS - 1 : -1] - 1
    expected = np.corrcoef(returns.T)[0]
    assert book.slots["correlation"][1:].tolist() == pytest.approx(expected[1:].tolist(), rel=1e-12)
    assert 0.4 < expected[1] < 0.95


def test_correlation_over_holes_is_over_the_same_candles() -> None:
    """A return is between two candles that follow each other, in both symbols."""
    prices = walks(2)
    prices[7, 0] = prices[12, 1] = np.nan
    book, closes = looking(prices)
    hold(book, 1, 1.0)
    correlate(book.desk, book.slots, closes, 0)
    returns = prices[1:] / prices[:-1] - 1
    whole = returns[~np.isnan(returns).any(axis=1)]
    assert len(whole) == BARS - 4
    assert book.slots["correlation"][1] == pytest.approx(np.corrcoef(whole.T)[0, 1], rel=1e-12)


def test_correlation_of_a_symbol_far_behind_is_not_known() -> None:
    """Closes left in its ring are from before the window, however many they are."""
    prices = walks(2, 3 * BARS)
    prices[-BARS:, 0] = prices[-BARS:-1, 1] = np.nan
    book, closes = looking(prices)
    book.slots["candle_ns"][0] = START_NS + MINUTE_NS - BARS * MINUTE_NS
    hold(book, 1, 1.0)
    correlate(book.desk, book.slots, closes, 0)
    assert np.isnan(book.slots["correlation"][1])


def test_keep_closes_late_and_impossible_candles_are_left_out() -> None:
    """What comes again, too late, or can not have been changes nothing."""
    book, closes = looking(walks(2))
    before = closes.copy()
    rows = rows_of(walks(2, seed=9))[:6]
    rows["close_ns"][1] -= BARS * 10 * MINUTE_NS
    rows["close_ns"][2:] += 5 * MINUTE_NS
    rows["high"][2] = np.nan
    rows["slot"][3], rows["slot"][4] = -1, 2
    rows["low"][5] = 0.0
    keep_closes(closes, rows, 0, len(rows), MINUTE_NS)
    assert closes.tobytes() == before.tobytes()
    assert book.slots["mark_price"][0] == 100.0


@pytest.mark.parametrize(
    ("held", "direction", "limit"),
    [(25.0, 1, True), (-25.0, -1, True), (25.0, -1, False), (-25.0, 1, False)],
)
def test_check_counts_what_moves_along_with_its_side(held: float, direction: int, limit: bool) -> None:
    """Long beside long counts, short beside long does not: one makes up for the other."""
    book, closes = looking(walks(2))
    hold(book, 1, held)
    mask = asked(book, closes, direction=direction, quantity=10.0)
    assert bool(mask & Limit.CORRELATED) is limit
    if limit:
        bit = Limit.CORRELATED.bit_length() - 1
        assert book.verdict["observed"][bit] == pytest.approx(3_500.0)
        assert book.verdict["bound"][bit] == pytest.approx(3_000.0)


def test_check_short_of_what_moves_against_it_counts() -> None:
    """Two symbols that move against each other: long one and short the other is one bet."""
    prices = walks(2)
    prices[:, 1] = 10_000 / prices[:, 1]
    book, closes = looking(prices)
    hold(book, 1, -25.0)
    assert asked(book, closes, direction=1, quantity=10.0) & Limit.CORRELATED
    assert not asked(book, closes, direction=-1, quantity=10.0) & Limit.CORRELATED


def test_check_entry_in_flight_counts_with_what_it_reserves() -> None:
    """What was ordered and is not yet filled is exposure already."""
    book, closes = looking(walks(2))
    book.place(1, 25_000)
    assert asked(book, closes, quantity=5.0) & Limit.NOT_FINITE == 0
    assert asked(book, closes, quantity=5.1) & Limit.CORRELATED
    assert not asked(book, closes, quantity=5.0) & Limit.CORRELATED


@pytest.mark.parametrize("direction", [1, -1])
def test_check_unknown_correlation_counts_in_full(direction: int) -> None:
    """With fewer than half of the returns, or a market that stands still, nothing speaks against the worst."""
    prices = walks(2)
    prices[: BARS // 2 + 2] = np.nan
    still = walks(2)
    still[:, 1] = 100.0
    for series in (prices, still):
        book, closes = looking(series)
        hold(book, 1, 25.0)
        assert asked(book, closes, direction=direction, quantity=10.0) & Limit.CORRELATED


def test_check_sizes_into_what_correlation_leaves() -> None:
    """An order without a size is cut down, and refused only where not even the smallest one has room."""
    book, closes = looking(walks(2))
    hold(book, 1, 25.0)
    assert asked(book, closes) == Limit(0)
    assert book.verdict["quantity"] == pytest.approx(5.0)
    hold(book, 1, 29.99)
    assert asked(book, closes) == Limit.CORRELATED | Limit.MIN_NOTIONAL


def test_check_without_the_limit_asks_nobody() -> None:
    """The limit is off by default, whatever is correlated."""
    book, closes = looking(walks(2), max_correlated_exposure_frac=np.nan)
    hold(book, 1, 70.0)
    assert asked(book, closes, quantity=10.0) == Limit(0)


def test_check_infinite_limit_is_not_finite() -> None:
    """A limit that can not be compared with refuses."""
    book, closes = looking(walks(2), max_correlated_exposure_frac=np.inf)
    assert asked(book, closes) == Limit.NOT_FINITE
