"""The simulated market: a pure function of seed, symbol and timeframe, lively and within reason."""

from __future__ import annotations

import asyncio
import math
import time
from decimal import Decimal

import numpy as np
import pytest

from trader.config.sections import Config
from trader.errors import ConfigError
from trader.market.factory import open_feed
from trader.market.simulated import EPOCH_NS, HISTORY_BARS, base_price
from trader.market.synthesis import Character, Noise, block_bars
from trader.strategy.simple_rsi import SimpleRSIStrategy

MINUTE_NS = 60 * 10**9
DAY_NS = 1440 * MINUTE_NS
FIELDS = ("open_ns", "open", "high", "low", "close", "volume")


def feed(**market):
    """Return the default simulated feed, as fast as possible unless told otherwise."""
    return open_feed(Config(market={"speed": 0} | market))


def take(one, after_ns, count):
    """Return the candles of the next events, shape (count, symbols)."""

    async def collect():
        await one.open()
        rows = []
        async for event in one.events(after_ns):
            assert (event.candles["close_ns"] == event.time_ns).all()
            rows.append(event.candles.copy())
            if len(rows) == count:
                break
        return np.array(rows)

    return asyncio.run(collect())


def test_simulated_begins_at_its_epoch_with_history():
    """The first candle closes a minute after 2025 began; thousands before it warm strategies up."""
    one = feed()
    rows = take(one, one.start_ns, 3)
    assert one.start_ns == EPOCH_NS
    assert rows["close_ns"][:, 0].tolist() == [EPOCH_NS + i * MINUTE_NS for i in (1, 2, 3)]
    assert rows["slot"].tolist() == [[0, 1, 2]] * 3
    past = one.history(0, EPOCH_NS, HISTORY_BARS + 100)
    assert len(past) == HISTORY_BARS
    assert past.close[-1] == rows["open"][0, 0]
    assert not one.waits
    assert one.now_ns() == EPOCH_NS + 3 * MINUTE_NS


def test_simulated_same_seed_gives_the_same_candles():
    """Whatever was asked before, in whatever order, and wherever the run began."""
    whole = take(feed(), EPOCH_NS, 5000)
    other = feed()
    other.history(2, EPOCH_NS + 400 * DAY_NS, 3000)
    for skip in (1, 1023, 1024, 1025, 2500):
        part = take(other, EPOCH_NS + skip * MINUTE_NS, 50)
        np.testing.assert_array_equal(part, whole[skip : skip + 50])


def test_simulated_history_is_what_events_delivered():
    """A restarted engine sees the same past, across blocks."""
    whole = take(feed(), EPOCH_NS, 3000)
    for end, bars in ((3000, 3000), (2000, 10), (1030, 600), (1, 1)):
        past = feed().history(1, EPOCH_NS + end * MINUTE_NS + MINUTE_NS // 2, bars)
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(past, field), whole[field][end - bars : end, 1])
            assert getattr(past, field).flags.c_contiguous
    assert len(feed().history(0, EPOCH_NS - 10 * DAY_NS, 5)) == 0


def test_simulated_symbol_does_not_depend_on_the_others():
    """A symbol added or moved leaves the candles of the rest alone."""
    all_three = take(feed(), EPOCH_NS, 200)
    alone = take(feed(symbols=["SOL/USDT"]), EPOCH_NS, 200)
    for field in FIELDS:
        np.testing.assert_array_equal(alone[field][:, 0], all_three[field][:, 2])


def test_simulated_other_seeds_and_symbols_differ():
    """Nothing is shared by accident."""
    closes = [take(feed(seed=seed, symbols=["A/USDT", "B/USDT"]), EPOCH_NS, 100)["close"] for seed in (1, 2)]
    returns = np.array([np.diff(np.log(close[:, slot])) for close in closes for slot in (0, 1)])
    assert abs(np.corrcoef(returns)[0, 2]) < 0.5
    assert len({tuple(row) for row in returns.round(12).tolist()}) == 4


@pytest.mark.parametrize(("timeframe", "days"), [("1m", 200), ("5m", 400), ("1h", 2000), ("1d", 4000)])
def test_simulated_candles_are_possible_and_stay_within_reason(timeframe, days):
    """Whole ticks, right shapes, no gaps, and after years still a price that an owner believes."""
    one = feed(timeframe=timeframe, seed=days)
    bars = days * DAY_NS // one.timeframe_ns
    for slot, instrument in enumerate(one.instruments):
        got = one.history(slot, EPOCH_NS + days * DAY_NS, bars)
        assert (got.low <= np.minimum(got.open, got.close)).all()
        assert (got.high >= np.maximum(got.open, got.close)).all()
        assert (got.low > 0).all()
        assert (got.volume > 0).all()
        np.testing.assert_array_equal(got.open[1:], got.close[:-1])
        np.testing.assert_array_equal(np.diff(got.open_ns), one.timeframe_ns)
        ticks = got.close / float(instrument.tick_size)
        np.testing.assert_allclose(ticks, np.rint(ticks), rtol=1e-12)
        assert base_price(instrument.symbol) / 8 < got.close.min() < got.close.max() < base_price(instrument.symbol) * 8


