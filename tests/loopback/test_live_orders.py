"""Real orders on the fake venue: the engine's whole way, with every fault that an order can meet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.faults.order_campaign import judge
from tests.live_rig import MINUTE_NS, START_MS, LiveRig, Told, flat_candles, live_config
from tests.loopback.venue import FakeVenue
from trader.codes import Direction, Halt
from trader.execution import stops
from trader.ledger.audit import audit
from trader.state.paths import InstancePaths

BASE_NS = START_MS * 1_000_000
Story = Callable[[FakeVenue, LiveRig], Awaitable[None]]


class Minutes:
    """Puts candles in, one minute after the other."""

    def __init__(self) -> None:
        self.now_ns = BASE_NS

    async def play(
        self, rig: LiveRig, says: Direction = Direction.HOLD, *, prices: Any = (100.0, 100.05, 99.95, 100.0)
    ):
        """Put in the next candle of BTC, and wait until the engine has processed it."""
        self.now_ns += MINUTE_NS
        time_ns = self.now_ns
        Told.says[time_ns] = says
        rig.feed.put(time_ns, (0, *prices))
        await rig.until(lambda: int(rig.account["event_ns"]) >= time_ns)


def tell(folder: Path, story: Story, *, venue: dict[str, Any] | None = None, **sections: Any) -> None:
    """Run a story with an engine on a venue, then hold ledger, venue and shared memory against each other."""
    Told.says = {}
    settings = {"balances": {"USDT": 10_000, "BNB": 10}, **(venue or {})}
    candles = {"BTC/USDT": flat_candles(), "BNB/USDT": flat_candles(500.0)}

    async def run(place: FakeVenue) -> None:
        sections.setdefault("recovery", {"error_cooldown_seconds": 0.05})
        rig = LiveRig(folder, live_config(place, **sections))
        await rig.start()
        await story(place, rig)
        await rig.until(rig.is_covered)
        await rig.stop()

    with FakeVenue(candles, **settings) as place:
        asyncio.run(run(place))
        assert [text for text in judge(folder, place) if not text.startswith("intended")] == []


async def buy(rig: LiveRig, minutes: Minutes) -> Any:
    """Buy, and wait for the stop that stands behind it; return the holding."""
    await minutes.play(rig, Direction.LONG)
    await rig.until(lambda: rig.parts.ledger.books.holdings)
    await rig.until(rig.is_covered)
    return rig.parts.ledger.books.holdings["BTC/USDT"]


async def sell(rig: LiveRig, minutes: Minutes) -> None:
    """Sell by the strategy's word, and wait until nothing is left on the way."""
    await minutes.play(rig, Direction.FLAT)
    await rig.until(lambda: not rig.parts.ledger.books.holdings)
    await rig.until(rig.is_covered)


def test_round_trip_leaves_exact_books_and_nothing_behind(tmp_path):
    """Bought, protected for what is held after the fee, sold; three orders, each accepted once."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        held = await buy(rig, minutes)
        (stop,) = venue.books.open_orders
        assert (stop.kind, stop.quantity) == ("STOP_LOSS", held.quantity)
        assert stop.stop_price == Decimal(95)
        await sell(rig, minutes)
        assert venue.books.open_orders == []
        assert sorted(venue.submissions.values()) == [1, 1, 1]

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("action", "params"),
    [
        ("drop_after", {}),
        ("garbage_json", {"text": "{}"}),
        ("truncated_body", {"how": "json"}),
        ("error_5xx_accepted", {"status": 504}),
    ],
)
def test_answer_that_is_lost_does_not_buy_twice(tmp_path, action, params):
    """The entry stands at the venue, and its answer never came: it is looked up, not sent again."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        venue.script.add("submit", action, **params)
        held = await buy(rig, Minutes())
        entries = [order for order in venue.books.by_client_id.values() if order.buys]
        assert len(entries) == 1
        assert held.quantity == Decimal("19.98")

    tell(tmp_path, story)


