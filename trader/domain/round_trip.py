"""Round trips: positions from the first fill to the last, in exact amounts."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from trader.codes import Reason, Side


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """One position that was opened and is closed again.

    Amounts of money are exact: they are sums over the fills. The two average prices are for
    people and are rounded to twelve decimals.
    """

    position_id: int  #: running number
    symbol: str
    side: Side  #: BUY: it was long; SELL: it was short
    quantity: Decimal  #: all that was entered, and exited again [base]
    entry_price: Decimal  #: average [quote per base]
    exit_price: Decimal  #: average [quote per base]
    entry_ns: int  #: first fill [ns UTC, market time]
    exit_ns: int  #: last fill [ns UTC, market time]
    gross_pnl: Decimal  #: before fees [quote]
    fees: Decimal  #: of all its fills [quote]
    pnl: Decimal  #: gross_pnl - fees [quote]
    strategy: str
    entry_reason: Reason
    exit_reason: Reason
    decision_id: int  #: the decision that opened it; 0: none
    entry_order_id: int
    exit_order_id: int
    exit_note: str = ""  #: for people: which rule of the exit plan came true
