"""Making and attaching segments, and what is refused."""

import os
import resource
import struct
import zlib

import numpy as np
import pytest

from tests.unit.state.conftest import META, book
from trader.codes import Role
from trader.core.records import EQUITY_POINT
from trader.errors import LayoutMismatch, SegmentMissing, StateError
from trader.state import header as headers
from trader.state.owner import process_started
from trader.state.segment import Segment, as_role, clear_segments


def test_segment_created_attaches_with_everything_it_was_given(make):
    """Header and names come back as they were."""
    made = make(generation=3)
    found = Segment.attach(made.path, role="engine", run_id="run-1", generation=3)
    assert (found.role, found.generation, found.run_id, found.n_symbols) == (Role.ENGINE, 3, "run-1", 2)
    assert found.meta == META
    assert found.header == made.header
    assert found.owner_alive()
    assert (made.writable, found.writable) == (True, False)


def test_segment_created_is_private(make):
    """Nobody else may read the account."""
    assert make().path.stat().st_mode & 0o777 == 0o600


def test_segment_long_names_get_pages_of_their_own(tmp_path):
    """Names of 600 symbols don't fit in the header's page."""
    symbols = [f"COIN{i}/USDT" for i in range(600)]
    path = tmp_path / "seg-engine-1.shm"
    Segment.create(path, role="engine", generation=1, n_symbols=600, run_id="r", meta={"symbols": symbols})
    found = Segment.attach(path)
    assert found.meta["symbols"] == symbols
    assert found.header.body_offset > 2 * headers.PAGE


def test_segment_that_exists_is_not_made_again(make):
    """A second creation would pull the first from under its readers."""
    made = make()
    made.writer("book").publish(*book(5))
    with pytest.raises(StateError, match="File exists"):
        make()
    assert Segment.attach(made.path).reader("book").read()["account"]["cash"][0] == 5


@pytest.mark.parametrize(
    "wrong", [{"run_id": "x" * 65}, {"generation": 0}, {"n_symbols": -1}, {"n_symbols": headers.MAX_SYMBOLS + 1}]
)
def test_segment_argument_without_room_is_refused_and_leaves_no_file(make, tmp_path, wrong):
    """What a reader would refuse is not made."""
    with pytest.raises(ValueError, match=r"run id|generation"):
        make(**wrong)
    assert list(tmp_path.iterdir()) == []


def test_segment_without_space_is_refused_and_leaves_no_file(make, tmp_path):
    """A full tmpfs is an error when the segment is made, not SIGBUS when it is written."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
    try:
        with pytest.raises(StateError, match="can not be had: File too large"):
            make()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_segment_missing_is_named(tmp_path):
    """The message names the file."""
    with pytest.raises(SegmentMissing, match=r"seg-engine-9\.shm"):
        Segment.attach(tmp_path / "seg-engine-9.shm")


def test_segment_behind_a_link_is_refused(make, tmp_path):
    """A link could lead to anybody's file."""
    link = tmp_path / "seg-engine-2.shm"
    link.symlink_to(make().path)
    with pytest.raises(LayoutMismatch, match="symbolic link"):
        Segment.attach(link)


def test_segment_that_is_a_pipe_is_refused_without_waiting(tmp_path):
    """Opening a pipe for reading would block until somebody writes."""
    path = tmp_path / "seg-engine-1.shm"
    os.mkfifo(path, 0o600)
    with pytest.raises(LayoutMismatch, match="no plain file"):
        Segment.attach(path)


def test_segment_of_another_user_is_refused(make, monkeypatch):
    """Only the user whose folder it is may have made it."""
    path = make().path
    if os.geteuid() == 0:
        os.chown(path, 65534, -1)
        expected = "belongs to user 65534, expected user 0"
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 65534)
        expected = "not by user 65534"
    with pytest.raises(LayoutMismatch, match=expected):
        Segment.attach(path)


def test_segment_that_others_may_write_is_refused(make):
    """Its numbers would be anybody's."""
    path = make().path
    path.chmod(0o666)
    with pytest.raises(LayoutMismatch, match="mode 0666"):
        Segment.attach(path)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"role": "monitor"}, "segment of the engine, expected the monitor"),
        ({"run_id": "run-2"}, "belongs to run 'run-1', expected 'run-2'"),
        ({"generation": 2}, "generation 1, expected 2"),
    ],
)
def test_segment_other_than_wanted_is_refused(make, wanted, message):
    """Found and expected are both named."""
    with pytest.raises(LayoutMismatch, match=message):
        Segment.attach(make().path, **wanted)


