"""Desks to test with: one account, limits and a few symbols with round numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from trader.core import kernels
from trader.core.records import CANDLE, fund, new_desk, new_events, new_slots

START_NS = 1_704_281_400 * 10**9  # 2024-01-03T11:30:00Z
MINUTE_NS = 60 * 10**9

LIMITS = {
    "max_open_positions": 3,
    "min_confidence_threshold": 0.7,
    "max_daily_loss_frac": 0.05,
    "max_daily_trades": 20,
    "max_symbol_exposure_frac": 0.2,
    "max_gross_exposure_frac": 1.0,
    "max_drawdown_frac": 0.2,
    "risk_per_trade_frac": 0.01,
    "leverage": 1.0,
    "allow_short": 1,
    "stale_mark_ns": 3 * MINUTE_NS,
    "stop_loss_frac": 0.02,
    "take_profit_frac": 0.03,
}
SLOT = {"tick_size": 0.01, "lot_size": 0.001, "min_notional": 5.0, "fee_rate_frac": 0.001, "slippage_frac": 0.0005}


class Book:
    """A desk with its slots and room for events; what each call reported is in `happened`."""

    def __init__(self, symbols: int = 1, capital: float = 10_000.0, costs: bool = True, **limits: float) -> None:
        self.desk: Any = new_desk()
        self.slots: Any = new_slots(symbols)
        self.events: Any = new_events(symbols)
        self.happened: Any = self.events[:0]
        fund(self.desk, capital)
        for name, value in {**LIMITS, **limits}.items():
            self.desk["limits"][name] = value
        for name, value in SLOT.items():
            self.slots[name] = value
        if not costs:
            self.slots["fee_rate_frac"] = self.slots["slippage_frac"] = 0.0

    @property
    def account(self) -> Any:
        """The account record."""
        return self.desk["account"][0]

    @property
    def verdict(self) -> Any:
        """The last verdict."""
        return self.desk["verdict"][0]

    @property
    def kinds(self) -> list[int]:
        """Kinds of what the last call reported."""
        return self.happened["kind"].tolist()

    def candle(self, minute: int, *rows: tuple[float, float, float, float] | None, match: int = 1) -> int:
        """Play one candle per slot: (open, high, low, close); None: missing."""
        present = [(slot, row) for slot, row in enumerate(rows) if row is not None]
        candles = np.zeros(len(present), CANDLE)
        open_ns = START_NS + minute * MINUTE_NS
        for index, (slot, row) in enumerate(present):
            candles[index] = (slot, open_ns, open_ns + MINUTE_NS, *row, 1.0)
        return self.play(candles, match)

    def play(self, candles: Any, match: int = 1) -> int:
        """Play candle records."""
        count = kernels.on_candles(self.desk, self.slots, candles, match, self.events)
        self.happened = self.events[: max(count, 0)].copy()
        return count

    def place(self, slot: int, lots: int, reason: int = 1, stop: float = math.nan, target: float = math.nan) -> None:
        """Put an order in flight; its id is 100 and the slot."""
        kernels.place(self.desk, self.slots, slot, lots, 100 + slot, reason, 0, stop, target)

    def fill(self, slot: int, side: int, quantity: float, price: float, fee: float = 0.0, reason: int = 1) -> int:
        """Apply an execution."""
        time_ns = START_NS + 7 * MINUTE_NS
        args = (slot, side, quantity, price, fee, time_ns, reason, self.events, 0)
        count = kernels.apply_fill(self.desk, self.slots, *args)
        self.happened = self.events[: max(count, 0)].copy()
        return count

    def ask(self, slot: int = 0, direction: int = 1, confidence: float = 0.8, **request: float) -> int:
        """Check an entry with lease and veto in order; return the mask."""
        record = self.desk["request"]
        values = {
            "slot": slot,
            "direction": direction,
            "confidence": confidence,
            "quantity": 0.0,
            "price": self.slots["mark_price"][slot] if 0 <= slot < len(self.slots) else 100.0,
            "stop_price": math.nan,
            "target_price": math.nan,
            "time_ns": self.account["event_ns"],
            **request,
        }
        for name, value in values.items():
            record[name] = value
        if self.desk["gate"]["now_ns"][0] == 0:
            self.desk["gate"] = (1, 2, 2)
        kernels.check_entry(self.desk, self.slots)
        return int(self.verdict["mask"])


def started(symbols: int = 1, price: float = 100.0, **options: Any) -> Book:
    """Return a book that has seen one flat candle per symbol."""
    book = Book(symbols, **options)
    book.candle(0, *[(price, price, price, price)] * symbols)
    return book


def holding(
    lots: int = 10_000, price: float = 100.0, stop: float = math.nan, target: float = math.nan, **options: Any
) -> Book:
    """Return a book without costs and with one position, entered at `price` in minute 1."""
    book = started(price=price, costs=False, **options)
    book.place(0, lots, stop=stop, target=target)
    book.candle(1, (price, price, price, price))
    return book