def test_request_that_never_arrived_is_sent_again_with_the_same_id(tmp_path):
    """The venue is asked, says that it never heard of it, and gets it again under the same name."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        venue.script.add("submit", "drop_before")
        await buy(rig, Minutes())
        sent = [request["params"]["newClientOrderId"] for request in venue.asked("submit")]
        assert sent[0] == sent[1]

    tell(tmp_path, story)


def test_stop_that_the_venue_executes_closes_the_position(tmp_path):
    """The price falls through the stop at the venue: the ledger has the fill and its reason, nothing is sold twice."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        await buy(rig, Minutes())
        venue.matching.markets["BTC/USDT"].price = Decimal(94)
        venue.ask(lambda: venue.matching.move("BTC/USDT", Decimal(100), gap=True))
        rig.parts.live.venue.hint_all()
        rig.parts.live.deliver()
        await rig.until(lambda: not rig.parts.ledger.books.holdings)
        assert venue.books.open_orders == []

    tell(tmp_path, story)


def test_software_stop_ends_the_position_when_the_venue_has_none(tmp_path):
    """Without a stop at the venue the price between two candles is enough."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        await minutes.play(rig, Direction.LONG)
        await rig.until(lambda: rig.parts.ledger.books.holdings)
        assert venue.books.open_orders == []
        rig.feed.prices[0] = 94.9
        await rig.until(lambda: not rig.parts.ledger.books.holdings)
        rig.feed.prices.clear()

    tell(tmp_path, story, execution={"protective_stop": False})


def test_partial_fills_are_each_booked_and_the_stop_covers_them_all(tmp_path):
    """Three trades, one order, one stop for the sum."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        venue.script.add("submit", "partial_fills", pieces=3)
        held = await buy(rig, Minutes())
        assert held.quantity == Decimal("19.98")
        assert len(venue.books.trades) == 3

    tell(tmp_path, story)


def test_cancel_that_a_fill_raced_sells_only_what_is_left(tmp_path):
    """Half of the stop fills while it is taken back: the exit sells the other half."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        await buy(rig, minutes)
        venue.script.add("cancel", "fill_races_cancel", part=0.5)
        await sell(rig, minutes)
        assert venue.books.balances.get("BTC", Decimal(0)) < Decimal("0.00002")

    tell(tmp_path, story)


def test_fee_in_a_third_currency_is_in_its_balance(tmp_path):
    """A fee in BNB leaves the whole quantity, and the BNB that the account had less the fee."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        held = await buy(rig, minutes)
        assert held.quantity == Decimal(20)
        await sell(rig, minutes)
        assert rig.parts.ledger.books.balance("BNB") < 10

    tell(tmp_path, story, venue={"fee_currency": "BNB"})


def test_unexplained_balance_is_adopted_and_blocks_until_it_is_accepted(tmp_path):
    """Somebody takes half of the position away: it shrinks, nothing is invented, entries wait for the owner."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        held = await buy(rig, Minutes())

        def take() -> None:
            (stop,) = venue.matching.open_orders("BTC/USDT")
            venue.matching.cancel(stop)
            venue.matching.account.holdings["BTC"].free -= Decimal(10)
            venue.matching.account.given["BTC"] += Decimal(10)

        venue.ask(take)
        rig.feed.reconnects += 1
        await rig.until(lambda: rig.parts.live.router.differences)
        books = rig.parts.ledger.books
        assert books.holdings["BTC/USDT"].quantity == held.quantity - 10
        assert books.balance("BTC") == held.quantity - 10
        assert rig.slots["blocked"][0] > 0
        record = rig.parts.publisher.venue[0]
        assert (record["differences"], record["blocked"]) == (1, 1)
        assert len((await rig.service.command("accept", {}))["accepted"]) == 1
        assert rig.slots["blocked"][0] == 0

    tell(tmp_path, story)


def test_deposit_is_adopted_as_a_balance_and_never_traded(tmp_path):
    """Coins that nobody bought here are no position: they would be sold by its stop."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        def give() -> None:
            venue.matching.account.holdings["BTC"].free += Decimal(3)
            venue.matching.account.given["BTC"] -= Decimal(3)

        venue.ask(give)
        rig.feed.reconnects += 1
        await rig.until(lambda: rig.parts.live.router.differences)
        assert rig.parts.ledger.books.balance("BTC") == 3
        assert not rig.parts.ledger.books.holdings
        minutes = Minutes()
        await minutes.play(rig, Direction.LONG)
        assert venue.asked("submit") == [], "entries are blocked"
        await rig.service.command("accept", {"symbol": "BTC/USDT"})

    tell(tmp_path, story)


