"""When a decision cycle is due, on a grid of market time."""

from __future__ import annotations

from trader.clock import NS_PER_S


class CycleSchedule:
    """Cycles at whole multiples of the interval since the Unix epoch, in market time.

    The grid does not depend on when the service was started, so that a restart, a replay and a
    backtest decide at the same moments. Cycles that were missed (a gap in the data, candles longer
    than the interval) are one cycle, not many.
    """

    def __init__(self, interval_s: float, last_ns: int = 0) -> None:
        self._interval_ns = round(interval_s * NS_PER_S)
        self._next_ns = self._after(last_ns)

    def _after(self, time_ns: int) -> int:
        return (time_ns // self._interval_ns + 1) * self._interval_ns

    @property
    def next_ns(self) -> int:
        """The next cycle [ns UTC, market time]."""
        return self._next_ns

    def take(self, now_ns: int) -> bool:
        """Return whether a cycle is due at `now_ns`, and if so wait for the next one."""
        if now_ns < self._next_ns:
            return False
        self._next_ns = self._after(now_ns)
        return True

    def change_interval(self, interval_s: float, now_ns: int) -> None:
        """Go on with another interval from `now_ns` [ns UTC, market time]."""
        self._interval_ns = round(interval_s * NS_PER_S)
        self._next_ns = self._after(now_ns)
