"""Cycles on a grid of market time."""

from __future__ import annotations

from trader.clock import NS_PER_S
from trader.engine.schedule import CycleSchedule


def seconds(value: float) -> int:
    """Return seconds as nanoseconds."""
    return round(value * NS_PER_S)


def test_schedule_before_its_grid_point_is_not_due() -> None:
    """Nothing is due between two multiples of the interval."""
    schedule = CycleSchedule(180, last_ns=seconds(1000))
    assert schedule.next_ns == seconds(1080)
    assert not schedule.take(seconds(1079.9))


def test_schedule_at_its_grid_point_is_due_once() -> None:
    """A cycle is taken once; the next one is a whole interval further."""
    schedule = CycleSchedule(180, last_ns=seconds(1000))
    assert schedule.take(seconds(1080))
    assert not schedule.take(seconds(1080))
    assert schedule.next_ns == seconds(1260)


def test_schedule_after_a_gap_takes_one_cycle_for_all_that_were_missed() -> None:
    """A day without candles is followed by one cycle."""
    schedule = CycleSchedule(180, last_ns=seconds(1000))
    assert schedule.take(seconds(90_001))
    assert schedule.next_ns == seconds(90_180)


def test_schedule_restored_from_its_last_cycle_goes_on_alike() -> None:
    """A restart between two cycles changes no later cycle."""
    running = CycleSchedule(180)
    moments = [seconds(300 * step) for step in range(1, 50)]
    taken = [moment for moment in moments if running.take(moment)]
    resumed = CycleSchedule(180, last_ns=taken[10])
    assert [moment for moment in moments if moment > taken[10] and resumed.take(moment)] == taken[11:]


def test_schedule_with_changed_interval_goes_on_from_now() -> None:
    """A reload moves the grid and repeats nothing."""
    schedule = CycleSchedule(180, last_ns=seconds(1000))
    schedule.change_interval(60, seconds(1010))
    assert schedule.next_ns == seconds(1020)