def test_breaker_halts_entries_and_lets_exits_pass(tmp_path):
    """Rate limited: no entry until the venue answers again; what is held can be sold all the while."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        await buy(rig, minutes)
        import ccxt

        rig.parts.watch.on_error(ccxt.RateLimitExceeded("as a test says"))
        await rig.until(lambda: rig.parts.engine.halts & Halt.BREAKER)
        await sell(rig, minutes)
        assert rig.parts.engine.halts & Halt.BREAKER

    tell(tmp_path, story, recovery={"error_cooldown_seconds": 600.0})


def test_stray_order_with_our_name_is_taken_back(tmp_path):
    """An order that the ledger does not know, in our name, open at the venue: it is canceled, not adopted."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        prefix = rig.parts.live.router._ids.prefix  # noqa: SLF001
        await rig.parts.connection.call(
            "create_order", "BTC/USDT", "limit", "buy", "1", "50", deadline_s=5.0, clientOrderId=f"{prefix}99"
        )
        rig.feed.reconnects += 1
        await rig.until(lambda: not venue.books.open_orders)

    folder = tmp_path / "stray"
    folder.mkdir()
    with pytest.raises(AssertionError, match="lacks"):
        tell(folder, story)


def test_restart_with_a_position_keeps_it_and_its_stop(tmp_path):
    """Killed without a word, started again: the same position, the same stop, nothing sent."""
    Told.says = {}
    with FakeVenue({"BTC/USDT": flat_candles()}, balances={"USDT": 10_000}) as venue:

        async def run() -> None:
            rig = LiveRig(tmp_path, live_config(venue))
            await rig.start()
            minutes = Minutes()
            held = await buy(rig, minutes)
            await rig.crash()
            sent = len(venue.asked("submit"))
            again = LiveRig(tmp_path, rig.config)
            again.generation = rig.generation
            await again.start()
            await again.until(again.is_covered)
            assert again.parts.ledger.books.holdings["BTC/USDT"].quantity == held.quantity
            assert len(venue.asked("submit")) == sent
            await again.stop()

        asyncio.run(run())
        paths = InstancePaths(tmp_path, tmp_path / "run-folder", tmp_path / "logs")
        assert [str(item) for item in audit(paths).differences] == []


def test_account_without_money_is_refused_by_name(tmp_path):
    """Less than the smallest order: nothing starts."""
    from trader.errors import ConfigError

    with FakeVenue({"BTC/USDT": flat_candles()}, balances={"USDT": 2}) as venue:

        async def run() -> None:
            await LiveRig(tmp_path, live_config(venue)).start()

        with pytest.raises(ConfigError, match="USDT"):
            asyncio.run(run())


@pytest.mark.parametrize(("section", "values"), [("risk", {"allow_short": True}), ("risk", {"leverage": 2})])
def test_what_spot_can_not_do_is_refused_by_name(tmp_path, section, values):
    """Short positions and borrowed money."""
    from trader.errors import ConfigError

    with FakeVenue({"BTC/USDT": flat_candles()}) as venue:

        async def run() -> None:
            await LiveRig(tmp_path, live_config(venue, **{section: values})).start()

        with pytest.raises(ConfigError, match=f"{section}.{next(iter(values))}"):
            asyncio.run(run())


@pytest.mark.parametrize("fault", [None, ("drop_after", {}), ("truncated_body", {"how": "json"}), ("drop_before", {})])
def test_second_dialect_finds_orders_without_looking_up_by_client_id(tmp_path, fault):
    """Kraken's fetch_order takes its own number alone: open and closed orders are looked through instead."""
    Told.says = {}
    candles = {"BTC/USDT": flat_candles()}
    with FakeVenue(candles, dialect="kraken", balances={"USDT": 10_000}) as venue:

        async def run() -> None:
            config = live_config(
                venue,
                market={"exchange": "kraken"},
                recovery={"error_cooldown_seconds": 0.05},
            )
            rig = LiveRig(tmp_path, config)
            await rig.start()
            minutes = Minutes()
            if fault is not None:
                venue.script.add("submit", fault[0], **fault[1])
            await buy(rig, minutes)
            await sell(rig, minutes)
            await rig.until(rig.is_covered)
            await rig.stop()

        asyncio.run(run())
        assert [text for text in judge(tmp_path, venue) if not text.startswith("intended")] == []


