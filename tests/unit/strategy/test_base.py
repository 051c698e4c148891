"""Asking a strategy: its last opinion, and nonsense kept away from risk and orders."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.unit.strategy.strategies import Always, Raising
from trader.codes import Direction
from trader.domain.market import Candles
from trader.errors import StrategyError
from trader.strategy.base import last_signal

CLOSE = np.array([10.0, 11.0, 12.5])
CANDLES = Candles("ETH/USDT", "1m", np.arange(3) * 60 * 10**9, CLOSE, CLOSE, CLOSE, CLOSE, CLOSE)


def test_last_signal_is_about_the_last_candle():
    """All that risk and ledger need is in it."""
    strategy = Always(direction=1, confidence=0.8, stop=12.0, target=14.0)
    signal = last_signal(strategy, "mine", CANDLES, 180 * 10**9)
    assert (signal.strategy, signal.symbol, signal.time_ns, signal.price) == ("mine", "ETH/USDT", 180 * 10**9, 12.5)
    assert (signal.direction, signal.confidence) == (Direction.LONG, 0.8)
    assert (signal.stop_price, signal.target_price, signal.value) == (12.0, 14.0, 42.0)
    assert signal.note == "told so at 12.5"
    assert isinstance(signal.direction, Direction)


def test_last_signal_hold_is_not_asked_for_a_note():
    """Half a million idle opinions need no words."""
    strategy = Always()
    signal = last_signal(strategy, "mine", CANDLES, 1)
    assert (signal.direction, signal.note, strategy.noted) == (Direction.HOLD, "", 0)
    assert math.isnan(signal.stop_price)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"direction": 7}, "mine: ETH/USDT: direction 7 is none of"),
        ({"confidence": math.nan}, "confidence nan is not in 0..1"),
        ({"confidence": 1.01}, "confidence 1.01 is not in 0..1"),
        ({"confidence": -0.1}, "confidence -0.1 is not in 0..1"),
        ({"stop": 0.0}, "stop_price 0.0 is neither positive nor NaN"),
        ({"stop": -math.inf}, "stop_price -inf is neither"),
        ({"target": math.inf}, "target_price inf is neither"),
        ({"extra": 1}, r"mine: ETH/USDT: direction has shape \(4,\), must be an array of \(3,\)"),
    ],
)
def test_last_signal_nonsense_is_a_strategy_error(answer, message):
    """What is no opinion never reaches the risk check."""
    with pytest.raises(StrategyError, match=message):
        last_signal(Always(**answer), "mine", CANDLES, 1)


def test_last_signal_exception_is_a_strategy_error():
    """With the name, the symbol, and the cause kept for the log."""
    with pytest.raises(StrategyError, match="mine: ETH/USDT: raised ZeroDivisionError: no idea about 3") as caught:
        last_signal(Raising(), "mine", CANDLES, 1)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
