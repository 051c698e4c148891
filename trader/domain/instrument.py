"""An instrument: what can be traded in which steps."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Instrument:
    """One symbol at one venue, with the steps that its orders are cut to."""

    symbol: str  #: as in BTC/USDT
    base: str  #: currency that is bought and sold
    quote: str  #: currency that it is paid in
    tick_size: Decimal  #: smallest price step [quote per base]
    lot_size: Decimal  #: smallest quantity step [base]
    min_quantity: Decimal  #: smallest order [base]
    min_notional: Decimal  #: smallest order [quote]
