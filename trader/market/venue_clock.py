"""The venue's clock as seen from here: an offset to the boot clock, measured over requests.

The boot clock never steps, so a wall clock that is set back (NTP, an owner) moves nothing once the
offset is known. What the wall clock is off by is measured beside it, for people and for the limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from trader.clock import boottime_ns, utc_ns


class LocalClock(Protocol):
    """The clocks of this machine."""

    def utc_ns(self) -> int:
        """Return the wall clock [ns UTC]; it may step."""

    def elapsed_ns(self) -> int:
        """Return a clock that never steps [ns]."""


class SystemClock:
    """The wall clock and CLOCK_BOOTTIME."""

    def utc_ns(self) -> int:
        """Return the wall clock [ns UTC]."""
        return utc_ns()

    def elapsed_ns(self) -> int:
        """Return CLOCK_BOOTTIME [ns]."""
        return boottime_ns()


@dataclass(frozen=True, slots=True)
class ClockSample:
    """One question for the time: when it left, when the answer came (boot clock), and what it said."""

    sent_ns: int
    received_ns: int
    venue_ns: int  #: as the venue told it [ns UTC]
    resolution_ns: int  #: step in which it tells the time [ns]

    @property
    def bounds_ns(self) -> tuple[int, int]:
        """Least and largest offset (venue minus boot clock) that this answer allows [ns]."""
        return self.venue_ns - self.received_ns, self.venue_ns + self.resolution_ns - self.sent_ns


@dataclass(frozen=True, slots=True)
class Offset:
    """Venue time minus boot time, and how far off it may be."""

    offset_ns: int
    uncertainty_ns: int


def estimate_offset(samples: Iterable[ClockSample]) -> Offset:
    """Return the offset that the samples agree on: the middle of what all of them allow.

    Each answer was made between its question and its arrival, so it bounds the offset from both sides; quick answers
    bound it tightly, and several answers in whole seconds bound it closer than a second. Samples that contradict
    each other (the venue's clock has jumped in between) leave the tightest one.

    Parameters
    ----------
    samples : iterable of ClockSample
        At least one.
    """
    bounds = [sample.bounds_ns for sample in samples]
    low, high = max(low for low, _ in bounds), min(high for _, high in bounds)
    if low > high:
        low, high = min(bounds, key=lambda pair: pair[1] - pair[0])
    return Offset((low + high) // 2, (high - low + 1) // 2)


class VenueClock:
    """Time at the venue, from the boot clock and the offset measured last.

    Parameters
    ----------
    local : LocalClock
        This machine's clocks.
    """

    def __init__(self, local: LocalClock) -> None:
        self.local = local
        self._offset: Offset | None = None
        self._last_ms = 0
        self.measured_ns = 0  #: when the offset was measured [ns, boot clock]; 0: never

    @property
    def is_measured(self) -> bool:
        """Whether the venue has told its time."""
        return self._offset is not None

    @property
    def uncertainty_ns(self) -> int:
        """How far off `now_ns` may be [ns]."""
        return self._offset.uncertainty_ns if self._offset else 0

    @property
    def skew_ns(self) -> int:
        """Venue time minus this machine's wall clock [ns]: > 0 when the wall clock is late."""
        return self.now_ns() - self.local.utc_ns() if self._offset else 0

    def take(self, samples: Iterable[ClockSample]) -> None:
        """Go by these samples from now on."""
        self._offset = estimate_offset(samples)
        self.measured_ns = self.local.elapsed_ns()

    def now_ns(self) -> int:
        """Return the venue's time [ns UTC]; the wall clock until it was measured."""
        if self._offset is None:
            return self.local.utc_ns()
        return self.local.elapsed_ns() + self._offset.offset_ns

    def milliseconds(self) -> int:
        """Return the venue's time for a request [ms UTC]; never less than the last one.

        Venues that number requests by their time refuse one that goes backwards, as it would when a new
        measurement corrects the offset by some milliseconds.
        """
        now_ms = self.now_ns() // 1_000_000
        if self._last_ms - 1000 < now_ms < self._last_ms:
            return self._last_ms
        self._last_ms = now_ms
        return now_ms
