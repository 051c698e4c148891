"""The table of a worker's life."""

from __future__ import annotations

import pytest

from trader.codes import WorkerState
from trader.errors import TraderError
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


@pytest.mark.parametrize(
    ("exit_code", "text"), [(0, "exit code 0"), (70, "exit code 70"), (-9, "killed by SIGKILL"), (-64, "killed by")]
)
def test_exit_is_described_in_words(exit_code, text):
    """Signals by name."""
    assert text in describe_exit(exit_code)