def test_restored_old_ledger_does_not_use_order_numbers_again(tmp_path):
    """A backup from before the last orders is put back: what it lacks is adopted, and no client id comes twice."""
    Told.says = {}
    with FakeVenue({"BTC/USDT": flat_candles()}, balances={"USDT": 10_000}) as venue:

        async def run() -> None:
            rig = LiveRig(tmp_path, live_config(venue, execution={"protective_stop": False}))
            await rig.start()
            minutes = Minutes()
            await minutes.play(rig)
            await rig.stop()
            backup = (tmp_path / "ledger.db").read_bytes()
            again = LiveRig(tmp_path, rig.config)
            again.generation = rig.generation
            await again.start()
            await minutes.play(again, Direction.LONG)
            await again.until(lambda: again.parts.ledger.books.holdings)
            await again.until(again.is_calm)
            await again.stop()
            for leftover in tmp_path.glob("ledger.db*"):
                leftover.unlink()
            (tmp_path / "ledger.db").write_bytes(backup)
            old = LiveRig(tmp_path, rig.config)
            old.generation = again.generation
            await old.start()
            assert old.parts.live.router.differences == 2, "coins that it did not buy, money that it did not spend"
            assert not old.parts.ledger.books.holdings
            assert old.parts.ledger.next_order_id() > 10_000
            await old.stop()

        asyncio.run(run())
        assert venue.books.twice() == {}


def test_venue_is_audited_against_the_ledger_and_entries_are_taken_back(tmp_path):
    """`verify` asks the venue itself; the last resort cancels a resting entry there and leaves the stop."""
    from trader.engine.last_resort import cancel_entries
    from trader.engine.venue_audit import audit_venue

    Told.says = {}
    paths = InstancePaths(tmp_path, tmp_path / "run-folder", tmp_path / "logs")
    with FakeVenue({"BTC/USDT": flat_candles()}, balances={"USDT": 10_000}) as venue:
        config = live_config(venue)

        async def run() -> None:
            rig = LiveRig(tmp_path, config)
            await rig.start()
            minutes = Minutes()
            venue.script.add("submit", "partial_fills", pieces=4, later=True)
            await minutes.play(rig, Direction.LONG)
            await rig.until(lambda: rig.parts.ledger.books.holdings)
            await rig.until(lambda: any(order.state == "partial" for order in rig.parts.router.tracker.live()))
            await rig.crash()

        asyncio.run(run())
        (entry,) = (order for order in venue.books.open_orders if order.buys)
        assert cancel_entries(paths, config)["canceled"] == [f"{entry.client_id} buy BTC/USDT"]
        assert not [order for order in venue.books.open_orders if order.buys]

        async def go_on() -> None:
            again = LiveRig(tmp_path, config)
            again.generation = 1
            await again.start()
            await again.until(again.is_covered)
            await again.stop()

        asyncio.run(go_on())
        count, found = audit_venue(config, paths)
        assert count > 2
        assert found == []
        venue.ask(lambda: venue.matching.cancel(venue.matching.open_orders("BTC/USDT")[0]))
        venue.ask(lambda: venue.matching.account.pay("USDT", Decimal(7)))
        subjects = sorted(item.subject for item in audit_venue(config, paths)[1])
        assert subjects[0] == "USDT at the venue"
        assert subjects[1].startswith("order main")


