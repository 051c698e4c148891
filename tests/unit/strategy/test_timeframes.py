"""Longer candles: only closed ones, on the exchanges' grid, with gaps, and the same from a window."""

from __future__ import annotations

import numpy as np
import pytest

from trader.clock import parse_utc
from trader.codes import Direction
from trader.config.sections import StrategyConfig
from trader.domain.market import Candles
from trader.domain.signal import Signals
from trader.errors import ConfigError, StrategyError
from trader.market.candles_file import read_candle_file
from trader.strategy.base import Strategy
from trader.strategy.registry import create
from trader.strategy.timeframes import bars_per_candle, lengthen

MINUTE_NS = 60 * 10**9


def minutes(*numbers, start="2024-01-03T00:00:00Z", timeframe="1m"):
    """Return one candle per listed minute; minute n opens at n, closes at n + 0.5, with a wick of 10 either way."""
    at = np.array(numbers, np.int64)
    price = at.astype(float) + 100
    open_ns = parse_utc(start) + at * MINUTE_NS
    return Candles("BTC/USDT", timeframe, open_ns, price, price + 10, price - 10, price + 0.5, np.ones(len(at)))


def test_lengthen_makes_candles_of_all_their_bars():
    """First open, highest high, lowest low, last close, all of the volume."""
    longer = lengthen(minutes(*range(11)), "5m").candles
    assert (longer.symbol, longer.timeframe, len(longer)) == ("BTC/USDT", "5m", 2)
    np.testing.assert_array_equal(longer.open_ns - parse_utc("2024-01-03"), [0, 5 * MINUTE_NS])
    np.testing.assert_array_equal(longer.open, [100, 105])
    np.testing.assert_array_equal(longer.high, [114, 119])
    np.testing.assert_array_equal(longer.low, [90, 95])
    np.testing.assert_array_equal(longer.close, [104.5, 109.5])
    np.testing.assert_array_equal(longer.volume, [5, 5])


