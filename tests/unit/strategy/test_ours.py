"""What the trend, breakout and channel strategies say, worked out by hand, and the vote over them."""

from __future__ import annotations

import numpy as np
import pytest
import talib

from trader.codes import Direction
from trader.domain.market import Candles
from trader.errors import ConfigError
from trader.strategy.base import all_signals, faults, last_signal
from trader.strategy.bollinger_breakout import BollingerBreakoutStrategy
from trader.strategy.donchian_atr import DonchianAtrStrategy
from trader.strategy.ema_trend import EmaTrendStrategy
from trader.strategy.ensemble import EnsembleStrategy
from trader.strategy.indicators import bars_since, rolling_mean_std, rolling_sum
from trader.strategy.registry import REGISTERED, build

MINUTE_NS = 60 * 10**9
ALWAYS = "tests.unit.strategy.strategies:Always"


def candles(close, wick=0.0):
    """Return candles with these closes; each opens at the close before."""
    close = np.asarray(close, float)
    opens = np.append(close[:1], close[:-1])
    high, low = np.maximum(opens, close) + wick, np.minimum(opens, close) - wick
    return Candles("BTC/USDT", "1m", np.arange(len(close)) * MINUTE_NS, opens, high, low, close, np.ones(len(close)))


def walk(bars, seed=1, size=0.01):
    """Return a random walk."""
    return 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, size, bars)))


