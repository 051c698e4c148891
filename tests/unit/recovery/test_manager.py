"""Recovery: one table of errors, a breaker with three states, and statistics."""

from __future__ import annotations

import ccxt
import pytest
from ccxt.base import errors

from trader.clock import NS_PER_S
from trader.codes import Breaker
from trader.errors import OutcomeUnknown, Transient
from trader.recovery.classification import RULES, Action, Kind, classify, retry_after_s
from trader.recovery.manager import ErrorRecoveryManager


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_ns = 10 * NS_PER_S

    def read(self) -> int:
        """Return the time."""
        return self.now_ns

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += round(seconds * NS_PER_S)


@pytest.fixture
def clock():
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def manager(clock):
    """Return a manager with the default bounds."""
    return ErrorRecoveryManager(5, 300.0, 3600.0, clock=clock.read)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), Kind.FATAL),
        (SystemExit(1), Kind.FATAL),
        (ccxt.AuthenticationError(), Kind.AUTHENTICATION),
        (ccxt.PermissionDenied(), Kind.AUTHENTICATION),
        (ccxt.AccountSuspended(), Kind.AUTHENTICATION),
        (ccxt.RequestTimeout(), Kind.NETWORK),
        (ccxt.InvalidNonce(), Kind.NETWORK),
        (ccxt.ExchangeNotAvailable(), Kind.NETWORK),
        (ccxt.OperationFailed(), Kind.NETWORK),
        (ccxt.OnMaintenance(), Kind.MAINTENANCE),
        (ccxt.DDoSProtection(), Kind.RATE_LIMIT),
        (ccxt.RateLimitExceeded(), Kind.RATE_LIMIT),
        (ccxt.ExchangeError(), Kind.API),
        (ccxt.BadRequest(), Kind.API),
        (ccxt.BadResponse(), Kind.API),
        (ccxt.NullResponse(), Kind.API),
        (ccxt.InsufficientFunds(), Kind.ANSWER),
        (ccxt.OrderNotFound(), Kind.ANSWER),
        (ccxt.DuplicateOrderId(), Kind.ANSWER),
        (ConnectionResetError(), Kind.NETWORK),
        (TimeoutError(), Kind.NETWORK),
        (Transient(), Kind.NETWORK),
        (OutcomeUnknown(), Kind.NETWORK),
        (ValueError(), Kind.OTHER),
    ],
)
def test_classify_error_by_its_nearest_listed_ancestor(error, kind):
    """The class decides, never the text."""
    assert classify(error) is kind


def test_classify_every_class_of_ccxt_has_a_kind():
    """No class of ccxt falls to OTHER but the two roots that nothing raises."""
    classes = [item for item in vars(errors).values() if isinstance(item, type)]
    assert {cls.__name__ for cls in classes if classify(cls()) is Kind.OTHER} <= {"BaseError", "UnsubscribeError"}
    assert set(RULES) == set(Kind)


@pytest.mark.parametrize("error", [MemoryError(), SystemExit(), ccxt.AuthenticationError()])
def test_fatal_error_stops_at_once(manager, error):
    """Memory, exit, keys."""
    assert manager.record_error(error).action is Action.STOP
    assert manager.fatal is error
    assert not manager.allows_entries


def test_network_errors_pause_with_the_third(manager):
    """Two are weather."""
    actions = [manager.record_error(ccxt.RequestTimeout()).action for _ in range(3)]
    assert actions == [Action.NONE, Action.NONE, Action.PAUSE]
    assert manager.state is Breaker.OPEN


def test_network_errors_with_a_success_between_do_not_pause(manager):
    """In a row means in a row."""
    for _ in range(10):
        manager.record_error(ccxt.RequestTimeout())
        manager.record_error(ConnectionResetError())
        manager.record_success()
    assert manager.allows_entries


@pytest.mark.parametrize("error", [ccxt.RateLimitExceeded(), ccxt.DDoSProtection(), ccxt.BadResponse()])
def test_rate_limit_and_api_errors_pause_at_once(manager, error):
    """One is enough."""
    assert manager.record_error(error).action is Action.PAUSE


def test_other_errors_pause_after_the_configured_number(manager):
    """Five by default."""
    actions = [manager.record_error(ValueError()).action for _ in range(5)]
    assert actions == [Action.NONE] * 4 + [Action.PAUSE]


def test_answers_of_the_venue_are_no_errors(manager):
    """An order that was refused says nothing about the connection; it ends a row of errors."""
    manager.record_error(ccxt.RequestTimeout())
    assert manager.record_error(ccxt.InsufficientFunds()).action is Action.NONE
    assert manager.statistics().consecutive == 0
    assert manager.statistics().total == 1


def test_retry_after_longer_than_the_cooldown_counts(manager, clock):
    """The venue says how long it wants to be left alone."""
    error = ccxt.RateLimitExceeded()
    error.headers = {"Retry-After": "1000"}
    assert manager.record_error(error).wait_s == 1000.0
    clock.wait(999)
    assert manager.state is Breaker.OPEN
    clock.wait(1)
    assert manager.state is Breaker.HALF_OPEN


@pytest.mark.parametrize("told", ["soon", "-1", "1e9", None])
def test_retry_after_that_can_not_be_is_ignored(told):
    """Only seconds up to a day."""
    assert retry_after_s(Transient(retry_after_s=told)) is None


def test_breaker_closes_with_the_first_success_after_the_cooldown(manager, clock):
    """Open, half-open, closed."""
    manager.record_error(ccxt.DDoSProtection())
    assert not manager.record_success()
    assert manager.state is Breaker.OPEN, "the cooldown is not over"
    clock.wait(300)
    assert manager.state is Breaker.HALF_OPEN
    assert not manager.allows_entries
    assert manager.record_success()
    assert manager.allows_entries


def test_breaker_opens_again_with_the_first_error_after_the_cooldown(manager, clock):
    """One network error is enough then."""
    manager.record_error(ccxt.DDoSProtection())
    clock.wait(300)
    manager.record_error(ccxt.RequestTimeout())
    assert manager.state is Breaker.OPEN
    clock.wait(299)
    assert manager.state is Breaker.OPEN
    clock.wait(1)
    assert manager.state is Breaker.HALF_OPEN


def test_statistics_count_what_happened(manager, clock):
    """Total, consecutive, recoveries, per hour, rate, types."""
    for _ in range(3):
        manager.record_error(ccxt.RequestTimeout())
    manager.record_success()
    clock.wait(1800)
    manager.record_error(ValueError())
    found = manager.statistics()
    assert (found.total, found.consecutive, found.recoveries, found.in_window) == (4, 1, 1, 4)
    assert found.errors_per_hour == pytest.approx(8.0)
    assert found.recovery_rate == 0.5
    assert found.recent_types == (("RequestTimeout", 3), ("ValueError", 1))
    clock.wait(3601)
    assert manager.statistics().in_window == 0


def test_maintenance_is_told_and_ends_with_the_next_answer(manager):
    """A closed venue is a normal state: entries pause, nothing else."""
    assert manager.record_error(ccxt.OnMaintenance()).action is Action.PAUSE
    assert manager.is_in_maintenance
    manager.record_success()
    assert not manager.is_in_maintenance


def test_configure_keeps_what_was_counted(manager):
    """A reload changes bounds, not history."""
    manager.record_error(ValueError())
    manager.configure(2, 10.0, 60.0)
    assert manager.record_error(ValueError()).action is Action.PAUSE
