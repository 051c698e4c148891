"""Whatever is published, by whichever writer, however it ends: readers get one complete update."""

import tempfile
from collections import deque
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trader.codes import Role
from trader.core.records import ACCOUNT, EQUITY_POINT, SLOT
from trader.state.latch import CompiledReader, CompiledWriter
from trader.state.layout import EQUITY_CAPACITY, checksum, checksum_weights
from trader.state.segment import Segment
from trader.state.slots import signed

N_SYMBOLS = 3


def _segment(folder):
    path = Path(folder) / "seg-engine-1.shm"
    return Segment.create(path, role=Role.ENGINE, generation=1, n_symbols=N_SYMBOLS, run_id="r", meta={})


def _book(seed):
    """Any bits at all: NaN of every kind, denormals, infinities."""
    random = np.random.default_rng(seed)
    account = np.frombuffer(random.bytes(ACCOUNT.itemsize), ACCOUNT)
    return account, np.frombuffer(random.bytes(SLOT.itemsize * N_SYMBOLS), SLOT)


def _bytes(parts):
    return parts["account"].tobytes() + parts["slots"].tobytes()


@settings(max_examples=100)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2**32)), min_size=1, max_size=12))
def test_snapshot_any_sequence_of_writers_reads_back_bit_for_bit(updates):
    """Both writers, in any order, for both readers."""
    with tempfile.TemporaryDirectory() as folder:
        made = _segment(folder)
        found = Segment.attach(made.path)
        writers = made.writer("book"), CompiledWriter(made, "book")
        readers = found.reader("book"), CompiledReader(found, "book")
        for compiled, seed in updates:
            account, slots = _book(seed)
            writers[compiled].publish(account, slots)
            expected = account.tobytes() + slots.tobytes()
            assert [_bytes(reader.read()) for reader in readers] == [expected, expected]


def _stores(segment, account, slots):
    """List every store of one update, in the writer's order, as (word, value)."""
    place = segment.slot("book")
    head = int(segment.words[place.offset])
    sequence = head + 1
    copy = place.copy_offset(sequence & 1)
    payload = np.frombuffer(account.tobytes() + slots.tobytes(), np.int64)
    total = signed(checksum(sequence, payload.view(np.uint64), checksum_weights(place.payload)))
    yield copy, -sequence
    for index, word in enumerate(payload):
        yield copy + 2 + index, int(word)
    yield copy + 1, total
    yield copy, sequence
    yield place.offset, sequence


@settings(max_examples=100)
@given(st.integers(1, 5), st.integers(0, 2**32), st.data())
def test_snapshot_interrupted_after_any_store_is_the_last_complete_one(updates, seed, data):
    """A writer that dies between any two stores leaves either the old update or the new one."""
    with tempfile.TemporaryDirectory() as folder:
        made = _segment(folder)
        writer = CompiledWriter(made, "book")
        for update in range(updates):
            old = _book(seed + update)
            writer.publish(*old)
        new = _book(seed + updates)
        stores = list(_stores(made, *new))
        done = data.draw(st.integers(0, len(stores)))
        for word, value in stores[:done]:
            made.words[word] = value
        readers = made.reader("book"), CompiledReader(made, "book")
        expected = b"".join(part.tobytes() for part in (new if done == len(stores) else old))
        assert [_bytes(reader.read()) for reader in readers] == [expected, expected]
        after = _book(seed + 77)
        CompiledWriter(made, "book").publish(*after)
        assert _bytes(readers[0].read()) == b"".join(part.tobytes() for part in after)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3000)), max_size=12))
def test_ring_behaves_like_a_bounded_queue(steps):
    """Against a plain model: nothing twice, nothing out of order, every loss counted."""
    with tempfile.TemporaryDirectory() as folder:
        ring = _segment(folder).ring("equity")
        model, appended, position = deque(maxlen=EQUITY_CAPACITY), 0, 0
        point = np.zeros(1, EQUITY_POINT)
        for read, count in steps:
            for _ in range(count):
                point["time_ns"] = appended
                ring.append(point)
                model.append(appended)
                appended += 1
            if read:
                records, after, lost = ring.read_since(position)
                assert records["time_ns"].tolist() == [value for value in model if value >= position]
                assert (after, lost) == (appended, max(0, appended - position - EQUITY_CAPACITY))
                position = after
