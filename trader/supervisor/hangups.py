"""SIGHUPs into reloads: the first one at once, those that follow together when they have ceased.

Whoever sends two hundred of them wants the last file in force, not two hundred reloads of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: without another signal for this long, those that came are one reload [s]
QUIET_S = 0.3
#: and they are one after this long, if they do not cease [s]; also the time after which a signal is the first again
LONGEST_S = 5.0


class Hangups:
    """Counts signals and calls for reloads. On the event loop only.

    Parameters
    ----------
    reload : callable
        Begins a reload, which reads the file anew from now on.
    """

    def __init__(self, reload: Callable[[], object]) -> None:
        self._reload = reload
        self._fired_s = float("-inf")
        self._first_s = 0.0  #: of those that wait
        self._timer: asyncio.TimerHandle | None = None

    def note(self) -> None:
        """Take a signal: a reload begins after it, at once or soon."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        if self._timer is None:
            if now_s - self._fired_s >= LONGEST_S:
                self._fire()
                return
            self._first_s = now_s
        else:
            self._timer.cancel()
        self._timer = loop.call_at(min(now_s + QUIET_S, self._first_s + LONGEST_S), self._fire)

    def cancel(self) -> None:
        """Forget what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        self._fired_s = asyncio.get_running_loop().time()
        self._reload()
