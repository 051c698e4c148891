"""The exit monitor alone: what a position's candles close, at which price, and what it refuses."""

from __future__ import annotations

import math

import pytest

from trader.codes import Reason
from trader.config.sections import Config
from trader.risk.exit_monitor import ExitPlanMonitor

S = 10**9
PRICE = 50_000.0


def _monitor(**exits: float | None) -> ExitPlanMonitor:
    config = Config.model_validate({"exits": exits, "market": {"timeframe": "1h"}})
    return ExitPlanMonitor.alone(("BTC/USDT", "ETH/USDT"), 100_000.0, config)


def test_check_candle_through_the_stop_closes_at_the_stop_less_slippage() -> None:
    """A stop is a market order: five basis points below its level."""
    monitor = _monitor()
    monitor.hold("BTC/USDT", 0.5, PRICE)
    assert monitor.levels("BTC/USDT")["stop_price"] == pytest.approx(49_000.0)
    assert monitor.check("BTC/USDT", PRICE, PRICE + 10, 49_001.0, 49_500.0) == []
    (closed,) = monitor.check("BTC/USDT", 49_500.0, 49_600.0, 48_900.0, 48_950.0)
    assert (closed.symbol, closed.reason, closed.quantity) == ("BTC/USDT", Reason.STOP, pytest.approx(0.5))
    assert closed.price == pytest.approx(49_000.0 * 0.9995)
    assert closed.fee == pytest.approx(closed.price * 0.5 * 0.001)
    assert monitor.levels("BTC/USDT")["quantity"] == 0.0


def test_check_candle_through_stop_and_target_assumes_the_stop() -> None:
    """What came first within a candle nobody knows: the worse is assumed."""
    monitor = _monitor()
    monitor.hold("BTC/USDT", 0.5, PRICE)
    (closed,) = monitor.check("BTC/USDT", PRICE, 52_000.0, 48_000.0, PRICE)
    assert closed.reason is Reason.STOP


def test_check_candle_through_the_target_closes_at_the_target() -> None:
    """A target is a limit order and pays no slippage."""
    monitor = _monitor()
    monitor.hold("ETH/USDT", 2.0, 1_000.0, stop_price=900.0, target_price=1_100.0)
    (closed,) = monitor.check("ETH/USDT", 1_000.0, 1_101.0, 990.0, 1_050.0)
    assert (closed.symbol, closed.reason, closed.price) == ("ETH/USDT", Reason.TARGET, pytest.approx(1_100.0))


def test_check_candle_that_opens_beyond_the_stop_closes_at_the_open() -> None:
    """Nobody trades in a gap."""
    monitor = _monitor()
    monitor.hold("BTC/USDT", 0.5, PRICE)
    (closed,) = monitor.check("BTC/USDT", 45_000.0, 45_100.0, 44_900.0, 45_000.0)
    assert closed.price == pytest.approx(45_000.0 * 0.9995)


def test_check_rising_price_draws_the_trailing_stop_up_and_never_down() -> None:
    """The trailing stop follows the best price."""
    monitor = _monitor(trailing_stop_frac=0.01, take_profit_frac=None)
    monitor.hold("BTC/USDT", 0.5, PRICE)
    assert math.isnan(monitor.levels("BTC/USDT")["target_price"])
    assert monitor.check("BTC/USDT", PRICE, 51_000.0, 49_990.0, 51_000.0) == []
    assert monitor.levels("BTC/USDT")["best_price"] == 51_000.0
    assert monitor.levels("BTC/USDT")["trailing_price"] == pytest.approx(51_000.0 * 0.99)
    assert math.isnan(monitor.levels("ETH/USDT")["trailing_price"])
    assert monitor.check("BTC/USDT", 51_000.0, 51_000.0, 50_600.0, 50_700.0) == []
    assert monitor.levels("BTC/USDT")["best_price"] == 51_000.0
    (closed,) = monitor.check("BTC/USDT", 50_700.0, 50_700.0, 50_000.0, 50_100.0)
    assert (closed.reason, closed.price) == (Reason.TRAILING, pytest.approx(51_000.0 * 0.99 * 0.9995))


def test_check_broken_rule_closes_though_no_level_was_reached() -> None:
    """A plan ends with what made it."""
    monitor = _monitor(stop_loss_frac=0.2, take_profit_frac=None)
    monitor.hold("BTC/USDT", 0.5, PRICE, invalidations=("close below 49800 on 1h",))
    assert monitor.check("BTC/USDT", PRICE, PRICE, 49_700.0, 49_900.0, 3_600 * S) == []
    told = monitor.check("BTC/USDT", 49_900.0, 49_900.0, 49_700.0, 49_750.0, 2 * 3_600 * S)
    told += monitor.check("BTC/USDT", 49_740.0, 49_750.0, 49_700.0, 49_720.0, 3 * 3_600 * S)
    assert [closed.reason for closed in told] == [Reason.INVALIDATED]


@pytest.mark.parametrize(
    ("quantity", "entry_price"),
    [(0.0, PRICE), (math.nan, PRICE), (math.inf, PRICE), (1.0, 0.0), (1.0, -1.0), (1.0, math.nan)],
)
def test_hold_what_can_not_be_is_refused(quantity: float, entry_price: float) -> None:
    """No position of nothing, and none without a price."""
    monitor = _monitor()
    with pytest.raises(ValueError, match="no position of"):
        monitor.hold("BTC/USDT", quantity, entry_price)
    assert monitor.levels("BTC/USDT")["quantity"] == 0.0


def test_hold_second_position_in_a_symbol_is_refused() -> None:
    """One symbol has one."""
    monitor = _monitor()
    monitor.hold("BTC/USDT", 0.5, PRICE)
    with pytest.raises(ValueError, match="a position is open"):
        monitor.hold("BTC/USDT", 0.5, PRICE)
    assert monitor.levels("BTC/USDT")["quantity"] == 0.5


def test_check_symbol_that_is_not_watched_names_those_that_are() -> None:
    """A typing error is told apart from a market without exits."""
    with pytest.raises(ValueError, match="DOGE/USDT is not watched here; there are BTC/USDT, ETH/USDT"):
        _monitor().check("DOGE/USDT", 1.0, 1.0, 1.0, 1.0)


def test_check_without_a_time_is_the_candle_after_the_last() -> None:
    """Time goes on by the configured timeframe; a candle that is named goes where it says."""
    monitor = _monitor()
    monitor.hold("BTC/USDT", 0.5, PRICE)
    assert [monitor.check("BTC/USDT", PRICE, PRICE, PRICE, PRICE) for _ in range(2)] == [[], []]
    (closed,) = monitor.check("BTC/USDT", PRICE, PRICE, 48_900.0, 48_950.0)
    assert (closed.reason, closed.time_ns) == (Reason.STOP, 3 * 3_600 * S)


def test_hold_less_than_one_short_is_a_short() -> None:
    """The sign alone says the side: its stop is above."""
    monitor = _monitor()
    monitor.hold("BTC/USDT", -0.5, PRICE)
    assert monitor.levels("BTC/USDT")["quantity"] == -0.5
    assert monitor.levels("BTC/USDT")["stop_price"] == pytest.approx(51_000.0)
