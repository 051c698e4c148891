"""The risk manager: hands each entry signal to the compiled check and turns the answer into a verdict.

The only place where `Approved` is made. It decides nothing itself: limits, sizing and halts
are the core's, so that a backtest, which has no manager, decides the same.

The engine asks it before each entry; a script can ask it about an account of its own:

    risk = EnhancedRiskManager.alone(["BTC/USDT"], capital=10_000.0)
    risk.check(Signal("mine", "BTC/USDT", now_ns, 60_000.0, Direction.LONG, 0.9, stop_price=58_800.0))
    # Approved(request=OrderRequest(symbol='BTC/USDT', ..., quantity=Decimal('0.03333333'), ...))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Self

import numpy as np
import numpy.typing as npt

from trader.clock import boottime_ns
from trader.codes import Direction, Halt, Limit, Reason, Side
from trader.config.sections import Config
from trader.core.correlation import correlate, keep_closes
from trader.core.kernels import check_entry
from trader.core.records import DESK, SLOT, new_closes
from trader.domain.invalidation import Gauge
from trader.domain.order import OrderRequest
from trader.domain.signal import Signal
from trader.domain.verdict import Approved, Broken, Refused
from trader.risk.exit_plan import write_costs, write_limits
from trader.risk.lone_account import lone_account
from trader.risk.lookback import HistoryOf, closes_as_rows, correlation_bars, keep_gauges, warming_bars
from trader.units import exact, timeframe_ns

Records = npt.NDArray[np.void]

#: what an owner's `resume` lifts; the other halts end with their cause
RESUMABLE = Halt.PAUSED | Halt.DRAWDOWN


class EnhancedRiskManager:
    """Checks entries against every limit, and holds the switches that halt them.

    Parameters
    ----------
    desk : ndarray of DESK, shape (1,)
        The account; its limits, gate, request and verdict are written here.
    slots : ndarray of SLOT, shape (n_symbols,)
        One per symbol, instruments filled in.
    symbols : sequence of str
        Symbol of each slot.
    """

    def __init__(self, desk: Records, slots: Records, symbols: Sequence[str]) -> None:
        if desk.dtype != DESK or slots.dtype != SLOT or len(slots) != len(symbols):
            raise ValueError(f"want a desk and {len(symbols)} slots, got {desk.shape} and {slots.shape}")
        self._desk = desk
        self._slots = slots
        self._slot_of = {symbol: index for index, symbol in enumerate(symbols)}
        # one-element views by field, made once: making them takes longer than the check
        self._account = desk["account"]
        self._gate = desk["gate"]
        self._request = desk["request"]
        self._verdict = desk["verdict"]
        self._closes: Records | None = None  # kept while correlated exposure is limited
        self._bar_ns = 0

    def apply_limits(self, config: Config, epoch: int) -> None:
        """Put the limits, exits and costs of a configuration in force, for the next check on.

        Parameters
        ----------
        config : Config
            A valid configuration.
        epoch : int
            Its number, which readers of the limits are shown.
        """
        write_limits(self._desk, config, epoch)
        write_costs(self._slots, config)

    def look_back(self, config: Config, gauges: Sequence[Gauge], history_of: HistoryOf) -> None:
        """Take in the candles before the next event, after a start or a reload.

        Parameters
        ----------
        config : Config
            Whose limits are in force.
        gauges : sequence of Gauge
            What invalidation rules may look at, from `lookback.gauges_of`.
        history_of : callable
            Returns the last candles of a slot: slot, how many at most.
        """
        keep_gauges(self._slots, gauges, warming_bars(config, gauges), history_of)
        window = correlation_bars(config)
        self._closes = new_closes(len(self._slots), window) if window else None
        self._bar_ns = timeframe_ns(config.market.timeframe)
        if self._closes is not None:
            for slot in range(len(self._slots)):
                self.watch(closes_as_rows(slot, history_of(slot, window + 1)))

    def watch(self, candles: Records) -> None:
        """Take in closed candles: correlations are computed from them.

        Parameters
        ----------
        candles : ndarray of CANDLE
            Of one event, or of one symbol in the order of time.
        """
        if self._closes is not None:
            keep_closes(self._closes, candles, 0, len(candles), self._bar_ns)

    def evaluate(
        self,
        signal: Signal,
        now_ns: int,
        lease_until_ns: int,
        clear_until_ns: int,
        boottime_ns: int,
        decision_id: int = 0,
    ) -> Approved | Refused:
        """Size an entry and check it against every limit.

        Parameters
        ----------
        signal : Signal
            LONG or SHORT; its NaN levels stand for the configured defaults.
        now_ns : int
            Market time, against which the age of the last price counts [ns UTC].
        lease_until_ns : int
            The supervisor's lease [CLOCK_BOOTTIME ns].
        clear_until_ns : int
            Until when the monitor sees no reason for a veto [CLOCK_BOOTTIME ns].
        boottime_ns : int
            When those two were read [CLOCK_BOOTTIME ns].
        decision_id : int
            The decision that this follows from.

        Returns
        -------
        Approved or Refused
            The request with its exact quantity; when refused, with every limit that it would break.

        Raises
        ------
        ValueError
            When the signal asks for no entry, or for a symbol that is not traded here.
        """
        if signal.direction not in (Direction.LONG, Direction.SHORT):
            raise ValueError(f"{signal.direction.name} of {signal.strategy} is no entry: risk checks LONG and SHORT")
        slot = self._slot_of.get(signal.symbol)
        if slot is None:
            raise ValueError(f"{signal.symbol} has no slot here; traded are {', '.join(self._slot_of)}")
        self._gate[0] = (boottime_ns, lease_until_ns, clear_until_ns)
        self._request[0] = (
            slot,
            int(signal.direction),
            signal.confidence,
            0.0,
            signal.price,
            signal.stop_price,
            signal.target_price,
            now_ns,
        )
        if self._closes is not None:
            correlate(self._desk, self._slots, self._closes, slot)
        check_entry(self._desk, self._slots)
        request = self._order_request(signal, slot, decision_id)
        broken = self._broken()
        return Refused(request, broken) if broken else Approved(request)

    def pause(self) -> None:
        """Refuse entries until `resume`; exits go on."""
        self.halt(Halt.PAUSED)

    def resume(self) -> Halt:
        """Lift what an owner can lift: a pause, and a halt for drawdown.

        After a halt for drawdown the drawdown counts from today's equity: with the old peak the next
        event would halt again, and resuming would mean nothing. The worst drawdown stays on record.

        Returns
        -------
        Halt
            What was lifted.
        """
        account = self._account
        lifted = Halt(int(account["halt_mask"][0])) & RESUMABLE
        if lifted & Halt.DRAWDOWN:
            account["peak_equity"] = account["equity"]
            account["drawdown_frac"] = 0.0
        self.release(RESUMABLE)
        return lifted

    def halt(self, cause: Halt) -> None:
        """Refuse entries for a cause, until `release` of the same."""
        self._account["halt_mask"] |= int(cause)

    def release(self, cause: Halt) -> None:
        """End the halts of a cause; those of other causes stand."""
        self._account["halt_mask"] &= ~int(cause)

    @property
    def closes(self) -> Records | None:
        """What correlations are computed from, dtype CLOSE; None while correlated exposure is not limited."""
        return self._closes

    @property
    def halts(self) -> Halt:
        """Why entries are halted now."""
        return Halt(int(self._account["halt_mask"][0]))

    # -- alone ---------------------------------------------------------------------------------

    @classmethod
    def alone(cls, symbols: Sequence[str], capital: float = 10_000.0, config: Config | None = None) -> Self:
        """Return a manager with an account of its own.

        Parameters
        ----------
        symbols : sequence of str
            What may be traded.
        capital : float
            Cash [quote].
        config : Config, optional
            Whose limits, exits and costs are in force; the defaults otherwise.
        """
        config = config or Config()
        manager = cls(*lone_account(symbols, capital, config), symbols)
        manager._bar_ns = timeframe_ns(config.market.timeframe)
        return manager

    def check(self, signal: Signal) -> Approved | Refused:
        """Size an entry at the signal's own price and time and check it, with no supervisor or monitor to ask.

        Parameters
        ----------
        signal : Signal
            LONG or SHORT; its NaN levels stand for the configured defaults.

        Raises
        ------
        ValueError
            When the signal asks for no entry, is for a symbol that is not traded here, or names no price.
        """
        if not (math.isfinite(signal.price) and signal.price > 0.0):
            raise ValueError(f"{signal.symbol}: no entry at a price of {signal.price}")
        slot = self._slot_of.get(signal.symbol)
        if slot is not None:
            self._slots["mark_price"][slot], self._slots["mark_ns"][slot] = signal.price, signal.time_ns
        now_ns = boottime_ns()
        return self.evaluate(signal, signal.time_ns, now_ns + 1, now_ns + 1, now_ns)

    def _order_request(self, signal: Signal, slot: int, decision_id: int) -> OrderRequest:
        lots = int(self._verdict["lots"][0])
        return OrderRequest(
            symbol=signal.symbol,
            side=Side.BUY if signal.direction == Direction.LONG else Side.SELL,
            quantity=lots * exact(float(self._slots["lot_size"][slot])) if lots else Decimal(0),
            reference_price=signal.price,
            reason=Reason.SIGNAL,
            strategy=signal.strategy,
            confidence=signal.confidence,
            stop_price=_given(signal.stop_price),
            target_price=_given(signal.target_price),
            reduce_only=False,
            decision_id=decision_id,
            invalidations=signal.invalidations,
        )

    def _broken(self) -> tuple[Broken, ...]:
        mask = int(self._verdict["mask"][0])
        if not mask:
            return ()
        observed, bound = self._verdict["observed"][0], self._verdict["bound"][0]
        bits = (bit for bit in range(mask.bit_length()) if mask >> bit & 1)
        return tuple(Broken(Limit(1 << bit), float(observed[bit]), float(bound[bit])) for bit in bits)


def _given(level: float) -> float:
    """Return a level that the strategy named; NaN where the fill price is to decide."""
    return level if math.isfinite(level) else math.nan