def test_lengthen_only_what_has_closed_is_known():
    """The bar that completes a candle knows it; the one before does not."""
    longer = lengthen(minutes(*range(11)), "5m")
    np.testing.assert_array_equal(longer.last, [-1, -1, -1, -1, 0, 0, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(longer.at_bars(longer.candles.close)[[3, 4, 8, 9]], [np.nan, 104.5, 104.5, 109.5])


def test_lengthen_with_holes_makes_candles_of_what_is_there():
    """Minutes 3 and 4 are missing: that candle is known to have closed when the next bar has."""
    longer = lengthen(minutes(0, 1, 2, 6, 7, 20, 21, 25), "5m")
    np.testing.assert_array_equal(longer.candles.open_ns - parse_utc("2024-01-03"), np.array([0, 5, 20]) * MINUTE_NS)
    np.testing.assert_array_equal(longer.candles.close, [102.5, 107.5, 121.5])
    np.testing.assert_array_equal(longer.last, [-1, -1, -1, 0, 0, 1, 1, 2])


def test_lengthen_leaves_out_a_first_candle_that_may_be_half():
    """A window that begins at minute 2 can not know the high of minutes 0 and 1."""
    longer = lengthen(minutes(*range(2, 12)), "5m")
    np.testing.assert_array_equal(longer.candles.open, [105])
    np.testing.assert_array_equal(longer.last, [-1] * 7 + [0] * 3)


def test_lengthen_weeks_begin_on_mondays():
    """2024-01-01 was one; days begin at midnight."""
    days = minutes(*(1440 * day for day in range(16)), start="2024-01-01T00:00:00Z", timeframe="1d")
    weeks = lengthen(days, "1w").candles
    assert [int(one) for one in weeks.open_ns] == [parse_utc("2024-01-01"), parse_utc("2024-01-08")]


@pytest.mark.parametrize("candles", [minutes(), minutes(0), minutes(0, 1, 2, 3)])
def test_lengthen_nothing_closed_is_empty(candles):
    """Then everything at the bars is NaN."""
    longer = lengthen(candles, "5m")
    assert len(longer.candles) == 0
    assert np.isnan(longer.at_bars(longer.candles.close)).all()
    assert len(longer.at_bars(longer.candles.close)) == len(candles)


@pytest.mark.parametrize(("base", "timeframe"), [("5m", "7m"), ("1h", "5m"), ("4h", "6h")])
def test_bars_per_candle_no_multiple_is_refused(base, timeframe):
    """A candle can not be cut in two."""
    with pytest.raises(ValueError, match=f"{timeframe} is no multiple of the market's timeframe, {base}"):
        bars_per_candle(base, timeframe)


class Hourly(Strategy):
    """Says where the hour's close is."""

    name = "hourly"
    timeframes = {"1h": 3}  # noqa: RUF012 - as somebody would write it
    lookback_bars = 2

    def signals(self, candles):
        """Return the mean of the last three hours as the reading."""
        longer = self.longer(candles, "1h")
        close = longer.candles.close
        mean = np.full(len(close), np.nan)
        mean[2:] = (close[2:] + close[1:-1] + close[:-2]) / 3
        none = np.full(len(candles), np.nan)
        direction = np.full(len(candles), int(Direction.HOLD), np.int8)
        return Signals(direction, np.zeros(len(candles)), none, none, longer.at_bars(mean))


class Sneaky(Hourly):
    """Looks at a timeframe that it has not declared."""

    def signals(self, candles):
        """Ask for four hours."""
        return self.longer(candles, "4h")


def test_bind_lookback_reaches_back_far_enough():
    """Three hours and a part of one, in candles of five minutes."""
    use = f"{__name__}:Hourly"
    (bound,) = create([StrategyConfig(use=use)], ("BTC/USDT",), "5m")
    assert bound.strategy.lookback_bars == 48
    (bound,) = create([StrategyConfig(use=use)], ("BTC/USDT",), "1h")
    assert bound.strategy.lookback_bars == 4


def test_create_timeframe_that_does_not_fit_is_refused():
    """With the key."""
    with pytest.raises(ConfigError, match=r"strategies.0.params: 1h is no multiple of the market's timeframe, 7m"):
        create([StrategyConfig(use=f"{__name__}:Hourly")], ("BTC/USDT",), "7m")


def test_longer_undeclared_timeframe_is_refused():
    """For it the lookback would be too short."""
    strategy = Sneaky()
    strategy.bind("1m")
    with pytest.raises(StrategyError, match=r"looks at 4h candles, but its timeframes are \{.1h.: 3\}"):
        strategy.signals(minutes(*range(10)))


def test_window_of_lookback_says_what_the_whole_history_says():
    """At every bar, whatever the window cuts through."""
    strategy = Hourly()
    strategy.bind("5m")
    dice = np.random.default_rng(5)
    at = np.flatnonzero(dice.random(3000) > 0.1) * 5  # a tenth of the candles is missing
    candles = minutes(*at.tolist(), timeframe="5m")
    whole = strategy.signals(candles).value
    back = strategy.lookback_bars
    for end in range(back, len(candles)):
        cut = slice(end - back, end)
        columns = (getattr(candles, name)[cut] for name in ("open_ns", "open", "high", "low", "close", "volume"))
        assert strategy.signals(Candles("BTC/USDT", "5m", *columns)).value[-1] == whole[end - 1]


@pytest.mark.data
def test_hours_of_5m_candles_are_the_exchanges_hours(real_candles):
    """Prices to the last digit."""
    folder = real_candles / "genetrader-binance-2024"
    hours = read_candle_file(folder / "BTC_USDT-1h.feather", "BTC/USDT", "1h")
    made = lengthen(read_candle_file(folder / "BTC_USDT-5m.feather", "BTC/USDT", "5m"), "1h").candles
    np.testing.assert_array_equal(made.open_ns, hours.open_ns[: len(made)])
    assert len(made) >= len(hours) - 1
    for field in ("open", "high", "low", "close"):
        np.testing.assert_array_equal(getattr(made, field), getattr(hours, field)[: len(made)])
    np.testing.assert_allclose(made.volume, hours.volume[: len(made)], rtol=1e-9)
