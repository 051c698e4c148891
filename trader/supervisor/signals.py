"""Signals, caught from the first statement on: one that comes early waits, and none is lost.

Only the standard library's lightest is imported here, because the default action of SIGHUP would end
the service while the rest is still being imported.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """What was asked by signal so far; `watch` is called for each when it is set."""

    def __init__(self) -> None:
        self.stops = 0  #: how often SIGTERM or SIGINT came
        self.reload = False  #: SIGHUP came since this was last cleared: any number of them is one reload
        self.watch: Callable[[], None] | None = None
        self._before: dict[signal.Signals, object] = {}

    def install(self) -> None:
        """Catch the signals; main thread only."""
        for number in (*STOPPING, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._note)
        self._before[signal.SIGPIPE] = signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def restore(self) -> None:
        """Put back the handlers from before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.stops += 1
        if self.watch is not None:
            self.watch()
