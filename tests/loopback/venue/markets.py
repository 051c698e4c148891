"""What is traded: a symbol's rules, its candles, and the price as they are played."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

ZERO = Decimal(0)
TIMEFRAMES_MS = {
    "1s": 1000, "1m": 60_000, "3m": 180_000, "5m": 300_000, "15m": 900_000, "30m": 1_800_000, "1h": 3_600_000,
    "2h": 7_200_000, "4h": 14_400_000, "6h": 21_600_000, "8h": 28_800_000, "12h": 43_200_000, "1d": 86_400_000,
    "1w": 604_800_000,
}  # fmt: skip


@dataclass(frozen=True)
class Rules:
    """A symbol's filters, as the venue enforces them."""

    tick: Decimal
    step: Decimal
    min_quantity: Decimal
    min_notional: Decimal = Decimal(5)
    max_quantity: Decimal = Decimal(9_000_000)
    max_price: Decimal = Decimal(1_000_000)
    trading: bool = True


def rules_for(price: Decimal) -> Rules:
    """Return the rules that a large venue would have for a symbol of this price."""
    for bound, tick, step in ((1000, "0.01", "0.00001"), (10, "0.01", "0.001"), (1, "0.0001", "0.1")):
        if price >= bound:
            return Rules(Decimal(tick), Decimal(step), Decimal(step))
    return Rules(Decimal("0.00001"), Decimal(1), Decimal(1))


@dataclass(frozen=True)
class Candle:
    """One candle, exact."""

    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal

    def path(self) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """Return the prices that are played: a rising candle dips first, a falling one rises first."""
        if self.close >= self.open:
            return self.open, self.low, self.high, self.close
        return self.open, self.high, self.low, self.close


def exact_candles(rows: Iterable[Sequence[Any]], tick: Decimal, step: Decimal) -> list[Candle]:
    """Return rows of (open_ms, open, high, low, close, volume) as candles on the symbol's grid."""
    return [Candle(int(row[0]), *(_on_grid(value, tick) for value in row[1:5]), _on_grid(row[5], step)) for row in rows]


def _on_grid(value: Any, grid: Decimal) -> Decimal:
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    return (number / grid).quantize(Decimal(1), ROUND_HALF_EVEN) * grid


@dataclass
class Market:
    """One symbol on the venue."""

    symbol: str
    rules: Rules
    candles: list[Candle]
    timeframe_ms: int
    price: Decimal = ZERO
    played: int = 0  # candles that are closed
    forming: list[Decimal] | None = None  # open, high, low, close, volume so far of the candle that is open
    trades: list[tuple[int, int, Decimal, Decimal]] = field(default_factory=list)  # id, ms, price, quantity

    @property
    def base(self) -> str:
        """Return the base currency."""
        return self.symbol.partition("/")[0]

    @property
    def quote(self) -> str:
        """Return the quote currency."""
        return self.symbol.partition("/")[2]

    @property
    def id(self) -> str:
        """Return the symbol without a slash."""
        return self.base + self.quote

    def touch(self, phase: int, now_ms: int, trade_id: int) -> Decimal:
        """Let the open candle trade at the next price of its path and return the price."""
        candle = self.candles[self.played]
        price = candle.path()[phase]
        part = (candle.volume / 4 / self.rules.step).quantize(Decimal(1)) * self.rules.step
        if self.forming is None:
            self.forming = [price, price, price, price, part]
        else:
            first, high, low, _, volume = self.forming
            rest = candle.volume - part * 3 if phase == 3 else part
            self.forming = [first, max(high, price), min(low, price), price, volume + max(rest, ZERO)]
        self.price = price
        self.trades.append((trade_id, now_ms, price, part))
        del self.trades[:-1000]
        return price

    def close(self) -> Candle:
        """Close the open candle and return it."""
        candle = self.candles[self.played]
        self.played += 1
        self.forming = None
        self.price = candle.close
        return candle

    def next_open_ms(self) -> int | None:
        """Return when the next candle opens, or None after the last one."""
        return self.candles[self.played].open_ms if self.played < len(self.candles) else None

    def visible(self, timeframe_ms: int, start_ms: int | None, end_ms: int | None, limit: int) -> list[Candle]:
        """Return candles as the venue shows them: closed ones and, last, the half-built one."""
        shown = self.candles[: self.played]
        if self.forming is not None:
            shown = [*shown, Candle(self.candles[self.played].open_ms, *self.forming)]
        if timeframe_ms != self.timeframe_ms:
            shown = longer(shown, timeframe_ms)
        if start_ms is not None:
            shown = [candle for candle in shown if candle.open_ms >= start_ms]
        if end_ms is not None:
            shown = [candle for candle in shown if candle.open_ms <= end_ms]
        return shown[:limit] if start_ms is not None else shown[-limit:]


def longer(candles: Sequence[Candle], timeframe_ms: int) -> list[Candle]:
    """Return candles of a longer timeframe."""
    made: list[Candle] = []
    for candle in candles:
        start_ms = candle.open_ms - candle.open_ms % timeframe_ms
        if made and made[-1].open_ms == start_ms:
            last = made[-1]
            made[-1] = Candle(
                start_ms, last.open, max(last.high, candle.high), min(last.low, candle.low), candle.close,
                last.volume + candle.volume,
            )  # fmt: skip
        else:
            made.append(Candle(start_ms, candle.open, candle.high, candle.low, candle.close, candle.volume))
    return made
