"""The equity curve as the dashboard keeps it: bounded, whatever the market's speed and the page's age."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Point = tuple[int, float, float]
"""Market time [ms UTC], equity [quote], drawdown as a fraction."""

MOST_POINTS = 4000


class Curve:
    """Rising in time; when it is full the older half gives up every second point."""

    def __init__(self, points: Iterable[Point] = (), most: int = MOST_POINTS) -> None:
        self._points: list[Point] = []
        self._most = most
        self.extend(points)

    def __len__(self) -> int:
        return len(self._points)

    @property
    def last_ms(self) -> int:
        """Market time of the last point [ms UTC]; 0: none."""
        return self._points[-1][0] if self._points else 0

    def extend(self, points: Iterable[Point]) -> int:
        """Append the points that are newer than the last one; return how many there were."""
        before_ms, added = self.last_ms, 0
        for point in points:
            if point[0] > before_ms:
                self._points.append(point)
                before_ms, added = point[0], added + 1
                if len(self._points) > self._most:
                    half = len(self._points) // 2
                    self._points[:half] = self._points[:half:2]
        return added

    def since(self, time_ms: int, most: int) -> list[Point]:
        """Return the points after a market time, at most `most` of them, the last one always."""
        low, high = 0, len(self._points)
        while low < high:
            middle = (low + high) // 2
            if self._points[middle][0] <= time_ms:
                low = middle + 1
            else:
                high = middle
        return thinned(self._points[low:], most)


def thinned(points: list[Point], most: int) -> list[Point]:
    """Return at most `most` of the points, evenly, the last one always."""
    if len(points) <= most:
        return points
    step = -(-len(points) // most)
    return points[(len(points) - 1) % step :: step]


def points_of(records: npt.NDArray[np.void]) -> list[Point]:
    """Return records of `core.records.EQUITY_POINT` as points."""
    return list(
        zip(
            (records["time_ns"] // 1_000_000).tolist(),
            records["equity"].tolist(),
            records["drawdown_frac"].tolist(),
            strict=True,
        )
    )
