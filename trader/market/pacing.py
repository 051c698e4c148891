"""Pacing: lets market time run `speed` times as fast as the boot clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from trader.clock import NS_PER_S, boottime_ns

#: longest single sleep [s]: a resumed or stepped machine is noticed this soon
LONGEST_SLEEP_S = 1.0

#: a reader later than this [ns] does not get the missed time as a burst: its market has waited
LATEST_NS = NS_PER_S


class Pacer:
    """Holds an event back until market time has reached it.

    Market time is an anchor plus `speed` times the boot time since. A reader that comes late (it
    was fenced, stopped in a debugger, or its machine slept) moves the anchor: the market waits for
    its reader instead of rushing past it.

    Parameters
    ----------
    speed : float
        Market seconds per second, >= 0; 0 never waits.
    market_ns : int
        Market time at the anchor [ns UTC].
    now_ns : callable
        The clock that is waited on [ns].
    sleep : callable
        Sleeps a number of seconds.
    """

    def __init__(
        self,
        speed: float,
        market_ns: int,
        now_ns: Callable[[], int] = boottime_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._speed = speed
        self._market_ns = market_ns
        self._now_ns = now_ns
        self._sleep = sleep
        self._anchor_ns = now_ns()
        self._reached_ns = market_ns
        self._awaited_ns = market_ns

    async def until(self, market_ns: int) -> None:
        """Return once market time has reached `market_ns`; at speed 0 at once.

        Parameters
        ----------
        market_ns : int
            Market time to wait for [ns UTC].
        """
        self._awaited_ns = market_ns
        if self._speed > 0:
            await self._wait(market_ns)
        self._reached_ns = market_ns

    async def _wait(self, market_ns: int) -> None:
        due_ns = self._anchor_ns + int((market_ns - self._market_ns) / self._speed)
        wait_ns = due_ns - self._now_ns()
        if wait_ns < -LATEST_NS:
            self._anchor_ns -= wait_ns
        while wait_ns > 0:
            await self._sleep(min(wait_ns / NS_PER_S, LONGEST_SLEEP_S))
            wait_ns = due_ns - self._now_ns()

    def market_now_ns(self) -> int:
        """Return market time now [ns UTC]: not before the last event, not after the one that is awaited."""
        elapsed_ns = int((self._now_ns() - self._anchor_ns) * self._speed)
        return min(max(self._market_ns + elapsed_ns, self._reached_ns), self._awaited_ns)
