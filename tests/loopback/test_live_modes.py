"""What a venue does seldom, and in the worst moment: in the middle of an entry, an exit, or with a position open."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults.order_campaign import judge
from tests.live_rig import MINUTE_NS, START_MS, LiveRig, Told, flat_candles, live_config
from tests.loopback.venue import FakeVenue
from trader.codes import Direction, Halt, Side
from trader.errors import ConfigError
from trader.ledger.reader import LedgerReader

ZERO = Decimal(0)
BTC, BNB = "BTC/USDT", "BNB/USDT"


def slow(*values: Any) -> Any:
    """Return a case that `make acceptance` plays."""
    return pytest.param(*values, marks=pytest.mark.slow)


class Desk:
    """An engine on a venue, and the minutes that it is played."""

    def __init__(self, rig: LiveRig, venue: FakeVenue, symbol: str, price: float) -> None:
        self.rig, self.venue, self.symbol, self.price = rig, venue, symbol, price
        self._now_ns = START_MS * 1_000_000

    @property
    def held(self) -> Decimal:
        """What is held by the ledger."""
        return Decimal(self.rig.parts.ledger.books.quantity(self.symbol))

    @property
    def sold(self) -> Decimal:
        """What the venue has sold."""
        return sum((trade.quantity for trade in self.venue.books.trades if not trade.buys), ZERO)

    async def play(self, says: Direction = Direction.HOLD) -> None:
        """Put in the next candle, and wait until the engine has processed it."""
        self._now_ns += MINUTE_NS
        time_ns, price = self._now_ns, self.price
        Told.says[time_ns] = says
        self.rig.feed.put(time_ns, (0, price, price * 1.0005, price * 0.9995, price))
        await self.rig.until(lambda: int(self.rig.account["event_ns"]) >= time_ns)

    async def buy(self) -> Decimal:
        """Buy, and wait for the stop behind it; return what is held."""
        await self.play(Direction.LONG)
        await self.rig.until(lambda: self.held)
        await self.rig.until(self.rig.is_covered)
        return self.held

    async def leave(self) -> None:
        """Wait until nothing is held and nothing is under way."""
        await self.rig.until(lambda: not self.held)
        await self.rig.until(self.rig.is_covered)
        assert self.venue.books.open_orders == []


def tell(
    folder: Path,
    story: Callable[[Desk], Awaitable[None]],
    *,
    symbol: str = BTC,
    price: float = 100.0,
    venue: dict[str, Any] | None = None,
    **sections: Any,
) -> None:
    """Tell a story of one symbol; then venue, ledger and shared memory have to agree to the last unit."""
    Told.says = {}
    candles = {symbol: flat_candles(price), **({} if symbol == BNB else {BNB: flat_candles(500.0)})}
    sections.setdefault("recovery", {"error_cooldown_seconds": 0.05})

    async def run(place: FakeVenue) -> None:
        rig = LiveRig(folder, live_config(place, symbols=[symbol], **sections))
        await rig.start()
        await story(Desk(rig, place, symbol, price))
        await rig.until(rig.is_covered)
        await rig.stop()

    with FakeVenue(candles, **{"balances": {"USDT": 10_000}, **(venue or {})}) as place:
        asyncio.run(run(place))
        assert [text for text in judge(folder, place) if not text.startswith("intended")] == []


def sold_in_ledger(desk: Desk) -> Decimal:
    """Return what the ledger has sold."""
    with LedgerReader(desk.rig.paths.ledger) as reader:
        return sum((fill.quantity for fill in reader.fills() if fill.side is Side.SELL), ZERO)


# -- fees in the currency that is traded -----------------------------------------------------------


@pytest.mark.parametrize(
    ("owned", "pieces"), [("0.001", 3), ("10", 1), slow("0", 1), slow("0", 3), slow("0.001", 1), slow("10", 3)]
)
def test_exit_with_its_fee_in_what_is_sold_leaves_the_owners_coins(tmp_path, owned, pieces):
    """BNB/USDT with fees in BNB: position and fee together are more than what was bought."""

    async def story(desk: Desk) -> None:
        await desk.buy()
        desk.venue.script.add("submit", "partial_fills", pieces=pieces)
        await desk.play(Direction.FLAT)
        await desk.leave()
        bought = sum((trade.quantity for trade in desk.venue.books.trades if trade.buys), ZERO)
        assert desk.sold <= bought
        fees = sum((trade.fee for trade in desk.venue.books.trades if trade.fee_currency == "BNB"), ZERO)
        assert desk.venue.books.balances.get("BNB", ZERO) == Decimal(owned) + bought - desk.sold - fees

    venue = {"balances": {"USDT": 10_000, "BNB": owned}, "fee_currency": "BNB", "fee_rate": "0.01"}
    tell(tmp_path, story, symbol=BNB, price=500.0, venue=venue)


def test_stop_that_fills_with_its_fee_in_what_is_sold_ends_the_position(tmp_path):
    """The venue's own stop executes piece by piece, and takes each fee from the rest of the position."""

    async def story(desk: Desk) -> None:
        await desk.buy()
        matching = desk.venue.matching

        def fill(part: str) -> None:
            for order in matching.open_orders(BNB):
                matching.fill_now(order, Decimal(part))

        for part in ("0.3", "0.5", "1"):
            desk.venue.ask(partial(fill, part))
            desk.rig.parts.live.venue.hint_all()
            await desk.rig.until(lambda: sold_in_ledger(desk) == desk.sold)
        await desk.play(Direction.FLAT)
        await desk.leave()

    venue = {"balances": {"USDT": 10_000, "BNB": "1"}, "fee_currency": "BNB", "fee_rate": "0.01"}
    tell(tmp_path, story, symbol=BNB, price=500.0, venue=venue)


