"""What has been recorded and waits for the next commit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from trader.domain.adjustment import Adjustment
from trader.domain.decision import Decision
from trader.domain.fill import Fill
from trader.domain.order import Order
from trader.domain.round_trip import RoundTrip

Records = npt.NDArray[np.void]

#: account (shape (1,)), slots and cursor [ns] of one moment
State = tuple[Records, Records, int]


@dataclass(slots=True)
class Pending:
    """Work for one transaction; kept as it is when that transaction fails."""

    orders: dict[int, Order] = field(default_factory=dict)
    order_events: list[tuple[Any, ...]] = field(default_factory=list)
    client_order_ids: set[str] = field(default_factory=set)
    fills: dict[str, tuple[int, Fill]] = field(default_factory=dict)
    round_trips: list[RoundTrip] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    halts: list[tuple[Any, ...]] = field(default_factory=list)
    days: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    paper_balances: set[str] = field(default_factory=set)
    adjustments: dict[int, Adjustment] = field(default_factory=dict)
    leaving: set[str] = field(default_factory=set)
    state: State | None = None

    def __len__(self) -> int:
        counted = (self.orders, self.order_events, self.fills, self.round_trips, self.decisions, self.halts, self.days)
        others = len(self.paper_balances) + len(self.adjustments) + len(self.leaving)
        return sum(map(len, counted)) + others + (self.state is not None)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return len(self) == 0
