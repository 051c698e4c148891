"""The compiled latch: its machine code, and its stand-in without a compiler."""

import os
import re
import subprocess
import sys

import pytest
from numba import njit

from tests.unit.state.conftest import book
from trader.errors import StateError
from trader.state import latch
from trader.state.segment import Segment


def _ir(function):
    fresh = njit(function.signatures[0])(function.py_func)
    return "\n".join(fresh.inspect_llvm().values())


def test_publish_keeps_its_order_in_the_machine_code():
    """The compiler must have kept every atomic store and the fence between the mark and the payload."""
    text = _ir(latch.publish)
    mark = text.index("store atomic i64")
    assert mark < text.index("fence release") < text.rindex("store atomic i64")
    assert len(re.findall(r"store atomic i64 .* release", text)) == 2
    assert len(re.findall(r"store atomic i64 .* monotonic", text)) >= 3


def test_snapshot_looks_at_the_sequence_twice_in_the_machine_code():
    """A plain second look is deleted by the compiler; this one must be there, after the fence."""
    text = _ir(latch.snapshot)
    after = text[text.index("fence acquire") :]
    assert re.search(r"load atomic i64, .* monotonic", after)
    assert len(re.findall(r"load atomic i64, .* acquire", text)) >= 2


def test_compiled_writer_on_a_read_only_segment_is_refused(make):
    """Otherwise the first update would end the process."""
    with pytest.raises(StateError, match="read-only"):
        latch.CompiledWriter(Segment.attach(make().path), "book")


def test_compiled_reader_refreshes_in_place(make):
    """The parts stay the same objects, and the number tells the update."""
    made = make()
    writer, reader = latch.CompiledWriter(made, "book"), latch.CompiledReader(Segment.attach(made.path), "book")
    account = reader.parts["account"]
    for value in (1, 2):
        writer.publish(*book(value))
        assert reader.refresh() == value
        assert account["cash"][0] == value


def test_compiled_writer_follows_arrays_that_change(make):
    """Addresses are remembered for the objects they belong to, and for no others."""
    made = make()
    writer = latch.CompiledWriter(made, "book")
    for value in range(50):
        account, slots = book(value)
        writer.publish(account, slots)
        account["cash"] = -1.0
        writer.publish(account, slots)
        assert made.reader("book").read()["account"]["cash"][0] == -1
        assert made.reader("book").read()["slots"]["quantity"][1] == value


WITHOUT_JIT = """
import sys
from pathlib import Path
from tests.unit.state.conftest import book
from trader.state.latch import CompiledReader, CompiledWriter
from trader.state.segment import Segment
segment = Segment.attach(Path(sys.argv[1]), writable=True)
CompiledWriter(segment, "book").publish(*book(41.0))
reader = CompiledReader(segment, "book")
assert reader.read()["account"]["cash"][0] == 41.0
assert reader.refresh() == 1
"""


def test_latch_without_a_compiler_uses_numpy(make):
    """With NUMBA_DISABLE_JIT=1 the same classes share the same format."""
    made = make()
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", WITHOUT_JIT, made.path], env=environment, check=True, timeout=60)
    assert made.reader("book").read()["account"]["cash"][0] == 41
