"""Performance: an even grid of market time, exact over restarts, and a file that may break."""

from __future__ import annotations

import json
import math
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from trader.clock import NS_PER_S, parse_utc
from trader.core.records import EQUITY_POINT
from trader.ledger.metrics import MetricsReader
from trader.monitor.performance import PerformanceMonitor, SnapshotPicker

START_NS = parse_utc("2024-05-01")
HOUR_NS = 3600 * NS_PER_S


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


def test_picker_snapshot_has_every_figure_of_its_moment() -> None:
    """Equity 10,050 of a day that began at 10,000: +50; 3 wins of 4."""
    points = _points(60)
    for name, value in {
        "equity": 10_050.0,
        "day_start_equity": 10_000.0,
        "wins": 3,
        "round_trips": 4,
        "cycles": 9,
    }.items():
        points[name] = value
    (found,) = SnapshotPicker(60.0).pick(points)
    assert (found.daily_pnl, found.win_frac, found.cycles) == (pytest.approx(50.0), 0.75, 9)


def _filled(folder: Path, capitals: list[float]) -> PerformanceMonitor:
    monitor = PerformanceMonitor(1000.0, folder)
    for hour, capital in enumerate(capitals):
        monitor.update_metrics(
            capital, open_positions=1, total_trades=hour, win_rate=50.0, time_ns=START_NS + hour * HOUR_NS
        )
    return monitor


def test_monitor_as_a_library_reports_what_it_was_told(tmp_path: Path) -> None:
    """Capital 1000, 1100, 990, 1050: worst fall 110 of 1100, +5 % in all, +60 in the last hour."""
    with _filled(tmp_path, [1000.0, 1100.0, 990.0, 1050.0]) as monitor:
        monitor.record_trade(
            "BTC/USDT", 50.0, START_NS, START_NS + HOUR_NS, strategy="mine", exit_reason="target", fees=1.0
        )
        monitor.record_trade("ETH/USDT", -10.0, START_NS, START_NS + 3 * HOUR_NS, strategy="mine", exit_reason="stop")
        report = monitor.generate_report()
    summary, stats = report["summary"], report["capital_stats"]
    assert summary["max_drawdown"] == pytest.approx(10.0)
    assert (summary["total_pnl"], summary["total_pnl_percent"]) == (pytest.approx(50.0), pytest.approx(5.0))
    assert (summary["win_rate"], summary["open_positions"], summary["daily_pnl"]) == (50.0, 1, pytest.approx(50.0))
    assert stats["mean"] == pytest.approx(1035.0)
    assert (stats["median"], stats["min"], stats["max"], stats["count"]) == (1025.0, 990.0, 1100.0, 4)
    assert stats["std"] == pytest.approx(np.std([1000.0, 1100.0, 990.0, 1050.0], ddof=1))
    assert report["recent_performance"]["1h"]["pnl"] == pytest.approx(60.0)
    assert set(report["recent_performance"]) == {"1h", "1d", "7d"}
    activity = report["trading_activity"]
    assert activity["best"]["symbol"] == "BTC/USDT"
    assert activity["held_s"]["mean"] == pytest.approx(7200.0)
    assert activity["by_hour"]["01"]["pnl"] == 50.0
    assert activity["by_exit_reason"]["stop"]["losses"] == 1
    json.dumps(report, allow_nan=False)


def test_monitor_as_a_library_survives_restarts_exactly(tmp_path: Path) -> None:
    """Another object on the same folder goes on with the same peak, and reports the same numbers to the bit."""
    capitals = [1000.0 / 3.0, 1000.1, 999.9, 1234.5678901234567]
    with _filled(tmp_path, capitals) as monitor:
        before = monitor.generate_report()
    with PerformanceMonitor(5.0, tmp_path) as monitor:
        assert monitor.generate_report() == before
        monitor.update_metrics(617.28394506172835, time_ns=START_NS + 9 * HOUR_NS)
        assert monitor.generate_report()["summary"]["max_drawdown"] == pytest.approx(200.0 / 3.0)  # of the first fall
        assert monitor.initial_capital == 1000.0


