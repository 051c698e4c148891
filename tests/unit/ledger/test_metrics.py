"""Performance history: what is written is read, ranges are thinned, unusable files are put aside."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from trader.clock import NS_PER_S
from trader.ledger.metrics import VERSION, HealthChange, MetricsReader, MetricsStore, Snapshot

MINUTE = 60 * NS_PER_S


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