@pytest.mark.parametrize("period", [1, 2, 3, 7, 20, 64, 99, 100])
def test_rolling_mean_std_are_talibs(period):
    """At an ordinary price level both agree."""
    x = walk(100)
    mean, std = rolling_mean_std(x, period)
    want = np.array([x[i + 1 - period : i + 1].std() if i + 1 >= period else np.nan for i in range(100)])
    np.testing.assert_allclose(std, want, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(rolling_sum(x, period), mean * period, rtol=1e-12)
    if period > 1:
        np.testing.assert_allclose(mean, talib.SMA(x, period), rtol=1e-12)


@pytest.mark.parametrize("level", [1e-9, 1e9])
def test_rolling_std_does_not_depend_on_the_price_level(level):
    """TA-Lib's is 0 for a coin at 0.000000001."""
    x = walk(300)
    np.testing.assert_allclose(rolling_mean_std(x * level, 20)[1], rolling_mean_std(x, 20)[1] * level, rtol=1e-9)
    moved = 1e6 + x  # a small deviation on top of a large price
    np.testing.assert_allclose(rolling_mean_std(moved, 20)[1][19:], rolling_mean_std(x, 20)[1][19:], rtol=1e-6)


def test_rolling_values_of_a_window_are_bit_for_bit_those_of_the_history():
    """No error is carried along."""
    x = walk(5000)
    for function in (lambda v: rolling_sum(v, 13), lambda v: rolling_mean_std(v, 13)[1]):
        assert function(x[4000:])[-1] == function(x)[-1]


def test_bars_since_counts_from_the_last_true():
    """And says very many where there was none."""
    found = bars_since(np.array([False, True, False, False, True]))
    assert found[1:].tolist() == [0, 1, 2, 0]
    assert found[0] > 10**8


def test_ema_trend_follows_a_fresh_cross_and_ends_below():
    """Down, then up: long for a while after the cross, then no opinion, then flat."""
    close = np.concatenate((np.linspace(120, 100, 100), np.linspace(100, 130, 80), np.linspace(130, 100, 80)))
    strategy = EmaTrendStrategy(fast=5, slow=15, fresh_bars=4, efficiency_period=10)
    said = strategy.signals(candles(close, 0.2))
    fast, slow = talib.EMA(close, 5), talib.EMA(close, 15)
    above = np.flatnonzero(fast[100:180] > slow[100:180]) + 100
    crossed = int(above[0])
    assert (said.direction[crossed - 10 : crossed] == Direction.FLAT).all()
    long = np.flatnonzero(said.direction == Direction.LONG)
    assert len(long) >= 3
    assert long.min() >= crossed
    assert long.max() <= crossed + 4
    assert (said.direction[crossed + 5 : 180] == Direction.HOLD).all()
    assert (said.direction[200:] == Direction.FLAT).all()
    at = int(long[-1])
    atr = talib.ATR(*(getattr(candles(close, 0.2), name) for name in ("high", "low", "close")), 14)[at]
    assert said.stop_price[at] == pytest.approx(close[at] - 2.5 * atr)
    assert said.target_price[at] == pytest.approx(close[at] + 6 * atr)
    assert said.confidence[at] == pytest.approx(min(1, 0.6 + strategy.efficiency(close)[at] - 0.25))


def test_ema_trend_efficiency_is_distance_over_way():
    """Up 3, down 1, up 2: 4 of 6."""
    strategy = EmaTrendStrategy(efficiency_period=3)
    np.testing.assert_allclose(strategy.efficiency(np.array([10.0, 13, 12, 14]))[-1], 4 / 6)
    assert strategy.efficiency(np.full(9, 5.0))[-1] == 0


def test_ema_trend_longer_timeframe_must_agree():
    """A small rise within a great fall is not followed."""
    fall = np.concatenate(
        [np.linspace(100 - step, 99.2 - step + (0.9 if step % 3 == 0 else 0), 60) for step in range(60)]
    )
    plain = EmaTrendStrategy(fast=5, slow=15, min_efficiency=0)
    strict = EmaTrendStrategy(fast=5, slow=15, min_efficiency=0, trend_timeframe="1h", trend_period=10)
    strict.bind("1m")
    assert (plain.signals(candles(fall)).direction[1500:] == Direction.LONG).any()
    assert not (strict.signals(candles(fall)).direction[1500:] == Direction.LONG).any()
    assert strict.lookback_bars >= 12 * 60


def test_bollinger_breakout_follows_a_squeeze_only():
    """The same break is bought after a quiet time and not within a wild one."""
    quiet = np.concatenate((100 + np.sin(np.arange(100)) * 0.1, [100.9]))
    said = BollingerBreakoutStrategy().signals(candles(quiet, 0.3))
    assert said.direction[-1] == Direction.LONG
    mean, std = quiet[-20:].mean(), quiet[-20:].std()
    assert quiet[-1] > mean + 2 * std
    assert said.value[-1] == pytest.approx((quiet[-1] - mean) / (2 * std), rel=1e-6)
    assert said.stop_price[-1] < quiet[-1] < said.target_price[-1]
    wild = candles(quiet, 0.0)  # without wicks the bands are wider than the channel
    assert BollingerBreakoutStrategy().signals(wild).direction[-1] == Direction.HOLD
    assert BollingerBreakoutStrategy(squeeze_bars=None).signals(wild).direction[-1] == Direction.LONG


def test_donchian_breaks_the_channel_of_the_candles_before():
    """The candle's own high does not count; below the lowest of ten it is over."""
    close = np.concatenate((np.full(40, 100.0), [101.5, 102.0], np.full(5, 101.0), [98.0]))
    said = DonchianAtrStrategy().signals(candles(close, 1.0))
    assert said.direction[39:42].tolist() == [Direction.HOLD, Direction.LONG, Direction.HOLD]
    assert said.direction[-1] == Direction.FLAT
    market = candles(close, 1.0)
    atr = talib.ATR(market.high, market.low, market.close, 20)[40]
    assert said.stop_price[40] == pytest.approx(101.5 - 2 * atr)
    assert said.confidence[40] == pytest.approx(0.6 + 0.4 * 0.5 / atr)  # half beyond the high of 101


@pytest.mark.parametrize("kind", [EmaTrendStrategy, BollingerBreakoutStrategy, DonchianAtrStrategy])
def test_short_is_the_mirror_of_long(kind):
    """What is bought on the way up is sold on the way down, with stop above and target below."""
    close = walk(4000, seed=2)
    shorts = kind(short=True).signals(candles(close, 0.1)).direction == Direction.SHORT
    assert shorts.any()
    assert not (kind().signals(candles(close, 0.1)).direction == Direction.SHORT).any()
    said = kind(short=True).signals(candles(close, 0.1))
    assert (said.stop_price[shorts] > close[shorts]).all()
    assert (said.target_price[shorts] < close[shorts]).all()


@pytest.mark.parametrize("name", sorted(REGISTERED))
@pytest.mark.parametrize("bars", [0, 1, 2, 21, 60])
def test_few_candles_break_nothing(name, bars):
    """Before the warm-up there is no opinion, nor nonsense."""
    strategy = build(name, {})
    signals = all_signals(strategy, name, candles(walk(bars)))
    assert not faults(signals).any()
    assert (signals.direction[: min(strategy.warmup_bars - 1, 14)] == Direction.HOLD).all()


@pytest.mark.parametrize("name", sorted(REGISTERED))
def test_note_says_something(name):
    """A person reads why."""
    assert len(build(name, {}).note(candles(walk(300)), -1)) > 5


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("ema_trend", {"fast": 50, "slow": 20}, "needs fast < slow, was fast 50, slow 20"),
        ("ema_trend", {"min_efficiency": 2}, "min_efficiency must be a number from 0 to 0.99, was 2"),
        ("ema_trend", {"trend_timeframe": "1x"}, "'1x' is no timeframe"),
        ("ema_trend", {"short": 1}, "short must be true or false, was 1"),
        ("bollinger_breakout", {"period": 1}, "period must be a whole number from 2 to 500, was 1"),
        ("bollinger_breakout", {"deviations": "2"}, "deviations must be a number from 0.1 to 10, was '2'"),
        ("donchian_atr", {"stop_atrs": 0}, "stop_atrs must be a number from 0.1 to 100, was 0"),
        ("ensemble", {"quorum": 0}, "quorum must be a number from 0.01 to 1, was 0"),
        ("ensemble", {"members": []}, "members must be a list of at least one strategy"),
        ("ensemble", {"members": ["simple_rsi"]}, "params.members.0: must be as in"),
        ("ensemble", {"members": [{"use": "simple_rsy"}]}, "params.members.0.use: there is no strategy 'simple_rsy'"),
        ("ensemble", {"members": [{"use": "simple_rsi", "wait": 1}]}, "params.members.0: knows use, params and weight"),
        ("ensemble", {"members": [{"use": "simple_rsi", "params": {"period": 1}}]}, "params.members.0.params: period"),
        ("ensemble", {"members": [{"use": "simple_rsi", "weight": 0}]}, "members.0: weight must be a number"),
    ],
)
def test_parameter_out_of_range_is_refused(name, params, message):
    """Each is named with what it was."""
    with pytest.raises(ConfigError) as caught:
        build(name, params)
    assert message in str(caught.value)


