"""The matching engine: orders meet the prices of the candles, and the account pays and receives."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_UP, Decimal
from typing import Any

from tests.loopback.venue.books import (
    Account,
    Books,
    Refusal,
    Refused,
    Status,
    VenueOrder,
    VenueTrade,
    floored,
    raised,
)
from tests.loopback.venue.clock import VenueClock
from tests.loopback.venue.markets import ZERO, Market

Listener = Callable[[str, VenueOrder, "VenueTrade | None"], None]
IN_QUOTE = "quote"  # the fee's currency is the pair's quote, whoever buys or sells
STOPS_BELOW = {("STOP_LOSS", False), ("STOP_LOSS_LIMIT", False), ("TAKE_PROFIT", True), ("TAKE_PROFIT_LIMIT", True)}


@dataclass(frozen=True)
class Asked:
    """An order as a dialect understood it."""

    symbol: str
    buys: bool
    kind: str
    quantity: Decimal = ZERO
    price: Decimal = ZERO
    stop_price: Decimal = ZERO
    time_in_force: str = "GTC"
    quote_quantity: Decimal = ZERO
    client_id: str = ""


@dataclass
class Fees:
    """What the venue takes, and in which currency."""

    rate: Decimal
    currency: str | None = None  # None: the currency received; IN_QUOTE
    price: Decimal = Decimal(600)  # of that currency in quote currency, unless it has a market here
    discount: Decimal = Decimal("0.75")


class Matching:
    """Orders, matched at the price that the candles have reached."""

    def __init__(
        self, markets: Mapping[str, Market], balances: dict[str, Decimal], clock: VenueClock, fees: Fees
    ) -> None:
        self.markets = dict(markets)
        self.account = Account(balances)
        self.clock = clock
        self.fees = fees
        self.orders: dict[int, VenueOrder] = {}
        self.trades: list[VenueTrade] = []
        self.submissions: Counter[str] = Counter()
        self.listeners: list[Listener] = []
        self.slippage_bps = ZERO
        self.unique_for_ever = False  # refuse a client id that any order ever had, instead of open ones only
        self.armed: tuple[int, bool] = (1, False)  # pieces of the next order, and whether they come one by one
        self.trade_ids = itertools.count(1001)
        self._order_ids = itertools.count(1)
        self._open: dict[str, dict[int, VenueOrder]] = {symbol: {} for symbol in markets}
        self._by_client_id: dict[str, VenueOrder] = {}

    # ------------------------------------------------------------- orders

    def market(self, symbol: str) -> Market:
        """Return a symbol's market, or refuse."""
        if symbol not in self.markets:
            raise Refused(Refusal.UNKNOWN_SYMBOL, symbol)
        return self.markets[symbol]

    def check(self, asked: Asked) -> VenueOrder:
        """Return the order that an accepted request becomes, or refuse it for one of the symbol's rules."""
        market = self.market(asked.symbol)
        rules, now = market.rules, market.price
        if not rules.trading or now <= 0:
            raise Refused(Refusal.NOT_TRADING, asked.symbol)
        quantity = asked.quantity
        if asked.quote_quantity > 0:
            quantity = (asked.quote_quantity / now / rules.step).quantize(Decimal(1), ROUND_DOWN) * rules.step
        order = VenueOrder(
            order_id=0, client_id=asked.client_id, symbol=asked.symbol, buys=asked.buys, kind=asked.kind,
            quantity=quantity, price=asked.price, stop_price=asked.stop_price, time_in_force=asked.time_in_force,
            quote_quantity=asked.quote_quantity,
        )  # fmt: skip
        if quantity % rules.step or not rules.min_quantity <= quantity <= rules.max_quantity:
            raise Refused(Refusal.LOT_SIZE)
        for price, needed in (
            (order.price, order.limited),
            (order.stop_price, order.kind.startswith(("STOP", "TAKE"))),
        ):
            if price % rules.tick or price > rules.max_price or (needed and price <= 0):
                raise Refused(Refusal.PRICE_FILTER)
        if quantity * (order.price or order.stop_price or now) < rules.min_notional:
            raise Refused(Refusal.NOTIONAL)
        if order.waits and self._triggers(order, now):
            raise Refused(Refusal.TRIGGERS_NOW)
        if order.kind == "LIMIT_MAKER" and self._crosses(order, now):
            raise Refused(Refusal.TAKES_NOW)
        if order.client_id and self._taken(order.client_id):
            raise Refused(Refusal.DUPLICATE, order.client_id)
        return order

    def place(self, asked: Asked) -> VenueOrder:
        """Accept an order, or refuse it; what can be filled at once is filled."""
        order = self.check(asked)
        market = self.markets[order.symbol]
        if order.buys:
            self.account.lock(order, market.quote, self._needed(order, market.price))
        else:
            self.account.lock(order, market.base, order.quantity)
        order.order_id = next(self._order_ids)
        order.client_id = order.client_id or f"web_{order.order_id:020d}"
        order.created_ms = order.updated_ms = self.clock.now_ms()
        (order.pieces, order.later), self.armed = self.armed, (1, False)
        self.orders[order.order_id] = order
        self._open[order.symbol][order.order_id] = order
        self._by_client_id[order.client_id] = order
        self.submissions[order.client_id] += 1
        self._tell("NEW", order)
        if not order.waits and self._crosses(order, market.price):
            self._fill(order, self._taker_price(order, market), maker=False)
        if order.status.open and order.time_in_force in ("IOC", "FOK"):
            self._end(order, Status.EXPIRED)
        return order

    def find(self, symbol: str, order_id: int | None = None, client_id: str | None = None) -> VenueOrder | None:
        """Return an order by the venue's id or by its client id."""
        order = self.orders.get(order_id) if order_id is not None else self._by_client_id.get(client_id or "")
        return order if order is not None and symbol in ("", order.symbol) else None

    def cancel(self, order: VenueOrder, cancel_id: str = "") -> None:
        """Cancel an open order, or refuse."""
        if not order.status.open:
            raise Refused(Refusal.UNKNOWN_ORDER)
        order.cancel_id = cancel_id
        self._end(order, Status.CANCELED)

    def amend(self, order: VenueOrder, **changes: Decimal) -> None:
        """Change quantity, price or stop price of an open order in place, or refuse; it keeps its ids and its place."""
        if not order.status.open:
            raise Refused(Refusal.UNKNOWN_ORDER)
        market, changed = self.markets[order.symbol], copy.copy(order)
        for name, value in changes.items():
            setattr(changed, name, value)
        rules = market.rules
        if changed.quantity % rules.step or changed.quantity > rules.max_quantity:
            raise Refused(Refusal.LOT_SIZE)
        if changed.price % rules.tick or changed.stop_price % rules.tick:
            raise Refused(Refusal.PRICE_FILTER)
        if changed.waits and self._triggers(changed, market.price):
            raise Refused(Refusal.TRIGGERS_NOW)
        if changed.remaining <= 0:  # less than is filled already: nothing is left of it
            self._end(order, Status.CANCELED)
            return
        needed = self._needed(changed, market.price) if order.buys else changed.remaining
        if self.account.holdings[order.lock_currency].free + order.locked < needed:
            raise Refused(Refusal.FUNDS)
        self.account.unlock(order, order.locked)
        self.account.lock(order, order.lock_currency, needed)
        for name, value in changes.items():
            setattr(order, name, value)
        order.updated_ms = self.clock.now_ms()
        self._tell("AMENDED", order)

    def open_orders(self, symbol: str | None = None) -> list[VenueOrder]:
        """Return the orders that can still be filled, oldest first."""
        symbols = [symbol] if symbol is not None else list(self._open)
        return [order for name in symbols for order in self._open.get(name, {}).values()]

    # ------------------------------------------------------------- prices

    def move(self, symbol: str, before: Decimal, *, gap: bool) -> None:
        """Match a symbol's open orders after its price has moved; a gap jumps over the prices between."""
        market = self.markets[symbol]
        for order in list(self._open[symbol].values()):
            if order.waits:
                if not self._triggers(order, market.price):
                    continue
                order.triggered = True
                reached = market.price if gap else order.stop_price
                if not order.limited or self._crosses(order, reached):
                    self._fill(order, self._slipped(order, reached), maker=False)
            elif order.kind == "MARKET" or not order.limited:
                self._fill(order, market.price, maker=False)
            elif self._crosses(order, market.price):
                self._fill(order, order.price, maker=True)

    def fill_now(self, order: VenueOrder, part: Decimal = Decimal(1)) -> None:
        """Fill an open order, or a part of what is left of it, at its own price: a fill nobody saw coming."""
        if not order.status.open:
            return
        rules = self.markets[order.symbol].rules
        quantity = (order.remaining * part / rules.step).quantize(Decimal(1), ROUND_UP) * rules.step
        order.triggered = True
        price = order.price or order.stop_price or self.markets[order.symbol].price
        self._trade(order, price, min(quantity, order.remaining), maker=order.price > 0)

    def change_rules(self, symbol: str, **changes: Any) -> None:
        """Change a symbol's rules from now on."""
        market = self.market(symbol)
        market.rules = replace(market.rules, **changes)

    # -------------------------------------------------------------- books

    def books(self) -> Books:
        """Return a copy of everything that the venue has on record."""
        holdings = {name: holding for name, holding in self.account.holdings.items() if holding.total}
        orders = {number: _copied(order) for number, order in self.orders.items()}
        return Books(
            balances={name: holding.total for name, holding in holdings.items()},
            free={name: holding.free for name, holding in holdings.items()},
            locked={name: holding.locked for name, holding in holdings.items() if holding.locked},
            orders=orders,
            by_client_id={order.client_id: order for order in orders.values()},
            trades=tuple(self.trades),
            fees={name: Decimal(amount) for name, amount in self.account.fees.items()},
            submissions=dict(self.submissions),
            differences=self.account.differences(),
        )

    # ------------------------------------------------------------ the rest

    def _taken(self, client_id: str) -> bool:
        known = self._by_client_id.get(client_id)
        return known is not None and (self.unique_for_ever or known.status.open)

    def _needed(self, order: VenueOrder, now: Decimal) -> Decimal:
        cost = (order.price or order.stop_price or self._slipped(order, now)) * order.quantity
        return raised(cost * (1 + self.fees.rate) if self.fees.currency == IN_QUOTE else cost)

    def _slipped(self, order: VenueOrder, price: Decimal) -> Decimal:
        if not self.slippage_bps:
            return price
        tick, shift = self.markets[order.symbol].rules.tick, price * self.slippage_bps / 10_000
        ticks = (price + shift if order.buys else price - shift) / tick
        return ticks.quantize(Decimal(1), ROUND_UP if order.buys else ROUND_DOWN) * tick

    def _taker_price(self, order: VenueOrder, market: Market) -> Decimal:
        price = self._slipped(order, market.price)
        if order.limited:
            return min(price, order.price) if order.buys else max(price, order.price)
        return price

    @staticmethod
    def _triggers(order: VenueOrder, price: Decimal) -> bool:
        below = (order.kind, order.buys) in STOPS_BELOW
        return price <= order.stop_price if below else price >= order.stop_price

    @staticmethod
    def _crosses(order: VenueOrder, price: Decimal) -> bool:
        if not order.limited:
            return True
        return price <= order.price if order.buys else price >= order.price

    def _fill(self, order: VenueOrder, price: Decimal, *, maker: bool) -> None:
        step = self.markets[order.symbol].rules.step
        piece = (order.quantity / order.pieces / step).quantize(Decimal(1), ROUND_DOWN) * step or order.remaining
        while order.status.open:
            last = len(order.trades) + 1 >= order.pieces
            self._trade(order, price, order.remaining if last else min(piece, order.remaining), maker=maker)
            if order.later:
                return

    def _trade(self, order: VenueOrder, price: Decimal, quantity: Decimal, *, maker: bool) -> None:
        account, market = self.account, self.markets[order.symbol]
        cost = floored(price * quantity)
        if order.buys:
            whole = quantity == order.remaining
            part = order.locked if whole else min(order.locked, floored(order.locked * quantity / order.remaining))
            extra = floored(cost * self.fees.rate) if self.fees.currency == IN_QUOTE else ZERO
            if account.holdings[market.quote].free + part < cost + extra:
                self._end(order, Status.EXPIRED)
                return
            account.unlock(order, part)
            account.pay(market.quote, cost)
            account.receive(market.base, quantity)
        else:
            account.unlock(order, quantity)
            account.pay(market.base, quantity)
            account.receive(market.quote, cost)
        fee, fee_currency = self._charge(order, market, quantity, cost)
        order.filled += quantity
        order.cost += cost
        order.updated_ms = self.clock.now_ms()
        order.status = Status.PARTIALLY_FILLED if order.remaining else Status.FILLED
        trade = VenueTrade(
            next(self.trade_ids), order.order_id, order.client_id, order.symbol, order.buys, price, quantity, cost, fee,
            fee_currency, maker, order.updated_ms,
        )  # fmt: skip
        order.trades.append(trade)
        self.trades.append(trade)
        if not order.status.open:
            self._open[order.symbol].pop(order.order_id, None)
        self._tell("TRADE", order, trade)

    def _charge(self, order: VenueOrder, market: Market, quantity: Decimal, cost: Decimal) -> tuple[Decimal, str]:
        fees = self.fees
        if fees.currency is not None and fees.currency != IN_QUOTE:
            own = self.markets.get(f"{fees.currency}/{market.quote}")
            price = own.price if own is not None and own.price > 0 else fees.price
            fee = (cost * fees.rate * fees.discount / price).quantize(Decimal("0.00000001"), ROUND_HALF_EVEN)
            if self.account.holdings[fees.currency].free >= fee:
                self.account.charge(fees.currency, fee)
                return fee, fees.currency
        in_base = order.buys and fees.currency != IN_QUOTE
        currency, amount = (market.base, quantity) if in_base else (market.quote, cost)
        fee = floored(amount * fees.rate)
        self.account.charge(currency, fee)
        return fee, currency

    def _end(self, order: VenueOrder, status: Status) -> None:
        self.account.unlock(order, order.locked)
        order.status = status
        order.updated_ms = self.clock.now_ms()
        self._open[order.symbol].pop(order.order_id, None)
        self._tell(status.value, order)

    def _tell(self, event: str, order: VenueOrder, trade: VenueTrade | None = None) -> None:
        for listener in self.listeners:
            listener(event, order, trade)


def _copied(order: VenueOrder) -> VenueOrder:
    twin = copy.copy(order)
    twin.trades = list(order.trades)
    return twin
