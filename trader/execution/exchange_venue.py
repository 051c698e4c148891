"""The exchange: orders out over ccxt, and what has become of them back in.

Every live order has a task of its own (its life), so that a request that hangs holds up no other order. A life sends
the order once, and from then on asks: an answer that was lost, late, cut or garbled changes nothing, only what the
venue says about an order that was asked for by its id does. What is found out is laid down as an `Update`, which the
engine takes in as a step of its own; nothing here touches ledger or books.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from trader.clock import NS_PER_S
from trader.codes import Side
from trader.domain.order import Order, OrderEvent, OrderKind
from trader.execution import outcomes
from trader.execution.answers import Standing, VenueOrder, amount_of, exactly, read_order, read_trade
from trader.execution.capabilities import Capabilities
from trader.execution.outcomes import Outcome
from trader.execution.ports import Connection
from trader.execution.sockets import watch_sockets
from trader.execution.steps import Step, reached
from trader.execution.venue import Report
from trader.logs.redaction import redact
from trader.units import floor_to_step, plain

log = logging.getLogger(__name__)

#: longest wait for one request [s]
REQUEST_S = 10.0
#: pauses between two questions about an order whose fate is open [s]
PAUSES_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
#: pause between two questions about a stop that rests; a message of the stream ends it [s]
RESTING_S = 15.0
#: answers "no such order" that are needed before it is believed, the last one asked when nothing can be on its way
ABSENCES = 2
#: how long an order in another one's place may take to be shown once that one is gone [s]
HEIR_S = 0.5
#: how far a stop that needs a limit has it beyond its trigger
LIMIT_BEYOND_FRAC = 0.02
#: how much older than its intent an order at the venue may be, clocks being what they are [ns]
OLDER_NS = 600 * NS_PER_S
#: longest text of an error that is kept with an order
NOTE_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Update:
    """What was found out about one order."""

    order_id: int
    found: VenueOrder | None = None  #: how it stands at the venue
    event: OrderEvent | None = None  #: LOSE_ANSWER or REJECT
    is_absent: bool = False  #: it never came to the venue, and nothing of it is on its way
    stays: bool = False  #: the venue refuses to move it
    note: str = ""


@dataclass(slots=True)
class _Life:
    """One live order on its way."""

    order: Order
    send: bool  # whether the request is still to be made
    again: bool = False  # whether it may have been made before
    replaces: Order | None = None  # the order that it takes the place of, in the same request
    decided_s: float = math.inf  # when the order that it replaces was known to be gone [monotonic]
    withdrawn: bool = False  # whether nothing is to be sent any more
    sent_s: float = 0.0  # when it was made last, or may have been [monotonic]
    amends: bool = False  # whether the request that moves its trigger is still to be made
    amended_s: float = -math.inf  # when it was made last; -inf: nothing of it can be on its way
    cancels: bool = False
    canceled_s: float = 0.0  # when a cancel was asked for last
    absences: int = 0
    asked: int = 0
    refusal: str = ""
    over: bool = False
    task: asyncio.Task[None] | None = None
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class ExchangeVenue:
    """Sends orders to an exchange, and finds out what becomes of them.

    Parameters
    ----------
    connection : Connection
        The line to it, open.
    capabilities : Capabilities
        What the venue can do.
    timeout_s : float
        Bound on how old an entry may be when it is sent (again) [s].
    on_error : callable
        Told of every error of a request.
    on_success : callable
        Told of every answer.
    """

    def __init__(
        self,
        connection: Connection,
        capabilities: Capabilities,
        *,
        timeout_s: float = 30.0,
        on_error: Callable[[BaseException], object] = lambda _: None,
        on_success: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = connection.venue
        self.capabilities = capabilities
        self.timeout_s = timeout_s
        self.arrived = asyncio.Event()  #: set when there is something to collect
        self._connection = connection
        self._on_error = on_error
        self._on_success = on_success
        self._lives: dict[int, _Life] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeps: set[asyncio.Task[None]] = set()
        self._outbox: list[_Life] = []
        self._updates: list[Update] = []
        exactly(connection.rest)
        watch_sockets(connection.rest)

    # -- handing over --------------------------------------------------------------------------

    def submit(self, order: Order) -> Sequence[Report]:
        """Take an order; it is sent by the next `deliver`."""
        return self._begin(_Life(order, send=True))

    def submit_again(self, order: Order) -> Sequence[Report]:
        """Take an order that the venue never had, with the id that it was given then."""
        return self._begin(_Life(order, send=True, again=True))

    @property
    def can_replace(self) -> bool:
        """Whether the venue ends one order and places the next in one request."""
        return self.capabilities.replaces and self._connection.has("editOrder")

    def replace(self, old: Order, order: Order) -> Sequence[Report]:
        """Take an order that takes the place of another one, in one request; it is sent by the next `deliver`."""
        return self._begin(_Life(order, send=True, replaces=old))

    @property
    def can_amend(self) -> bool:
        """Whether the venue moves the trigger of a resting stop in place."""
        return self.capabilities.amends and self._connection.has("editOrder")

    def amend(self, order: Order) -> None:
        """Take the wish to have a resting stop trigger at its order's stop price; it is sent by the next `deliver`."""
        life = self._lives.get(order.order_id) or _Life(order, send=False)
        life.order = replace(life.order, stop_price=order.stop_price)
        life.amends = True
        self._begin(life)

    def withdraw(self, order: Order) -> None:
        """Send an order no more whose request waits to be made again; one that is on its way is found out about."""
        life = self._lives.get(order.order_id)
        if life is not None:
            life.withdrawn = True
            life.woken.set()

    def _begin(self, life: _Life) -> Sequence[Report]:
        self._lives[life.order.order_id] = life
        self._outbox.append(life)
        return ()

    def cancel(self, order: Order) -> Sequence[Report]:
        """Take the wish to end an order; it is sent by the next `deliver`."""
        life = self._lives.get(order.order_id) or _Life(order, send=False)
        self._lives[order.order_id] = life
        life.cancels = True
        self._outbox.append(life)
        return ()

    def look_up(self, order: Order, replaces: Order | None = None) -> None:
        """Find out what has become of an order, from the next `deliver` on until it is known.

        Parameters
        ----------
        order : Order
            Which.
        replaces : Order, optional
            The order in whose place it was sent, when that one is live.
        """
        life = self._lives.get(order.order_id)
        if life is None:
            # whoever sent it before is dead, and what it sent may still be on its way
            life = _Life(order, send=False, again=True, replaces=replaces, sent_s=time.monotonic())
            self._lives[order.order_id] = life
        life.asked = 0
        self._outbox.append(life)

    def deliver(self) -> None:
        """Begin to send what was handed over: what reduces risk first, then cancels, then entries."""
        outbox, self._outbox = self._outbox, []
        for life in sorted(outbox, key=_urgency):
            if life.task is None or life.task.done():
                # the life before it, of the same order, may still be on its last step
                life.task = asyncio.create_task(self._live(life), name=f"order {life.order.order_id}")
                self._tasks.add(life.task)
                life.task.add_done_callback(self._tasks.discard)
            else:
                life.woken.set()

    def collect(self) -> list[Update]:
        """Return what was found out since the last call, in the order in which it was."""
        self.arrived.clear()
        updates, self._updates = self._updates, []
        return updates

    def hint(self, client_order_id: str) -> None:
        """Ask about an order now: the stream has mentioned it."""
        for life in self._lives.values():
            if life.order.client_order_id == client_order_id:
                life.asked = 0
                life.woken.set()

    def hint_all(self) -> None:
        """Ask about every live order now, as after a reconnect."""
        for life in self._lives.values():
            life.asked = 0
            life.woken.set()

    def sweep(self, found: VenueOrder) -> None:
        """Take back an order at the venue that nothing here stands for."""
        task = asyncio.create_task(self._sweep(found), name=f"sweep {found.venue_order_id}")
        self._sweeps.add(task)
        task.add_done_callback(self._sweeps.discard)

    async def _sweep(self, found: VenueOrder) -> None:
        try:
            await self._connection.call("cancel_order", found.venue_order_id, found.symbol, deadline_s=REQUEST_S)
        except Exception as error:  # noqa: BLE001 - the next look tells whether it is still there
            self._on_error(error)

    @property
    def busy(self) -> frozenset[int]:
        """Orders that something is being found out about."""
        return frozenset(self._lives)

    async def close(self) -> None:
        """Ask no more; orders stay as they are."""
        tasks = [task for task in (*self._tasks, *self._sweeps) if not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- one order's life ----------------------------------------------------------------------

    async def _live(self, life: _Life) -> None:
        number = life.order.order_id
        try:
            while not life.over:
                try:
                    await self._go_on(life)
                except Exception as error:  # a defect here must not leave an order unwatched
                    log.exception("order %s: asked about again in a second", life.order.client_order_id)
                    self._on_error(error)
                    await asyncio.sleep(1.0)
        finally:
            if self._lives.get(number) is life:
                del self._lives[number]

    async def _go_on(self, life: _Life) -> None:
        if life.send:
            life.send = False
            try:
                await self._send(life)
            finally:
                if life.replaces is not None:  # whatever was answered, the other one may be gone now
                    self.hint(life.replaces.client_order_id)
            return
        if life.amends and not life.cancels:
            life.amends = False
            await self._unless_canceled(life, self._amend(life))
        if life.cancels and time.monotonic() - life.canceled_s > self._pause_s(life):
            await self._send_cancel(life)
        await self._unless_canceled(life, self._ask(life))
        if not life.over:
            await self._rest(life)

    def _pause_s(self, life: _Life) -> float:
        return PAUSES_S[min(life.asked, len(PAUSES_S) - 1)]

    async def _rest(self, life: _Life) -> None:
        resting = life.order.kind is OrderKind.PROTECT and life.order.venue_order_id is not None
        calm = resting and not life.cancels and life.asked > len(PAUSES_S)
        pause_s = RESTING_S if calm else self._pause_s(life)
        with suppress(TimeoutError):
            await asyncio.wait_for(life.woken.wait(), pause_s)
        life.woken.clear()

    async def _unless_canceled(self, life: _Life, asking: Coroutine[Any, Any, None]) -> None:
        """Ask, but drop the question when meanwhile a cancel is to be sent: a hung answer must not hold it up."""
        question = asyncio.ensure_future(asking)
        while not question.done():
            woken = asyncio.ensure_future(life.woken.wait())
            try:
                await asyncio.wait({question, woken}, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                question.cancel()
                raise
            finally:
                woken.cancel()
            if not question.done():
                life.woken.clear()
                if life.cancels and not life.canceled_s:
                    question.cancel()
                    with suppress(asyncio.CancelledError):
                        await question
                    return
        question.result()

    # -- submit --------------------------------------------------------------------------------

    async def _send(self, life: _Life) -> None:
        order = life.order
        for attempt in itertools.count():
            if not order.reduce_only and not self._is_fresh(order):
                return self._lose(life, "too old to be sent")
            if life.withdrawn:
                return self._withdraw(life)
            life.sent_s = time.monotonic()
            try:
                answer = await (self._create(order) if life.replaces is None else self._replace(order, life.replaces))
            except Exception as error:  # noqa: BLE001 - what it means is in a table
                reached(Step.SUBMIT_FAILED if life.replaces is None else Step.REPLACE_FAILED)
                self._on_error(error)
                if not await self._after_failure(life, error, attempt):
                    return None
                continue
            reached(Step.SUBMIT_ANSWERED if life.replaces is None else Step.REPLACE_ANSWERED)
            found = read_order(answer, order.symbol)
            if found is None or found.client_order_id not in (None, order.client_order_id):
                return self._lose(life, "the answer was garbled")
            self._on_success()
            return await self._tell(life, replace(found, trigger=None))
        return None

    async def _create(self, order: Order) -> Any:
        reached(Step.SUBMIT_BEGINS)
        return await self._connection.call("create_order", *self._arguments(order), **self._params(order))

    async def _replace(self, order: Order, old: Order) -> Any:
        reached(Step.REPLACE_BEGINS)
        params = self._params(order)
        params["triggerPrice"] = params.pop("stopLossPrice")  # as edit_order calls it
        return await self._connection.call("edit_order", old.venue_order_id, *self._arguments(order), **params)

    async def _after_failure(self, life: _Life, error: BaseException, attempt: int) -> bool:
        """Take in that a submit has raised; return whether it is to be made again."""
        text = _text(error)
        outcome = outcomes.of_submit if life.replaces is None else outcomes.of_replace
        match outcome(error, self.capabilities):
            case Outcome.REFUSED if not life.again:
                with suppress(Exception):  # rules may have changed: whoever tries again then knows them
                    await self._connection.reload_markets()
                self._post(Update(life.order.order_id, event=OrderEvent.REJECT, note=text))
                life.over = True
            case Outcome.REFUSED:  # but an earlier request may have been accepted
                life.refusal = text
                self._lose(life, text)
            case Outcome.NOT_YET:
                if "InvalidNonce" in {cls.__name__ for cls in type(error).__mro__}:
                    with suppress(Exception):
                        await self._connection.measure_clock()
                    if attempt == 0:
                        return True
                await self._wait(life, _asked_to_wait_s(error, attempt))
                return True
            case Outcome.STANDS:
                self._lose(life, f"it stands already: {text}")
            case _:
                self._lose(life, text)
        return False

    async def _wait(self, life: _Life, pause_s: float) -> None:
        """Wait before a request is made again; not when meanwhile it is not wanted any more."""
        ends_s = time.monotonic() + pause_s
        while not life.withdrawn and (left_s := ends_s - time.monotonic()) > 0:
            life.woken.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(life.woken.wait(), left_s)

    def _withdraw(self, life: _Life) -> None:
        """End an order that is not wanted any more before its request was made, or after the venue has not taken it."""
        text = "not wanted any more before it was sent"
        if life.again:  # but an earlier request may have been accepted
            self._lose(life, text)
            return
        self._post(Update(life.order.order_id, event=OrderEvent.REJECT, note=text))
        life.over = True

    def _lose(self, life: _Life, text: str) -> None:
        log.warning("order %s: its fate is not known, it is looked up: %s", life.order.client_order_id, text)
        self._post(Update(life.order.order_id, event=OrderEvent.LOSE_ANSWER, note=text))

    def _is_fresh(self, order: Order) -> bool:
        return self._connection.now_ns() - order.created_ns <= self.timeout_s * 1e9

    def _arguments(self, order: Order) -> tuple[Any, ...]:
        side = "buy" if order.side is Side.BUY else "sell"
        amount = plain(order.quantity)
        if order.kind is OrderKind.PROTECT and self.capabilities.stop == "limit":
            tick = next(item.tick_size for item in self._connection.instruments if item.symbol == order.symbol)
            beyond = 1.0 - LIMIT_BEYOND_FRAC if order.side is Side.SELL else 1.0 + LIMIT_BEYOND_FRAC
            price = floor_to_step(_decimal(order.stop_price * beyond), tick)
            return order.symbol, "limit", side, amount, plain(price)
        return order.symbol, "market", side, amount, None

    def _params(self, order: Order) -> dict[str, Any]:
        params: dict[str, Any] = {"clientOrderId": order.client_order_id, "deadline_s": REQUEST_S}
        if order.kind is OrderKind.PROTECT:
            return {**params, "stopLossPrice": plain(_decimal(order.stop_price))}
        if self.capabilities.price_option:
            params["createMarketBuyOrderRequiresPrice"] = False
        return {**params, **self.capabilities.market_params}

    # -- amend ---------------------------------------------------------------------------------

    async def _amend(self, life: _Life) -> None:
        """Have the trigger moved; where it stands then is what the venue says when it is asked for the order next."""
        order, life.asked, life.amended_s = life.order, 0, time.monotonic()
        side = "buy" if order.side is Side.BUY else "sell"
        trigger = {"stopLossPrice": plain(_decimal(order.stop_price))}
        reached(Step.REPLACE_BEGINS)
        try:
            await self._connection.call(
                "edit_order", order.venue_order_id, order.symbol, "market", side, None, None,
                deadline_s=REQUEST_S, **trigger,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - what it means is in a table
            reached(Step.REPLACE_FAILED)
            self._on_error(error)
            outcome = outcomes.of_submit(error, self.capabilities)
            if outcome in (Outcome.REFUSED, Outcome.NOT_YET) or outcomes.of_lookup(error) is Outcome.ABSENT:
                life.amended_s = -math.inf
            if outcome is Outcome.REFUSED:
                self._post(Update(order.order_id, stays=True, note=_text(error)))
        else:
            reached(Step.REPLACE_ANSWERED)
            self._on_success()

    def _trigger_known(self, life: _Life, found: VenueOrder, asked_s: float) -> VenueOrder:
        """Return an order without its trigger where that never moves, or while a request may still move it."""
        agrees = found.trigger == _decimal(life.order.stop_price)
        settled = not life.amends and asked_s - life.amended_s >= self.settles_s
        return found if self.can_amend and (agrees or settled) else replace(found, trigger=None)

    # -- cancel --------------------------------------------------------------------------------

    async def _send_cancel(self, life: _Life) -> None:
        order = life.order
        if order.venue_order_id is None and self.capabilities.lookup_param is None:
            return  # its id at the venue has to be found first
        life.canceled_s = time.monotonic()
        reached(Step.CANCEL_BEGINS)
        params = {} if order.venue_order_id else {str(self.capabilities.lookup_param): order.client_order_id}
        try:
            await self._connection.call(
                "cancel_order", order.venue_order_id, order.symbol, deadline_s=REQUEST_S, **params
            )
        except Exception as error:  # noqa: BLE001 - whatever it was, the order is asked for next
            reached(Step.CANCEL_FAILED)
            self._on_error(error)
        else:
            reached(Step.CANCEL_ANSWERED)
            self._on_success()
            life.asked = 0

    # -- asking --------------------------------------------------------------------------------

    async def _ask(self, life: _Life) -> None:
        life.asked += 1
        asked_s = time.monotonic()
        reached(Step.LOOKUP_BEGINS)
        try:
            found, known = await self._find(life.order)
        except Exception as error:  # noqa: BLE001 - what it means is in a table
            if outcomes.of_lookup(error) is not Outcome.ABSENT:
                reached(Step.LOOKUP_FAILED)
                self._on_error(error)
                return
            found, known = None, True
        reached(Step.LOOKUP_ANSWERED)
        if not known:
            return  # garbled
        self._on_success()
        if found is None:
            await self._note_absence(life, asked_s)
        else:
            life.absences = 0
            await self._tell(life, self._trigger_known(life, found, asked_s))

    async def _find(self, order: Order) -> tuple[VenueOrder | None, bool]:
        """Return the order as the venue knows it, and whether the answer can be relied on."""
        param = self.capabilities.lookup_param
        if order.venue_order_id is not None and self._connection.has("fetchOrder"):
            answer = await self._connection.call(
                "fetch_order", order.venue_order_id, order.symbol, deadline_s=REQUEST_S
            )
        elif param is not None:
            by_client = {param: order.client_order_id}
            answer = await self._connection.call("fetch_order", None, order.symbol, deadline_s=REQUEST_S, **by_client)
        else:
            return await self._search(order)
        found = read_order(answer, order.symbol)
        ours = found is not None and found.client_order_id in (None, order.client_order_id)
        return (found, True) if ours and _is_same(answer, order) else (None, False)

    async def _search(self, order: Order) -> tuple[VenueOrder | None, bool]:
        """Look for an order among the open ones, then among those that are over, then among the open ones again.

        The second look finds one that was opened while the first answers were on their way.
        """
        since_ms = order.created_ns // 1_000_000 - 60_000
        over = next(
            name for name in ("fetchClosedOrders", "fetchOrders", "fetchOpenOrders") if self._connection.has(name)
        )
        methods = {"fetchClosedOrders": "fetch_closed_orders", "fetchOrders": "fetch_orders"}
        for method, since in (
            ("fetch_open_orders", None),
            (methods.get(over, "fetch_open_orders"), since_ms),
            ("fetch_open_orders", None),
        ):
            answer = await self._connection.call(method, order.symbol, since, deadline_s=REQUEST_S)
            if not isinstance(answer, list):
                return None, False
            for raw in answer:
                mine = raw.get("clientOrderId") == order.client_order_id or (
                    order.venue_order_id is not None and str(raw.get("id")) == order.venue_order_id
                )
                if mine:
                    found = read_order(raw, order.symbol)
                    return found, found is not None and _is_same(raw, order)
        return None, True

    async def _note_absence(self, life: _Life, asked_s: float) -> None:
        life.absences += 1
        if life.absences < ABSENCES or not self._is_settled(life, asked_s):
            return
        if life.order.venue_order_id is not None:
            # it was there once: the venue has dropped it, and what it filled is in the trades
            dropped = VenueOrder(
                life.order.venue_order_id, None, life.order.symbol, Standing.EXPIRED, life.order.filled_quantity
            )
            await self._tell(life, dropped)
            return
        if life.refusal:
            self._post(Update(life.order.order_id, event=OrderEvent.REJECT, note=life.refusal))
        else:
            self._post(Update(life.order.order_id, is_absent=True, note="the venue never heard of it"))
        life.over = True

    def _is_settled(self, life: _Life, asked_s: float) -> bool:
        """Tell whether nothing of a request can have been on its way any more when it was asked about.

        An order in another one's place is placed when that one is canceled by the same request, or never: once that one
        is gone, the request was dealt with, or will be refused.
        """
        if life.replaces is not None and life.replaces.order_id not in self._lives:
            life.decided_s = min(life.decided_s, time.monotonic())
        return asked_s - life.sent_s >= self.settles_s or asked_s - life.decided_s >= HEIR_S

    @property
    def settles_s(self) -> float:
        """How long after it was sent a request may still be accepted [s]."""
        option = self.capabilities.settles_option
        told_ms = self._connection.rest.options.get(option) if option else None
        if isinstance(told_ms, int | float) and told_ms > 0:
            return float(told_ms) / 1000.0
        return self.timeout_s if self.capabilities.settles_s is None else self.capabilities.settles_s

    async def _tell(self, life: _Life, found: VenueOrder) -> None:
        """Lay down how an order stands, with every execution of it; over only when these explain what is filled."""
        order = life.order
        life.order = replace(order, venue_order_id=found.venue_order_id)
        nothing_new = found.filled == order.filled_quantity and found.standing is not Standing.EXPIRED
        whole = found.is_explained and all(item.fees for item in found.executions)
        if not whole and not nothing_new:
            executions = await self._executions(order.symbol, found.venue_order_id, order.created_ns)
            if executions is None:
                return
            found = found.with_executions([item for item in executions if item.trade_id])
            if not found.is_explained:
                found = replace(found, standing=Standing.OPEN, filled=_filled(found))
        self._post(Update(order.order_id, found=found))
        life.order = replace(life.order, filled_quantity=found.filled)
        if found.is_over:
            life.over = True

    async def _executions(self, symbol: str, venue_order_id: str, created_ns: int) -> list[Any] | None:
        since_ms = created_ns // 1_000_000 - 60_000
        params = {"orderId": venue_order_id} if self._connection.rest.id.startswith("binance") else {}
        since = None if params else since_ms
        try:
            answer = await self._connection.call("fetch_my_trades", symbol, since, deadline_s=REQUEST_S, **params)
        except Exception as error:  # noqa: BLE001 - asked again with the order
            self._on_error(error)
            return None
        reached(Step.TRADES_ANSWERED)
        if not isinstance(answer, list):
            return None
        self._on_success()
        read = [read_trade(raw, symbol) for raw in answer]
        return [item for item in read if item is not None and item.venue_order_id == venue_order_id]

    def _post(self, update: Update) -> None:
        self._updates.append(update)
        self.arrived.set()


def _is_same(raw: Any, order: Order) -> bool:
    """Tell whether what was found under an order's name can be that order, and not an older one of the same name."""
    side = {"buy": Side.BUY, "sell": Side.SELL}.get(str(raw.get("side")), order.side)
    quantity, told_ms = amount_of(raw.get("amount")), raw.get("timestamp")
    older = isinstance(told_ms, int | float) and told_ms * 1e6 < order.created_ns - OLDER_NS
    if side is order.side and quantity in (None, order.quantity) and not older:
        return True
    log.critical(
        "order %s: the venue has another one under this name (%s %s of %s): was an old ledger restored? "
        "The symbol stays as it is until you have looked",
        order.client_order_id, raw.get("side"), raw.get("amount"), raw.get("datetime"),
    )  # fmt: skip
    return False


def _urgency(life: _Life) -> tuple[int, int]:
    if life.order.reduce_only and life.order.kind is not OrderKind.PROTECT:
        return 0, life.order.order_id
    return (1 if life.cancels else 2 if life.order.reduce_only else 3), life.order.order_id


def _asked_to_wait_s(error: BaseException, attempt: int) -> float:
    headers = getattr(error, "headers", None) or {}
    told = next((value for name, value in headers.items() if str(name).lower() == "retry-after"), None)
    with suppress(TypeError, ValueError):
        return min(max(float(told), 0.05), 60.0)  # type: ignore[arg-type]
    return PAUSES_S[min(attempt + 3, len(PAUSES_S) - 1)]


def _filled(found: VenueOrder) -> Any:
    return sum((item.quantity for item in found.executions), type(found.filled)(0))


def _decimal(value: float) -> Any:
    from trader.units import exact

    return exact(float(value))


def _text(error: BaseException) -> str:
    return redact(f"{type(error).__name__}: {error}")[:NOTE_LENGTH]
