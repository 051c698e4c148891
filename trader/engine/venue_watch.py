"""Watches the line to the exchange: errors, breaker, feed; halts entries by them and tells shared memory."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt

from trader.codes import Breaker, Halt
from trader.config.sections import RecoveryConfig
from trader.engine.decision_engine import AutonomousDecisionEngine
from trader.errors import ConfigError
from trader.logs.redaction import redact
from trader.market.feed import FeedHealth
from trader.recovery.classification import Action, Kind, classify
from trader.recovery.manager import ErrorRecoveryManager

log = logging.getLogger(__name__)


class VenueWatch:
    """Takes errors and answers of the exchange, and turns an open breaker into a halt of entries.

    Parameters
    ----------
    config : RecoveryConfig
        Section `recovery`.
    """

    def __init__(self, config: RecoveryConfig) -> None:
        self.recovery = ErrorRecoveryManager(
            config.max_consecutive_errors, config.error_cooldown_seconds, config.error_window_seconds
        )

    def on_error(self, error: BaseException) -> None:
        """Take in an error."""
        judgement = self.recovery.record_error(error)
        if judgement.action is Action.PAUSE:
            text = redact(f"{type(error).__name__}: {error}")[:200]
            log.warning("entries pause for %.0f s at least (%s): %s", judgement.wait_s, judgement.kind, text)

    def on_success(self) -> None:
        """Take in an answer."""
        self.recovery.record_success()

    def configure(self, config: RecoveryConfig) -> None:
        """Go on with other bounds."""
        self.recovery.configure(
            config.max_consecutive_errors, config.error_cooldown_seconds, config.error_window_seconds
        )

    def judge(self, engine: AutonomousDecisionEngine, health: FeedHealth | None) -> None:
        """Halt entries while the breaker isn't closed; end the engine after an error that nothing can follow.

        Raises
        ------
        ConfigError
            When the venue has refused our keys.
        BaseException
            The fatal error itself, for any other.
        """
        fatal = self.recovery.fatal
        if fatal is not None:
            if classify(fatal) is Kind.AUTHENTICATION:
                raise ConfigError(f"credentials: the venue refuses them: {redact(str(fatal))[:200]}") from fatal
            raise fatal
        if self.recovery.state is Breaker.HALF_OPEN and health is not None and health.connected:
            self.recovery.record_success()  # messages go on arriving after the cooldown
        if self.recovery.allows_entries and engine.halts & Halt.BREAKER:
            engine.lift(Halt.BREAKER)
        elif not self.recovery.allows_entries and not engine.halts & Halt.BREAKER:
            engine.halt(Halt.BREAKER)

    def tell(self, record: npt.NDArray[np.void], health: FeedHealth | None) -> None:
        """Write what is known into a record of `VENUE`."""
        found = self.recovery.statistics()
        record["exchange"] = 1
        record["maintenance"] = int(self.recovery.is_in_maintenance)
        record["breaker"] = int(self.recovery.state)
        record["breaker_until_ns"] = self.recovery.until_ns
        record["errors"] = found.total
        record["errors_in_window"] = found.in_window
        record["errors_in_row"] = found.consecutive
        record["recoveries"] = found.recoveries
        if health is not None:
            record["feed_connected"] = int(health.connected)
            record["feed_message_ns"] = health.message_ns
            record["feed_reconnects"] = health.reconnects
            record["feed_differences"] = health.differences
            record["clock_skew_ns"] = health.skew_ns
