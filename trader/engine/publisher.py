"""Publishes what is durable: account, slots, limits and the equity curve, after each commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trader.clock import boottime_ns
from trader.core.records import EQUITY_POINT
from trader.state.dtypes import MAX_STRATEGIES, STRATEGY, VENUE
from trader.state.latch import CompiledWriter
from trader.state.segment import Segment

Records = npt.NDArray[np.void]

#: name, asked, failures, failures in a row, disabled, candle of the last failure
StrategyRow = tuple[bytes, int, int, int, int, int]


class Publisher:
    """Writes the engine's segment; readers see committed state only.

    Parameters
    ----------
    segment : Segment
        The engine's own, mapped read-write.
    desk, slots : ndarray
        The core's arrays, dtypes DESK (1,) and SLOT (symbols,).
    """

    def __init__(self, segment: Segment, desk: Records, slots: Records) -> None:
        self._account = desk["account"]
        self._limits = desk["limits"]
        self._slots = slots
        self._book = CompiledWriter(segment, "book")
        self._limits_writer = CompiledWriter(segment, "limits")
        self._strategies = np.zeros(MAX_STRATEGIES, STRATEGY)
        self._strategies_writer = CompiledWriter(segment, "strategies")
        self._told: Sequence[StrategyRow] = ()
        #: what is said of the exchange; whoever knows better fills it, `publish_venue` tells it
        self.venue = np.zeros(1, VENUE)
        self._venue_writer = CompiledWriter(segment, "venue")
        self.publish_venue()
        self._ring = segment.ring("equity")
        # a view of those fields: one call turns them into a tuple
        self._point = desk["account"][["event_ns", *(EQUITY_POINT.names or ())[1:]]]
        self._points: list[Any] = []  # tuples

    def note_equity(self) -> None:
        """Remember the account's equity as one point of the curve, to be published with the next commit."""
        self._points.append(self._point.item())

    def publish(self) -> None:
        """Publish account and slots as one snapshot, then the points noted since the last call."""
        self._account["updated_ns"] = boottime_ns()
        self._book.publish(self._account, self._slots)
        if self._points:
            for point in np.array(self._points, dtype=EQUITY_POINT):
                self._ring.append(point)
            self._points.clear()

    def publish_strategies(self, rows: Sequence[StrategyRow]) -> None:
        """Publish how the strategies are doing, if anything has changed.

        Parameters
        ----------
        rows : sequence of tuple
            One per strategy, as the fields of `STRATEGY`.
        """
        if rows == self._told:
            return
        self._told = rows
        self._strategies[:] = np.zeros((), STRATEGY)
        shown = rows[:MAX_STRATEGIES]
        self._strategies[: len(shown)] = list(shown)
        self._strategies_writer.publish(self._strategies)

    def publish_venue(self) -> None:
        """Publish what `venue` says."""
        self.venue["updated_ns"] = boottime_ns()
        self._venue_writer.publish(self.venue)

    def publish_limits(self) -> None:
        """Publish the limits in force."""
        self._limits_writer.publish(self._limits)
