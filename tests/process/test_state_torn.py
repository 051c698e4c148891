"""No reader in one process ever sees half an update of a writer in another."""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numba import int64, njit
from numba.types import UniTuple

from trader.codes import Role
from trader.errors import StateError
from trader.state.latch import (
    PLAN_COPY,
    PLAN_SLOT,
    CompiledReader,
    fence_acquire,
    load_acquire,
    load_relaxed,
    snapshot,
)
from trader.state.layout import LINE_WORDS, STAMP_WORDS
from trader.state.segment import Segment

READS = 10_000_000
#: on a core that it shares with its writer, a reader sees a new update only once a time slice
DEADLINE_S = 240.0


@pytest.fixture
def folder():
    """Return a folder where segments really are: on a tmpfs."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


def make(folder, n_symbols=1, role=Role.ENGINE):
    """Make a segment."""
    return Segment.create(
        folder / f"seg-{role.name.lower()}-1.shm", role=role, generation=1, n_symbols=n_symbols, run_id="r", meta={}
    )


@contextmanager
def writing(kind, segment, ready):
    """Run a writer in a process of its own, from its first update on."""
    process = subprocess.Popen([sys.executable, "-m", "tests.process.state_writers", kind, segment.path])
    try:
        deadline = time.monotonic() + DEADLINE_S
        while not ready():
            assert process.poll() is None, "the writer died"
            assert time.monotonic() < deadline, "the writer did not begin"
            time.sleep(0.01)
        yield process
        assert process.poll() is None, "the writer died"
    finally:
        process.kill()
        process.wait()


@njit(UniTuple(int64, 5)(int64[::1], int64[::1], int64), nogil=True)
def _read_often(plan, words, reads):
    torn, failed, backwards, distinct, behind, last = 0, 0, 0, 0, 0, 0
    for _ in range(reads):
        sequence = snapshot(plan, 1_000_000)
        if sequence <= 0:
            failed += 1
            continue
        first = words[0]
        for index in range(words.size):
            if words[index] != first:
                torn += 1
                break
        if first != sequence:
            behind += 1
        if sequence < last:
            backwards += 1
        elif sequence > last:
            distinct += 1
            last = sequence
    return torn, failed, backwards, distinct, behind


@njit(int64(int64, int64, int64, int64), nogil=True)
def _naive_reads(slot, copy_bytes, words, reads):
    """Count torn copies of a reader that takes the right copy and looks at no sequence afterwards."""
    torn = 0
    for _ in range(reads):
        copy = slot + LINE_WORDS * 8 + (load_acquire(slot) & 1) * copy_bytes + STAMP_WORDS * 8
        first = load_relaxed(copy)
        for index in range(1, words):
            if load_relaxed(copy + 8 * index) != first:
                torn += 1
                break
        fence_acquire()
    return torn


def _compiled_reader(segment):
    """Return a reader's plan over one array of all payload words."""
    reader = CompiledReader(Segment.attach(segment.path), "book")
    words = np.zeros(segment.slot("book").payload, np.int64)
    plan = reader._plan[:5].copy()
    plan[2:5] = 1, words.ctypes.data, words.size
    return reader, plan, words


def _race(plan, words, reads, distinct):
    """Read until so many reads were made and so many updates seen: on a busy machine the writer waits for its turn."""
    totals, deadline = np.zeros(5, np.int64), time.monotonic() + DEADLINE_S
    batch = reads // 10
    while (reads > 0 or totals[3] < distinct) and time.monotonic() < deadline:
        totals += _read_often(plan, words, batch)
        reads -= batch
    torn, failed, backwards, seen, behind = totals
    assert (torn, failed, backwards, behind) == (0, 0, 0, 0)
    assert reads <= 0
    assert seen >= distinct


