"""SimpleRSI: Wilder's RSI, confidence by depth, and no opinion where there is nothing to read."""

from __future__ import annotations

import itertools
import math
import timeit

import numpy as np
import pytest

from trader.codes import Direction
from trader.domain.market import Candles
from trader.market.candles_file import read_candle_file
from trader.strategy.simple_rsi import SimpleRSIStrategy

MINUTE_NS = 60 * 10**9


def candles(close):
    """Return candles with these closes."""
    close = np.asarray(close, float)
    return Candles("BTC/USDT", "1m", np.arange(len(close)) * MINUTE_NS, close, close, close, close, np.ones(len(close)))


def walk(bars, seed=1):
    """Return a random walk of prices."""
    return 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, bars)))


def wilder(close, period):
    """Compute the RSI as Wilder wrote it: plain floats, one bar after the other."""
    rsi = [math.nan] * len(close)
    gains = [max(b - a, 0.0) for a, b in itertools.pairwise(close)]
    losses = [max(a - b, 0.0) for a, b in itertools.pairwise(close)]
    if len(gains) < period:
        return rsi
    gain, loss = sum(gains[:period]) / period, sum(losses[:period]) / period
    for i in range(period, len(close)):
        if i > period:
            gain = (gain * (period - 1) + gains[i - 1]) / period
            loss = (loss * (period - 1) + losses[i - 1]) / period
        rsi[i] = 100 * gain / (gain + loss)
    return rsi


@pytest.mark.parametrize("period", [2, 5, 14, 30])
def test_rsi_is_wilders(period):
    """TA-Lib and the plain sum agree on every bar, and have none before `warmup_bars`."""
    close = walk(400)
    strategy = SimpleRSIStrategy(period=period)
    np.testing.assert_allclose(strategy.rsi(close), wilder(close.tolist(), period), rtol=1e-9)
    assert np.isnan(strategy.rsi(close)).sum() == strategy.warmup_bars - 1


def test_signals_follow_the_thresholds():
    """Below 30 long, above 70 flat, hold between and before there is an RSI."""
    close = walk(5000)
    signals = SimpleRSIStrategy().signals(candles(close))
    rsi = np.array(wilder(close.tolist(), 14))
    want = np.where(rsi < 30, Direction.LONG, np.where(rsi > 70, Direction.FLAT, Direction.HOLD))
    np.testing.assert_array_equal(signals.direction, want)
    assert signals.direction.dtype == np.int8
    assert {int(code) for code in signals.direction} == {0, 1, 2}
    np.testing.assert_allclose(signals.value, rsi, rtol=1e-9)
    assert np.isnan(signals.stop_price).all()
    assert np.isnan(signals.target_price).all()


@pytest.mark.parametrize(
    ("rsi", "confidence"),
    [
        (29.9999999, 0.6),  # at the threshold
        (26.25, 0.7),  # 0.6 + 0.4 * 3.75 / 15
        (22.5, 0.8),
        (15.0, 1.0),  # half of the threshold
        (3.0, 1.0),
        (30.0, 0.0),  # no opinion
        (50.0, 0.0),
        (70.0, 0.0),
        (70.1, 1.0),  # flat: certain
        (math.nan, 0.0),
    ],
)
def test_confidence_rises_with_depth(monkeypatch, rsi, confidence):
    """From 0.6 at the threshold to 1 at half of it."""
    strategy = SimpleRSIStrategy()
    monkeypatch.setattr(strategy, "rsi", lambda close: np.full(len(close), rsi))
    assert strategy.signals(candles([1.0, 1.0])).confidence == pytest.approx([confidence] * 2)


def test_confidence_other_thresholds_scale():
    """The rise ends at half of whatever is called oversold."""
    close = walk(3000)
    strategy = SimpleRSIStrategy(oversold=40, overbought=60)
    signals = strategy.signals(candles(close))
    long = signals.direction == Direction.LONG
    assert long.any()
    want = np.minimum(1, 0.6 + 0.4 * (40 - strategy.rsi(close)[long]) / 20)
    np.testing.assert_allclose(signals.confidence[long], want, rtol=1e-12)
    assert ((signals.confidence >= 0) & (signals.confidence <= 1)).all()


