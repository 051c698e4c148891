"""Reconciliation: the venue's orders, trades and balances against the ledger's.

The venue is right about quantities, the ledger about intents. Trades of ours that the ledger lacks are booked as what
they are; an amount that nothing explains is adopted, marked unexplained, and blocks entries until the owner accepts it.
Nothing invents a trade.

A look takes several requests, and orders go on meanwhile. So amounts are compared only when nothing was on its way
during the look, and a difference is believed when two looks have shown the same one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from trader.clock import NS_PER_S
from trader.domain.order import TERMINAL, Order, OrderKind, OrderState
from trader.errors import OutcomeUnknown
from trader.execution.answers import Execution, Standing, VenueOrder, read_balances, read_order, read_trade
from trader.execution.client_ids import ClientIds
from trader.execution.exchange_venue import REQUEST_S, ExchangeVenue
from trader.execution.live_router import LiveRouter
from trader.execution.ports import Connection, LiveAccounts, LiveJournal
from trader.execution.steps import Step, reached
from trader.units import EXACT

log = logging.getLogger(__name__)

#: how far back trades are asked for before the last complete look [s]
OVERLAP_S = 3600
#: smallest unit of the venues' balances; less than this for each fill since the last look is rounding
SMALLEST_UNIT = Decimal("1e-8")
#: numbers left out beyond the last one that the venue is known to have seen: orders that were canceled are not shown
SKIPPED = 10_000
_STANDING = frozenset({OrderState.OPEN, OrderState.PARTIAL, OrderState.CANCELING})


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that the venue says, of nearly one moment."""

    balances: Mapping[str, Decimal]
    open_orders: tuple[VenueOrder, ...]
    executions: tuple[Execution, ...]
    owners: Mapping[str, VenueOrder]  #: orders of executions that the ledger did not know, by the venue's id
    fills: int  #: that the ledger held before the first request
    since_ns: int


@dataclass(slots=True)
class Comparison:
    """What a look has brought."""

    booked: int = 0  #: trades that the ledger lacked
    unresolved: int = 0  #: orders whose state has to be found out
    differs: dict[str, Decimal] = field(default_factory=dict)  #: currencies whose amount differs, by how much
    adopted: int = 0  #: differences that were adopted just now
    compared: bool = False  #: whether amounts could be compared at all

    @property
    def is_complete(self) -> bool:
        """Whether ledger and venue agree now, adopted differences included."""
        return self.compared and not self.booked and not self.unresolved and not self.differs


