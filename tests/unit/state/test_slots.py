"""Slots, words and rings with both kinds of reader and writer."""

import numpy as np
import pytest

from tests.unit.state.conftest import book
from trader.codes import Role
from trader.core.records import ACCOUNT, EQUITY_POINT, new_desk, new_slots
from trader.errors import UnreadableSlot
from trader.state.latch import CompiledReader, CompiledWriter
from trader.state.layout import LINE_WORDS
from trader.state.segment import Segment
from trader.state.slots import SlotReader

WRITERS = {"numpy": lambda segment, slot: segment.writer(slot), "compiled": CompiledWriter}
READERS = {"numpy": lambda segment, slot: segment.reader(slot), "compiled": CompiledReader}


@pytest.fixture(params=WRITERS)
def writer_kind(request):
    """Return a way to make a writer."""
    return WRITERS[request.param]


@pytest.fixture(params=READERS)
def reader_kind(request):
    """Return a way to make a reader."""
    return READERS[request.param]


def test_slot_before_the_first_update_is_unreadable(make, reader_kind):
    """Zeros are no snapshot."""
    with pytest.raises(UnreadableSlot, match=r"slot book of .*seg-engine-1\.shm: nothing was published yet"):
        reader_kind(Segment.attach(make().path), "book").read()


def test_slot_published_reads_back_in_every_field(make, writer_kind, reader_kind):
    """All kinds share one format."""
    made = make()
    reader = reader_kind(Segment.attach(made.path), "book")
    writer = writer_kind(made, "book")
    for value in range(1, 8):
        account, slots = book(float(value))
        writer.publish(account, slots)
        parts = reader.read()
        assert parts["account"].tobytes() == account.tobytes()
        assert parts["slots"].tobytes() == slots.tobytes()


def test_slot_snapshot_is_a_private_copy(make, reader_kind):
    """Later updates don't change what was read."""
    made = make()
    writer = made.writer("book")
    writer.publish(*book(1))
    reader = reader_kind(Segment.attach(made.path), "book")
    before = reader.read()
    writer.publish(*book(2))
    writer.publish(*book(3))
    assert reader.read()["account"]["cash"][0] == 3
    assert before["account"]["cash"][0] == 1


def test_slot_writers_of_both_kinds_continue_each_other(make, reader_kind):
    """A writer goes on from the number that the slot has."""
    made = make()
    reader = reader_kind(made, "book")
    numpy_writer, compiled = made.writer("book"), CompiledWriter(made, "book")
    for value in range(1, 20):
        (numpy_writer if value % 3 else compiled).publish(*book(value))
        assert reader.read()["slots"]["quantity"].tolist() == [value, value]
    assert made.reader("book").sequence == 19


def test_slot_takes_the_account_as_a_field_of_the_desk(make, writer_kind):
    """The engine publishes a field of a larger record, and the same objects each time."""
    made = make()
    desk, slots = new_desk(), new_slots(2)
    account = desk["account"]
    writer = writer_kind(made, "book")
    for value in (3.5, 4.5):
        desk["account"]["equity"] = value
        slots["mark_price"] = value
        writer.publish(account, slots)
        parts = made.reader("book").read()
        assert parts["account"]["equity"][0] == value
        assert parts["slots"]["mark_price"].tolist() == [value, value]


@pytest.mark.parametrize(
    "arrays",
    [
        (),
        (np.zeros(1, ACCOUNT),),
        (np.zeros(2, ACCOUNT), new_slots(2)),
        (np.zeros(1, ACCOUNT), new_slots(3)),
        (new_slots(2), np.zeros(1, ACCOUNT)),
        (np.zeros(1, [(name + "x", kind) for name, kind in ACCOUNT.descr]), new_slots(2)),
    ],
)
def test_slot_given_other_arrays_refuses_and_keeps_its_snapshot(make, writer_kind, arrays):
    """A wrong array must not reach shared memory."""
    made = make()
    writer = writer_kind(made, "book")
    writer.publish(*book(1))
    with pytest.raises(ValueError, match="slot book"):
        writer.publish(*arrays)
    assert made.reader("book").read()["account"]["cash"][0] == 1
    writer.publish(*book(2))
    assert made.reader("book").read()["account"]["cash"][0] == 2


def test_slot_given_a_strided_array_publishes_or_refuses_it(make):
    """Numpy copies every second slot; compiled code, which takes addresses, refuses."""
    made = make()
    account, _ = book(1)
    slots = new_slots(4)
    slots["quantity"] = [1, 2, 3, 4]
    made.writer("book").publish(account, slots[::2])
    assert made.reader("book").read()["slots"]["quantity"].tolist() == [1, 3]
    with pytest.raises(Exception, match="not C-contiguous"):
        CompiledWriter(made, "book").publish(account, slots[::2])


