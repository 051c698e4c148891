"""The trading lease: one word in shared memory without which no order opens new risk.

It lives for three seconds and is renewed while the service runs, so a supervisor that hangs, is stopped
or dies takes it away by doing nothing. Orders that reduce risk do not need it.
"""

from __future__ import annotations

from trader.clock import NS_PER_S, boottime_ns
from trader.state.segment import Segment

TTL_NS = 3 * NS_PER_S


class Lease:
    """The supervisor's word of permission."""

    def __init__(self, segment: Segment) -> None:
        self._word = segment.word("lease_until_ns")
        self.granted = False

    def grant(self) -> None:
        """Allow entries from now on, as long as `renew` is called."""
        self.granted = True
        self.renew()

    def renew(self) -> None:
        """Prolong the lease, if it is granted."""
        if self.granted:
            self._word.set(boottime_ns() + TTL_NS)

    def revoke(self) -> None:
        """Allow no more entries, at once."""
        self.granted = False
        self._word.set(0)