class Reconciler:
    """Looks at the venue and compares.

    Parameters
    ----------
    connection : Connection
        The line to it.
    venue : ExchangeVenue
        Finds out about single orders.
    router : LiveRouter
        Adopts what was found.
    ledger : LiveJournal
        What is on record.
    books : LiveAccounts
        Exact balances and positions.
    ids : ClientIds
        Knows our orders from others.
    """

    def __init__(
        self,
        connection: Connection,
        venue: ExchangeVenue,
        router: LiveRouter,
        ledger: LiveJournal,
        books: LiveAccounts,
        ids: ClientIds,
    ) -> None:
        self._connection = connection
        self._venue = venue
        self._router = router
        self._ledger = ledger
        self._books = books
        self._ids = ids
        self._strangers: set[str] = set()  # orders of others
        self._seen: dict[str, Decimal] = {}  # differences of the last look
        self._strays: set[str] = set()
        self._fills_compared = ledger.fill_count
        self.complete_ns = 0  #: venue's time of the last complete comparison [ns UTC]
        self.count = 0  #: complete comparisons

    # -- looking -------------------------------------------------------------------------------

    async def look(self, since_ns: int) -> Picture:
        """Ask the venue for everything.

        Parameters
        ----------
        since_ns : int
            Trades from then on [ns UTC]; later when there was a complete comparison after that.

        Returns
        -------
        Picture
            What it said.

        Raises
        ------
        ccxt.BaseError
            As ccxt raised it.
        OutcomeUnknown
            When an answer was garbled.
        """
        reached(Step.RECONCILE_BEGINS)
        fills = self._ledger.fill_count
        since_ns = max(since_ns, self.complete_ns - OVERLAP_S * NS_PER_S)
        balances = read_balances(await self._call("fetch_balance"))
        if balances is None:
            raise OutcomeUnknown("the venue's answer about balances was garbled")
        symbols = [item.symbol for item in self._connection.instruments]
        open_orders = [order for symbol in symbols for order in await self._open_orders(symbol)]
        executions = [item for symbol in symbols for item in await self._executions(symbol, since_ns)]
        owners = await self._owners(executions)
        reached(Step.RECONCILE_ANSWERED)
        return Picture(balances, tuple(open_orders), tuple(executions), owners, fills, since_ns)

    async def _call(self, method: str, *args: object) -> object:
        return await self._connection.call(method, *args, deadline_s=REQUEST_S)

    async def _open_orders(self, symbol: str) -> list[VenueOrder]:
        answer = await self._call("fetch_open_orders", symbol)
        return [order for order in (read_order(raw, symbol) for raw in _rows(answer)) if order is not None]

    async def _executions(self, symbol: str, since_ns: int) -> list[Execution]:
        found: dict[str, Execution] = {}
        since_ms = since_ns // 1_000_000
        while True:  # page after page, until one brings nothing new
            answer = _rows(await self._call("fetch_my_trades", symbol, since_ms))
            read = [item for item in (read_trade(raw, symbol) for raw in answer) if item is not None]
            new = [item for item in read if item.trade_id not in found]
            found.update({item.trade_id: item for item in new})
            if not new or len(answer) < 2:
                return list(found.values())
            since_ms = max(item.time_ns for item in read) // 1_000_000

    async def _owners(self, executions: Iterable[Execution]) -> dict[str, VenueOrder]:
        owners: dict[str, VenueOrder] = {}
        for item in executions:
            number = item.venue_order_id
            known = number in owners or number in self._strangers
            if known or self._ledger.order_by_venue_id(item.symbol, number) is not None:
                continue
            if not self._connection.has("fetchOrder"):
                continue
            order = read_order(await self._call("fetch_order", number, item.symbol), item.symbol)
            if order is None:
                raise OutcomeUnknown("the venue's answer about an order was garbled")
            if self._ids.number(order.client_order_id) is None:
                self._strangers.add(number)
            else:
                owners[number] = order
        return owners

    # -- comparing -----------------------------------------------------------------------------

    def compare(self, picture: Picture) -> Comparison:
        """Bring the ledger to what the venue says; a step, to be committed like any other."""
        result = Comparison()
        self._skip_used_numbers(picture)
        self._compare_open(picture, result)
        self._compare_executions(picture, result)
        self._compare_live(picture, result)
        if not result.booked and not result.unresolved and self._is_quiet(picture):
            result.compared = True
            self._compare_balances(picture.balances, result)
        if result.is_complete:
            self.complete_ns = self._connection.now_ns()
            self.count += 1
        return result

    def _skip_used_numbers(self, picture: Picture) -> None:
        """Leave out order numbers that the venue has seen: after an old ledger was restored they would come again."""
        names = [item.client_order_id for item in (*picture.open_orders, *picture.owners.values())]
        used = max((number for name in names if (number := self._ids.number(name)) is not None), default=0)
        if used and self._ledger.skip_order_ids(used, SKIPPED):
            log.critical("the venue knows order number %d, and the ledger does not: was an old ledger restored?", used)

    def _compare_open(self, picture: Picture, result: Comparison) -> None:
        for found in picture.open_orders:
            if self._ids.number(found.client_order_id) is None:
                continue
            order = self._ledger.order_by_client_id(str(found.client_order_id))
            if order is None or (order.state in TERMINAL and order.state not in (OrderState.LOST, OrderState.REJECTED)):
                self._stray(found, order, result)
            elif order.state not in _STANDING:
                self._router.adopt(order, found)
                self._venue.look_up(self._ledger.order_by_client_id(order.client_order_id) or order)

    def _stray(self, found: VenueOrder, order: Order | None, result: Comparison) -> None:
        """Take back an order with our name that nothing here stands for; a second look makes sure that it is open."""
        result.unresolved += 1
        if found.venue_order_id not in self._strays:
            self._strays.add(found.venue_order_id)
            return
        why = "the ledger has no such order" if order is None else f"the ledger has it as {order.state}"
        log.critical("order %s is open at the venue, and %s: it is taken back", found.client_order_id, why)
        self._venue.sweep(found)

    def _compare_executions(self, picture: Picture, result: Comparison) -> None:
        for item in picture.executions:
            if self._ledger.knows_trade(f"{item.symbol}:{item.trade_id}"):
                continue
            order = self._owner(picture, item)
            if order is None or order.state is OrderState.INTENDED:
                continue
            found = VenueOrder(item.venue_order_id, None, item.symbol, Standing.OPEN, item.quantity, (item,))
            log.warning("trade %s of order %s was not known", item.trade_id, order.client_order_id)
            after = self._router.adopt(order, found)
            result.booked += 1
            if after.state not in TERMINAL:
                self._venue.look_up(after)

    def _owner(self, picture: Picture, item: Execution) -> Order | None:
        order = self._ledger.order_by_venue_id(item.symbol, item.venue_order_id)
        if order is None and item.venue_order_id in picture.owners:
            order = self._ledger.order_by_client_id(str(picture.owners[item.venue_order_id].client_order_id))
        return order

    def _compare_live(self, picture: Picture, result: Comparison) -> None:
        standing = {found.venue_order_id for found in picture.open_orders}
        for order in self._router.tracker.live():
            if order.state is OrderState.INTENDED or order.order_id in self._router.parked:
                continue
            if order.state in _STANDING and order.venue_order_id in standing:
                continue
            result.unresolved += 1
            self._venue.look_up(order)

    def _is_quiet(self, picture: Picture) -> bool:
        """Whether nothing was on its way that moves balances, from the first request of the look until now."""
        moving = [
            order
            for order in self._router.tracker.live()
            if order.kind is not OrderKind.PROTECT
            and order.state is not OrderState.INTENDED
            and order.order_id not in self._router.parked
        ]
        return not moving and picture.fills == self._ledger.fill_count

    def _compare_balances(self, balances: Mapping[str, Decimal], result: Comparison) -> None:
        ours = {name for item in self._connection.instruments for name in (item.base, item.quote)}
        names = sorted(ours | self._books.balances.keys())
        fills = max(1, self._ledger.fill_count - self._fills_compared)
        seen: dict[str, Decimal] = {}
        for name in names:
            found = balances.get(name, Decimal(0))
            difference = EXACT.subtract(found, self._books.balance(name))
            if difference == 0:
                continue
            if abs(difference) < SMALLEST_UNIT * fills:
                self._router.adopt_rounding(name, found)
            elif self._seen.get(name) == difference:
                self._router.adopt_difference(name, found)
                result.adopted += 1
            else:
                seen[name] = result.differs[name] = difference
        self._seen = seen
        if not seen:
            self._fills_compared = self._ledger.fill_count


def _rows(answer: object) -> list[object]:
    if not isinstance(answer, list):
        raise OutcomeUnknown("the venue's answer about orders or trades was garbled")
    return answer
