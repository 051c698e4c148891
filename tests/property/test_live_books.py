"""Real orders: whatever order the venue's answers come in, doubled or not, no unit of money appears or vanishes."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from tests.paper_desk import INSTRUMENTS, MINUTE_NS, NAN, START_NS, SYMBOLS, configure
from trader.codes import Decided, Direction, Reason, Side
from trader.core import kernels
from trader.core.records import CANDLE, new_desk, new_events, new_slots
from trader.domain.decision import Decision
from trader.domain.order import Order, OrderEvent, OrderRequest, OrderState
from trader.domain.verdict import Approved
from trader.execution.answers import Execution, Standing, VenueOrder
from trader.execution.capabilities import Capabilities
from trader.execution.client_ids import ClientIds
from trader.execution.exchange_venue import Update
from trader.execution.live_router import LiveRouter
from trader.ledger.audit import audit
from trader.ledger.journal import Ledger
from trader.state.paths import InstancePaths
from trader.units import EXACT

BTC, ETH = 0, 1
ZERO = Decimal(0)
CURRENCIES = ("BTC", "ETH", "USDT", "BNB")


@dataclass
class Told:
    """An order as the venue has it."""

    order: Order
    trades: list[Execution] = field(default_factory=list)
    over: bool = False

    @property
    def filled(self) -> Decimal:
        """Return the sum of the trades."""
        return sum((item.quantity for item in self.trades), ZERO)


class SilentVenue:
    """Takes orders and says nothing by itself."""

    capabilities = Capabilities()

    def __init__(self) -> None:
        self.orders: dict[int, Told] = {}

    def submit(self, order: Order) -> tuple[()]:
        """Take an order; the same one twice is the same one."""
        self.orders.setdefault(order.order_id, Told(order))
        return ()

    submit_again = submit

    def cancel(self, order: Order) -> tuple[()]:
        """Hear of a cancel."""
        assert order.order_id in self.orders
        return ()

    can_replace, can_amend = True, False

    def replace(self, old: Order, order: Order) -> tuple[()]:
        """Take an order in the place of another one."""
        assert old.order_id in self.orders
        return self.submit(order)

    def withdraw(self, order: Order) -> None:
        """Hear that an order is not to be sent any more: this one was."""
        assert order.order_id in self.orders

    def look_up(self, order: Order, replaces: Order | None = None) -> None:
        """Hear of a question."""


class Desk:
    """Ledger, kernels and live router on a venue that a test speaks for."""

    def __init__(self, folder: Path) -> None:
        self.paths = InstancePaths(folder, folder, folder)
        self.ledger = Ledger.open(
            self.paths.ledger, instance="main", quote="USDT", initial_capital=Decimal(10_000), mode="live"
        )
        self.desk: Any = new_desk()
        self.slots: Any = new_slots(len(SYMBOLS))
        configure(self.desk, self.slots)
        self.ledger.restore(self.desk, self.slots, SYMBOLS, ("alpha",))
        self.venue = SilentVenue()
        self.now_ns = START_NS
        self.router = LiveRouter(
            self.ledger, self.ledger.books, self.venue, self.desk, self.slots, SYMBOLS, INSTRUMENTS,
            ids=ClientIds("main", self.ledger.mark), now_ns=lambda: self.now_ns,
        )  # fmt: skip
        self.trades = 0
        self.minute = 0
        self.candle(100.0)

    def candle(self, price: float) -> None:
        """Play a candle of each symbol; the venue fills, the kernels only ask."""
        self.minute += 1
        candles = np.zeros(len(SYMBOLS), CANDLE)
        open_ns = START_NS + self.minute * MINUTE_NS
        for slot in range(len(SYMBOLS)):
            candles[slot] = (slot, open_ns, open_ns + MINUTE_NS, price, price, price, price, 1.0)
        self.now_ns = open_ns + MINUTE_NS
        events = new_events(len(SYMBOLS))
        self.router.settle(events, kernels.on_candles(self.desk, self.slots, candles, 0, events))
        self.router.pursue()

    def enter(self, slot: int, quantity: Decimal) -> None:
        """Send an entry, unless the symbol is busy."""
        if self.slots["quantity"][slot] or self.slots["pending_lots"][slot] or self.slots["blocked"][slot]:
            return
        number = self.ledger.next_decision_id()
        request = OrderRequest(
            symbol=SYMBOLS[slot], side=Side.BUY, quantity=quantity, reference_price=100.0, reason=Reason.SIGNAL,
            strategy="alpha", confidence=0.9, stop_price=NAN, target_price=NAN, reduce_only=False, decision_id=number,
        )  # fmt: skip
        order = self.router.send(Approved(request), slot, 0)
        self.ledger.record_decisions([
            Decision(
                number, 1, self.now_ns, "alpha", SYMBOLS[slot], 0, 100.0, int(Direction.LONG), 0.9, NAN,
                int(Decided.ORDERED), 0, order.order_id, "",
            )
        ])  # fmt: skip

    def trade(self, told: Told, lots: int, price: int, fee: tuple[str, Decimal]) -> None:
        """Let the venue execute a part of an order."""
        instrument = next(item for item in INSTRUMENTS if item.symbol == told.order.symbol)
        quantity = min(instrument.lot_size * lots, told.order.quantity - told.filled)
        if told.over or quantity <= 0:
            return
        self.trades += 1
        number, symbol = str(told.order.order_id), told.order.symbol
        currency = {"base": instrument.base, "quote": instrument.quote}.get(fee[0], fee[0])
        amount = quantity * fee[1] if currency == instrument.base else fee[1]
        told.trades.append(
            Execution(
                str(self.trades), number, symbol, told.order.side, Decimal(price), quantity,
                ((currency, amount),), self.now_ns + self.trades,
            )
        )  # fmt: skip
        told.over = told.filled == told.order.quantity

    def tell(self, told: Told, seen: int, *, twice: bool) -> None:
        """Say how an order stands: its first trades while it is open, all of them when it is over."""
        executions = told.trades if told.over else told.trades[:seen]
        standing = Standing.OPEN
        if told.over:
            standing = Standing.FILLED if told.filled == told.order.quantity else Standing.CANCELED
        filled = sum((item.quantity for item in executions), ZERO)
        shown = tuple(reversed(executions)) + (tuple(executions) if twice else ())
        number = str(told.order.order_id)
        update = Update(told.order.order_id, VenueOrder(number, None, told.order.symbol, standing, filled, shown))
        self.router.take([update, update] if twice else [update])

    def check(self) -> None:
        """Hold ledger and kernels against the venue's trades that were told."""
        held = dict.fromkeys(CURRENCIES, ZERO) | {"USDT": Decimal(10_000)}
        for told in self.venue.orders.values():
            order = self.ledger.order(told.order.order_id)
            assert order is not None
            booked = [item for item in told.trades if self.ledger.knows_trade(f"{item.symbol}:{item.trade_id}")]
            assert sum((item.quantity for item in booked), ZERO) == order.filled_quantity <= order.quantity
            for item in booked:
                base, _, quote = item.symbol.partition("/")
                sign = int(item.side)
                held[base] = EXACT.add(held[base], sign * item.quantity)
                held[quote] = EXACT.subtract(held[quote], sign * item.quantity * item.price)
                for currency, amount in item.fees:
                    held[currency] = EXACT.subtract(held[currency], amount)
        assert {name: self.ledger.books.balance(name) for name in CURRENCIES} == held


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.sampled_from([BTC, ETH]), st.integers(2_000, 50_000)),
        st.tuples(st.just("trade"), st.integers(0, 9), st.integers(1, 60_000), st.integers(90, 110),
                  st.sampled_from(["base", "quote", "BNB"])),
        st.tuples(st.just("tell"), st.integers(0, 9), st.integers(0, 3), st.booleans()),
        st.tuples(st.just("fill"), st.integers(0, 9), st.integers(1, 3), st.sampled_from(["base", "quote", "BNB"])),
        st.tuples(st.just("fill"), st.integers(-2, -1), st.integers(1, 3), st.sampled_from(["base", "quote", "BNB"])),
        st.tuples(st.just("end"), st.integers(0, 9)),
        st.tuples(st.just("lose"), st.integers(0, 9)),
        st.tuples(st.just("absent"), st.integers(0, 9)),
        st.tuples(st.just("close"), st.sampled_from([BTC, ETH])),
        st.tuples(st.just("candle"), st.integers(90, 110)),
    ),
    min_size=4,
    max_size=40,
)  # fmt: skip


