"""The check finds what looks ahead, what forgets too early, and nothing in what is honest."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.strategy import cheats
from trader.backtest.lookahead import LAST_BARS, check, cut_points
from trader.domain.market import Candles
from trader.market.candles_file import read_candle_file
from trader.strategy.registry import REGISTERED, build

MINUTE_NS = 60 * 10**9


def market(bars=3000, seed=3, move=0.002):
    """Return candles of a random walk."""
    dice = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(dice.normal(0, move, bars)))
    opens = np.append(close[:1], close[:-1])
    high, low = np.maximum(opens, close) * 1.001, np.minimum(opens, close) * 0.999
    return Candles("BTC/USDT", "1m", np.arange(bars) * MINUTE_NS, opens, high, low, close, np.ones(bars))


def checked(strategy, candles=None, **options):
    """Bind and check a strategy."""
    strategy.bind((candles or market()).timeframe)
    return check(strategy, strategy.name, candles or market(), **options)


@pytest.mark.parametrize("name", sorted(REGISTERED))
def test_registered_strategy_is_clean(name):
    """Ours know no future, and ask for as many candles as they need."""
    verdict = checked(build(name, {}))
    assert verdict.is_clean, (verdict.changed[:3], verdict.unlike[:3], verdict.error)
    assert verdict.cuts >= 150
    assert verdict.windows >= 300
    assert 1 < verdict.needed_bars <= verdict.lookback_bars


@pytest.mark.parametrize("kind", [cheats.NegativeShift, cheats.CentredWindow, cheats.WholeSeries, cheats.Repainter])
def test_planted_cheat_is_caught(kind):
    """Each names a bar, and what was said of it with and without the future."""
    verdict = checked(kind())
    assert verdict.changed_bars > 0
    assert not verdict.is_clean
    change = verdict.changed[0]
    candles, strategy = market(), kind()
    with_future = strategy.signals(candles)
    assert getattr(with_future, change.field)[change.bar] == change.with_future != change.without_future
    assert change.bar < change.known_bars <= len(candles)


def test_cheat_that_acts_twice_in_a_history_is_caught():
    """Cuts are made where it acts: no dice have to find two bars among thousands."""
    candles = market(20_000, move=1e-5)
    close = candles.close.copy()
    close[[4_000, 11_111]] *= 1.05
    jumps = Candles(candles.symbol, "1m", candles.open_ns, close, close, close, close, candles.volume)
    verdict = checked(cheats.NegativeShift(), jumps)
    assert {change.bar for change in verdict.changed} >= {3_999, 11_110}


def test_changed_bars_are_counted_even_if_too_many_to_keep():
    """A normalisation over the whole series changes nearly all."""
    verdict = checked(cheats.WholeSeries(), market(9000))
    assert verdict.changed_bars > len(verdict.changed) > 0
    bars = [change.bar for change in verdict.changed]
    assert bars == sorted(set(bars))


def test_lookback_that_is_too_short_is_told_from_look_ahead():
    """Live would say something else than the backtest; the need is measured."""
    verdict = checked(cheats.Forgetful())
    assert verdict.changed_bars == 0
    assert verdict.unlike_bars > 0
    assert not verdict.is_clean
    assert verdict.needed_bars > verdict.lookback_bars


def test_needed_bars_are_those_that_make_the_windows_agree():
    """A breakout above the highest of ten candles before needs eleven."""
    strategy = build("donchian_atr", {"entry_period": 10, "exit_period": 5, "atr_period": 2, "stop_atrs": None})
    strategy.target_atrs = None
    signals = strategy.signals

    def blunt(candles):  # the average true range shows in the confidence, and remembers more
        said = signals(candles)
        none = np.zeros(len(candles))
        return type(said)(said.direction, none, said.stop_price, said.target_price, none)

    strategy.signals = blunt
    assert checked(strategy).needed_bars == 11


def test_strategy_that_remembers_is_caught():
    """Asked twice about the same candles it must say the same."""
    assert checked(cheats.Remembering()).changed_bars > 0


def test_strategy_that_writes_into_its_candles_is_caught():
    """They are read only."""
    verdict = checked(cheats.Writing())
    assert "read-only" in verdict.error
    assert not verdict.is_clean


def test_answers_that_are_no_opinion_are_counted():
    """A NaN confidence would be a failure in the service."""
    verdict = checked(cheats.Unsure(), market(500))
    assert verdict.faulty_bars == 50
    assert not verdict.is_clean


def test_history_shorter_than_the_lookback_shows_nothing_about_windows():
    """What was not measured is not claimed."""
    verdict = checked(build("simple_rsi", {}), market(300))
    assert (verdict.windows, verdict.needed_bars) == (0, None)
    assert verdict.is_clean


def test_strategy_that_never_acts_has_no_opinions():
    """Then nothing could be found, and that is told."""
    verdict = checked(cheats.NegativeShift(), market(500, move=1e-5))
    assert (verdict.is_clean, verdict.opinions) == (True, 0)


@pytest.mark.parametrize("bars", [0, 1, 2, 5])
def test_tiny_history_breaks_nothing(bars):
    """Nor does one without any candle."""
    assert checked(build("simple_rsi", {}), market(bars)).is_clean


def test_cut_points_same_seed_same_cuts():
    """A finding can be looked at again; the last bars are always there."""
    direction = np.zeros(5000, np.int8)
    direction[[700, 701, 900]] = 1
    ends = cut_points(direction, 200, 4)
    np.testing.assert_array_equal(ends, cut_points(direction, 200, 4))
    assert len(ends) <= 200 + 10
    assert set(range(5000 - LAST_BARS, 5000)) <= set(ends.tolist())
    assert {701, 901} <= set(ends.tolist())  # right behind the bar that acts
    assert not np.array_equal(ends, cut_points(direction, 200, 5))


@pytest.mark.data
@pytest.mark.parametrize("name", sorted(REGISTERED))
@pytest.mark.parametrize(
    ("file", "timeframe"),
    [
        ("nic-binance-btc-1h-2017-2024/BTC_USDT-1h", "1h"),
        ("genetrader-binance-2024/SOL_USDT-5m", "5m"),
        ("freqtrade-testdata/UNITTEST_BTC-1m", "1m"),
    ],
)
def test_registered_strategy_on_real_candles_is_clean(real_candles, name, file, timeframe):
    """Outages, crashes and a pair that hardly trades."""
    candles = read_candle_file(real_candles / f"{file}.feather", "BTC/USDT", timeframe)
    verdict = checked(build(name, {}), candles, cuts=70)
    assert verdict.is_clean, (verdict.changed[:3], verdict.unlike[:3], verdict.error)


@pytest.mark.data
@pytest.mark.parametrize("kind", [cheats.NegativeShift, cheats.CentredWindow, cheats.WholeSeries])
def test_planted_cheat_on_real_candles_is_caught(real_candles, kind):
    """The three that were promised."""
    candles = read_candle_file(real_candles / "genetrader-binance-2024" / "ETH_USDT-5m.feather", "ETH/USDT", "5m")
    verdict = checked(kind(), candles, cuts=70)
    assert verdict.changed_bars > 0


def test_cheat_whose_rules_know_the_future_is_caught():
    """What closes a position is part of an opinion."""
    verdict = checked(cheats.Prophet())
    assert verdict.changed_bars > 0
    assert {change.field for change in verdict.changed} == {"invalidations"}


def test_rules_that_nobody_keeps_are_counted():
    """The service would refuse each of these opinions."""
    verdict = checked(cheats.Unruly(), market(500))
    assert verdict.faulty_bars == 50
    assert not verdict.is_clean