def test_monitor_time_that_steps_back_loses_no_snapshot(tmp_path: Path) -> None:
    """A clock that was set back by an hour: the later snapshot stays behind the earlier one."""
    with PerformanceMonitor(1000.0, tmp_path) as monitor:
        monitor.update_metrics(1000.0, time_ns=START_NS + HOUR_NS)
        monitor.update_metrics(1001.0, time_ns=START_NS)
        assert monitor.generate_report()["capital_stats"]["count"] == 2
        assert monitor.generate_report()["summary"]["current_capital"] == 1001.0


def test_monitor_without_a_snapshot_reports_the_beginning(tmp_path: Path) -> None:
    """Nothing is not an error, and nothing is undefined that has a value."""
    with PerformanceMonitor(1000.0, tmp_path) as monitor:
        report = monitor.generate_report()
    assert report["summary"]["current_capital"] == 1000.0
    assert report["capital_stats"]["mean"] is None


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_monitor_capital_that_is_no_number_is_refused(tmp_path: Path, wrong: float) -> None:
    """It would spoil every figure after it."""
    with PerformanceMonitor(1000.0, tmp_path) as monitor, pytest.raises(ValueError, match="finite"):
        monitor.update_metrics(wrong)


@pytest.mark.parametrize("how", ["text", "pages", "future", "foreign", "table", "directory"])
def test_monitor_file_that_can_not_be_used_is_kept_aside_and_begun_anew(tmp_path: Path, how: str) -> None:
    """Said, kept, and the next snapshot is written; a folder in its place is nobody's history and stays."""
    path = tmp_path / "metrics.db"
    _filled(tmp_path, [1000.0, 1100.0]).close()
    spoil(path, how)
    with PerformanceMonitor(1000.0, tmp_path) as monitor:
        monitor.update_metrics(990.0)
        monitor.update_metrics(995.0)
        if how == "directory":
            assert monitor.error is not None
            path.rmdir()
            monitor.update_metrics(996.0)
        assert monitor.error is None
        assert monitor.generate_report()["summary"]["current_capital"] == (996.0 if how == "directory" else 995.0)
        if how != "directory":
            assert monitor.put_aside is not None
            assert monitor.put_aside.exists()
            assert monitor.generate_report()["capital_stats"]["count"] >= 1


def spoil(path: Path, how: str) -> None:
    """Make a file of history unusable."""
    if how == "text":
        path.write_text("nonsense" * 1000)
    elif how == "pages":
        data = bytearray(path.read_bytes())
        data[4096:] = b"\xff" * (len(data) - 4096)
        path.write_bytes(data)
    elif how == "directory":
        path.unlink()
        path.mkdir()
    else:
        statement = {
            "future": "PRAGMA user_version = 999",
            "foreign": "PRAGMA application_id = 7",
            "table": "DROP TABLE snapshots",
        }[how]
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.commit()
        connection.close()


def test_monitor_damage_while_it_runs_is_put_aside_and_nothing_later_is_lost(tmp_path: Path) -> None:
    """Pages that turn to nonsense under an open file."""
    with _filled(tmp_path, [1000.0, 1100.0]) as monitor:
        connection = sqlite3.connect(tmp_path / "metrics.db")
        connection.execute("DROP TABLE snapshots")
        connection.commit()
        connection.close()
        monitor.update_metrics(990.0)
        monitor.update_metrics(995.0)
        assert monitor.error is None
        assert monitor.put_aside is not None
        assert monitor.generate_report()["capital_stats"]["count"] == 2


def test_monitor_deleted_file_is_made_anew(tmp_path: Path) -> None:
    """An owner's rm costs the past, not the future."""
    with _filled(tmp_path, [1000.0]) as monitor:
        (tmp_path / "metrics.db").unlink()
        monitor.update_metrics(1001.0)
        assert MetricsReader(tmp_path / "metrics.db").last().equity == 1001.0
