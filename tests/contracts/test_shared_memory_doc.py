"""docs/shared-memory.md says where each byte is: it is generated, and a real segment's bytes are where it says."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.contracts.memory_map import SYMBOLS, document
from trader.core.records import ACCOUNT, EQUITY_POINT, new_slots
from trader.state.segment import Segment

PAGE = (Path(__file__).parents[2] / "docs" / "shared-memory.md").read_text(encoding="utf-8")


def field(record: str, name: str) -> int:
    """Return the offset of a field of a record, as the page tells it."""
    section = PAGE.split(f"### `{record}`")[1].split("###")[0]
    return int(re.search(rf"^\| (\d+) \| `{name}` \|", section, re.MULTILINE)[1])


@pytest.fixture
def data(tmp_path: Path) -> bytes:
    """Return the bytes of an engine's segment with two updates of the book and one point of the curve."""
    names = {"symbols": ["A/USDT", "B/USDT", "C/USDT"]}
    path = tmp_path / "engine.shm"
    made = Segment.create(path, role="engine", generation=7, n_symbols=SYMBOLS, run_id="run", meta=names)
    account, slots = np.zeros(1, ACCOUNT), new_slots(SYMBOLS)
    for equity in (1_000.25, 2_000.5):
        account["equity"] = equity
        slots["quantity"][2] = equity / 4
        made.writer("book").publish(account, slots)
    point = np.zeros(1, EQUITY_POINT)
    point["cash"] = 77.5
    made.ring("equity").append(point)
    return path.read_bytes()


def body(data: bytes) -> int:
    """Return where the body begins, as the header says at the place that the page names."""
    offset = int(re.search(r"^\| (\d+) \| 8 \| body offset", PAGE, re.MULTILINE)[1])
    return int(struct.unpack_from("=Q", data, offset)[0])


def test_page_is_up_to_date() -> None:
    """Regenerate with: python -m tests.contracts.memory_map > docs/shared-memory.md."""
    assert document() == PAGE


def test_every_field_says_what_it_means_or_is_named_so() -> None:
    """Comments were found: most rows have one."""
    rows = re.findall(r"^\| \d+ \| `\w+` \| [^|]+ \| (.*) \|$", PAGE, re.MULTILINE)
    assert len(rows) > 150
    assert sum(bool(text) for text in rows) > 80


def test_header_is_where_the_page_says(data: bytes) -> None:
    """Magic, size, generation, symbols, names."""
    section = PAGE.split("## The header")[1].split("## A slot")[0]
    rows = re.findall(r"^\| (\d+) \| (\d+) \| ([^|]+) \|", section, re.MULTILINE)
    offset = {name: int(at) for at, _, name in rows}
    assert data[:8] == b"TRADERSM"
    assert struct.unpack_from("=Q", data, offset["total size"])[0] == len(data)
    assert struct.unpack_from("=q", data, offset["generation"])[0] == 7
    assert struct.unpack_from("=q", data, offset["symbols"])[0] == SYMBOLS
    size = struct.unpack_from("=q", data, offset["size of the names"])[0]
    assert json.loads(data[4096 : 4096 + size])["symbols"] == ["A/USDT", "B/USDT", "C/USDT"]
    assert sum(int(length) for _, length, _ in rows) == offset["CRC-32"] + 4


def test_fields_of_a_slot_are_where_the_page_says(data: bytes) -> None:
    """Head, sequence, equity and a position, in the copy that the head names; the update before it in the other."""
    form = r"^\| (\d+) \| slot \| `book` \| copies at (\d+) and (\d+); .*payload \+ (\d+): 3 x"
    row = re.search(form, PAGE, re.MULTILINE)
    head, *copies, positions = (int(value) for value in row.groups())
    start = body(data)
    assert struct.unpack_from("=q", data, start + head)[0] == 2
    stride = int(re.search(r"### `SLOT`, (\d+) bytes", PAGE)[1])
    for update, equity in ((2, 2_000.5), (1, 1_000.25)):
        copy = start + copies[update & 1]
        assert struct.unpack_from("=q", data, copy)[0] == update
        payload = copy + 16
        assert struct.unpack_from("=d", data, payload + field("ACCOUNT", "equity"))[0] == equity
        third = payload + positions + 2 * stride
        assert struct.unpack_from("=d", data, third + field("SLOT", "quantity"))[0] == equity / 4


def test_ring_is_where_the_page_says(data: bytes) -> None:
    """Head, then the first entry: sequence, checksum, record."""
    ring = int(re.search(r"^\| (\d+) \| ring \| `equity`", PAGE, re.MULTILINE)[1]) + body(data)
    assert struct.unpack_from("=q", data, ring)[0] == 1
    assert struct.unpack_from("=q", data, ring + 128)[0] == 1
    assert struct.unpack_from("=d", data, ring + 128 + 16 + field("EQUITY_POINT", "cash"))[0] == 77.5
