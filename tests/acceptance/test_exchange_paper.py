"""Paper trading on a venue's live prices: the whole service on a fake venue, no account, no key."""

from __future__ import annotations

import numpy as np
import pytest

from tests.acceptance.service import Service
from tests.loopback.venue import FakeVenue, VenueClock

SECOND_MS = 1000
FIRST_MS = 1_700_000_000_000


def rows(count, seed, price):
    """Return candles of one second that swing enough to be traded."""
    draw = np.random.default_rng(seed)
    closes = price * np.exp(np.cumsum(draw.normal(0, 0.001, count + 1)))
    made = []
    for i in range(count):
        opened, closed = round(float(closes[i]), 2), round(float(closes[i + 1]), 2)
        high, low = round(max(opened, closed) * 1.0005, 2), round(min(opened, closed) * 0.9995, 2)
        made.append((FIRST_MS + i * SECOND_MS, opened, high, low, closed, 1.0 + i % 3))
    return made


@pytest.fixture
def venue():
    """Play candles of one second at the machine's time, as Binance would."""
    candles = {"BTC/USDT": rows(1500, 1, 60_000.0), "ETH/USDT": rows(1500, 2, 3_000.0)}
    with FakeVenue(candles, clock=VenueClock(wall=True), timeframe="1s", history=600) as playing:
        playing.run(1.0)
        yield playing


def settings(venue, **market):
    """Return a configuration that trades often on that venue's prices."""
    section = {
        "source": "exchange",
        "symbols": ["BTC/USDT", "ETH/USDT"],
        "timeframe": "1s",
        "exchange_config": venue.exchange_config(),
    }
    return {
        "market": section | market,
        "engine": {"loop_interval_seconds": 1},
        "dashboard": {"enable": False},
        "exits": {"stop_loss_frac": 0.002, "take_profit_frac": 0.003},
        "strategies": [{"use": "simple_rsi", "params": {"period": 5, "oversold": 45, "overbought": 55}}],
        "risk": {"min_confidence_threshold": 0.0, "max_daily_trades": 1000},
    }


def test_paper_on_live_prices_trades_without_an_account(tmp_path, venue):
    """Fills are at the venue's prices, nothing private is asked, and the books agree."""
    service = Service(tmp_path, settings(venue))
    service.start()
    try:
        has_fills = "select count(*) from sqlite_master where name = 'fills'"
        service.until(
            lambda: (
                service.rows(has_fills)[0][0] and service.rows("select count(*) from fills")[0][0] >= 3
                if service.rows(has_fills)
                else False
            ),
            "fills",
            240.0,
        )
        venue.cut_streams()
        decided = service.rows("select count(*) from decisions")[0][0]
        service.until(lambda: service.rows("select count(*) from decisions")[0][0] > decided + 6, "decisions", 60.0)
    finally:
        exit_code = service.stop()
    assert exit_code == 0, service.text()[-3000:]
    asked = {request["operation"] for request in venue.requests}
    assert asked <= {"markets", "time", "klines"}
    assert venue.submissions == {}
    prices = {float(price) for (price,) in service.rows("select price from fills")}
    assert all(2_500 < price < 3_600 or 50_000 < price < 72_000 for price in prices)
    verified = service.command("verify", "--json")
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.parametrize(
    ("market", "words"),
    [
        ({"symbols": ["BTC/USDT", "DOGE/USDT"]}, "has no DOGE/USDT"),
        ({"exchange": "binanse"}, "did you mean binance?"),
        ({"timeframe": "7m"}, "has no 7m candles; it has"),
        ({"sandbox": True}, "still"),
    ],
    ids=["symbol", "exchange", "timeframe", "sandbox"],
)
def test_start_on_what_the_venue_lacks_is_refused_by_name(tmp_path, venue, market, words):
    """Exit code 78, before anything is traded."""
    if "sandbox" in market:  # a venue that claims one and keeps its address: an owner's own urls
        urls = venue.exchange_config()["urls"]
        market = market | {"exchange_config": {"urls": {**urls, "test": urls["api"]}}}
    service = Service(tmp_path, settings(venue, **market))
    assert service.run(240.0) == 78, service.text()[-3000:]
    assert words in service.text()
