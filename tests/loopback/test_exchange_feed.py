"""The exchange feed on a venue that misbehaves: whatever happens, exactly the closed candles, each once, in order."""

from __future__ import annotations

import asyncio

import pytest

from tests.loopback.exchange_stage import MINUTE_MS, listening, rows
from tests.loopback.venue import FakeVenue
from trader.market import candle_stream, exchange_feed

HISTORY = 120


@pytest.fixture(autouse=True)
def _brisk(monkeypatch):
    """Time runs faster here, and so do the pauses."""
    monkeypatch.setattr(exchange_feed, "LOOK_S", 0.03)
    monkeypatch.setattr(exchange_feed, "BUSY_PAUSE_S", 0.3)
    monkeypatch.setattr(candle_stream, "PAUSE_FIRST_S", 0.05)


@pytest.fixture
def venue():
    """Two symbols of a fake Binance, with a history."""
    candles = {"BTC/USDT": rows(300), "ETH/USDT": rows(300, seed=2)}
    with FakeVenue(candles, history=HISTORY) as playing:
        yield playing


def run(work):
    """Run a test's coroutine with a deadline of its own."""

    async def bounded():
        async with asyncio.timeout(90):
            await work

    asyncio.run(bounded())


def test_feed_without_faults_hands_on_what_was_closed(venue):
    """And its history is what was closed before, without the candle that is open."""

    async def work():
        async with listening(venue) as listener:
            history = listener.feed.history(0, listener.feed.start_ns, 100)
            market = venue.matching.markets["BTC/USDT"]
            closed = [one for one in market.candles if one.open_ms * 1_000_000 < listener.feed.start_ns]
            assert history.close.tolist() == [float(one.close) for one in closed[-100:]]
            await listener.play(6)
            await listener.all_handed_on()
            listener.judge()
            assert listener.feed.health().unfit == ""
            newest = listener.feed.history(0, listener.times[-1], 5)
            assert newest.close[-1] == float(market.candles[HISTORY + 5].close)

    run(work())


FAULTS = [
    ("ws_market", "ws_missing", {"nth": 1, "times": None, "when": lambda message: message["k"]["x"]}),
    ("ws_market", "ws_reorder", {"nth": 2, "times": 30, "seconds": 0.05}),
    ("klines", "garbage_json", {"nth": 1, "times": 2}),
]
MORE_FAULTS = [
    ("ws_market", "ws_missing", {"nth": 3, "times": 20}),
    ("ws_market", "ws_duplicate", {"times": None, "copies": 3}),
    ("ws_market", "ws_garbage", {"nth": 4, "times": 6}),
    ("ws_market", "ws_drop", {"nth": 9, "times": 2}),
    ("klines", "drop_before", {"nth": 2, "times": 4}),
    ("klines", "drop_after", {"nth": 1, "times": 3}),
    ("klines", "error_5xx", {"nth": 1, "times": 4, "status": 503}),
    ("klines", "truncated_body", {"nth": 2, "times": 3}),
    ("klines", "rate_limited", {"nth": 3, "retry_after": 1}),
    ("klines", "slow_body", {"nth": 2, "seconds": 0.6}),
    ("klines", "maintenance", {"nth": 2, "times": 3}),
]


