"""The exit plan monitor: marks positions, evaluates every exit plan, rolls the day and checks the loss limits.

It is what the engine asks with each market event, and what a script can ask about positions of its own:

    monitor = ExitPlanMonitor.alone(["BTC/USDT"], capital=10_000.0)
    monitor.hold("BTC/USDT", 0.1, 60_000.0, stop_price=58_800.0, target_price=63_000.0)
    monitor.check("BTC/USDT", open=60_100, high=60_200, low=58_700, close=58_900)
    # [Exit(symbol='BTC/USDT', reason=<Reason.STOP: 2>, price=58770.6, ...)]

Stops are assumed hit before targets, gaps fill at the open, and nothing here knows who wanted the position.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from trader.codes import CoreEvent, Reason, Side
from trader.config.sections import Config
from trader.core import kernels
from trader.core.plans import trailing_level
from trader.core.records import CANDLE, new_events
from trader.core.rulebook import write_rules
from trader.domain.invalidation import parse
from trader.errors import KernelError
from trader.risk.lone_account import lone_account

Records = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Exit:
    """A position, or a part of one, that was closed."""

    symbol: str
    reason: Reason
    price: float  #: with slippage [quote per base]
    quantity: float  #: closed [base], > 0
    fee: float  #: [quote]
    pnl: float  #: net of all fees of the closed part [quote]
    time_ns: int  #: [ns UTC]


class ExitPlanMonitor:
    """Evaluates the exit plans of all positions on one account.

    Parameters
    ----------
    desk : ndarray of DESK, shape (1,)
        The account and its limits.
    slots : ndarray of SLOT, shape (n_symbols,)
        Positions with their plans.
    symbols : sequence of str
        Symbol of each slot.
    match : bool
        Whether exits and orders in flight fill here (paper); on an exchange they are reported as requests.
    """

    def __init__(self, desk: Records, slots: Records, symbols: Sequence[str], *, match: bool = True) -> None:
        self.events = new_events(len(symbols))  #: what the last call has reported, dtype CORE_EVENT
        self._desk = desk
        self._slots = slots
        self._symbols = tuple(symbols)
        self._match = int(match)

    def on_candles(self, candles: Records) -> int:
        """Take in candles that closed together; return how many of `events` tell what has happened.

        Parameters
        ----------
        candles : ndarray of CANDLE
            Ascending by slot.

        Raises
        ------
        KernelError
            When more has happened than can be told.
        """
        return self._told(kernels.on_candles(self._desk, self._slots, candles, self._match, self.events))

    def on_time(self, now_ns: int) -> int:
        """Look at day, limits and time exits without a candle; return how many of `events` tell what has happened.

        Parameters
        ----------
        now_ns : int
            Market time [ns UTC], not before the last candle.
        """
        return self._told(kernels.on_time(self._desk, self._slots, now_ns, self.events))

    def _told(self, count: int) -> int:
        if count < 0:
            raise KernelError(f"a kernel had more to report than {len(self.events)} events hold")
        return int(count)

    # -- alone ---------------------------------------------------------------------------------

    @classmethod
    def alone(cls, symbols: Sequence[str], capital: float = 10_000.0, config: Config | None = None) -> Self:
        """Return a monitor with an account of its own.

        Parameters
        ----------
        symbols : sequence of str
            What may be held.
        capital : float
            Cash [quote].
        config : Config, optional
            Whose exits, limits and costs are in force; the defaults otherwise.
        """
        config = config or Config()
        return cls(*lone_account(symbols, capital, config), symbols)

    def hold(
        self,
        symbol: str,
        quantity: float,
        entry_price: float,
        time_ns: int = 0,
        stop_price: float = math.nan,
        target_price: float = math.nan,
        invalidations: Sequence[str] = (),
    ) -> None:
        """Enter a position that was opened elsewhere, with its exit plan.

        Parameters
        ----------
        symbol : str
            One of the monitor's.
        quantity : float
            Signed: above 0 long, below 0 short [base].
        entry_price : float
            [quote per base]
        time_ns : int
            When it was opened [ns UTC].
        stop_price, target_price : float
            NaN: the configured defaults [quote per base].
        invalidations : sequence of str
            Rules as in `close below 61500 on 4h`.

        Raises
        ------
        ValueError
            When something can not be, or a position is open in that symbol.
        """
        index = self._index(symbol)
        slot = self._slots[index]
        if slot["quantity"] != 0.0:
            raise ValueError(f"{symbol}: a position is open; one symbol has one")
        if not (math.isfinite(quantity) and quantity != 0.0 and math.isfinite(entry_price) and entry_price > 0.0):
            raise ValueError(f"{symbol}: no position of {quantity} at {entry_price}")
        rules = [parse(text) for text in invalidations]
        side, reason = int(Side.BUY if quantity > 0 else Side.SELL), int(Reason.SIGNAL)
        desk, slots, events = self._desk, self._slots, self.events
        kernels.apply_fill(desk, slots, index, side, abs(quantity), entry_price, 0.0, time_ns, reason, events, 0)
        kernels.attach_plan(self._desk, self._slots, index, stop_price, target_price)
        if rules:
            write_rules(slot, rules)

    def check(
        self,
        symbol: str,
        open: float,  # noqa: A002 - as everybody calls it
        high: float,
        low: float,
        close: float,
        time_ns: int | None = None,
    ) -> list[Exit]:
        """Look at one closed candle; return what it has closed.

        Parameters
        ----------
        symbol : str
            One of the monitor's.
        open, high, low, close : float
            Of the candle [quote per base].
        time_ns : int, optional
            When it closed [ns UTC]; a candle after the last one otherwise.
        """
        index = self._index(symbol)
        last_ns, bar_ns = int(self._desk["account"]["event_ns"][0]), int(self._desk["limits"]["bar_ns"][0])
        close_ns = last_ns + bar_ns if time_ns is None else time_ns
        candle = np.array([(index, close_ns - bar_ns, close_ns, open, high, low, close, 0.0)], dtype=CANDLE)
        return self._exits(self.on_candles(candle))

    def levels(self, symbol: str) -> dict[str, float]:
        """Return where a position's exits stand now: quantity, stop, target, trailing level; NaN: none."""
        slot = self._slots[self._index(symbol)]
        fields = ("quantity", "entry_price", "stop_price", "target_price", "best_price", "mark_price")
        sign = math.copysign(1.0, slot["quantity"])
        trailing_price = float(trailing_level(slot, sign)) if slot["quantity"] else math.nan
        return {**{field: float(slot[field]) for field in fields}, "trailing_price": trailing_price}

    def _exits(self, count: int) -> list[Exit]:
        return [
            Exit(
                self._symbols[int(event["slot"])],
                Reason(int(event["reason"])),
                float(event["price"]),
                float(event["quantity"]),
                float(event["fee"]),
                float(event["pnl"]),
                int(event["time_ns"]),
            )
            for event in self.events[:count]
            if event["kind"] == CoreEvent.EXIT_FILLED
        ]

    def _index(self, symbol: str) -> int:
        try:
            return self._symbols.index(symbol)
        except ValueError:
            raise ValueError(f"{symbol} is not watched here; there are {', '.join(self._symbols)}") from None
