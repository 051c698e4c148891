"""Stops replaced in one request, attacked: faults together, exits that can not wait, and gaps that must be told."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

from tests.live_rig import LiveRig
from tests.loopback.test_live_orders import TRAILING, Minutes, buy, rise, tell, until_at
from tests.loopback.venue import FakeVenue
from trader.codes import Direction
from trader.execution import stops


@pytest.fixture(autouse=True)
def eager_stops(monkeypatch):
    """Let stops follow without a pause between two moves."""
    monkeypatch.setattr(stops, "MIN_INTERVAL_S", 0.0)


def slow_to_settle(rig: LiveRig) -> None:
    """Let a request be on its way for as long as Binance's own limit says."""
    assert rig.parts.connection is not None
    rig.parts.connection.rest.options["recvWindow"] = 10_000


def dip(place: FakeVenue, _call: Any) -> None:
    """Let the price be below the new trigger for the moment of one request: canceled, and nothing placed."""
    market = place.matching.markets["BTC/USDT"]
    market.price = Decimal(97)
    assert place._loop is not None  # noqa: SLF001
    place._loop.call_later(0.02, setattr, market, "price", Decimal(100))  # noqa: SLF001


@pytest.mark.parametrize("lost", [("drop_after", {}), ("truncated_body", {"how": "http"}), ("error_5xx_accepted", {})])
def test_old_stop_gone_and_new_one_refused_and_the_answer_lost_is_soon_protected_again(tmp_path, lost):
    """Nobody has said so: the old one is found gone, so the new one can't come any more; the gap is counted."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        slow_to_settle(rig)
        await buy(rig, minutes)
        keeper = rig.parts.router.stops
        naked_s, began_s = keeper.total_naked_s, time.monotonic()
        venue.script.add("replace", "call", function=dip)
        venue.script.add("replace", lost[0], **lost[1])
        await rise(rig, minutes)
        await until_at(venue, rig, "98.8")
        assert time.monotonic() - began_s < 8.0  # and not only when the request can't be on its way any more
        assert keeper.total_naked_s > naked_s + 0.4

    tell(tmp_path, story, exits=TRAILING)


def test_lost_answer_of_a_replacement_that_was_made_counts_no_naked_time(tmp_path):
    """The old one is found gone before the new one is found: it stood all the while."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        await buy(rig, minutes)
        keeper = rig.parts.router.stops
        naked_s = keeper.total_naked_s
        venue.script.add("replace", "drop_after")
        (stop,) = rig.parts.router.tracker.live()
        newest = {"origClientOrderId": f"{stop.client_order_id[:-1]}{stop.order_id + 1}"}
        venue.script.add("query", "drop_before", times=3, when=newest)
        await rise(rig, minutes)
        await until_at(venue, rig, "98.8")
        assert keeper.total_naked_s == naked_s
        assert not venue.books.twice()

    tell(tmp_path, story, exits=TRAILING)


def test_exit_does_not_wait_for_a_replacement_that_never_arrived(tmp_path):
    """The request is lost before the venue has it: the old stop is taken back, and with it goes what might come."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        slow_to_settle(rig)
        await buy(rig, minutes)
        venue.script.add("replace", "drop_before")
        await rise(rig, minutes)
        await rig.until(lambda: venue.asked("replace"))
        began_s = time.monotonic()
        await minutes.play(rig, Direction.FLAT)
        await rig.until(lambda: not rig.parts.ledger.books.holdings)
        assert time.monotonic() - began_s < 8.0
        assert len([trade for trade in venue.books.trades if not trade.buys]) == 1

    tell(tmp_path, story, exits=TRAILING)


def test_exit_does_not_wait_until_a_replacement_may_be_sent_again(tmp_path):
    """429 with a minute to wait: the replacement is dropped, the exit goes on."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        await buy(rig, minutes)
        venue.script.add("replace", "rate_limited", retry_after=60)
        await rise(rig, minutes)
        await rig.until(lambda: venue.asked("replace"))
        await minutes.play(rig, Direction.FLAT)
        await rig.until(lambda: not rig.parts.ledger.books.holdings)
        assert len(venue.asked("replace")) == 1

    tell(tmp_path, story, exits=TRAILING)


def test_duplicate_answer_to_a_replacement_is_looked_up_and_stands(tmp_path):
    """Accepted, the answer lost in a gateway that has sent it twice: one stop stands, none is sent again."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        await buy(rig, minutes)
        told = '{"code":-2010,"msg":"Duplicate order sent."}'
        venue.script.add("replace", "error_5xx_accepted", status=400, text=told)
        await rise(rig, minutes)
        await until_at(venue, rig, "98.8")
        assert len(venue.asked("replace")) == 1
        assert venue.asked("cancel") == []
        assert not venue.books.twice()

    tell(tmp_path, story, exits=TRAILING)


@pytest.mark.parametrize("part", [0.3, 1])
def test_fill_in_bnb_that_races_a_replacement_whose_answer_is_lost_and_a_restart_leave_exact_books(tmp_path, part):
    """Everything at once: the stop executes as its replacement arrives, fees are in BNB, nobody hears, then a kill."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        held = await buy(rig, minutes)
        venue.script.add("replace", "fee_in_bnb")
        venue.script.add("replace", "fill_races_cancel", part=part)
        venue.script.add("replace", "drop_after")
        venue.script.add("query", "drop_before", times=2)
        await rise(rig, minutes)
        await rig.until(lambda: venue.asked("replace"))
        await rig.crash()
        await rig.start()
        sold = sum(trade.quantity for trade in venue.books.trades if not trade.buys)
        left = held.quantity - sold
        await rig.until(lambda: sum(h.quantity for h in rig.parts.ledger.books.holdings.values()) == left)
        await rig.until(rig.is_covered)
        assert sum(order.quantity for order in venue.books.open_orders) == left

    tell(tmp_path, story, exits=TRAILING)
