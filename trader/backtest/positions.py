"""Positions that core events tell of, as columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trader.core.compiling import kernel
from trader.core.constants import EVENT_ENTRY_FILLED, EVENT_EXIT_FILLED
from trader.core.history import opinion_of
from trader.domain.market import FloatArray, IntArray
from trader.domain.metrics import Trips


@dataclass(frozen=True, slots=True)
class Positions:
    """Positions as columns by their running number; `pnl`, `exit_*` of those still open mean nothing."""

    slot: IntArray
    side: IntArray  #: +1 long, -1 short
    strategy: IntArray
    quantity: FloatArray  #: all that was entered [base]
    entry_price: FloatArray  #: average [quote per base]
    exit_price: FloatArray  #: average [quote per base]
    entry_ns: IntArray
    exit_ns: IntArray
    fees: FloatArray  #: of all its fills [quote]
    pnl: FloatArray  #: net of fees [quote]
    exit_reason: IntArray
    closed: npt.NDArray[np.bool_]
    notional: float  #: of all fills [quote]

    def in_order_of_closing(self) -> IntArray:
        """Return the numbers of those that were closed, the first one first."""
        closed = np.flatnonzero(self.closed)
        return closed[np.argsort(self.exit_ns[closed], kind="stable")]


def positions(events: npt.NDArray[np.void], strategies: int) -> Positions:
    """Return the positions that core events tell of, in the order they were opened.

    Parameters
    ----------
    events : ndarray of CORE_EVENT
        All of a run.
    strategies : int
        How many there were.
    """
    count = int(_count(events))
    whole, real = np.zeros((6, count), np.int64), np.zeros((7, count))
    notional = _gather(events, whole, real)
    slot, side, order, entry_ns, exit_ns, exit_reason = whole
    bought, sold, entry_price, exit_price, entry_fees, exit_fees, pnl = real
    return Positions(
        slot=slot,
        side=side,
        strategy=opinion_of(order, strategies)[1],
        quantity=bought,
        entry_price=entry_price,
        exit_price=exit_price,
        entry_ns=entry_ns,
        exit_ns=exit_ns,
        fees=entry_fees + exit_fees,
        pnl=pnl,
        exit_reason=exit_reason,
        closed=np.abs(bought - sold) <= 1e-9 * bought,
        notional=float(notional),
    )


def trips_of(held: Positions) -> Trips:
    """Return the columns that figures are computed from, in the order positions were closed."""
    order = held.in_order_of_closing()
    return Trips(
        pnl=held.pnl[order],
        entry_ns=held.entry_ns[order],
        exit_ns=held.exit_ns[order],
        fees=float(held.fees.sum()),
        notional=held.notional,
        open_since_ns=tuple(held.entry_ns[~held.closed].tolist()),
    )


@kernel
def _count(events: Any) -> Any:
    """Return how many positions were opened; they are numbered from 1 on."""
    highest = 0
    for i in range(events.shape[0]):
        if events[i]["kind"] == EVENT_ENTRY_FILLED:
            highest = max(highest, events[i]["position_id"])
    return highest


@kernel
def _gather(events: Any, whole: Any, real: Any) -> Any:
    """Put fills together by position; return their notional. An average of one fill is its price, to the last bit."""
    notional = 0.0
    for i in range(events.shape[0]):
        event = events[i]
        entered = event["kind"] == EVENT_ENTRY_FILLED
        if not entered and event["kind"] != EVENT_EXIT_FILLED:
            continue
        at = event["position_id"] - 1
        quantity = event["quantity"]
        price = event["price"]
        notional += quantity * price
        way = 0 if entered else 1
        before = real[way, at]
        real[way, at] = before + quantity
        if before > 0.0:
            real[2 + way, at] = (real[2 + way, at] * before + price * quantity) / (before + quantity)
        else:
            real[2 + way, at] = price
        real[4 + way, at] += event["fee"]
        if entered:
            whole[0, at] = event["slot"]
            whole[1, at] = event["side"]
            whole[2, at] = event["order"]
            if before == 0.0:
                whole[3, at] = event["time_ns"]
        else:
            whole[4, at] = event["time_ns"]
            whole[5, at] = event["reason"]
            real[6, at] += event["pnl"]
    return notional
