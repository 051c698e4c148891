"""Fills: executions as the venue reports them, in exact amounts."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from trader.codes import Reason, Side


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution; the venue's trade id makes it unique."""

    trade_id: str  #: the venue's
    order_id: int
    symbol: str
    side: Side
    price: Decimal  #: [quote per base]
    quantity: Decimal  #: [base], > 0
    fee: Decimal  #: in `fee_currency`, >= 0
    fee_currency: str
    time_ns: int  #: market time [ns UTC]
    reason: Reason
