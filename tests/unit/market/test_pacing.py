"""Market time follows the boot clock at its speed, and waits for a late reader."""

from __future__ import annotations

import asyncio
import time

import pytest

from trader.market.pacing import LONGEST_SLEEP_S, Pacer

NS = 10**9


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.ns = 5_000 * NS
        self.slept = []

    def now_ns(self):
        """Return the time [ns]."""
        return self.ns

    async def sleep(self, seconds):
        """Let the time pass at once."""
        self.slept.append(seconds)
        self.ns += round(seconds * NS)


@pytest.mark.parametrize(("speed", "expected_s"), [(1, 60.0), (60, 1.0), (0.5, 120.0), (1200, 0.05)])
def test_pacer_waits_market_seconds_over_speed(speed, expected_s):
    """A minute of market time takes 60 / speed seconds, in sleeps of a second at most."""
    clock = Clock()
    pacer = Pacer(speed, 1000 * NS, clock.now_ns, clock.sleep)
    asyncio.run(pacer.until(1060 * NS))
    assert sum(clock.slept) == pytest.approx(expected_s)
    assert max(clock.slept) <= LONGEST_SLEEP_S


def test_pacer_many_events_do_not_drift():
    """Ten thousand waits end where one would."""
    clock = Clock()
    pacer = Pacer(7, 0, clock.now_ns, clock.sleep)
    start_ns = clock.ns

    async def walk():
        for i in range(1, 10_001):
            await pacer.until(i * NS)

    asyncio.run(walk())
    assert clock.ns - start_ns == pytest.approx(10_000 * NS / 7, abs=2)


def test_pacer_speed_zero_never_sleeps():
    """As fast as the reader takes them."""
    clock = Clock()
    pacer = Pacer(0, 0, clock.now_ns, clock.sleep)
    asyncio.run(pacer.until(10**18))
    assert clock.slept == []
    assert pacer.market_now_ns() == 10**18


def test_pacer_market_time_lies_between_the_last_event_and_the_next():
    """It runs at its speed from the one, and stops at the other."""
    clock = Clock()
    seen = []

    async def watch(seconds):
        seen.append(pacer.market_now_ns())
        await clock.sleep(seconds)

    pacer = Pacer(60, 0, clock.now_ns, watch)
    clock.ns += 2 * NS
    assert pacer.market_now_ns() == 0
    clock.ns -= 2 * NS
    asyncio.run(pacer.until(150 * NS))
    assert seen == [0, 60 * NS, 120 * NS]
    clock.ns += 5 * NS
    assert pacer.market_now_ns() == 150 * NS


def test_pacer_slightly_late_reader_catches_up():
    """Half a second lost is made up: the clock does not move."""
    clock = Clock()
    pacer = Pacer(1, 0, clock.now_ns, clock.sleep)
    clock.ns += 10 * NS + NS // 2
    asyncio.run(pacer.until(10 * NS))
    assert clock.slept == []
    asyncio.run(pacer.until(11 * NS))
    assert sum(clock.slept) == pytest.approx(0.5)


def test_pacer_very_late_reader_gets_no_burst():
    """After an hour without a reader the market goes on from where it was left."""
    clock = Clock()
    pacer = Pacer(1, 0, clock.now_ns, clock.sleep)
    clock.ns += 3600 * NS
    asyncio.run(pacer.until(10 * NS))
    assert clock.slept == []
    asyncio.run(pacer.until(20 * NS))
    assert sum(clock.slept) == pytest.approx(10)


def test_pacer_on_the_real_clock_takes_the_time():
    """Six market seconds at speed 60 take a tenth of a second."""
    start = time.monotonic()
    asyncio.run(Pacer(60, 0).until(6 * NS))
    assert 0.09 <= time.monotonic() - start < 2
