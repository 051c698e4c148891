"""A paper desk for tests: ledger, books, kernels, router and venue, wired as the engine does, on a seeded market."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from trader.codes import Decided, Direction, Reason, Side
from trader.core import kernels
from trader.core.records import CANDLE, new_desk, new_events, new_slots
from trader.domain.decision import Decision
from trader.domain.instrument import Instrument
from trader.domain.order import OrderRequest
from trader.domain.verdict import Approved
from trader.execution.paper import PaperVenue
from trader.execution.router import OrderRouter
from trader.ledger.journal import Ledger, Restored

MINUTE_NS = 60_000_000_000
START_NS = 1_704_067_200_000_000_000  # 2024-01-01T00:00Z
NAN = float("nan")
INSTRUMENTS = (
    Instrument("BTC/USDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"), Decimal(0), Decimal(5)),
    Instrument("ETH/USDT", "ETH", "USDT", Decimal("0.01"), Decimal("0.0001"), Decimal(0), Decimal(5)),
    Instrument("DOGE/USDT", "DOGE", "USDT", Decimal("0.00001"), Decimal(1), Decimal(0), Decimal(5)),
)
SYMBOLS = tuple(item.symbol for item in INSTRUMENTS)
FIRST_PRICES = (42_000.0, 2_300.0, 0.09)


@dataclass
class PaperDesk:
    """The engine's working parts without the engine; every step is a pure function of the seed and the state."""

    ledger: Ledger
    desk: Any
    slots: Any
    router: OrderRouter
    restored: Restored
    strategies: tuple[str, ...]

    @classmethod
    def open(cls, path: Path, strategies: tuple[str, ...] = ("alpha", "beta")) -> PaperDesk:
        """Open the ledger and take up what it holds, as a start of the engine does."""
        ledger = open_ledger(path)
        desk, slots = new_desk(), new_slots(len(SYMBOLS))
        configure(desk, slots)
        restored = ledger.restore(desk, slots, SYMBOLS, strategies)
        venue = PaperVenue(ledger, restored.open_orders)
        router = OrderRouter(
            ledger, ledger.books, venue, desk, slots, SYMBOLS, INSTRUMENTS, "main", restored.open_orders
        )
        return cls(ledger, desk, slots, router, restored, strategies)

    @property
    def account(self) -> Any:
        """The account record."""
        return self.desk["account"][0]

    def candles(self, slot: int, *prices: float, minute: int) -> Any:
        """Return one candle of one symbol: open, high, low, close."""
        candle = np.zeros(1, CANDLE)
        open_ns = START_NS + minute * MINUTE_NS
        candle[0] = (slot, open_ns, open_ns + MINUTE_NS, *prices, 1.0)
        return candle

    def feed(self, candles: Any) -> list[Any]:
        """Let the kernels process candles and settle what they report."""
        events = new_events(len(SYMBOLS))
        return self.router.settle(events, kernels.on_candles(self.desk, self.slots, candles, 1, events))

    def enter(self, slot: int, quantity: str, side: Side = Side.BUY, strategy: int = 0) -> Any:
        """Send an entry as an approved request with a decision of its own."""
        decision_id = self.ledger.next_decision_id()
        price = float(self.slots["mark_price"][slot])
        request = OrderRequest(
            symbol=SYMBOLS[slot],
            side=side,
            quantity=Decimal(quantity),
            reference_price=price,
            reason=Reason.SIGNAL,
            strategy=self.strategies[strategy],
            confidence=0.9,
            stop_price=NAN,
            target_price=NAN,
            reduce_only=False,
            decision_id=decision_id,
        )
        order = self.router.send(Approved(request), slot, strategy)
        self.ledger.record_decisions([self.decision(decision_id, slot, Decided.ORDERED, order.order_id, strategy)])
        return order

    def decision(self, number: int, slot: int, decided: Decided, order_id: int = 0, strategy: int = 0) -> Decision:
        """Return a decision on a symbol, with the facts of the moment."""
        return Decision(
            decision_id=number,
            cycle=int(self.account["cycles"]),
            time_ns=int(self.account["event_ns"]),
            strategy=self.strategies[strategy],
            symbol=SYMBOLS[slot],
            candle_ns=int(self.slots["candle_ns"][slot]),
            price=float(self.slots["mark_price"][slot]),
            direction=int(Direction.HOLD),
            confidence=0.5,
            value=NAN,
            decided=int(decided),
            mask=0,
            order_id=order_id,
            detail="",
        )

    def step(self, minute: int, seed: int = 0) -> None:
        """Play one minute: candles of every symbol, then perhaps entries, closes and cancels."""
        rng = random.Random(f"{seed}/{minute}")
        self.feed(candles_at(minute, seed))
        self.account["cycles"] += 1
        for slot in range(len(SYMBOLS)):
            idle = self.slots["quantity"][slot] == 0 and self.slots["pending_lots"][slot] == 0
            chance = rng.random()
            if idle and chance < 0.3:
                lot = INSTRUMENTS[slot].lot_size
                worth = Decimal(rng.randrange(100, 1500)) / Decimal(repr(float(self.slots["mark_price"][slot])))
                lots = int(worth / lot) or 1
                self.enter(slot, str(lots * lot), rng.choice([Side.BUY, Side.BUY, Side.SELL]), rng.randrange(2))
                if rng.random() < 0.1:
                    self.router.withdraw_entry(slot)
            elif chance < 0.05:
                self.router.close(slot, Reason.OWNER_CLOSE)
            else:
                row = self.decision(self.ledger.next_decision_id(), slot, Decided.HOLD)
                self.ledger.record_decisions([row])
        self.save()

    def save(self) -> None:
        """Take the state down."""
        self.ledger.save_state(self.desk, self.slots, int(self.account["event_ns"]))

    def commit(self) -> None:
        """Take the state down and write everything."""
        self.save()
        self.ledger.commit()

    def play(self, minutes: range, seed: int = 0, *, commit_every: int = 7) -> None:
        """Play minutes and commit every few of them, and at the end."""
        for minute in minutes:
            self.step(minute, seed)
            if minute % commit_every == 0:
                self.ledger.commit()
        self.ledger.commit()

    def close(self) -> None:
        """Close the ledger."""
        self.ledger.close()


