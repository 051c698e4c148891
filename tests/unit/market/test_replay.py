"""The replay feed: files in, events and history out, and every problem before anything starts."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

import numpy as np
import pytest

from tests.unit.market.candle_files import rising, without, write_feather
from trader.clock import parse_utc
from trader.config.sections import Config
from trader.errors import ConfigError, MarketDataError
from trader.market.candles_file import read_candle_file
from trader.market.factory import open_feed
from trader.market.replay import preflight

STEP_NS = 300 * 10**9
EIGHT = tuple(f"{base}/USDT" for base in ("BTC", "ETH", "SOL", "XRP", "DOGE", "AVAX", "LINK", "LTC"))


def config(folder, symbols=("BTC/USDT",), **market):
    """Return the configuration of a replay as fast as possible."""
    market = {"timeframe": "5m", "speed": 0} | market
    return Config(market={"source": "replay", "candles": str(folder), "symbols": symbols} | market)


def opened(*args, **market):
    """Return an open feed."""
    feed = open_feed(config(*args, **market))
    asyncio.run(feed.open())
    return feed


def times(feed, after_ns=0):
    """Return the times of all events."""

    async def collect():
        return [event.time_ns async for event in feed.events(after_ns)]

    return asyncio.run(collect())


def test_replay_delivers_every_candle_and_ends(tmp_path):
    """From the start to the end of the data, and then no more."""
    candles = rising(10)
    write_feather(tmp_path, candles)
    feed = opened(tmp_path)
    assert feed.start_ns == candles.open_ns[0]
    assert times(feed, feed.start_ns) == (candles.open_ns + STEP_NS).tolist()
    assert feed.waits
    assert (feed.timeframe, feed.timeframe_ns) == ("5m", STEP_NS)
    assert feed.instruments[0].tick_size == Decimal("0.1")


def test_replay_symbols_with_gaps_and_other_ends_each_just_end(tmp_path):
    """A symbol without a candle is not in the event; nothing is filled in."""
    write_feather(tmp_path, rising(6, "A/USDT"))
    write_feather(tmp_path, without(rising(6, "B/USDT"), 0, 2, 5))
    feed = opened(tmp_path, ("A/USDT", "B/USDT"))

    async def slots():
        return [event.candles["slot"].tolist() async for event in feed.events(0)]

    assert asyncio.run(slots()) == [[0], [0, 1], [0], [0, 1], [0, 1], [0]]


def test_replay_since_and_until_bound_events_and_keep_history(tmp_path):
    """Candles before `since` warm strategies up; `until` is exclusive."""
    candles = rising(20)
    write_feather(tmp_path, candles)
    feed = opened(tmp_path, since="2024-01-01T00:50:00Z", until="2024-01-01T01:15:00Z")
    assert times(feed) == (candles.open_ns[10:15] + STEP_NS).tolist()
    assert feed.start_ns == candles.open_ns[10]
    assert feed.history(0, feed.start_ns, 4).close.tolist() == candles.close[6:10].tolist()
    between = opened(tmp_path, since="2024-01-01T00:52:30Z", until="2024-01-01T01:11:00Z")
    assert times(between) == (candles.open_ns[11:15] + STEP_NS).tolist()


def test_replay_goes_on_after_any_event(tmp_path):
    """A restart continues strictly after what was processed, with the same history."""
    write_feather(tmp_path, rising(8))
    first = opened(tmp_path)
    whole = times(first)
    for i, time_ns in enumerate(whole):
        again = opened(tmp_path)
        assert times(again, time_ns) == whole[i + 1 :]
        assert again.history(0, time_ns, 3).close.tolist() == first.history(0, time_ns, 3).close.tolist()


def test_replay_market_time_is_the_events(tmp_path):
    """Before the first event it is the start, then it is the last event's time."""
    write_feather(tmp_path, rising(4))
    feed = opened(tmp_path)
    assert feed.now_ns() == feed.start_ns

    async def compare():
        return [feed.now_ns() == event.time_ns async for event in feed.events(0)]

    assert asyncio.run(compare()) == [True] * 4