def test_simulated_prices_are_the_floats_of_their_decimals():
    """60123.4 is the float that 60123.4 reads as, so exact decimals come back."""
    got = feed().history(0, EPOCH_NS + DAY_NS, 1000)
    tick = feed().instruments[0].tick_size
    assert all(Decimal(repr(float(price))) % tick == 0 for price in got.close)


def test_simulated_returns_look_like_a_market():
    """Correlated symbols, fat tails, clustered volatility, brisk minutes."""
    one = feed()
    returns = np.array([np.diff(np.log(one.history(s, EPOCH_NS + 60 * DAY_NS, 86_400).close)) for s in range(3)])
    assert 0.25 < np.corrcoef(returns)[0, 1] < 0.6
    assert all(0.001 < sd < 0.003 for sd in returns.std(axis=1))
    size = np.abs(returns[0])
    assert np.corrcoef(size[1:], size[:-1])[0, 1] > 0.03
    assert (returns[0] ** 4).mean() / (returns[0] ** 2).mean() ** 2 > 3.5


def test_simulated_after_sixty_years_starts_at_once():
    """A year at speed 60: the blocks before it are not computed."""
    one = feed()
    start = time.monotonic()
    take(one, EPOCH_NS + 60 * 365 * DAY_NS, 10)
    assert time.monotonic() - start < 2


def test_simulated_speed_paces_events():
    """Ten minutes at speed 3000 take a fifth of a second."""
    start = time.monotonic()
    take(feed(speed=3000), EPOCH_NS, 10)
    assert 0.19 <= time.monotonic() - start < 5


def test_simulated_instruments_follow_configuration():
    """Ticks are configurable, and prices keep to them."""
    one = feed(symbols=["BTC/USDT"], instruments={"BTC/USDT": {"tick_size": 25}})
    assert one.instruments[0].tick_size == 25
    assert set((take(one, EPOCH_NS, 300)["low"] % 25).ravel().tolist()) == {0.0}
    with pytest.raises(ConfigError, match=r"market\.instruments\.BTC/USD"):
        feed(instruments={"BTC/USD": {}})


def test_base_price_of_an_unknown_symbol_is_fixed_and_sane():
    """By its name, and the same every time."""
    prices = [base_price(f"COIN{i}/USDT") for i in range(200)]
    assert prices == [base_price(f"COIN{i}/EUR") for i in range(200)]
    assert all(0.5 <= price <= 500 for price in prices)
    assert len(set(prices)) > 190


def test_noise_is_one_stream_however_it_is_cut():
    """Any part equals the same part of the whole, and streams differ."""
    whole = Noise(3, "A/USDT").normal(0, 0, 20_000)
    for first, count in ((0, 1), (4095, 2), (4096, 4096), (1, 19_999)):
        np.testing.assert_array_equal(Noise(3, "A/USDT").normal(0, first, count), whole[first : first + count])
    assert abs(whole.mean()) < 0.03
    assert abs(whole.std() - 1) < 0.03
    assert not np.array_equal(Noise(3, "A/USDT").normal(1, 0, 10), whole[:10])
    assert not np.array_equal(Noise(3, "B/USDT").normal(0, 0, 10), whole[:10])


@pytest.mark.parametrize(("minutes", "bars"), [(1, 1024), (5, 1024), (60, 406), (1440, 64), (10_080, 64)])
def test_block_of_long_candles_is_shorter(minutes, bars):
    """(0.25 / (0.0016 * sqrt(minutes))) ** 2 candles, from 64 to 1024."""
    assert block_bars(Character(), minutes * MINUTE_NS) == bars


def play(one, offset, minutes):
    """Play the default rules on one unit per symbol: ask every third minute, stop 2 %, target 3 %."""
    strategy, entries, trips = SimpleRSIStrategy(), [], []
    past = [one.history(s, EPOCH_NS + minutes * MINUTE_NS, minutes + 600) for s in range(3)]
    signals = [strategy.signals(candles) for candles in past]
    held: dict[int, float] = {}
    for i in range(600, 600 + minutes - 1):
        for s, candles in enumerate(past):
            entry = held.get(s, math.nan)
            if candles.low[i] <= entry * 0.98 or candles.high[i] >= entry * 1.03:
                del held[s]
                trips.append(i - 600)
        if (i - 599 + offset) % 3:
            continue
        for s in [s for s in held if signals[s].direction[i] == 2]:
            del held[s]
            trips.append(i - 599)
        sure = {s: signals[s].confidence[i] for s in range(3) if s not in held and signals[s].direction[i] == 1}
        best = max(sure, key=sure.get, default=None)
        if best is not None and sure[best] >= 0.7:
            held[best] = past[best].open[i + 1]
            entries.append(i - 599)
    return entries, trips


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_simulated_default_market_is_lively(offset):
    """The defaults enter within 40 market minutes, finish a round trip within 120, and go on so for days."""
    entries, trips = play(feed(), offset, 3 * 1440)
    assert entries[0] <= 40
    assert trips[0] <= 120
    assert all(10 <= sum(day * 1440 <= t < (day + 1) * 1440 for t in trips) <= 120 for day in range(3))
