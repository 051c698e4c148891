"""`trader.logs.files`: several writers, rotation, broken places."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trader.clock import NS_PER_DAY, format_utc, utc_ns
from trader.logs.files import DailyFile, SizedFile


def record(message):
    """Return a log record."""
    return logging.LogRecord("trader.t", logging.INFO, __file__, 1, message, None, None)


def lines(folder: Path, pattern: str) -> list[str]:
    """Return the lines of all files that match."""
    return [line for path in folder.glob(pattern) for line in path.read_text().splitlines()]


WRITER = """
import logging, sys
from pathlib import Path
from trader.logs.files import SizedFile
handler = SizedFile(Path(sys.argv[1]), logging.DEBUG, max_bytes=100_000, backups=50)
for number in range(5_000):
    handler.emit(logging.LogRecord("t", 20, "", 1, f"{sys.argv[2]} {number:05} " + "x" * 40, None, None))
assert handler.failed == 0, handler.last_error
"""


def test_sized_file_four_processes_rotating_lose_nothing(tmp_path):
    """20,000 lines of four writers through rotations are all there, whole and in order."""
    path = tmp_path / "a.log"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in "ABCD"]
    assert [writer.wait(timeout=120) for writer in writers] == [0] * 4
    found = lines(tmp_path, "a.log*")
    assert sorted(line[:7] for line in found) == [f"{name} {number:05}" for name in "ABCD" for number in range(5_000)]
    assert all(len(line) == 48 for line in found)
    rotated = [item.stat().st_size for item in tmp_path.glob("a.log.*")]
    assert len(rotated) >= 4
    # whoever rotates may lose the processor in between, and the others write on
    assert max(rotated) < 300_000


def test_sized_file_keeps_its_number_of_backups(tmp_path):
    """The oldest file goes, the newest is number 1."""
    handler = SizedFile(tmp_path / "a.log", logging.DEBUG, max_bytes=10, backups=2)
    for number in range(5):
        handler.emit(record(f"line{number}"))
    handler.close()
    names = sorted(path.name for path in tmp_path.glob("a.log*"))
    assert names == ["a.log", "a.log.1", "a.log.2"]
    assert [(tmp_path / name).read_text() for name in names] == ["line4\n", "line3\n", "line2\n"]


def test_shared_file_deleted_is_made_anew(tmp_path):
    """An owner's rm costs the past, not the future."""
    handler = SizedFile(tmp_path / "a.log", logging.DEBUG, max_bytes=1000, backups=1)
    handler.emit(record("one"))
    (tmp_path / "a.log").unlink()
    handler.emit(record("two"))
    handler.close()
    assert lines(tmp_path, "a.log") == ["two"]
    assert handler.failed == 0


def test_shared_file_unwritable_counts_and_recovers(tmp_path):
    """Records that can't be written are counted; the next one that can be is."""
    folder = tmp_path / "gone"
    handler = SizedFile(folder / "a.log", logging.DEBUG, max_bytes=1000, backups=1)
    handler.emit(record("lost"))
    assert (handler.failed, handler.last_error) == (1, "a.log: No such file or directory")
    folder.mkdir()
    handler.emit(record("kept"))
    handler.close()
    assert lines(folder, "a.log") == ["kept"]


def test_shared_file_full_disk_counts():
    """A device that takes nothing costs records, not the process."""
    if not Path("/dev/full").exists():
        pytest.fail("/dev/full is part of every Linux")
    handler = SizedFile(Path("/dev/full"), logging.DEBUG, max_bytes=1000, backups=1)
    handler.emit(record("lost"))
    handler.close()
    assert (handler.failed, handler.last_error) == (1, "full: No space left on device")


def test_shared_file_symlink_is_not_followed(tmp_path):
    """Nobody redirects our lines into a file of their choice."""
    victim = tmp_path / "victim"
    victim.write_text("")
    (tmp_path / "a.log").symlink_to(victim)
    handler = SizedFile(tmp_path / "a.log", logging.DEBUG, max_bytes=1000, backups=1)
    handler.emit(record("x"))
    assert handler.failed == 1
    assert victim.read_text() == ""


def test_daily_file_of_yesterday_is_put_aside_and_old_ones_go(tmp_path):
    """The file's own time names it; what is older than the limit is deleted."""
    path = tmp_path / "trades.log"
    path.write_text("yesterday\n")
    yesterday_ns = utc_ns() - NS_PER_DAY
    os.utime(path, ns=(yesterday_ns, yesterday_ns))
    old = tmp_path / f"trades.log.{format_utc(utc_ns() - 40 * NS_PER_DAY)[:10]}"
    old.write_text("old\n")
    handler = DailyFile(path, logging.DEBUG, days=30)
    handler.emit(record("today"))
    handler.emit(record("too"))
    handler.close()
    assert path.read_text() == "today\ntoo\n"
    assert (tmp_path / f"trades.log.{format_utc(yesterday_ns)[:10]}").read_text() == "yesterday\n"
    assert not old.exists()
