"""The table of a worker's life."""

from __future__ import annotations

import pytest

from trader.clock import NS_PER_S, boottime_ns
from trader.codes import WorkerState
from trader.errors import TraderError
from trader.process.channel import NeedsTime
from trader.supervisor.station import STEPS, Station, describe_exit

ILLEGAL = [(a, b) for a in WorkerState for b in WorkerState if b not in STEPS[a]]


class Desk:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.changes = 0

    def changed(self) -> None:
        """Count."""
        self.changes += 1


def test_steps_cover_every_state():
    """Every state has a row, and from every state a worker can be stopped."""
    assert set(STEPS) == set(WorkerState)
    for state in WorkerState:
        assert WorkerState.STOPPED in STEPS[state] or state is WorkerState.STOPPED


@pytest.mark.parametrize(("before", "after"), ILLEGAL)
def test_station_unlisted_step_raises_and_keeps_the_state(before, after):
    """A step the table does not list is an error and changes nothing."""
    desk = Desk()
    station = Station("engine", "nowhere:Nothing", desk)
    station.state = before
    with pytest.raises(TraderError, match=rf"{before.name} can not become {after.name}"):
        station._become(after)
    assert (station.state, desk.changes) == (before, 0)


def test_station_start_that_asks_for_time_is_not_cut_off(monkeypatch):
    """A worker that compiles says so; one that says nothing is aborted at its deadline."""
    aborted = []
    station = Station("engine", "nowhere:Nothing", Desk())
    monkeypatch.setattr(station, "_abort", lambda now_ns, why: aborted.append(why))
    station.state = WorkerState.STARTING
    station.started_ns = now_ns = boottime_ns()
    station._ready_by_ns = now_ns + 120 * NS_PER_S
    station.tick(now_ns + 119 * NS_PER_S, judge=True)
    assert aborted == []
    station.tick(now_ns + 121 * NS_PER_S, judge=True)
    assert aborted == ["not ready after 120 s"]
    station.heard(NeedsTime(600.0))
    station.tick(now_ns + 700 * NS_PER_S, judge=True)
    assert len(aborted) == 1
    station.tick(now_ns + 800 * NS_PER_S, judge=True)
    assert len(aborted) == 2


@pytest.mark.parametrize(
    ("exit_code", "text"), [(0, "exit code 0"), (70, "exit code 70"), (-9, "killed by SIGKILL"), (-64, "killed by")]
)
def test_exit_is_described_in_words(exit_code, text):
    """Signals by name."""
    assert text in describe_exit(exit_code)