def _patched(path, offset, data, *, seal=True):
    content = bytearray(path.read_bytes())
    content[offset : offset + len(data)] = data
    if seal:
        size = headers.HEADER_BYTES - 4
        content[size : size + 4] = struct.pack("=I", zlib.crc32(content[:size]))
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("offset", "data", "message"),
    [
        (0, b"SOMEFILE", "begins with b'SOMEFILE'"),
        (0, bytes(8), "still being made"),
        (8, struct.pack(">I", headers.BYTE_ORDER), "another byte order"),
        (12, struct.pack("=I", 99), "layout version is 99, expected 1"),
        (16, struct.pack("=Q", 8192 * 5), "beginning of the slots is 40960, expected 8192"),
        (24, struct.pack("=Q", 12345), "size is 12345, expected"),
        (32, struct.pack("=q", 7), "schema hash of the trading core is 7, expected"),
        (40, struct.pack("=q", 7), "schema hash of the shared state is 7, expected"),
        (48, struct.pack("=q", 7), "layout hash is 7, expected"),
        (64, struct.pack("=q", 77), "role 77 with 2 symbols"),
        (72, struct.pack("=q", -2), "role 1 with -2 symbols"),
        (72, struct.pack("=q", 3), "layout hash is"),
    ],
)
def test_segment_header_of_another_version_is_refused(make, offset, data, message):
    """Each field is checked, and the message says found and expected."""
    path = make().path
    _patched(path, offset, data)
    with pytest.raises(LayoutMismatch, match=message):
        Segment.attach(path)


def test_segment_damaged_header_is_refused(make):
    """One flipped bit in a field that nothing else checks."""
    path = make().path
    _patched(path, 80, b"\xff", seal=False)
    with pytest.raises(LayoutMismatch, match="CRC does not agree"):
        Segment.attach(path)


def test_segment_damaged_names_are_refused(make):
    """Symbols in another order would label positions wrongly."""
    path = make().path
    _patched(path, headers.PAGE + 4, b"X")
    with pytest.raises(LayoutMismatch, match="names after the header are damaged"):
        Segment.attach(path)


@pytest.mark.parametrize("size", [0, 17, 4096, 100_000])
def test_segment_cut_off_is_refused(make, size):
    """Reading beyond the end of a mapped file kills the reader."""
    path = make().path
    os.truncate(path, size)
    with pytest.raises(LayoutMismatch):
        Segment.attach(path)


def test_segment_mapped_read_only_gives_no_writer(make):
    """Only the owner writes."""
    found = Segment.attach(make().path)
    with pytest.raises(StateError, match="read-only"):
        found.writer("book")
    with pytest.raises(TypeError):
        Segment.attach(make(Role.MONITOR).path).word("veto_mask").set(1)
    with pytest.raises(ValueError, match="read-only"):
        found.ring("equity").append(np.zeros(1, EQUITY_POINT))


def test_segment_unlinked_stays_readable_for_who_has_it(make):
    """A reader of a dead generation keeps its last snapshot until it moves on."""
    made = make()
    made.writer("book").publish(*book(4))
    found = Segment.attach(made.path)
    made.unlink()
    made.unlink()
    assert found.reader("book").read()["slots"]["quantity"].tolist() == [4, 4]


def test_segment_outlived_by_its_reader_stays_mapped(make):
    """Dropping the segment does not unmap memory under a reader."""
    made = make()
    made.writer("book").publish(*book(4))
    reader = Segment.attach(made.path).reader("book")
    del made
    assert reader.read()["account"]["cash"][0] == 4


def test_segment_unknown_part_is_named(make):
    """A misspelt slot is told apart from an empty one."""
    made = make()
    for ask in (made.reader, made.writer, made.word, made.ring):
        with pytest.raises(KeyError, match="engine has no"):
            ask("bok")


def test_clear_segments_removes_segments_only(make, tmp_path):
    """What a crash left goes, the rest stays."""
    make()
    make(Role.MONITOR, 4)
    (tmp_path / "control.sock").touch()
    assert clear_segments(tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["control.sock"]


def test_as_role_takes_names_and_roles():
    """Paths name roles in lower case."""
    assert as_role("engine") is as_role(Role.ENGINE) is Role.ENGINE


def test_process_started_of_no_process_is_none():
    """A pid that is free has not started; our own has."""
    assert process_started(2**22 + 1) is None
    assert process_started(os.getpid()) == process_started(os.getpid())
