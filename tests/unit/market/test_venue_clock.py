"""The venue's clock: measured over requests of uncertain length, corrected, and deaf to a wall clock that steps."""

from __future__ import annotations

import pytest

from trader.clock import NS_PER_S
from trader.market.venue_clock import ClockSample, VenueClock, estimate_offset

MS = 1_000_000
VENUE_AHEAD = 1_700_000_000 * NS_PER_S


class Hands:
    """Clocks that a test sets."""

    def __init__(self):
        self.wall_ns, self.boot_ns = VENUE_AHEAD, 0

    def utc_ns(self):
        """Return the wall clock."""
        return self.wall_ns

    def elapsed_ns(self):
        """Return the boot clock."""
        return self.boot_ns

    def pass_by(self, ns):
        """Let time pass on both."""
        self.wall_ns += ns
        self.boot_ns += ns


def sample(sent_ms, received_ms, offset_ms, answered_ms=None, resolution_ms=1):
    """Return an answer of a venue whose clock is ahead of the boot clock by an offset."""
    answered = (sent_ms + received_ms) / 2 if answered_ms is None else answered_ms
    told = int(answered + offset_ms) // resolution_ms * resolution_ms
    return ClockSample(sent_ms * MS, received_ms * MS, told * MS, resolution_ms * MS)


def test_offset_lies_within_its_uncertainty_however_slow_one_way_is():
    """The answer may have been made just after the question, or just before its arrival."""
    for answered in (100, 250, 399):
        found = estimate_offset([sample(100, 400, 7_000, answered)])
        assert abs(found.offset_ns - 7_000 * MS) <= found.uncertainty_ns + MS
        assert found.uncertainty_ns <= 151 * MS


def test_offset_of_several_answers_is_as_good_as_all_of_them_together():
    """A quick answer decides, a slow one does no harm."""
    found = estimate_offset([sample(0, 900, 500, 100), sample(1000, 1010, 500), sample(2000, 2800, 500, 2790)])
    assert abs(found.offset_ns - 500 * MS) <= 6 * MS
    assert found.uncertainty_ns <= 6 * MS


def test_offset_of_a_clock_that_tells_whole_seconds_is_closer_than_a_second():
    """Kraken does; answers at other fractions of a second narrow it down."""
    samples = [sample(t, t + 10, 12_345, resolution_ms=1000) for t in (0, 210, 430, 650, 870)]
    found = estimate_offset(samples)
    assert abs(found.offset_ns - 12_345 * MS) <= found.uncertainty_ns
    assert found.uncertainty_ns < 200 * MS


def test_offset_after_a_jump_of_the_venues_clock_goes_by_the_tightest_answer():
    """Answers that contradict each other can't all be believed."""
    found = estimate_offset([sample(0, 500, 1_000), sample(1000, 1010, 9_000)])
    assert abs(found.offset_ns - 9_000 * MS) <= 6 * MS


def test_clock_before_a_measurement_is_the_wall_clock():
    """And has no skew."""
    clock = VenueClock(Hands())
    assert clock.now_ns() == VENUE_AHEAD
    assert (clock.skew_ns, clock.is_measured) == (0, False)


def test_clock_after_a_measurement_is_deaf_to_a_wall_clock_that_steps():
    """Time goes on; only the skew tells that the wall clock was moved."""
    hands = Hands()
    clock = VenueClock(hands)
    clock.take([ClockSample(0, 10 * MS, VENUE_AHEAD + 5 * MS, MS)])
    before = clock.now_ns()
    hands.pass_by(3 * NS_PER_S)
    hands.wall_ns -= 3600 * NS_PER_S
    assert clock.now_ns() - before == 3 * NS_PER_S
    assert clock.skew_ns == pytest.approx(3600 * NS_PER_S, abs=10 * MS)


def test_milliseconds_of_requests_do_not_go_back_when_the_offset_is_corrected():
    """A venue that numbers requests by their time refuses one that does; a real jump is followed."""
    hands = Hands()
    clock = VenueClock(hands)
    clock.take([ClockSample(0, 0, VENUE_AHEAD + 100 * MS, 0)])
    first = clock.milliseconds()
    clock.take([ClockSample(0, 0, VENUE_AHEAD + 40 * MS, 0)])
    assert clock.milliseconds() == first
    clock.take([ClockSample(0, 0, VENUE_AHEAD - 5000 * MS, 0)])
    assert clock.milliseconds() == first - 5100