# -- rules that change under way --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "reloaded"),
    [("0.7", True), slow("0.7", False), slow("0.001", True), slow("0.001", False), slow("5", True), slow("5", False)],
)
def test_lot_that_changes_between_two_pieces_of_an_exit_sells_what_can_be_sold(tmp_path, step, reloaded):
    """The venue's lot grows while an exit is half done: the engine learns of it by a reload, or by a refusal."""

    async def story(desk: Desk) -> None:
        held = await desk.buy()
        desk.venue.script.add("submit", "partial_fills", pieces=3, later=True)
        await desk.play(Direction.FLAT)
        await desk.rig.until(lambda: desk.sold)
        desk.venue.ask(
            lambda: desk.venue.matching.change_rules(desk.symbol, step=Decimal(step), min_quantity=Decimal(step))
        )
        if reloaded:
            await desk.rig.feed.connection.reload_markets()
        for _ in range(3):
            desk.venue.elapse(1)
            await asyncio.sleep(0.1)
        await desk.leave()
        assert desk.sold <= held < desk.sold + Decimal(step)

    tell(tmp_path, story)


@pytest.mark.parametrize("step", ["0.003", slow("0.7")])
def test_lot_that_changed_behind_the_engines_back_does_not_keep_a_position(tmp_path, step):
    """Nobody has told of the new lot: the exit is refused, the rules are asked for, and the next one is right."""

    async def story(desk: Desk) -> None:
        held = await desk.buy()
        desk.venue.ask(
            lambda: desk.venue.matching.change_rules(desk.symbol, step=Decimal(step), min_quantity=Decimal(step))
        )
        await desk.play(Direction.FLAT)
        await desk.leave()
        assert desk.sold <= held < desk.sold + Decimal(step)

    tell(tmp_path, story)


# -- maintenance --------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [slow("cancel"), "submit", slow("query"), slow("trades")])
def test_maintenance_in_the_middle_of_an_exit_sells_once_when_it_is_over(tmp_path, at):
    """The venue closes at the how manyeth request of an exit: no entry meanwhile, the exit goes on afterwards."""

    async def story(desk: Desk) -> None:
        held = await desk.buy()
        desk.venue.script.add(at, "maintenance", seconds=0.7)
        await desk.play(Direction.FLAT)
        await desk.rig.until(lambda: desk.rig.parts.engine.halts & Halt.BREAKER or not desk.held)
        await desk.leave()
        assert desk.sold == held // Decimal("0.001") * Decimal("0.001")
        await desk.rig.until(lambda: not desk.rig.parts.engine.halts & Halt.BREAKER)

    tell(tmp_path, story)


