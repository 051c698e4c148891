"""Adjustments: changes of what is held that no fill explains."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class AdjustmentKind(StrEnum):
    """Why something is held, or no longer held, without a fill."""

    OPENING = "opening"  #: the account held it before the ledger began
    DUST = "dust"  #: too little to be sold: it stays in the balance and leaves the position
    FEE = "fee"  #: a second fee currency of one fill
    ROUNDING = "rounding"  #: less than the venue's smallest unit for each fill since the last comparison
    UNEXPLAINED = "unexplained"  #: the venue holds another amount, and nobody knows why


@dataclass(frozen=True, slots=True)
class Adjustment:
    """One change of a balance or a position that no fill explains."""

    adjustment_id: int  #: rising number, the ledger's key
    time_ns: int  #: [ns UTC]
    kind: AdjustmentKind
    currency: str
    amount: Decimal  #: change of the balance
    symbol: str  #: whose position changes, or in which entries are blocked; "" none
    position_change: Decimal  #: change of that position [base]
    fills: int  #: fills that the ledger held when it was made: its place among them
    expected: Decimal  #: balance as the ledger had it
    found: Decimal  #: balance as the venue had it
    note: str  #: for people
    accepted: bool  #: nothing waits for the owner; an unexplained one blocks its symbols until it is accepted