@given(operations=OPERATIONS)
@example(operations=[("enter", ETH, 2_000), ("fill", 0, 1, "base"), ("fill", 1, 1, "base")])  # its fee beyond an exit
@example(operations=[("enter", ETH, 2_000), ("fill", 0, 1, "base"), ("fill", 1, 3, "base")])  # its parts more than all
def test_books_conserve_every_unit_over_any_order_of_answers(operations):
    """Fills never exceed an intent; cash, positions, dust and fees add up to the last digit; the audit is clean."""
    with tempfile.TemporaryDirectory() as name:
        desk = Desk(Path(name))
        for operation in operations:
            _do(desk, operation)
            desk.check()
        for _ in range(8):  # the venue tells everything in the end, and what follows from it comes to rest
            for told in list(desk.venue.orders.values()):
                order = desk.ledger.order(told.order.order_id)
                assert order is not None
                if order.state is OrderState.CANCELING:
                    told.over = True
                desk.tell(told, 99, twice=True)
            desk.check()
        for told in desk.venue.orders.values():
            order = desk.ledger.order(told.order.order_id)
            assert order is not None
            assert order.filled_quantity == told.filled, "every trade was booked"
        desk.ledger.save_state(desk.desk, desk.slots, int(desk.desk["account"]["event_ns"][0]))
        desk.ledger.commit()
        found = [str(item) for item in audit(desk.paths).differences]
        desk.ledger.close()
        assert found == []


def _do(desk: Desk, operation: tuple[Any, ...]) -> None:
    kind, *values = operation
    if kind == "enter":
        desk.enter(values[0], INSTRUMENTS[values[0]].lot_size * values[1])
    elif kind == "close":
        desk.router.close(values[0], Reason.STRATEGY_EXIT)
    elif kind == "candle":
        desk.candle(float(values[0]))
    elif desk.venue.orders:
        orders = list(desk.venue.orders.values())
        _tell(desk, orders[values[0] % len(orders)], kind, values[1:])


def _tell(desk: Desk, told: Told, kind: str, values: list[Any]) -> None:
    number = told.order.order_id
    if kind == "trade":
        desk.trade(told, values[0], values[1], (values[2], Decimal("0.001")))
    elif kind == "tell":
        desk.tell(told, values[0], twice=values[1])
    elif kind == "fill":
        for part in range(values[0], 0, -1):
            left = told.order.quantity - told.filled
            desk.trade(told, max(int(left / Decimal("0.00001")) // part, 1), 100, (values[1], Decimal("0.001")))
        desk.tell(told, 99, twice=True)
    elif kind == "end":
        told.over = True
        desk.tell(told, 99, twice=False)
    elif kind == "lose":
        desk.router.take([Update(number, event=OrderEvent.LOSE_ANSWER, note="lost")])
    elif kind == "absent" and not told.trades:
        desk.router.take([Update(number, is_absent=True)])
