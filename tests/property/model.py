"""The trading rules again, as plain Python: what the compiled core is held against.

Written from the rules' description and not from the kernels: plain objects, one symbol after the other, and
exact decimals for every price and quantity. Only what must agree is here: positions, cash, results, events.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Any

from tests.property.look import Past, Rule, correlation

DAY_NS = 86_400 * 10**9
SECOND_NS = 10**9


def dec(value: float) -> Decimal:
    """Return the decimal that a float is written as."""
    return Decimal(repr(float(value)))


@dataclass
class Rules:
    """Limits and costs; fractions as floats, steps as decimals."""

    tick: Decimal = Decimal("0.01")
    lot: Decimal = Decimal("0.001")
    min_notional: Decimal = Decimal(5)
    fee: Decimal = Decimal("0.001")
    slippage: Decimal = Decimal("0.0005")
    stop_frac: Decimal = Decimal("0.02")
    target_frac: Decimal | None = Decimal("0.03")
    trailing_frac: Decimal | None = None
    trailing_atr: Decimal | None = None
    atr_bars: int = 3
    even_after: Decimal | None = None
    even_lock: Decimal = Decimal(0)
    cooldown_ns: int = 0
    streak: int = 0
    streak_ns: int = 0
    hold_ns: int = 0
    max_positions: int = 5
    min_confidence: float = 0.7
    max_daily_loss: float = 0.05
    max_daily_trades: int = 20
    max_symbol: Decimal = Decimal("0.2")
    max_gross: Decimal = Decimal(1)
    max_drawdown: float = 0.2
    risk: Decimal = Decimal("0.01")
    allow_short: bool = True
    stale_ns: int = 10**18
    max_together: Decimal | None = None
    window: int = 8
    threshold: float = 0.5
    bar_s: int = 3_600
    invalidations: list[Rule] = field(default_factory=list)
    watched: bool = True


@dataclass
class Position:
    sign: int
    quantity: Decimal
    entry: Decimal
    fees: Decimal
    stop: Decimal
    target: Decimal | None
    best: Decimal
    trail: Decimal | None
    even: bool
    expires_ns: int | None
    entered_ns: int = 0
    rules: list[Rule] = field(default_factory=list)


@dataclass
class Pending:
    sign: int
    quantity: Decimal
    reason: str
    opening: bool
    reserved: Decimal
    stop: Decimal | None = None
    target: Decimal | None = None
    rules: list[Rule] = field(default_factory=list)


@dataclass
class Market:
    """One symbol."""

    mark: Decimal | None = None
    position: Position | None = None
    pending: Pending | None = None
    closed_ns: int | None = None
    ranges: list[Fraction] = field(default_factory=list)
    last: Decimal | None = None
    mean: Fraction | None = None
    past: Past = field(default_factory=Past)

    def atr(self, bars: int) -> Fraction | None:
        """Average true range: the mean of the first candles, then one part in `bars` of each that follows."""
        return self.mean if len(self.ranges) >= bars else None

    def take(self, high: Decimal, low: Decimal, closed: Decimal, bars: int) -> None:
        """Take a candle into the range."""
        reach = [high, low] if self.last is None else [high, low, self.last]
        true_range = Fraction(max(reach)) - Fraction(min(reach))
        self.ranges.append(true_range)
        self.last = closed
        if len(self.ranges) <= bars:
            self.mean = sum(self.ranges, Fraction(0)) / len(self.ranges)
        else:
            self.mean = (self.mean * (bars - 1) + true_range) / bars


@dataclass
class Model:
    """The account and its symbols."""

    rules: Rules
    count: int
    cash: Decimal = Decimal(10_000)
    symbols: list[Market] = field(default_factory=list)
    realised: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    peak: Decimal = Decimal(10_000)
    day: int = 0
    day_start: Decimal = Decimal(10_000)
    day_trades: int = 0
    halts: set[str] = field(default_factory=set)
    results: list[Decimal] = field(default_factory=list)
    lost_ns: int | None = None
    now_ns: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.symbols = [Market() for _ in range(self.count)]

    # -- worth ------------------------------------------------------------------------------

    def equity(self) -> Decimal:
        """Cash and positions at their marks."""
        return self.cash + sum((p.sign * p.quantity * m.mark for m in self.symbols if (p := m.position)), Decimal(0))

    def unrealised(self) -> Decimal:
        """Sum what open positions have gained."""
        held = ((m.mark, m.position) for m in self.symbols if m.position)
        return sum((p.sign * p.quantity * (mark - p.entry) for mark, p in held), Decimal(0))

    def streak(self) -> int:
        """Losing round trips in a row."""
        losing = 0
        for result in self.results:
            losing = 0 if result > 0 else losing + (result < 0)
        return losing

    def gross(self) -> Decimal:
        """Worth of all positions, long or short."""
        return sum((p.quantity * m.mark for m in self.symbols if (p := m.position)), Decimal(0))

    def reserved(self, but: Market | None = None) -> Decimal:
        """Sum what entries in flight have set aside."""
        return sum((m.pending.reserved for m in self.symbols if m.pending and m is not but), Decimal(0))

    # -- rounding ---------------------------------------------------------------------------

    def up(self, price: Decimal) -> Decimal:
        """Round up to a tick."""
        return (price / self.rules.tick).to_integral_value(ROUND_CEILING) * self.rules.tick

    def down(self, price: Decimal) -> Decimal:
        """Round down to a tick."""
        return (price / self.rules.tick).to_integral_value(ROUND_FLOOR) * self.rules.tick

    def worse(self, price: Decimal, buying: bool, slippage: Decimal) -> Decimal:
        """Return what a market order gets."""
        if buying:
            return self.up(price * (1 + slippage))
        return max(self.down(price * (1 - slippage)), self.rules.tick)

    def towards(self, level: Decimal, entry: Decimal) -> Decimal:
        """Round a level to the tick nearer to the entry, but not onto the entry when it was not there."""
        rounded = self.up(level) if level < entry else self.down(level)
        if rounded == entry != level:
            rounded += self.rules.tick if level > entry else -self.rules.tick
        return max(rounded, self.rules.tick)

    # -- fills ------------------------------------------------------------------------------

    def open(self, market: Market, price: Decimal, time_ns: int) -> None:
        """Fill an entry."""
        order, rules = market.pending, self.rules
        fee = order.quantity * price * rules.fee
        stop = order.stop if order.stop is not None else price * (1 - order.sign * rules.stop_frac)
        target = order.target
        if target is None and rules.target_frac is not None:
            target = price * (1 + order.sign * rules.target_frac)
        market.position = Position(
            sign=order.sign,
            quantity=order.quantity,
            entry=price,
            fees=fee,
            stop=self.stop_level(stop, price, order.sign),
            target=None if target is None else self.target_level(target, price, order.sign),
            best=price,
            trail=self.by_range(market, price, order.sign),
            even=False,
            expires_ns=time_ns + rules.hold_ns if rules.hold_ns else None,
            entered_ns=time_ns,
            rules=[*order.rules, *rules.invalidations],
        )
        self.cash -= order.sign * order.quantity * price + fee
        self.fees += fee
        self.day_trades += 1
        self.note("entry", market, order.reason, price, order.quantity)

    def by_range(self, market: Market, best: Decimal, sign: int) -> Decimal | None:
        """Return the stop some average ranges from the best price."""
        atr = market.atr(self.rules.atr_bars)
        if atr is None or self.rules.trailing_atr is None:
            return None
        distance = max(Fraction(self.rules.trailing_atr) * atr, Fraction(self.rules.tick))
        level = Fraction(best) - sign * distance
        exact = (Decimal(level.numerator) / Decimal(level.denominator)).quantize(Decimal("1e-12"))
        return self.stop_level(exact, best, sign)

    def follow(self, market: Market, high: Decimal, low: Decimal) -> None:
        """Move the stops that follow, once a candle has passed."""
        held, rules = market.position, self.rules
        held.best = max(held.best, high) if held.sign > 0 else min(held.best, low)
        nearer = max if held.sign > 0 else min
        trail = self.by_range(market, held.best, held.sign)
        if trail is not None:
            held.trail = trail if held.trail is None else nearer(held.trail, trail)
        if rules.even_after is None or held.even:
            return
        gain = held.sign * (held.best - held.entry)
        if gain >= held.entry * rules.even_after:
            held.even = True
            level = held.entry * (1 + held.sign * rules.even_lock)
            held.stop = nearer(held.stop, self.up(level) if held.sign > 0 else self.down(level))

    def stop_level(self, stop: Decimal, entry: Decimal, sign: int) -> Decimal:
        """Put a stop on the grid."""
        if sign * (entry - stop) > 0:
            return self.towards(stop, entry)
        return max(self.up(stop) if sign > 0 else self.down(stop), self.rules.tick)

    def target_level(self, target: Decimal, entry: Decimal, sign: int) -> Decimal:
        """Put a target on the grid."""
        if sign * (target - entry) > 0:
            return self.towards(target, entry)
        return max(self.down(target) if sign > 0 else self.up(target), self.rules.tick)

    def close(self, market: Market, price: Decimal, reason: str, time_ns: int) -> None:
        """End a position."""
        held = market.position
        fee = held.quantity * price * self.rules.fee
        result = held.sign * held.quantity * (price - held.entry) - fee - held.fees
        self.cash += held.sign * held.quantity * price - fee
        self.fees += fee
        self.realised += result
        self.results.append(result)
        market.closed_ns = time_ns
        if result < 0:
            self.lost_ns = time_ns
        self.note("exit", market, reason, price, held.quantity)
        market.position = None

    def note(self, kind: str, market: Market, reason: str, price: Decimal, quantity: Decimal) -> None:
        """Remember what happened."""
        slot = next(index for index, other in enumerate(self.symbols) if other is market)
        self.events.append(
            {"kind": kind, "slot": slot, "reason": reason, "price": price, "quantity": quantity, "rule": 0}
        )

    # -- the event --------------------------------------------------------------------------

    def event(self, time_ns: int, candles: dict[int, tuple[float, float, float, float, int]]) -> None:
        """Play candles (open, high, low, close, open_ns) by slot."""
        exact = {slot: [dec(x) for x in candle[:4]] for slot, candle in candles.items()}
        self.now_ns = time_ns
        orders = any(m.pending for m in self.symbols)
        if orders:
            for slot, (opened, *_) in exact.items():
                self.symbols[slot].mark = opened
                self.fill_close(self.symbols[slot], opened, candles[slot][4])
            for slot, (opened, *_) in exact.items():
                self.fill_entry(self.symbols[slot], opened, candles[slot][4])
        for slot, (opened, high, low, closed) in exact.items():
            market = self.symbols[slot]
            if market.position:
                self.exit_inside(market, (opened, high, low), candles[slot][4], time_ns)
            market.take(high, low, closed, self.rules.atr_bars)
            if market.position:
                self.follow(market, high, low)
            market.mark = closed
            market.past.closes.append((time_ns // SECOND_NS, float(closed)))
            if market.position and market.pending is None:
                self.invalidate(market, time_ns)
        self.finish(time_ns)

    def invalidate(self, market: Market, time_ns: int) -> None:
        """Ask for the end of a position of which a rule came true with a candle's close."""
        held = market.position
        number = market.past.broken(held.rules, time_ns // SECOND_NS, held.entered_ns // SECOND_NS)
        if number:
            self.ask_for_end(market, "invalidated", number)

    def ask_for_end(self, market: Market, reason: str, rule: int = 0) -> None:
        """Send an order for the whole position, because its plan says so."""
        held = market.position
        market.pending = Pending(-held.sign, held.quantity, reason, opening=False, reserved=Decimal(0))
        self.note("requested", market, reason, market.mark, held.quantity)
        self.events[-1]["rule"] = rule

    def fill_close(self, market: Market, opened: Decimal, time_ns: int) -> None:
        """Fill an order that reduces."""
        order = market.pending
        if order is None or order.opening:
            return
        market.pending = None
        if market.position is None:
            self.note("rejected", market, order.reason, Decimal(0), order.quantity)
            return
        self.close(market, self.worse(opened, order.sign > 0, self.rules.slippage), order.reason, time_ns)

    def fill_entry(self, market: Market, opened: Decimal, time_ns: int) -> None:
        """Fill an order that opens, if it can be paid."""
        order = market.pending
        if order is None or not order.opening:
            return
        price = self.worse(opened, order.sign > 0, self.rules.slippage)
        cost = order.quantity * price * (1 + self.rules.fee)
        if cost > self.equity() - self.gross() - self.reserved(but=market):
            self.note("rejected", market, order.reason, price, order.quantity)
        else:
            self.open(market, price, time_ns)
        market.pending = None

    def exit_inside(self, market: Market, prices: tuple[Decimal, ...], open_ns: int, close_ns: int) -> None:
        """End a position inside a candle."""
        opened, high, low = prices
        held, rules = market.position, self.rules
        long = held.sign > 0
        stop, gap, touch = held.stop, "stop_gap", "stop"
        trails = [] if held.trail is None else [held.trail]
        if rules.trailing_frac is not None:
            trails.append(self.stop_level(held.best * (1 - held.sign * rules.trailing_frac), held.best, held.sign))
        for trail in trails:
            if (trail > stop) if long else (trail < stop):
                stop, gap, touch = trail, "trailing", "trailing"
        if (opened <= stop) if long else (opened >= stop):
            self.close(market, self.worse(opened, not long, rules.slippage), gap, open_ns)
        elif (low <= stop) if long else (high >= stop):
            self.close(market, self.worse(stop, not long, rules.slippage), touch, close_ns)
        elif held.target is None:
            return
        elif (opened >= held.target) if long else (opened <= held.target):
            self.close(market, self.worse(opened, not long, Decimal(0)), "target_gap", open_ns)
        elif (high >= held.target) if long else (low <= held.target):
            self.close(market, held.target, "target", close_ns)

    def finish(self, time_ns: int) -> None:
        """End the event: peak, day, halts, time exits."""
        equity = self.equity()
        self.peak = max(self.peak, equity)
        if time_ns // DAY_NS > self.day:
            self.day, self.day_start, self.day_trades = time_ns // DAY_NS, equity, 0
            self.halts.discard("daily_loss")
        if float(1 - equity / self.day_start) >= self.rules.max_daily_loss:
            self.halts.add("daily_loss")
        if float(1 - equity / self.peak) >= self.rules.max_drawdown:
            self.halts.add("drawdown")
        for market in self.symbols:
            held = market.position
            if held and held.expires_ns is not None and held.expires_ns <= time_ns and market.pending is None:
                self.ask_for_end(market, "time")
            if held and market.pending is None:
                age_ns = time_ns - held.entered_ns
                old = [n for n, rule in enumerate(held.rules, 1) if rule.kind == "age over"]
                old = [n for n in old if age_ns > held.rules[n - 1].frame_s * SECOND_NS]
                if old:
                    self.ask_for_end(market, "invalidated", old[0])

    # -- orders -----------------------------------------------------------------------------

    def order_close(self, slot: int, reason: str) -> None:
        """Send an order for the whole position."""
        held = self.symbols[slot].position
        self.symbols[slot].pending = Pending(-held.sign, held.quantity, reason, opening=False, reserved=Decimal(0))

    def together(self, market: Market, sign: int) -> Decimal:
        """Return the exposure of other symbols that would move with a position in this one."""
        total = Decimal(0)
        for other in self.symbols:
            order, held = other.pending, other.position
            entering = order if order and order.opening else None
            if other is market or not (held or entering):
                continue
            alike = correlation(market.past, other.past, self.rules.bar_s, self.rules.window)
            if alike is None or sign * (held or entering).sign * alike >= self.rules.threshold:
                total += held.quantity * other.mark if held else Decimal(0)
                total += entering.reserved if entering else Decimal(0)
        return total

    def order_entry(
        self, slot: int, sign: int, lots: int, stop: float, target: float, rules: list[Rule] | None = None
    ) -> None:
        """Send an entry."""
        quantity = lots * self.rules.lot
        cost = quantity * self.symbols[slot].mark * (1 + self.rules.slippage) * (1 + self.rules.fee)
        levels = [None if math.isnan(level) else dec(level) for level in (stop, target)]
        self.symbols[slot].pending = Pending(sign, quantity, "signal", True, cost, *levels, rules or [])

    def check(self, slot: int, sign: int, confidence: float, stop: float) -> tuple[set[str], Decimal]:
        """Return the names of the broken limits and the size in lots, before it is cut to whole ones."""
        rules, market, broken = self.rules, self.symbols[slot], set()
        entering = sum(1 for m in self.symbols if m.pending and m.pending.opening)
        positions = sum(1 for m in self.symbols if m.position)
        equity = self.equity()
        price = market.mark
        checks = {
            "confidence": confidence < rules.min_confidence,
            "daily_loss": float(1 - equity / self.day_start) >= rules.max_daily_loss,
            "drawdown": float(1 - equity / self.peak) >= rules.max_drawdown,
            "halted": bool(self.halts),
            "open_positions": positions + entering >= rules.max_positions,
            "daily_trades": self.day_trades + entering >= rules.max_daily_trades,
            "position_open": market.position is not None or market.pending is not None,
            "short_not_allowed": sign < 0 and not rules.allow_short,
            "cooldown": market.closed_ns is not None and self.now_ns - market.closed_ns < rules.cooldown_ns,
            "loss_streak": bool(rules.streak)
            and self.streak() >= rules.streak
            and self.now_ns - self.lost_ns < rules.streak_ns,
        }
        broken |= {name for name, is_broken in checks.items() if is_broken}
        wanted = price * (1 - sign * rules.stop_frac) if math.isnan(stop) else dec(stop)
        if sign * (price - wanted) <= 0:
            broken.add("stop_side")
            return broken, Decimal(0)  # without a distance there is nothing to size by
        level = self.stop_level(wanted, price, sign)
        exposure = market.position.quantity * price if market.position else Decimal(0)
        gross = self.gross() + self.reserved()
        symbol_room = rules.max_symbol * equity - exposure
        gross_room = rules.max_gross * equity - gross
        unit = price * (1 + rules.slippage) * (1 + rules.fee)
        free = equity - gross
        size = min(rules.risk * equity / abs(price - level), symbol_room / price, gross_room / price, free / unit)
        rooms = {"symbol_exposure": symbol_room, "gross_exposure": gross_room}
        if rules.max_together is not None:
            rooms["correlated"] = rules.max_together * equity - exposure - self.together(market, sign)
            size = min(size, rooms["correlated"] / price)
        lots = max(size / rules.lot, Decimal(0))
        smallest = max(int((rules.min_notional / price / rules.lot).to_integral_value(ROUND_CEILING)), 1)
        if lots.to_integral_value(ROUND_FLOOR) < smallest:
            broken.add("min_notional")
            quantity = smallest * rules.lot
            broken |= {name for name, room in rooms.items() if quantity * price > room}
            if quantity * unit > free:
                broken.add("free_capital")
        return broken, lots