def open_ledger(path: Path, **changes: Any) -> Ledger:
    """Open a ledger as the tests' account, but for what is said."""
    begun_as: dict[str, Any] = {"instance": "main", "quote": "USDT", "initial_capital": Decimal("10000.0"), **changes}
    return Ledger.open(path, **begun_as)


def configure(desk: Any, slots: Any) -> None:
    """Write what an engine takes from configuration and instruments."""
    limits = desk["limits"]
    limits["stop_loss_frac"], limits["take_profit_frac"] = 0.004, 0.006
    limits["max_daily_loss_frac"], limits["max_drawdown_frac"] = 0.05, 0.5
    limits["max_hold_ns"] = 60 * MINUTE_NS
    for slot, item in zip(slots, INSTRUMENTS, strict=True):
        slot["tick_size"], slot["lot_size"] = float(item.tick_size), float(item.lot_size)
        slot["fee_rate_frac"], slot["slippage_frac"] = 0.001, 0.0005


def candles_at(minute: int, seed: int = 0) -> Any:
    """Return the candles of one minute: a function of minute and seed, whatever was asked before."""
    candles = np.zeros(len(SYMBOLS), CANDLE)
    open_ns = START_NS + minute * MINUTE_NS
    for slot, (first, item) in enumerate(zip(FIRST_PRICES, INSTRUMENTS, strict=True)):
        tick = float(item.tick_size)
        prices = [_price(first, slot, at, seed, tick) for at in (minute, minute + 1)]
        rng = random.Random(f"{seed}/{slot}/{minute}/wick")
        high = _on_grid(max(prices) * (1 + 0.004 * rng.random()), tick)
        low = _on_grid(min(prices) * (1 - 0.004 * rng.random()), tick)
        high, low = max(high, *prices), min(low, *prices)
        candles[slot] = (slot, open_ns, open_ns + MINUTE_NS, prices[0], high, low, prices[1], 1.0)
    return candles


def _price(first: float, slot: int, minute: int, seed: int, tick: float) -> float:
    noise = random.Random(f"{seed}/{slot}/{minute}").gauss(0, 0.003)
    return _on_grid(first * (1 + 0.03 * math.sin(minute / (17 + slot)) + noise), tick)


def _on_grid(price: float, tick: float) -> float:
    return round(round(price / tick) * tick, 8)
