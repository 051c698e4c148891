"""Decisions: what became of each opinion, the refused and the idle ones too."""

from __future__ import annotations

from typing import NamedTuple


class Decision(NamedTuple):
    """One opinion of one strategy on one symbol in one cycle, and what became of it.

    A tuple, because a replay of eight months records half a million of them.
    """

    decision_id: int
    cycle: int
    time_ns: int  #: market time of the cycle [ns UTC]
    strategy: str
    symbol: str  #: "" when nothing was asked
    candle_ns: int  #: close of the candle that was judged [ns UTC]; 0: none
    price: float  #: close of that candle [quote per base]
    direction: int  #: codes.Direction
    confidence: float  #: 0..1
    value: float  #: the reading it follows from, for example the RSI; NaN: none
    decided: int  #: codes.Decided
    mask: int  #: codes.Limit that were broken; 0: none
    order_id: int  #: of the order that followed; 0: none
    detail: str  #: for people: the broken limits with both numbers, or an error; "" for idle ones
    note: str = ""  #: the strategy's own words on why; "" where it said none
