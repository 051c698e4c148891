"""Every error that `trader` raises on purpose, in one hierarchy.

The handler decides by type, never by text. An error answers two questions by its type: is it
worth another try, and whose fault is it. The docstring of a class is its default message, so
documentation and log text can not drift apart. Refusals by risk are values, not errors: see
`trader.domain.verdict`.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_GAVE_UP = 70
EXIT_ALREADY_RUNNING = 75
EXIT_CONFIG = 78


class TraderError(Exception):
    """Something went wrong."""

    #: what the process exits with when this error ends it
    exit_code = EXIT_FAILED

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])


class UsageError(TraderError):
    """The command line can not be understood."""

    exit_code = EXIT_USAGE


class ConfigError(TraderError):
    """The configuration is not valid."""

    exit_code = EXIT_CONFIG


class AlreadyRunning(TraderError):
    """Another instance holds this data folder."""

    exit_code = EXIT_ALREADY_RUNNING


class GaveUp(TraderError):
    """The service can not go on by itself; systemd decides what is next."""

    exit_code = EXIT_GAVE_UP


class NotRunning(TraderError):
    """No running service was found for this data folder."""


class ControlError(TraderError):
    """The service refused a command."""


class StateError(TraderError):
    """The shared state can not be used."""


class SegmentMissing(StateError):
    """A shared-memory segment does not exist."""


class LayoutMismatch(StateError):
    """A shared-memory segment was written by another version, or is not one of ours."""


class UnreadableSlot(StateError):
    """No complete snapshot could be read from a slot."""


class KernelError(TraderError):
    """The compiled kernels do not give the results they must give."""

    exit_code = EXIT_GAVE_UP


class MarketDataError(TraderError):
    """Market data is missing or impossible."""


class StrategyError(TraderError):
    """A strategy can not be loaded, or broke while it was asked."""


class LedgerError(TraderError):
    """The ledger can not be used."""

    exit_code = EXIT_GAVE_UP


class LedgerMissing(LedgerError):
    """There is no ledger here yet; it begins when the service first runs."""

    exit_code = EXIT_FAILED


class LedgerDamaged(LedgerError):
    """The ledger is damaged; it was not touched."""


class LedgerTooNew(LedgerError):
    """The ledger was written by a newer version of trader."""


class LedgerUnwritable(LedgerError):
    """The ledger can not be written now (disk full or read-only); worth another try."""


class OrderError(TraderError):
    """An order did something that an order can not do."""


class IllegalTransition(OrderError):
    """An order event arrived that its state does not allow."""


class Overfill(OrderError):
    """More was filled than was ordered."""


class DuplicateClientOrderId(OrderError):
    """A client order id was used twice."""


class VenueError(TraderError):
    """The venue could not be used."""


class Transient(VenueError):
    """The venue failed in a way that passes; worth another try."""

    def __init__(self, message: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Permanent(VenueError):
    """The venue gave a definite no; another try would get the same answer."""


class OutcomeUnknown(VenueError):
    """The venue may or may not have acted; look up by client order id, never resend blindly."""


class WorkerError(TraderError):
    """A worker process failed."""


class StartAgain(WorkerError):
    """A worker can not work, and its next incarnation can: the cause has been removed."""

    exit_code = EXIT_GAVE_UP


class AuditMismatch(TraderError):
    """Ledger, shared state and venue do not agree."""
