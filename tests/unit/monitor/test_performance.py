"""Snapshots: an even grid of market time, whatever the restarts."""

from __future__ import annotations

import numpy as np
import pytest

from trader.clock import NS_PER_S
from trader.core.records import ACCOUNT, EQUITY_POINT
from trader.monitor.performance import SnapshotPicker, with_account


def _points(*seconds: int) -> np.ndarray:
    points = np.zeros(len(seconds), EQUITY_POINT)
    points["time_ns"] = np.array(seconds) * NS_PER_S
    points["equity"] = np.array(seconds) * 10.0
    return points


def _seconds(snapshots: object) -> list[int]:
    return [snapshot.time_ns // NS_PER_S for snapshot in snapshots]  # type: ignore[attr-defined]


def test_picker_takes_the_first_point_of_each_interval() -> None:
    """Points at 60, 70, 125, 130, 300 on a grid of 60: the first of each minute."""
    assert _seconds(SnapshotPicker(60.0).pick(_points(60, 70, 125, 130, 300))) == [60, 125, 300]


def test_picker_after_a_restart_takes_nothing_twice() -> None:
    """What is kept already, and what is older, is not taken again."""
    picker = SnapshotPicker(60.0, last_ns=125 * NS_PER_S)
    assert _seconds(picker.pick(_points(60, 125, 130, 179, 180))) == [180]


def test_picker_split_reads_give_the_same_as_one() -> None:
    """How the ring was read makes no difference."""
    seconds = [5, 59, 61, 62, 119, 121, 240, 241]
    one = _seconds(SnapshotPicker(60.0).pick(_points(*seconds)))
    picker = SnapshotPicker(60.0)
    assert [moment for second in seconds for moment in _seconds(picker.pick(_points(second)))] == one


def test_picker_other_interval_holds_from_the_next_point() -> None:
    """A reload changes the grid."""
    picker = SnapshotPicker(60.0)
    list(picker.pick(_points(60)))
    picker.set_interval(10.0)
    assert _seconds(picker.pick(_points(65, 71, 79, 80))) == [71, 80]


def test_with_account_of_the_same_moment_adds_its_figures() -> None:
    """Equity 10,050 of a day that began at 10,000: +50; 3 wins of 4."""
    account = np.zeros(1, ACCOUNT)[0]
    account["event_ns"], account["equity"], account["day_start_equity"] = 60 * NS_PER_S, 10_050.0, 10_000.0
    account["wins"], account["round_trips"], account["cycles"] = 3, 4, 9
    snapshot = next(SnapshotPicker(60.0).pick(_points(60)))
    found = with_account(snapshot, account)
    assert (found.daily_pnl, found.win_frac, found.cycles) == (pytest.approx(50.0), 0.75, 9)


def test_with_account_of_a_later_moment_stays_as_it_is() -> None:
    """Figures of another moment are not put beside it."""
    account = np.zeros(1, ACCOUNT)[0]
    account["event_ns"] = 61 * NS_PER_S
    snapshot = next(SnapshotPicker(60.0).pick(_points(60)))
    assert with_account(snapshot, account) is snapshot
