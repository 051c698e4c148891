"""The header of a segment: what it is, for whom, and whether this program can read it.

One page of fixed fields with a CRC, then a JSON text of names for people (symbols, strategies, mode).
The header is written last, so that a file without one is a file still being made. A reader refuses
anything that does not match; there is no best-effort reading of shared memory.
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trader.codes import Role
from trader.core.records import SCHEMA_HASH
from trader.errors import LayoutMismatch
from trader.state.dtypes import STATE_HASH
from trader.state.layout import LAYOUT_VERSION, segment_layout

PAGE = 4096
MAGIC = b"TRADERSM"
BYTE_ORDER = 0x0102_0304
MAX_RUN_ID = 64
MAX_SYMBOLS = 100_000

# magic, byte order, layout version, header size, total size, schema, state and layout hash,
# generation, role, symbols, owner pid, owner start, created, meta size, meta CRC, run id
_FIELDS = struct.Struct("=8sIIQQqqqqqqqqqQI64s")
_CRC = struct.Struct("=I")
HEADER_BYTES = _FIELDS.size + _CRC.size


@dataclass(frozen=True, slots=True)
class Header:
    """What a segment says of itself."""

    role: Role
    generation: int
    n_symbols: int
    run_id: str
    owner_pid: int  #: who made the segment, and will remove it
    owner_started: int  #: that process' start [clock ticks since boot]: a pid alone can be reused
    created_ns: int  #: CLOCK_BOOTTIME
    total_bytes: int
    body_offset: int
    meta_bytes: int
    meta_crc: int
    schema_hash: int = SCHEMA_HASH
    state_hash: int = STATE_HASH
    layout_hash: int = 0


def encode_meta(meta: dict[str, Any]) -> bytes:
    """Return the JSON text of the names, in UTF-8."""
    return json.dumps(meta, ensure_ascii=False, sort_keys=True).encode()


def decode_meta(data: bytes, header: Header, path: Path) -> dict[str, Any]:
    """Return the names of a segment.

    Parameters
    ----------
    data : bytes
        The text as found.
    header : Header
        Says how it must sum up.
    path : Path
        For the message.

    Returns
    -------
    dict
        What was given when the segment was made.

    Raises
    ------
    LayoutMismatch
        When the text is not what the header says.
    """
    if len(data) != header.meta_bytes or zlib.crc32(data) != header.meta_crc:
        raise LayoutMismatch(f"{path}: the names after the header are damaged; restart the service")
    meta: dict[str, Any] = json.loads(data)
    return meta


def body_offset(meta_bytes: int) -> int:
    """Return where slots begin: on the first page after header and names [bytes]."""
    return PAGE + -(-meta_bytes // PAGE) * PAGE


def encode(header: Header) -> bytes:
    """Return the fixed fields and their CRC.

    Parameters
    ----------
    header : Header
        What to write.

    Returns
    -------
    bytes
        `HEADER_BYTES` of them.

    Raises
    ------
    ValueError
        When a field has no room or makes no sense.
    """
    run_id = header.run_id.encode()
    if len(run_id) > MAX_RUN_ID:
        raise ValueError(f"run id {header.run_id!r} is longer than {MAX_RUN_ID} bytes")
    if not 0 <= header.n_symbols <= MAX_SYMBOLS or header.generation < 1:
        raise ValueError(
            f"generation {header.generation} with {header.n_symbols} symbols: from 1, and 0..{MAX_SYMBOLS}"
        )
    data = _FIELDS.pack(
        MAGIC,
        BYTE_ORDER,
        LAYOUT_VERSION,
        header.body_offset,
        header.total_bytes,
        header.schema_hash,
        header.state_hash,
        header.layout_hash,
        header.generation,
        header.role,
        header.n_symbols,
        header.owner_pid,
        header.owner_started,
        header.created_ns,
        header.meta_bytes,
        header.meta_crc,
        run_id,
    )
    return data + _CRC.pack(zlib.crc32(data))


def decode(data: bytes, path: Path) -> Header:
    """Return the header that these bytes are.

    Parameters
    ----------
    data : bytes
        The beginning of the file.
    path : Path
        For the messages.

    Returns
    -------
    Header
        A header of this program's own layout.

    Raises
    ------
    LayoutMismatch
        When it is none of ours, of another version or byte order, damaged, or not finished; says
        what was found and what was expected.
    """
    _check_beginning(data, path)
    (
        _,
        _,
        _,
        start,
        total,
        schema,
        state,
        layout,
        generation,
        role,
        symbols,
        pid,
        started,
        created,
        size,
        crc,
        run_id,
    ) = _FIELDS.unpack_from(data)
    if _CRC.unpack_from(data, _FIELDS.size)[0] != zlib.crc32(data[: _FIELDS.size]):
        raise LayoutMismatch(f"{path}: the header's CRC does not agree: damaged, or still being written")
    _expect(path, "schema hash of the trading core", schema, SCHEMA_HASH)
    _expect(path, "schema hash of the shared state", state, STATE_HASH)
    if role not in iter(Role) or not 0 <= symbols <= MAX_SYMBOLS:
        raise LayoutMismatch(f"{path}: role {role} with {symbols} symbols is none that this version knows")
    expected = segment_layout(Role(role), symbols)
    _expect(path, "layout hash", layout, expected.fingerprint)
    _expect(path, "beginning of the slots", start, body_offset(size))
    _expect(path, "size", total, start + expected.total_words * 8)
    return Header(
        role=Role(role),
        generation=generation,
        n_symbols=symbols,
        run_id=run_id.rstrip(b"\0").decode(errors="replace"),
        owner_pid=pid,
        owner_started=started,
        created_ns=created,
        total_bytes=total,
        body_offset=start,
        meta_bytes=size,
        meta_crc=crc,
        layout_hash=layout,
    )


def _check_beginning(data: bytes, path: Path) -> None:
    if len(data) < HEADER_BYTES:
        raise LayoutMismatch(f"{path}: {len(data)} bytes are too few for a header of {HEADER_BYTES}")
    magic, order, version = struct.unpack_from("=8sII", data)
    if magic != MAGIC:
        what = (
            "still being made" if magic == bytes(8) else f"begins with {magic!r}, not {MAGIC!r}: no segment of trader"
        )
        raise LayoutMismatch(f"{path}: {what}")
    if order != BYTE_ORDER:
        raise LayoutMismatch(f"{path}: written on a machine of another byte order than this one ({sys.byteorder})")
    _expect(path, "layout version", version, LAYOUT_VERSION)


def _expect(path: Path, what: str, found: int, expected: int) -> None:
    if found != expected:
        raise LayoutMismatch(
            f"{path}: {what} is {found}, expected {expected}: written by another version of trader; "
            "use the version that the service runs, or restart the service"
        )