@pytest.mark.parametrize(("n_symbols", "reads"), [(1, READS), (20, READS // 20)])
def test_compiled_reads_against_a_full_speed_writer_are_never_torn(folder, n_symbols, reads):
    """Ten million reads of a book, and fewer of a large one; every one succeeds, none goes back in time."""
    segment = make(folder, n_symbols)
    _reader, plan, words = _compiled_reader(segment)
    with writing("compiled", segment, lambda: segment.reader("book").sequence > 1000):
        _race(plan, words, reads, distinct=10_000)


def test_naive_reads_against_the_same_writer_are_torn(folder):
    """The test above can fail: without the second look at the sequence, updates tear."""
    segment = make(folder, 20)
    _reader, plan, words = _compiled_reader(segment)
    with writing("compiled", segment, lambda: segment.reader("book").sequence > 1000):
        torn, deadline = 0, time.monotonic() + DEADLINE_S
        while not torn and time.monotonic() < deadline:
            torn = _naive_reads(plan[PLAN_SLOT], plan[PLAN_COPY], words.size, 100_000)
    assert torn


@pytest.mark.parametrize("kind", ["compiled", "plain"])
def test_numpy_reads_against_a_full_speed_writer_are_never_torn(folder, kind):
    """The dashboard's reader, against both kinds of writer."""
    segment = make(folder, 4)
    reader = Segment.attach(segment.path).reader("book")
    last, distinct, reads = 0, 0, 0
    with writing(kind, segment, lambda: reader.sequence > 1000):
        deadline = time.monotonic() + DEADLINE_S
        while (reads < 100_000 or distinct < 1000) and time.monotonic() < deadline:
            words = reader._payload()
            first = int(words[0])
            assert (words == first).all()
            assert first >= last
            distinct += first > last
            last = first
            reads += 1
    assert (reads >= 100_000, distinct >= 1000) == (True, True)


def test_compiled_reads_against_a_numpy_writer_are_never_torn(folder):
    """The engine's reader accepts what a process without a compiler publishes."""
    segment = make(folder, 4)
    _reader, plan, words = _compiled_reader(segment)
    with writing("plain", segment, lambda: segment.reader("book").sequence > 1000):
        _race(plan, words, READS // 10, distinct=1000)


def test_ring_reads_against_a_full_speed_writer_are_whole_and_in_order(folder):
    """Record n of the ring holds n in every word, and each is given once or counted as lost."""
    segment = make(folder)
    ring = Segment.attach(segment.path).ring("equity")
    position, given = 0, 0
    with writing("ring", segment, lambda: ring.head > 10):
        deadline = time.monotonic() + DEADLINE_S
        while position < 100_000 and time.monotonic() < deadline:
            records, after, lost = ring.read_since(position)
            rows = records.view(np.int64).reshape(len(records), records.dtype.itemsize // 8)
            assert (rows == rows[:, :1]).all()
            assert (np.diff(rows[:, 0]) > 0).all()
            assert len(records) + lost == after - position
            if len(records):
                assert position <= rows[0, 0] <= rows[-1, 0] < after
            position, given = after, given + len(records)
    assert position >= 100_000
    assert given > 1000


def test_word_reads_against_a_full_speed_writer_are_whole(folder):
    """A lease is one of the values that were set, never half of each."""
    segment = make(folder, 0, Role.MONITOR)
    word = Segment.attach(segment.path).word("clear_until_ns")
    with writing("word", segment, lambda: word.get() == -1):
        seen = {word.get() for _ in range(2_000_000)}
    assert seen == {0, -1}


STRAY = """
import ctypes, sys
from pathlib import Path
from trader.state.segment import Segment
segment = Segment.attach(Path(sys.argv[1]), writable=sys.argv[2] == "writable")
ctypes.memset(segment.words.ctypes.data, 1, 8)
"""


@pytest.mark.parametrize(("mapping", "signals"), [("read-only", {-11, -7}), ("writable", {0})])
def test_stray_write_of_a_reader_ends_the_reader(folder, mapping, signals):
    """Memory mapped read-only faults whoever writes to it; the owner's own mapping does not."""
    segment = make(folder)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONFAULTHANDLER"}
    outcome = subprocess.run(
        [sys.executable, "-c", STRAY, segment.path, mapping], env=environment, check=False, timeout=60
    )
    assert outcome.returncode in signals
    assert (segment.words[0] == 0) == (mapping == "read-only")


def test_reader_in_numpy_may_not_make_its_view_writable(folder):
    """Numpy itself refuses, before the processor has to."""
    found = Segment.attach(make(folder).path)
    with pytest.raises(ValueError, match="WRITEABLE"):
        found.words.flags.writeable = True
    with pytest.raises(ValueError, match="read-only"):
        found.words[0] = 1
    with pytest.raises(StateError):
        found.writer("book")
