"""A writer that is SIGKILLed at any moment leaves the last complete snapshot to both kinds of reader."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from trader.codes import Role
from trader.state.latch import CompiledReader
from trader.state.segment import Segment

KILLS = 200
DEADLINE_S = 60


@pytest.fixture
def nursery():
    """Run a process that forks writers on demand."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.process.state_writers", "nursery"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    yield process
    process.stdin.close()
    process.stdout.close()
    process.kill()
    process.wait()


def _ask(nursery, line):
    nursery.stdin.write(f"{line}\n")
    nursery.stdin.flush()
    return int(nursery.stdout.readline())


def _words(parts):
    return np.concatenate([records.view(np.int64) for records in parts.values()])


def test_writer_killed_at_random_moments_leaves_the_last_complete_snapshot(nursery):
    """Two hundred writers, one after the other on one segment, each going on from what the last left."""
    chance = random.Random(7)
    in_mid_update = 0
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder) / "seg-engine-1.shm"
        segment = Segment.create(path, role=Role.ENGINE, generation=1, n_symbols=20, run_id="r", meta={})
        found = Segment.attach(path)
        readers = found.reader("book"), CompiledReader(found, "book")
        place = segment.slot("book")
        for _ in range(KILLS):
            before = readers[0].sequence
            pid = _ask(nursery, path)
            deadline = time.monotonic() + DEADLINE_S
            while readers[0].sequence <= before + 1:
                assert time.monotonic() < deadline, "the writer did not begin"
                time.sleep(0.0005)
            until = time.perf_counter_ns() + chance.randrange(300_000)
            while time.perf_counter_ns() < until:
                pass
            os.kill(pid, signal.SIGKILL)
            assert _ask(nursery, "") == signal.SIGKILL
            head = readers[0].sequence
            assert head > before
            for reader in readers:
                assert (_words(reader.read()) == head).all()
            in_mid_update += int(segment.words[place.copy_offset(~head & 1)]) == -(head + 1)
    assert in_mid_update >= KILLS // 20  # so many really died within an update
