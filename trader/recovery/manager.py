"""The recovery manager: takes errors and successes, answers whether entries may pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trader.clock import boottime_ns
from trader.codes import Breaker
from trader.recovery.breaker import CircuitBreaker
from trader.recovery.classification import RULES, Action, Kind, classify, retry_after_s
from trader.recovery.statistics import ErrorCounter, ErrorStatistics


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an error means and what follows from it."""

    kind: Kind
    action: Action
    wait_s: float = 0.0  #: how long entries pause at least [s]; 0: they don't


class ErrorRecoveryManager:
    """Classifies errors, pauses entries by a circuit breaker, and keeps statistics.

    Usable alone: it needs nothing but a clock. Exits and cancels are never asked about.

    Parameters
    ----------
    max_consecutive_errors : int
        Errors of any kind in a row that pause entries.
    cooldown_seconds : float
        How long they stay paused [s]; longer when the venue asks for it.
    error_window_seconds : float
        Over which errors per hour are counted [s].
    clock : callable
        Returns a clock that never steps [ns].
    """

    def __init__(
        self,
        max_consecutive_errors: int = 5,
        cooldown_seconds: float = 300.0,
        error_window_seconds: float = 3600.0,
        *,
        clock: Callable[[], int] = boottime_ns,
    ) -> None:
        self.max_consecutive_errors = max_consecutive_errors
        self.is_in_maintenance = False
        self.fatal: BaseException | None = None  #: the error that ended it all
        self._breaker = CircuitBreaker(cooldown_seconds, clock)
        self._counter = ErrorCounter(error_window_seconds, clock)
        self._row: dict[Kind, int] = {}  # errors of a kind since the last success

    def configure(self, max_consecutive_errors: int, cooldown_seconds: float, error_window_seconds: float) -> None:
        """Go on with other bounds, as after a reload; what was counted stays."""
        self.max_consecutive_errors = max_consecutive_errors
        self._breaker.cooldown_s = cooldown_seconds
        self._counter.window_s = error_window_seconds

    def record_error(self, error: BaseException) -> Judgement:
        """Take in an error.

        Parameters
        ----------
        error : BaseException
            What was raised.

        Returns
        -------
        Judgement
            What it means; when its action is STOP, the caller ends.
        """
        kind = classify(error)
        rule = RULES[kind]
        if not rule.counts:
            self.record_success()  # the venue has heard and answered
            return Judgement(kind, Action.NONE)
        self._counter.error(error)
        self._row[kind] = self._row.get(kind, 0) + 1
        self.is_in_maintenance = kind is Kind.MAINTENANCE
        if rule.stops:
            self.fatal = error
            self._breaker.trip()
            return Judgement(kind, Action.STOP, self._breaker.cooldown_s)
        many = self._counter.consecutive >= self.max_consecutive_errors
        if many or (rule.pauses_after is not None and self._row[kind] >= rule.pauses_after):
            wait_s = max(self._breaker.cooldown_s, retry_after_s(error) or 0.0)
            self._breaker.trip(wait_s)
            return Judgement(kind, Action.PAUSE, wait_s)
        self._breaker.fail()
        return Judgement(kind, Action.NONE)

    def record_success(self) -> bool:
        """Take in that something worked; return whether entries go on because of it."""
        self._counter.success()
        self._row.clear()
        self.is_in_maintenance = False
        return self._breaker.succeed()

    @property
    def state(self) -> Breaker:
        """Where the breaker is."""
        return self._breaker.state

    @property
    def until_ns(self) -> int:
        """When an open breaker becomes half-open [ns]; 0: it is not open."""
        return self._breaker.until_ns

    @property
    def allows_entries(self) -> bool:
        """Whether orders that add risk may pass: the breaker is closed."""
        return self.state is Breaker.CLOSED

    def statistics(self) -> ErrorStatistics:
        """Return what was counted: total, consecutive, recoveries, errors per hour, recovery rate, recent types."""
        return self._counter.summary()
