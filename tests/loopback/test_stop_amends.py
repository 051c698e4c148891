"""Stops that a venue moves in place (Kraken's AmendOrder): one order, one id, and never a moment without it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.live_rig import LiveRig
from tests.loopback.test_live_orders import TRAILING, Minutes, buy, rise, sell, tell
from tests.loopback.venue import FakeVenue
from trader.codes import Direction
from trader.domain.order import OrderEvent
from trader.execution import stops
from trader.ledger.reader import LedgerReader

KRAKEN: dict[str, Any] = {"venue": {"dialect": "kraken"}, "market": {"exchange": "kraken"}, "exits": TRAILING}


class Watch:
    """Sees every event of the venue's books: the fewest stops that rested after one."""

    def __init__(self, venue: FakeVenue) -> None:
        self._matching = venue.matching
        self.fewest = 99
        venue.ask(lambda: venue.matching.listeners.append(self._look))

    def _look(self, _event: str, _order: Any, _trade: Any) -> None:
        self.fewest = min(self.fewest, len(self._matching.open_orders("BTC/USDT")))


@pytest.fixture(autouse=True)
def eager_stops(monkeypatch):
    """Let stops follow without a pause between two moves."""
    monkeypatch.setattr(stops, "MIN_INTERVAL_S", 0.0)


async def until_at(venue: FakeVenue, rig: LiveRig, level: str) -> None:
    """Wait until one stop rests at a level, at the venue and in the ledger."""

    def is_there() -> bool:
        live = rig.parts.router.tracker.live()
        theirs = [order.stop_price for order in venue.books.open_orders]
        return theirs == [Decimal(level)] and [order.stop_price for order in live] == [float(level)]

    await rig.until(is_there)
    await rig.until(rig.is_covered)


def test_stop_that_moves_is_amended_in_place_and_never_missing(tmp_path):
    """The same order at the venue and in the ledger, at another trigger; on disk before the request left."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        await buy(rig, minutes)
        (stop,) = venue.books.open_orders
        keeper = rig.parts.router.stops
        naked_s, watch = keeper.total_naked_s, Watch(venue)
        on_disk: list[float] = []

        def look(_venue: FakeVenue, _call: Any) -> None:
            with LedgerReader(rig.paths.ledger) as reader:
                on_disk.extend(order.stop_price for order in reader.orders() if order.kind == "protect")

        venue.script.add("replace", "call", function=look)
        await rise(rig, minutes)
        await until_at(venue, rig, "98.8")
        assert on_disk == [98.8]
        assert [order.order_id for order in venue.books.open_orders] == [stop.order_id]
        assert watch.fewest == 1
        assert len(venue.asked("replace")) == 1
        assert venue.asked("cancel") == []
        assert keeper.total_naked_s == naked_s
        await sell(rig, minutes)
        assert venue.books.open_orders == []

    tell(tmp_path, story, **KRAKEN)


@pytest.mark.parametrize(
    ("action", "params"),
    [
        ("drop_before", {}),
        ("drop_after", {}),
        ("error_5xx_accepted", {"status": 504}),
        ("garbage_json", {"text": "{}"}),
        ("truncated_body", {"how": "json"}),
        ("rate_limited", {"retry_after": 0}),
    ],
)
def test_amendment_whose_answer_is_lost_is_told_by_what_the_venue_has(tmp_path, action, params):
    """The stop rests all the time, and at the new trigger in the end."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        await buy(rig, minutes)
        watch = Watch(venue)
        venue.script.add("replace", action, **params)
        await rise(rig, minutes)
        await until_at(venue, rig, "98.8")
        assert watch.fewest == 1
        assert venue.asked("cancel") == []

    tell(tmp_path, story, **KRAKEN)


def test_amendment_that_is_refused_takes_the_long_way_and_tells_the_gap(tmp_path):
    """The venue says no: the old one is taken back, a new one placed, and the time between is counted."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        await buy(rig, minutes)
        naked_s = rig.parts.router.stops.total_naked_s
        venue.script.add("replace", "call", function=lambda _, call: call.params.update(trigger_price="99.12345678"))
        await rise(rig, minutes)
        await until_at(venue, rig, "98.8")
        assert len(venue.asked("cancel")) == 1
        assert rig.parts.router.stops.total_naked_s > naked_s

    tell(tmp_path, story, **KRAKEN)


@pytest.mark.parametrize("part", [1, 0.5])
def test_amendment_that_a_fill_raced_sells_no_more_than_was_held(tmp_path, part):
    """The stop executes, wholly or in part, as its amendment arrives."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        held = await buy(rig, minutes)
        venue.script.add("replace", "fill_races_cancel", part=part)
        await rise(rig, minutes)
        left = held.quantity * Decimal(str(1 - part))
        await rig.until(lambda: sum(h.quantity for h in rig.parts.ledger.books.holdings.values()) == left)
        assert sum(order.remaining for order in venue.books.open_orders) == left
        if left:  # a stop that has begun to fill is not whole: the rest is sold by an exit
            await sell(rig, minutes)

    tell(tmp_path, story, **KRAKEN)


def test_exit_does_not_wait_for_an_amendment_that_hangs(tmp_path):
    """The position is to end while the answer is still out: the stop is taken back, what is held is sold once."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        await buy(rig, minutes)
        venue.script.add("replace", "delay", seconds=8.0)
        await rise(rig, minutes)
        await rig.until(lambda: OrderEvent.AMEND in events(rig))
        await minutes.play(rig, Direction.FLAT)
        await rig.until(lambda: not rig.parts.ledger.books.holdings, 6.0)
        assert len([trade for trade in venue.books.trades if not trade.buys]) == 1

    tell(tmp_path, story, **KRAKEN)


@pytest.mark.parametrize("action", ["drop_before", "drop_after"])
def test_restart_in_the_middle_of_an_amendment_takes_over_what_the_venue_has(tmp_path, action):
    """Killed before the answer: the ledger wanted a trigger, the venue says where the stop stands."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        await buy(rig, minutes)
        watch = Watch(venue)
        venue.script.add("replace", action)
        venue.script.add("query", "drop_before", times=3)
        await rise(rig, minutes)
        await rig.until(lambda: venue.asked("replace"))
        await rig.crash()
        await rig.start()
        await rig.until(rig.is_covered)
        await rise(rig, minutes)
        await until_at(venue, rig, "98.8")
        assert watch.fewest == 1

    tell(tmp_path, story, **KRAKEN)


def test_trigger_that_somebody_else_has_moved_is_taken_over_and_moved_back(tmp_path):
    """The owner moves the stop by hand on the venue's page: what the plan says is restored in place."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        await buy(rig, minutes)
        (stop,) = venue.books.open_orders
        there = str(stop.stop_price)
        venue.ask(lambda: venue.matching.amend(venue.matching.orders[stop.order_id], stop_price=Decimal("80.0")))
        rig.parts.live.router._exchange.hint_all()  # noqa: SLF001 - as after a reconnect
        await rig.until(lambda: venue.asked("replace"))
        await until_at(venue, rig, there)
        assert venue.asked("cancel") == []

    tell(tmp_path, story, **KRAKEN)


def events(rig: LiveRig) -> list[OrderEvent]:
    """Return the events of all orders, as the ledger has them on disk."""
    with LedgerReader(rig.paths.ledger) as reader:
        return [step.event for step in reader.order_steps()]