def _copy(segment, which):
    place = segment.slot("book")
    return segment.words[place.copy_offset(which) :][: 2 + place.payload]


@pytest.mark.parametrize("updates", [1, 2, 3])
@pytest.mark.parametrize("words", [0, 1, 2, 30, 89])
def test_slot_writer_dead_in_mid_update_leaves_the_last_snapshot(make, reader_kind, updates, words):
    """The state that a kill leaves: the copy busy, some words new, the head old."""
    made = make()
    writer = made.writer("book")
    for value in range(1, updates + 1):
        writer.publish(*book(value))
    dead = _copy(made, (updates + 1) & 1)
    dead[0] = -(updates + 1)
    dead[2 : 2 + words] = -1
    assert reader_kind(made, "book").read()["slots"]["quantity"].tolist() == [updates, updates]
    made.writer("book").publish(*book(99))
    assert reader_kind(made, "book").read()["account"]["cash"][0] == 99


@pytest.mark.parametrize("word", [0, 1, 2, 40, -1])
def test_slot_with_a_stray_write_is_unreadable(make, reader_kind, word):
    """A number that was not published is not shown."""
    made = make()
    made.writer("book").publish(*book(1))
    reader = reader_kind(made, "book")
    _copy(made, 1)[word] ^= 0x40
    with pytest.raises(UnreadableSlot, match="restart the service"):
        reader.read()


def test_slot_complete_copy_before_its_head_is_not_read_yet(make, reader_kind):
    """A reader that took it early would be ahead of the next one: time must not go back between two."""
    made = make()
    writer = made.writer("book")
    writer.publish(*book(1))
    writer.publish(*book(2))
    made.words[made.slot("book").offset] = 1
    assert reader_kind(made, "book").read()["account"]["cash"][0] == 1


def test_word_holds_every_int64(make):
    """The whole range, in its own line."""
    made = make(Role.MONITOR)
    found = Segment.attach(made.path)
    for value in (0, 1, -1, 2**63 - 1, -(2**63)):
        made.word("veto_mask").set(value)
        assert found.word("veto_mask").get() == value
        assert found.word("clear_until_ns").get() == 0


def _point(value):
    point = np.zeros(1, EQUITY_POINT)
    point["time_ns"] = value
    point["equity"] = value / 2
    return point


def test_ring_gives_each_record_once_in_order(make):
    """A reader that keeps its position gets what is new."""
    made = make()
    ring, reader = made.ring("equity"), Segment.attach(made.path).ring("equity")
    assert [len(part) if isinstance(part, np.ndarray) else part for part in reader.read_since(0)] == [0, 0, 0]
    position, seen = 0, []
    for value in range(10):
        ring.append(_point(value))
        if value % 3 == 2:
            records, position, lost = reader.read_since(position)
            assert lost == 0
            seen += records["time_ns"].tolist()
    assert seen == list(range(9))
    assert reader.read_since(position)[0]["equity"].tolist() == [4.5]


def test_ring_overtaken_reader_learns_how_much_it_lost(make):
    """8192 records fit: of 8200 the first 8 are gone, of which 3 were read."""
    made = make()
    ring = made.ring("equity")
    for value in range(8200):
        ring.append(_point(value))
    records, position, lost = ring.read_since(3)
    assert (len(records), position, lost) == (8192, 8200, 5)
    assert records["time_ns"].tolist() == list(range(8, 8200))


def test_ring_position_beyond_the_end_reads_like_the_beginning(make):
    """It is a position in another ring."""
    ring = make().ring("equity")
    ring.append(_point(1))
    assert len(ring.read_since(50)[0]) == 1
    assert len(ring.read_since(-1)[0]) == 1


def test_ring_entry_in_mid_write_counts_as_lost(make):
    """Half a record is never given out."""
    made = make()
    ring = made.ring("equity")
    for value in range(3):
        ring.append(_point(value))
    place = made.layout.rings["equity"]
    made.words[place.entries_offset + place.entry_words + 4] ^= 1
    records, position, lost = ring.read_since(0)
    assert (records["time_ns"].tolist(), position, lost) == ([0, 2], 3, 1)


def test_ring_given_another_record_refuses(make):
    """One record of its own dtype."""
    ring = make().ring("equity")
    for wrong in (np.zeros(2, EQUITY_POINT), np.zeros(1, ACCOUNT)):
        with pytest.raises(ValueError, match="ring equity takes one record"):
            ring.append(wrong)
    assert ring.head == 0


def test_reader_sequence_tells_whether_there_is_news(make):
    """Polling a number is cheaper than copying the book."""
    made = make()
    reader = made.reader("book")
    assert isinstance(reader, SlotReader)
    assert reader.sequence == 0
    made.writer("book").publish(*book(1))
    assert reader.sequence == 1
    assert made.words[made.slot("book").offset] == 1
    assert made.slot("book").offset % LINE_WORDS == 0