@pytest.mark.slow
def test_restart_in_the_maintenance_that_met_an_exit_waits_and_sells_once(tmp_path):
    """Killed while the venue is closed: the next engine waits for it, and ends the position then."""

    async def story(desk: Desk) -> None:
        held = await desk.buy()
        desk.venue.script.add("submit", "maintenance", seconds=2.0)
        await desk.play(Direction.FLAT)
        await desk.rig.until(lambda: desk.rig.parts.engine.halts & Halt.BREAKER)
        await desk.rig.crash()
        await desk.rig.start()
        await desk.leave()
        assert desk.sold == held // Decimal("0.001") * Decimal("0.001")

    tell(tmp_path, story)


# -- a symbol that is no longer traded ------------------------------------------------------------------


def halt(desk: Desk, *, trading: bool) -> None:
    """Let the venue stop or begin trading in the symbol."""
    desk.venue.ask(lambda: desk.venue.matching.change_rules(desk.symbol, trading=trading))


@pytest.mark.slow
def test_symbol_that_is_halted_while_it_is_held_is_sold_when_it_is_traded_again(tmp_path):
    """The exit is refused as long as there is no market, is tried again, and nothing is written off."""

    async def story(desk: Desk) -> None:
        held = await desk.buy()
        halt(desk, trading=False)
        await desk.rig.feed.connection.reload_markets()
        await desk.play(Direction.FLAT)
        await desk.rig.until(lambda: len(desk.venue.asked("submit")) >= 3)
        assert desk.held == held
        halt(desk, trading=True)
        await desk.leave()
        assert desk.sold == held // Decimal("0.001") * Decimal("0.001")

    tell(tmp_path, story)


def test_symbol_that_is_halted_while_it_is_held_survives_a_restart(tmp_path):
    """An engine that comes back keeps the position; only a first start refuses the symbol by name."""

    async def story(desk: Desk) -> None:
        held = await desk.buy()
        halt(desk, trading=False)
        await desk.rig.crash()
        await desk.rig.start()
        await desk.rig.until(desk.rig.is_calm)
        assert desk.held == held
        halt(desk, trading=True)
        await desk.play(Direction.FLAT)
        await desk.leave()

    tell(tmp_path, story)


@pytest.mark.slow
def test_symbol_whose_orders_the_venue_has_taken_back_is_held_by_the_stop_here(tmp_path):
    """A venue that delists cancels what rests there, and refuses a new stop: nothing breaks, and nothing is lost."""

    async def story(desk: Desk) -> None:
        held = await desk.buy()

        def delist() -> None:
            desk.venue.matching.change_rules(desk.symbol, trading=False)
            for order in desk.venue.matching.open_orders(desk.symbol):
                desk.venue.matching.cancel(order)

        desk.venue.ask(delist)
        desk.rig.parts.live.venue.hint_all()
        await desk.rig.until(lambda: len(desk.venue.asked("submit")) >= 3)
        assert desk.held == held
        await desk.play(Direction.LONG)
        halt(desk, trading=True)
        await desk.rig.until(desk.rig.is_covered)
        await desk.play(Direction.FLAT)
        await desk.leave()

    tell(tmp_path, story)


def test_symbol_that_is_not_traded_is_refused_at_a_first_start(tmp_path):
    """By name, before anything was sent."""

    async def run(place: FakeVenue) -> None:
        await LiveRig(tmp_path, live_config(place)).start()

    with FakeVenue({BTC: flat_candles()}, balances={"USDT": 10_000}) as place:
        place.matching.change_rules(BTC, trading=False)
        with pytest.raises(ConfigError, match=f"{BTC} is not traded"):
            asyncio.run(run(place))
        assert place.asked("submit") == []