@pytest.mark.parametrize("step", ["0.05", "0.0001"], ids=["coarser", "finer"])
def test_lot_that_changes_while_a_position_is_held_is_taken_over(tmp_path, step):
    """The stop that stands stays where it serves; what is sold next is whole lots of the new size, the rest is dust."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        held = await buy(rig, minutes)
        submitted = len(venue.submissions)
        venue.ask(lambda: venue.matching.change_rules("BTC/USDT", step=Decimal(step), min_quantity=Decimal(step)))
        await rig.feed.connection.reload_markets()
        await rig.until(lambda: float(rig.slots["lot_size"][0]) == float(step))
        await minutes.play(rig)
        await rig.until(rig.is_covered)
        assert len(venue.submissions) == submitted  # the stop covers all that can be sold: it is not moved
        await sell(rig, minutes)
        sold = sum(order.filled for order in venue.books.orders.values() if not order.buys)
        assert sold == held.quantity // Decimal(step) * Decimal(step)
        await minutes.play(rig, Direction.LONG)
        await rig.until(lambda: rig.parts.ledger.books.holdings)
        await rig.until(rig.is_covered)
        bought = max((order for order in venue.books.orders.values() if order.buys), key=lambda one: one.order_id)
        assert bought.quantity % Decimal(step) == 0

    tell(tmp_path, story)


def test_smallest_order_that_rises_above_a_position_leaves_its_stop(tmp_path):
    """No new order could sell it any more: the stop that the venue has taken stays, nothing is written off."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        held = await buy(rig, minutes)
        venue.ask(lambda: venue.matching.change_rules("BTC/USDT", min_notional=Decimal(100_000)))
        await rig.feed.connection.reload_markets()
        await rig.until(lambda: float(rig.slots["min_notional"][0]) == 100_000.0)
        await minutes.play(rig)
        await rig.until(rig.is_covered)
        assert rig.parts.ledger.books.quantity("BTC/USDT") == held.quantity
        (stop,) = venue.books.open_orders
        assert stop.quantity == held.quantity
        venue.matching.markets["BTC/USDT"].price = Decimal(94)
        venue.ask(lambda: venue.matching.move("BTC/USDT", Decimal(100), gap=True))
        await rig.until(lambda: not rig.parts.ledger.books.holdings)

    tell(tmp_path, story)


# -- a stop that moves -------------------------------------------------------------------------


class Stops:
    """Watches the venue's books at every change of an order, for a moment without a stop."""

    def __init__(self, venue: FakeVenue) -> None:
        self._matching = venue.matching
        self.fewest = 99
        venue.ask(lambda: venue.matching.listeners.append(self._look))

    def _look(self, event: str, _order: Any, _trade: Any) -> None:
        # a cancel and the order in its place are two events of one request: looked at when the second one is there
        if event != "CANCELED":
            self.fewest = min(self.fewest, len(self._matching.open_orders("BTC/USDT")))


TRAILING = {"stop_loss_frac": 0.05, "take_profit_frac": None, "trailing_stop_frac": 0.05}


@pytest.fixture
def eager_stops(monkeypatch):
    """Let stops follow without a pause between two moves."""
    monkeypatch.setattr(stops, "MIN_INTERVAL_S", 0.0)


async def rise(rig: LiveRig, minutes: Minutes, high: float = 104.0) -> None:
    """Let the price rise, as the engine sees it: the trailing stop moves up."""
    await minutes.play(rig, prices=(100.0, high, 99.95, 102.0))


async def until_at(venue: FakeVenue, rig: LiveRig, *levels: str) -> None:
    """Wait until stops rest at these levels at the venue and the ledger knows it."""
    wanted = [Decimal(level) for level in levels]
    await rig.until(lambda: [order.stop_price for order in venue.books.open_orders] == wanted)
    await rig.until(rig.is_covered)
    await rig.until(lambda: len(rig.parts.router.tracker.live()) == len(levels))


def test_stop_that_moves_is_replaced_in_one_request_and_never_missing(tmp_path, eager_stops):
    """At every event of the venue a stop rests; nothing was canceled by itself, and no naked time is counted."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        held = await buy(rig, minutes)
        keeper = rig.parts.router.stops
        naked_s, watch = keeper.total_naked_s, Stops(venue)
        await rise(rig, minutes)
        await until_at(venue, rig, "98.8")
        assert watch.fewest == 1
        assert [order.quantity for order in venue.books.open_orders] == [held.quantity]
        assert len(venue.asked("replace")) == 1
        assert venue.asked("cancel") == []
        assert keeper.total_naked_s == naked_s
        await sell(rig, minutes)
        assert venue.books.open_orders == []

    tell(tmp_path, story, exits=TRAILING)


@pytest.mark.parametrize(
    ("action", "params"),
    [
        ("drop_before", {}),
        ("drop_after", {}),
        ("error_5xx", {"status": 503}),
        ("error_5xx_accepted", {"status": 504}),
        ("garbage_json", {"text": "{}"}),
        ("truncated_body", {"how": "json"}),
        ("rate_limited", {"retry_after": 0}),
        ("clock_error_1021", {}),
    ],
)
def test_replacement_whose_answer_is_lost_leaves_one_stop(tmp_path, eager_stops, action, params):
    """Whatever became of it, a stop rests all the time, and at the new level in the end."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        await buy(rig, minutes)
        watch = Stops(venue)
        venue.script.add("replace", action, **params)
        await rise(rig, minutes)
        await until_at(venue, rig, "98.8")
        assert watch.fewest == 1
        assert not venue.books.twice()

    tell(tmp_path, story, exits=TRAILING)