def test_market_that_stands_still_is_not_oversold():
    """TA-Lib says 0 for prices that do not move: that must not read as the deepest bargain."""
    flat = np.full(60, 100.0)
    assert (SimpleRSIStrategy().signals(candles(flat)).direction == Direction.HOLD).all()
    moved_once = np.concatenate((walk(100), np.full(2000, 95.0)))
    signals = SimpleRSIStrategy().signals(candles(moved_once))
    assert (signals.direction[700:] == Direction.HOLD).all()


def test_prices_that_only_fall_are_oversold():
    """RSI 0 is real when there was nothing but losses."""
    signals = SimpleRSIStrategy().signals(candles(np.linspace(100, 50, 60)))
    assert (signals.direction[14:] == Direction.LONG).all()
    assert (signals.confidence[14:] == 1).all()


@pytest.mark.parametrize("scale", [1e-12, 1e-10, 1e-8, 1e8])
def test_signals_do_not_depend_on_the_price_level(scale):
    """A coin at 0.0000000001 is read like one at 100, though TA-Lib calls its moves zero."""
    close = walk(800, seed=3)
    want = SimpleRSIStrategy().signals(candles(close))
    got = SimpleRSIStrategy().signals(candles(close * scale / 100))
    np.testing.assert_array_equal(got.direction, want.direction)
    np.testing.assert_allclose(got.value, want.value, rtol=1e-6)


@pytest.mark.parametrize("bars", [0, 1, 2, 14, 15])
def test_few_candles_give_no_opinion(bars):
    """Below the warm-up there is nothing to say, and nothing breaks."""
    signals = SimpleRSIStrategy().signals(candles(walk(bars)))
    assert len(signals.direction) == len(signals.confidence) == len(signals.value) == bars
    assert (signals.direction[:14] == Direction.HOLD).all()


@pytest.mark.parametrize("period", [2, 14, 100])
def test_lookback_is_enough_for_the_whole_histories_answer(period):
    """The last `lookback_bars` candles give the RSI that all candles give, to the last digits."""
    close = walk(9000)
    strategy = SimpleRSIStrategy(period=period)
    whole = strategy.rsi(close)
    for end in (5000, 7001, 9000):
        window = strategy.rsi(close[end - strategy.lookback_bars : end])
        assert window[-1] == pytest.approx(whole[end - 1], rel=1e-12)


def test_note_says_the_reading_and_the_threshold():
    """A person reads why."""
    strategy = SimpleRSIStrategy()
    falling, rising = candles(np.linspace(100, 50, 60)), candles(np.linspace(50, 100, 60))
    assert strategy.note(falling, -1) == "RSI(14) 0.0 < 30"
    assert strategy.note(rising, -1) == "RSI(14) 100.0 > 70"
    assert strategy.note(rising, 3) == "no RSI(14) yet"
    assert strategy.note(candles([100, 101] * 30), -1).startswith("RSI(14) 5")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"period": 1}, "period must be a whole number from 2 to 1000, was 1"),
        ({"period": 14.0}, "period must be a whole number"),
        ({"period": True}, "period must be a whole number"),
        ({"period": "14"}, "period must be a whole number"),
        ({"period": 1001}, "period must be a whole number"),
        ({"oversold": 70, "overbought": 30}, "0 < oversold < overbought < 100"),
        ({"oversold": 0}, "0 < oversold"),
        ({"overbought": 100}, "overbought < 100"),
        ({"oversold": math.nan}, "oversold must be a number from 0 to 100, was nan"),
        ({"oversold": "30"}, "oversold must be a number from 0 to 100, was '30'"),
        ({"overbought": None}, "overbought must be a number from 0 to 100, was None"),
    ],
)
def test_parameter_out_of_range_is_refused(params, message):
    """Each bad parameter is named with its value."""
    with pytest.raises(ValueError, match=message):
        SimpleRSIStrategy(**params)


def test_signals_are_fast():
    """Asked for 500 symbols, all answers take well below a second."""
    strategy, window = SimpleRSIStrategy(), candles(walk(300))
    best_s = min(timeit.repeat(lambda: strategy.signals(window), number=200, repeat=5)) / 200
    assert best_s < 100e-6  # about 8 us where nothing else runs


@pytest.mark.data
def test_real_prices_give_wilders_rsi(real_candles):
    """A thinly traded pair, priced in small floats and with candles that did not move."""
    path = real_candles / "freqtrade-testdata" / "ADA_BTC-5m.feather"
    close = read_candle_file(path, "ADA/BTC", "5m").close
    got = SimpleRSIStrategy().rsi(close)
    np.testing.assert_allclose(got, wilder(close.tolist(), 14), rtol=1e-6)