@pytest.mark.parametrize(
    ("at", "action", "options"),
    [*FAULTS, *(pytest.param(*one, marks=pytest.mark.slow) for one in MORE_FAULTS)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_feed_under_a_fault_hands_on_what_was_closed(venue, at, action, options):
    """Stream and requests stand in for each other, and what they miss is asked for again."""

    async def work():
        async with listening(venue) as listener:
            fault = venue.script.add(at, action, **options)
            # requests get their chance before the next candle: a hole is given up when they fail for too long
            await listener.play(5, pause_s=0.1 if at == "ws_market" else 0.5)
            await listener.play_until(lambda: fault.hits, "fault")
            await listener.all_handed_on()
            listener.judge()

    run(work())


@pytest.mark.slow
def test_feed_on_a_mute_socket_begins_a_new_stream(venue):
    """The socket stays open and says nothing: only answered requests tell."""

    async def work():
        async with listening(venue) as listener:
            venue.script.add("ws_market", "ws_mute")
            await listener.play_until(lambda: listener.feed.health().reconnects >= 1, "new stream after silence")
            await listener.all_handed_on()
            listener.judge()

    run(work())


@pytest.mark.slow
def test_feed_after_a_cut_connection_catches_up(venue):
    """Minutes passed while nothing could be reached: they come in order when the venue is back."""

    async def work():
        async with listening(venue) as listener:
            await listener.play(2)
            await listener.all_handed_on()
            venue.close_for(3600)
            await listener.play(8)
            await listener.until(lambda: listener.errors, "errors")
            venue.close_for(0)
            await listener.all_handed_on()
            listener.judge()
            # a minute of the venue is shorter than the time that a socket takes: it is let wait for the subscriptions
            await listener.until(venue.streams, "stream")
            await asyncio.sleep(0.5)
            await listener.play_until(lambda: listener.feed.health().streaming, "messages")
            await listener.all_handed_on()
            listener.judge()

    run(work())


def test_feed_of_a_restarted_engine_delivers_what_it_missed(venue):
    """From the ledger's cursor on, before anything new."""

    async def work():
        behind_ns = (venue.market_ms - 30 * MINUTE_MS) * 1_000_000
        async with listening(venue, after_ns=behind_ns) as listener:
            await listener.until(lambda: len(listener.candles) >= 60, "missed candles")
            assert listener.candles[0][1] == behind_ns
            assert [one[0] for one in listener.candles[:60]] == [0, 1] * 30
            await listener.play(2)
            await listener.until(lambda: len(listener.candles) >= 64, "new candles")
            closes = {(slot, open_ns): close for slot, open_ns, *_, close, _ in listener.candles}
            for slot, market in enumerate(venue.matching.markets.values()):
                for one in market.candles[HISTORY - 30 : HISTORY + 2]:
                    assert closes[slot, one.open_ms * 1_000_000] == float(one.close)

    run(work())


def test_feed_without_a_stream_asks_for_everything(venue):
    """`market.stream: false`, or a venue that has none."""

    async def work():
        async with listening(venue, stream=False) as listener:
            await listener.play(4, pause_s=0.15)
            await listener.all_handed_on()
            listener.judge()
            assert venue.streams() == 0

    run(work())


def test_feed_of_a_hole_in_the_venues_candles_leaves_it_a_hole():
    """An outage of the venue: what never was is not made up, and the other symbol goes on."""
    whole = rows(140, seed=2)
    with FakeVenue({"BTC/USDT": whole, "ETH/USDT": rows(140)[:122] + rows(140)[125:]}, history=120) as venue:

        async def work():
            async with listening(venue) as listener:
                await listener.play(8, pause_s=0.3)
                await listener.all_handed_on()
                listener.judge()
                assert listener.feed.health().gaps == 3

        run(work())


def test_feed_tells_a_price_before_the_candle_is_closed(venue):
    """For exits between two candles."""

    async def work():
        async with listening(venue) as listener:
            venue.ask(venue._phase_one)
            price = float(venue.price("BTC/USDT"))
            await listener.until(lambda: listener.feed.last_price(0)[0] == price, "price")

    run(work())


def test_feed_whose_clock_is_off_says_that_nothing_may_be_opened(venue, monkeypatch):
    """Requests carry the venue's time all the same."""

    async def work():
        async with listening(venue) as listener:
            assert listener.feed.health().unfit == ""
            clock = listener.feed.connection.clock.local
            monkeypatch.setattr(clock, "_behind_ms", 9_000)
            assert "s off the venue's, more than 5 s" in listener.feed.health().unfit
            await listener.play(2)
            await listener.all_handed_on()
            listener.judge()

    run(work())


@pytest.mark.slow
def test_feed_speaks_other_dialects():
    """Nothing is Binance-shaped: Kraken's candles come as true."""
    with FakeVenue({"BTC/USDT": rows(200)}, dialect="kraken", history=120) as venue:

        async def work():
            async with listening(venue) as listener:
                # ccxt lets one request a second through: a market of 200 times the speed would leave them behind
                await listener.play(5, pause_s=2.0)
                await listener.all_handed_on()
                listener.judge()
                assert listener.feed.health().gaps == 0

        run(work())
