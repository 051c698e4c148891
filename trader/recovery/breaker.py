"""The circuit breaker between errors and entries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from trader.clock import NS_PER_S, boottime_ns
from trader.codes import Breaker


class BreakerEvent(StrEnum):
    """What can happen to a breaker."""

    TRIP = "trip"  #: too many errors
    COOL = "cool"  #: the cooldown is over
    SUCCEED = "succeed"  #: something worked
    FAIL = "fail"  #: something failed


_B, _E = Breaker, BreakerEvent

#: every step; what is not listed leaves the breaker as it is
TRANSITIONS: Mapping[Breaker, Mapping[BreakerEvent, Breaker]] = {
    _B.CLOSED: {_E.TRIP: _B.OPEN},
    _B.OPEN: {_E.COOL: _B.HALF_OPEN},
    _B.HALF_OPEN: {_E.SUCCEED: _B.CLOSED, _E.FAIL: _B.OPEN, _E.TRIP: _B.OPEN},
}


class CircuitBreaker:
    """Opens on a trip, becomes half-open after a cooldown, and closes with the first success after that.

    Parameters
    ----------
    cooldown_s : float
        How long it stays open [s].
    clock : callable
        Returns a clock that never steps [ns].
    """

    def __init__(self, cooldown_s: float, clock: Callable[[], int] = boottime_ns) -> None:
        self.cooldown_s = cooldown_s
        self._clock = clock
        self._state = Breaker.CLOSED
        self._until_ns = 0

    @property
    def state(self) -> Breaker:
        """Where the breaker is now."""
        if self._state is Breaker.OPEN and self._clock() >= self._until_ns:
            self._take(BreakerEvent.COOL)
        return self._state

    @property
    def until_ns(self) -> int:
        """When an open breaker becomes half-open [ns, its clock]; 0: it is not open."""
        return self._until_ns if self.state is Breaker.OPEN else 0

    def trip(self, cooldown_s: float | None = None) -> None:
        """Open; a breaker that is open stays so for at least this long from now on.

        Parameters
        ----------
        cooldown_s : float, optional
            How long [s]; None: the configured cooldown.
        """
        self._take(BreakerEvent.TRIP)
        seconds = self.cooldown_s if cooldown_s is None else cooldown_s
        self._until_ns = max(self._until_ns, self._clock() + round(seconds * NS_PER_S))

    def fail(self) -> None:
        """Note an error: a half-open breaker opens again for a whole cooldown."""
        if self.state is Breaker.HALF_OPEN:
            self._take(BreakerEvent.FAIL)
            self._until_ns = self._clock() + round(self.cooldown_s * NS_PER_S)

    def succeed(self) -> bool:
        """Note a success; return whether it has closed the breaker."""
        before = self.state
        self._take(BreakerEvent.SUCCEED)
        return before is not self._state

    def _take(self, event: BreakerEvent) -> None:
        self._state = TRANSITIONS[self._state].get(event, self._state)
