"""Every strategy that comes with trader is causal, and says of a window what it says of the whole history."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader.domain.market import Candles
from trader.strategy.base import FIELDS, all_signals, faults, last_signal
from trader.strategy.registry import REGISTERED, build

MINUTE_NS = 60 * 10**9

#: every registered strategy as it is, and in variants that reach its other branches with shorter memories
VARIANTS = [
    *((name, {}) for name in REGISTERED),
    ("simple_rsi", {"period": 2}),
    ("ema_trend", {"fast": 3, "slow": 8, "efficiency_period": 5, "min_efficiency": 0, "atr_period": 3, "short": True}),
    (
        "ema_trend",
        {"fast": 3, "slow": 8, "atr_period": 3, "min_efficiency": 0, "trend_timeframe": "15m", "trend_period": 4},
    ),
    ("bollinger_breakout", {"period": 5, "deviations": 1.5, "squeeze_bars": 3, "short": True}),
    ("bollinger_breakout", {"period": 4, "squeeze_bars": None, "stop_atrs": None, "target_atrs": None}),
    ("donchian_atr", {"entry_period": 5, "exit_period": 3, "atr_period": 4, "short": True}),
    (
        "ensemble",
        {
            "members": [
                {"use": "simple_rsi", "params": {"period": 3}, "weight": 2},
                {"use": "donchian_atr", "params": {"entry_period": 4, "exit_period": 2, "atr_period": 3}},
                {
                    "use": "ema_trend",
                    "params": {"fast": 2, "slow": 5, "atr_period": 3, "trend_timeframe": "1h", "trend_period": 3},
                },
            ],
            "quorum": 0.3,
        },
    ),
]
IDS = [f"{name}-{i}" for i, (name, _) in enumerate(VARIANTS)]

#: a stretch of market: how prices move, for how many candles, how far each, and the dice
STRETCH = st.tuples(
    st.sampled_from(["still", "walk", "steps", "up", "down", "jump"]),
    st.integers(1, 260),
    st.sampled_from([1e-6, 1e-3, 0.02]),
    st.integers(0, 2**32 - 1),
)


def stretch(kind, bars, size, dice):
    """Return the logarithmic moves of a stretch."""
    if kind == "still":
        return np.zeros(bars)
    if kind == "jump":
        return np.append(np.zeros(bars - 1), size * (1 if dice % 2 else -1))
    moves = dice_of(dice).normal(0, size, bars)
    if kind == "steps":  # prices on a coarse grid: many ties
        return np.round(moves / size) * size
    if kind in ("up", "down"):
        return np.abs(moves) * (1 if kind == "up" else -1)
    return moves


def dice_of(seed):
    """Return dice."""
    return np.random.default_rng(seed)


@st.composite
def markets(draw):
    """Candles of a symbol at any price level, with stretches of every kind and holes of any length."""
    parts = draw(st.lists(STRETCH, min_size=1, max_size=9))
    level = draw(st.sampled_from([1e-7, 0.3, 100.0, 65_000.0]))
    close = level * np.exp(np.clip(np.cumsum(np.concatenate([stretch(*part) for part in parts])), -8, 8))
    dice = dice_of(draw(st.integers(0, 2**32 - 1)))
    bars = len(close)
    opens = np.append(close[:1], close[:-1])
    wick = draw(st.sampled_from([0.0, 1e-3])) * np.abs(dice.normal(size=(2, bars)))
    high, low = np.maximum(opens, close) * (1 + wick[0]), np.minimum(opens, close) * np.exp(-wick[1])
    holes = np.where(dice.random(bars) < draw(st.sampled_from([0.0, 0.01, 0.2])), dice.integers(1, 90, bars), 0)
    open_ns = (np.arange(bars) + np.cumsum(holes) + draw(st.integers(28_000_000, 28_000_100))) * MINUTE_NS
    candles = Candles("BTC/USDT", "1m", open_ns, opens, high, low, close, np.ones(bars))
    for field in ("open_ns", "open", "high", "low", "close", "volume"):
        getattr(candles, field).flags.writeable = False
    return candles


def cut(candles, start, end):
    """Return candles from start to end."""
    columns = {
        field.name: getattr(candles, field.name)[start:end]
        for field in dataclasses.fields(candles)
        if field.name not in ("symbol", "timeframe")
    }
    return Candles(candles.symbol, candles.timeframe, **columns)


def made(variant):
    """Build a strategy and tell it the market's timeframe."""
    name, params = variant
    strategy = build(name, params)
    strategy.bind("1m")
    return strategy


@pytest.mark.parametrize("variant", VARIANTS, ids=IDS)
@settings(max_examples=20)
@given(candles=markets(), data=st.data())
def test_strategy_future_added_changes_no_past(variant, candles, data):
    """What it said of the first bars is bit for bit what it says when it has seen all."""
    strategy = made(variant)
    whole = all_signals(strategy, "it", candles)
    assert not faults(whole).any()
    end = data.draw(st.integers(0, len(candles)), label="end")
    part = all_signals(strategy, "it", cut(candles, 0, end))
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(part, field), getattr(whole, field)[:end], err_msg=field)


@pytest.mark.parametrize("variant", VARIANTS, ids=IDS)
@settings(max_examples=20)
@given(candles=markets(), data=st.data())
def test_strategy_window_says_what_the_whole_history_says(variant, candles, data):
    """The last signal live is the backtest's: same direction, and numbers that differ by rounding at most."""
    strategy = made(variant)
    whole = all_signals(strategy, "it", candles)
    ends = {len(candles), *data.draw(st.lists(st.integers(1, len(candles)), max_size=4), label="ends")}
    for end in ends:
        signal = last_signal(strategy, "it", cut(candles, max(0, end - strategy.lookback_bars), end), 1)
        assert signal.direction == whole.direction[end - 1]
        for field in FIELDS[1:]:
            want = getattr(whole, field)[end - 1]
            np.testing.assert_allclose(getattr(signal, field), want, rtol=1e-9, atol=1e-11, err_msg=field)


@pytest.mark.parametrize("variant", VARIANTS, ids=IDS)
@settings(max_examples=20)
@given(candles=markets())
def test_strategy_stop_and_target_are_on_their_sides(variant, candles):
    """A stop is where a loss is, a target where a gain is; what opens nothing has neither."""
    signals = all_signals(made(variant), "it", candles)
    side = np.where(np.isin(signals.direction, (1, -1)), signals.direction, 0)
    for prices, sign in ((signals.stop_price, -1), (signals.target_price, 1)):
        given_ = np.isfinite(prices)
        assert (side[given_] != 0).all()
        assert ((prices - candles.close)[given_] * side[given_] * sign > 0).all()
