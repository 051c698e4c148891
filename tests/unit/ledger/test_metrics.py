"""Performance history: what is written is read, ranges are thinned, unusable files are put aside."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from trader.clock import NS_PER_S
from trader.ledger.metrics import (
    APPLICATION_ID,
    MIGRATIONS,
    VERSION,
    HealthChange,
    MetricsReader,
    MetricsStore,
    Snapshot,
)

MINUTE = 60 * NS_PER_S

DAY_NS = 86_400 * NS_PER_S


def _snapshot(minute: int, equity: float = 10_000.0) -> Snapshot:
    return Snapshot(minute * MINUTE, equity, 5_000.0, 5_000.0, 0.01, 12.5, 1, 3)


def test_store_append_is_read_back_exactly(tmp_path: Path) -> None:
    """Every field survives, the unknown ones as None."""
    written = _snapshot(1, 0.1 + 0.2)._replace(win_frac=2 / 3, cycles=7)
    store = MetricsStore.open(tmp_path / "metrics.db")
    store.append([written], [HealthChange(5, "disk", "warning", "little room")])
    store.close()
    assert MetricsReader(tmp_path / "metrics.db").last() == written


def test_store_same_moment_twice_keeps_the_first(tmp_path: Path) -> None:
    """A moment that is already there is not written again."""
    store = MetricsStore.open(tmp_path / "metrics.db")
    store.append([_snapshot(1, 1.0)])
    store.append([_snapshot(1, 2.0), _snapshot(2, 3.0)])
    assert MetricsReader(tmp_path / "metrics.db").equity() == [(MINUTE, 1.0, 0.01), (2 * MINUTE, 3.0, 0.01)]
    assert store.last_time_ns() == 2 * MINUTE
    store.close()


def test_reader_long_range_is_thinned_and_keeps_the_last(tmp_path: Path) -> None:
    """At most the wanted number of points, in order, ending with the newest."""
    store = MetricsStore.open(tmp_path / "metrics.db")
    store.append(_snapshot(minute, float(minute)) for minute in range(1, 5001))
    points = MetricsReader(tmp_path / "metrics.db").equity(points=100)
    assert 90 <= len(points) <= 101
    assert points[-1] == (5000 * MINUTE, 5000.0, 0.01)
    assert [point[0] for point in points] == sorted({point[0] for point in points})
    store.close()


def test_reader_range_is_inclusive(tmp_path: Path) -> None:
    """Both bounds belong to the range."""
    store = MetricsStore.open(tmp_path / "metrics.db")
    store.append(_snapshot(minute) for minute in range(1, 11))
    points = MetricsReader(tmp_path / "metrics.db").equity(3 * MINUTE, 6 * MINUTE)
    assert [point[0] // MINUTE for point in points] == [3, 4, 5, 6]
    store.close()


def test_reader_without_a_file_has_no_history_and_finds_it_later(tmp_path: Path) -> None:
    """A reader that came first sees what the monitor writes later."""
    reader = MetricsReader(tmp_path / "metrics.db")
    assert reader.equity() == []
    assert reader.last() is None
    store = MetricsStore.open(tmp_path / "metrics.db")
    store.append([_snapshot(1)])
    assert len(reader.equity()) == 1
    store.close()


def test_store_damaged_file_is_put_aside_and_begun_anew(tmp_path: Path) -> None:
    """Not one byte of what could not be used is lost."""
    path = tmp_path / "metrics.db"
    path.write_bytes(b"this is no database at all" * 100)
    store = MetricsStore.open(path)
    assert store.put_aside is not None
    assert store.put_aside.read_bytes() == b"this is no database at all" * 100
    store.append([_snapshot(1)])
    assert store.last_time_ns() == MINUTE
    store.close()


def test_store_newer_file_is_put_aside(tmp_path: Path) -> None:
    """A file of a later version is neither read nor changed."""
    path = tmp_path / "metrics.db"
    MetricsStore.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version={VERSION + 1}")
    connection.close()
    store = MetricsStore.open(path)
    assert store.put_aside is not None
    kept = sqlite3.connect(store.put_aside)
    assert kept.execute("PRAGMA user_version").fetchone() == (VERSION + 1,)
    kept.close()
    store.close()


def test_reader_replaced_file_is_followed(tmp_path: Path) -> None:
    """After the file was put aside, a reader goes on with the new one."""
    path = tmp_path / "metrics.db"
    store = MetricsStore.open(path)
    store.append([_snapshot(1)])
    reader = MetricsReader(path)
    assert len(reader.equity()) == 1
    store.close()
    path.rename(tmp_path / "old.db")
    store = MetricsStore.open(path)
    store.append([_snapshot(8), _snapshot(9)])
    assert [point[0] // MINUTE for point in reader.equity()] == [8, 9]
    store.close()


def curve(days: int, every_s: int = 600, seed: int = 1) -> list[Snapshot]:
    """Return snapshots of a lively account."""
    count = days * 86_400 // every_s
    rng = np.random.default_rng(seed)
    equity = 10_000.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-3, count)))
    fall = 1.0 - equity / np.maximum.accumulate(equity)
    return [
        Snapshot(
            DAY_NS * 19_000 + index * every_s * NS_PER_S, equity[index], 4000.0 + index // 7, equity[index] / 3,
            fall[index], index // 7 * 0.1, index % 3, index // 7, None if index % 5 else 1.5, index % 9, 1 / 3, 0.5,
            index, None,
        )
        for index in range(count)
    ]  # fmt: skip


@pytest.fixture
def packed(tmp_path: Path) -> tuple[Path, list[Snapshot]]:
    """Return a file of twenty days, all but the last packed, and what was written."""
    written = curve(20)
    store = MetricsStore.open(tmp_path / "metrics.db")
    for first in range(0, len(written), 500):
        store.append(written[first : first + 500])
    store.pack_old_days(100)
    store.close()
    return tmp_path / "metrics.db", written


def test_packed_days_come_back_bit_by_bit(packed: tuple[Path, list[Snapshot]]) -> None:
    """Every column of every snapshot, None as NaN; only the last days are rows."""
    path, written = packed
    reader = MetricsReader(path)
    found = reader.series(names=Snapshot._fields)
    for index, name in enumerate(Snapshot._fields):
        expected = np.array([np.nan if row[index] is None else row[index] for row in written], found[name].dtype)
        assert found[name].tobytes() == expected.tobytes(), name
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM snapshots").fetchone()[0] == 3 * 144
    assert connection.execute("SELECT count(DISTINCT day) FROM packed").fetchone()[0] == 17
    connection.close()
    assert reader.last() == written[-1]


@pytest.mark.parametrize("points", [1, 7, 100, 1000, 5000])
@pytest.mark.parametrize(("first", "last"), [(0, 2880), (100, 200), (1000, 2800), (2500, 2880), (2879, 2880)])
def test_curve_of_any_range_holds_true_points_of_it(
    packed: tuple[Path, list[Snapshot]], first: int, last: int, points: int
) -> None:
    """Each point was written, inside the range, in order, the last of the range among them, no more than asked."""
    path, written = packed
    inside = {row.time_ns: (row.equity, row.drawdown_frac) for row in written[first:last]}
    found = MetricsReader(path).equity(written[first].time_ns, written[last - 1].time_ns, points)
    assert 0 < len(found) <= points + 1
    assert [time_ns for time_ns, _, _ in found] == sorted({time_ns for time_ns, _, _ in found})
    assert all(inside[time_ns] == (equity, fall) for time_ns, equity, fall in found)
    assert found[-1][0] == written[last - 1].time_ns


def test_snapshots_of_a_day_that_was_packed_join_it(packed: tuple[Path, list[Snapshot]]) -> None:
    """A clock that was set back brings moments of an old day: they are sorted in, and nothing is there twice."""
    path, written = packed
    store = MetricsStore.open(path)
    late = written[10]._replace(time_ns=written[10].time_ns + 1)
    store.append([late, written[10]])
    store.close()
    found = MetricsReader(path).series(names=("time_ns",))["time_ns"].tolist()
    assert found == sorted([row.time_ns for row in written] + [late.time_ns])


def test_file_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    """Its snapshots stay, and are packed from then on."""
    path, written = tmp_path / "metrics.db", curve(5)
    connection = sqlite3.connect(path)
    connection.executescript(f"{MIGRATIONS[0]};PRAGMA application_id={APPLICATION_ID};PRAGMA user_version=1;")
    marks = ", ".join("?" * len(Snapshot._fields))
    connection.executemany(f"INSERT INTO snapshots VALUES ({marks})", written)
    connection.commit()
    connection.close()
    store = MetricsStore.open(path)
    store.append([])
    store.close()
    reader = MetricsReader(path)
    assert reader.series(names=("equity",))["equity"].tolist() == [row.equity for row in written]
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(DISTINCT day) FROM packed").fetchone()[0] == 2
    connection.close()