def test_replay_speed_paces_events(tmp_path):
    """Six candles of 300 s at speed 9000 take a fifth of a second."""
    write_feather(tmp_path, rising(6))
    feed = opened(tmp_path, speed=9000)
    start = time.monotonic()
    assert len(times(feed, feed.start_ns)) == 6
    assert 0.19 <= time.monotonic() - start < 5


def test_replay_all_files_problems_come_at_once(tmp_path):
    """One line per bad file; the good one is not mentioned."""
    write_feather(tmp_path, rising(5, "A/USDT"))
    (tmp_path / "B_USDT-5m.feather").touch()
    with pytest.raises(MarketDataError) as caught:
        preflight(config(tmp_path, ("A/USDT", "B/USDT", "C/USDT")))
    first, second = str(caught.value).splitlines()
    assert first == f"{tmp_path}/B_USDT-5m.feather: no Feather file: it is empty"
    assert second.startswith(f"{tmp_path}/C_USDT-5m.feather: no such file")


def test_replay_without_candles_in_its_bounds_is_refused(tmp_path):
    """A replay of nothing would end at once and look like a success."""
    write_feather(tmp_path, rising(5))
    with pytest.raises(MarketDataError, match=r"no candle from market\.since .2025-01-01. to market.until .the end."):
        preflight(config(tmp_path, since="2025-01-01"))


@pytest.mark.parametrize(
    ("market", "message"),
    [
        ({"since": "2024-02-01", "until": "2024-01-01"}, "market.until: 2024-01-01 is not after market.since"),
        ({"instruments": {"BTC/USD": {}}}, "market.instruments.BTC/USD: not in market.symbols; did you mean BTC/USDT"),
    ],
)
def test_replay_configured_wrongly_is_refused(tmp_path, market, message):
    """What the section says wrong is named by its key."""
    with pytest.raises(ConfigError, match=message):
        open_feed(config(tmp_path, **market))


def test_replay_without_a_folder_is_refused():
    """The key that is missing is named."""
    with pytest.raises(ConfigError, match=r"market\.candles: a replay needs"):
        open_feed(Config(market={"source": "replay"}))


def test_replay_that_is_not_open_says_so(tmp_path):
    """Before `open` and after `close` there is nothing to deliver."""
    write_feather(tmp_path, rising(5))
    feed = open_feed(config(tmp_path))
    with pytest.raises(MarketDataError, match="not open"):
        feed.start_ns  # noqa: B018 - reading it is the test
    asyncio.run(feed.open())
    feed.close()
    with pytest.raises(MarketDataError, match="not open"):
        feed.history(0, 0, 1)


def test_preflight_other_markets_pass():
    """Only a replay has files to look at."""
    preflight(Config())


@pytest.mark.data
def test_real_replay_delivers_every_row_of_eight_symbols(real_candles):
    """Eight months of 5m candles: as many as the files have, in order, to the bit."""
    folder = real_candles / "genetrader-binance-2024"
    feed = opened(folder, EIGHT)

    async def collect():
        return [event async for event in feed.events(feed.start_ns)]

    events = asyncio.run(collect())
    rows = np.concatenate([event.candles for event in events])
    assert len(rows) == 575_452
    assert (np.diff([event.time_ns for event in events]) > 0).all()
    for slot, symbol in enumerate(EIGHT):
        file = read_candle_file(folder / f"{symbol.replace('/', '_')}-5m.feather", symbol, "5m")
        mine = rows[rows["slot"] == slot]
        for field in ("open_ns", "open", "high", "low", "close", "volume"):
            np.testing.assert_array_equal(mine[field], getattr(file, field))
    assert events[-1].candles["slot"].tolist() == [5]  # AVAX goes on for five minutes longer than any other


@pytest.mark.data
def test_real_outage_stays_a_gap(real_candles):
    """2018-02-08: the venue was away for 33 hours, and nothing was made up."""
    folder = real_candles / "nic-binance-btc-1h-2017-2024"
    feed = opened(folder, timeframe="1h", since="2018-02-01", until="2018-02-20")
    steps = np.diff(times(feed)) // (3600 * 10**9)
    assert sorted(set(steps.tolist())) == [1, 34]
    assert feed.start_ns == parse_utc("2018-02-01")