def test_replacement_that_is_refused_leaves_the_old_stop_until_the_long_way_is_gone(tmp_path, eager_stops):
    """The old one rests while the venue says no; then it is taken back and a new one placed, and the gap is told."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        await buy(rig, minutes)
        naked_s = rig.parts.router.stops.total_naked_s
        # the request names an order that the venue does not know: -2022, neither canceled nor placed
        venue.script.add("replace", "call", function=lambda _, call: call.params.update(cancelOrderId="999"))
        await rise(rig, minutes, 102.0)
        await until_at(venue, rig, "96.9")
        assert len(venue.asked("replace")) == len(venue.asked("cancel")) == 1
        assert rig.parts.router.stops.total_naked_s > naked_s
        await rise(rig, minutes)  # and the next move is one request again
        await until_at(venue, rig, "98.8")
        assert len(venue.asked("replace")) == 2
        assert len(venue.asked("cancel")) == 1

    tell(tmp_path, story, exits=TRAILING)


def test_replacement_that_ends_the_old_stop_alone_is_followed_by_a_new_one(tmp_path, eager_stops):
    """Canceled, but nothing placed (-2021): known at once, and a stop is placed by itself."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        await buy(rig, minutes)
        market = venue.matching.markets["BTC/USDT"]

        def dip(place: FakeVenue, _call: Any) -> None:
            market.price = Decimal(97)  # below the new trigger, for the moment of this request
            place._loop.call_later(0.05, setattr, market, "price", Decimal(100))

        venue.script.add("replace", "call", function=dip)
        await rise(rig, minutes)
        await until_at(venue, rig, "98.8")
        assert len(venue.asked("replace")) == 1
        assert venue.asked("cancel") == []

    tell(tmp_path, story, exits=TRAILING)


@pytest.mark.parametrize("part", [1, 0.5])
def test_replacement_that_a_fill_raced_sells_no_more_than_was_held(tmp_path, eager_stops, part):
    """The old stop executes, wholly or in part, while it is being replaced."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        held = await buy(rig, minutes)
        venue.script.add("replace", "fill_races_cancel", part=part)
        await rise(rig, minutes)
        left = held.quantity * Decimal(str(1 - part))
        await rig.until(lambda: sum(h.quantity for h in rig.parts.ledger.books.holdings.values()) == left)
        await rig.until(rig.is_covered)
        assert sum(order.quantity for order in venue.books.open_orders) == left

    tell(tmp_path, story, exits=TRAILING)


def test_exit_during_a_replacement_takes_both_stops_back(tmp_path, eager_stops):
    """The position is to end while the answer is still out: sold once, nothing rests."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        await buy(rig, minutes)
        venue.script.add("replace", "delay_after", seconds=0.3)
        await rise(rig, minutes)
        await sell(rig, minutes)
        assert venue.books.open_orders == []
        sold = [trade for trade in venue.books.trades if not trade.buys]
        assert len(sold) == 1

    tell(tmp_path, story, exits=TRAILING)


@pytest.mark.parametrize("action", ["drop_before", "drop_after"])
def test_restart_in_the_middle_of_a_replacement_finds_the_stop_that_stands(tmp_path, eager_stops, action):
    """Killed before the answer: both are asked for, one stands, and it moves on from there."""

    async def story(venue: FakeVenue, rig: LiveRig) -> None:
        minutes = Minutes()
        await buy(rig, minutes)
        watch = Stops(venue)
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

    tell(tmp_path, story, exits=TRAILING)
