"""A real process, a real SIGKILL in the middle of writing: whole steps are there, and the rest is made again."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time

from tests.paper_desk import MINUTE_NS, START_NS, PaperDesk
from tests.unit.ledger.tables import contents
from trader.ledger import disk
from trader.ledger.audit import audit
from trader.ledger.reader import LedgerReader
from trader.state.paths import InstancePaths

LAST_MINUTE = 360
KILLS = 4
DEADLINE_S = 120.0


def start(path):
    """Start a writer."""
    command = [sys.executable, "-m", "tests.process.ledger_writer", str(path), str(LAST_MINUTE)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def minute_of(path):
    """Return the last minute that is committed; 0: none."""
    if not path.exists():
        return 0
    with contextlib.closing(LedgerReader(path)) as reader:
        return max(0, (reader.cursor_ns() - START_NS) // MINUTE_NS - 1)


def kill_beyond(writer, path, minute, rng):
    """SIGKILL a writer some instant after it has committed a minute."""
    deadline = time.monotonic() + DEADLINE_S
    assert writer.stdout.readline() == "playing\n"
    while minute_of(path) < minute:
        assert time.monotonic() < deadline, "the writer makes no progress"
        assert writer.poll() is None, "the writer ended before it was killed"
    spin_until = time.monotonic() + rng.random() * 0.01
    while time.monotonic() < spin_until:
        pass
    writer.send_signal(signal.SIGKILL)
    assert writer.wait(DEADLINE_S) == -signal.SIGKILL
    writer.stdout.close()


def test_ledger_of_a_writer_killed_again_and_again_is_that_of_one_run(tmp_path):
    """After each kill the ledger is whole and agrees with itself; at the end it is that of an undisturbed run."""
    path, rng = tmp_path / "killed" / "ledger.db", random.Random(5)
    path.parent.mkdir()
    paths = InstancePaths(path.parent, path.parent, path.parent)
    for number in range(KILLS):
        goal = (number + 1) * LAST_MINUTE // (KILLS + 1) - rng.randrange(20)
        kill_beyond(start(path), path, goal, rng)
        disk.check(path)
        assert minute_of(path) >= goal
        assert [str(item) for item in audit(paths).differences] == []
    writer = start(path)
    writer.communicate(timeout=DEADLINE_S)
    assert writer.returncode == 0
    desk = PaperDesk.open(tmp_path / "one.db")
    desk.play(range(1, LAST_MINUTE + 1))
    desk.close()
    assert contents(path) == contents(tmp_path / "one.db")