def vote(*members, quorum=0.5):
    """Return what an ensemble says whose members are (direction, confidence, weight, stop, target)."""
    entries = [
        {
            "use": ALWAYS,
            "weight": weight,
            "params": {"direction": int(direction), "confidence": confidence, "stop": stop, "target": target},
        }
        for direction, confidence, weight, stop, target in members
    ]
    return last_signal(EnsembleStrategy(members=entries, quorum=quorum), "it", candles([10.0, 10.0]), 1)


LONG, SHORT, FLAT, HOLD = Direction.LONG, Direction.SHORT, Direction.FLAT, Direction.HOLD
NAN = float("nan")


@pytest.mark.parametrize(
    ("members", "direction", "confidence"),
    [
        ([(LONG, 0.8, 1), (LONG, 0.6, 1), (HOLD, 0.0, 1)], LONG, 0.7),
        ([(LONG, 0.9, 1), (HOLD, 0.0, 1), (HOLD, 0.0, 1)], HOLD, 0.0),  # a third of the weight
        ([(LONG, 0.9, 2), (HOLD, 0.0, 1), (HOLD, 0.0, 1)], LONG, 0.9),  # half of it
        ([(LONG, 0.8, 3), (FLAT, 1.0, 1)], LONG, 0.6),  # a quarter is against it: 0.8 x 0.75
        ([(LONG, 0.8, 1), (FLAT, 1.0, 1)], HOLD, 0.0),  # a draw
        ([(SHORT, 0.8, 2), (LONG, 0.9, 1)], SHORT, 0.8 * 2 / 3),
        ([(FLAT, 1.0, 1), (SHORT, 0.9, 1), (HOLD, 0.0, 1)], FLAT, 1.0),
        ([(FLAT, 1.0, 2), (LONG, 0.9, 1)], FLAT, 1.0),
    ],
)
def test_ensemble_weighs_votes(members, direction, confidence):
    """By hand, beside each."""
    signal = vote(*((*member, NAN, NAN) for member in members))
    assert signal.direction == direction
    assert signal.confidence == pytest.approx(confidence)


def test_ensemble_takes_the_nearest_levels_of_those_who_agree():
    """Of a long: the highest stop and the lowest target; who has none, or is against it, has no say."""
    signal = vote(
        (LONG, 0.8, 1, 9.0, 12.0), (LONG, 0.8, 1, 9.5, 14.0), (LONG, 0.8, 1, NAN, NAN), (FLAT, 1.0, 1, 9.9, 10.1)
    )
    assert (signal.stop_price, signal.target_price) == (9.5, 12.0)


def test_ensemble_member_with_nonsense_makes_nonsense():
    """It is counted as a failure, and never traded on."""
    entries = [{"use": ALWAYS, "params": {"direction": 1, "confidence": NAN}}, {"use": "donchian_atr"}]
    said = all_signals(EnsembleStrategy(members=entries), "it", candles(walk(50)))
    assert faults(said).all()


def test_ensemble_looks_back_as_far_as_its_members():
    """The longest timeframe of any of them counts."""
    members = [{"use": "simple_rsi"}, {"use": "ema_trend", "params": {"trend_timeframe": "1d", "trend_period": 10}}]
    strategy = EnsembleStrategy(members=members)
    strategy.bind("1h")
    assert strategy.lookback_bars == max(617, 12 * 24, EmaTrendStrategy().lookback_bars)


def test_ensemble_brings_the_rules_of_those_who_agree():
    """Of a member who says something else none, and each rule once."""
    entry = "tests.unit.engine.scripted:Ruled"
    hours = {"long_hours": [5], "short_hours": [9]}
    members = [{"use": entry, "params": hours}, {"use": entry, "params": {"long_hours": [5], "flat_hours": [9]}}]
    ensemble = EnsembleStrategy(members=members, quorum=0.6)
    alone = build(entry, hours)
    assert ensemble.gauges == alone.gauges
    ensemble.bind("1h")
    close = walk(48)
    given = Candles("BTC/USDT", "1h", np.arange(48) * 3600 * 10**9, close, close, close, close, close)
    said, theirs = ensemble.signals(given), alone.signals(given)
    assert list(said.invalidations) == [5, 29]
    assert said.invalidations[5] == theirs.invalidations[5]
