"""What is in a segment and where: slots, words and rings, each on cache lines of its own.

All offsets count 8-byte words. A slot and a ring entry carry a sequence and a checksum before
their payload; `slots` (numpy) and `latch` (compiled) both follow the rules written here.

Slot, a latch of two copies (0 and 1), each beginning on a cache line::

    +0      head: number of the last complete update; 0: none yet
    +16     copy 0: sequence, checksum, payload    updates with an even number
    +16+c   copy 1: sequence, checksum, payload    updates with an odd number

The writer of update n marks copy n & 1 as busy (sequence -n), writes the payload and its checksum, then
the sequence n, then the head n. Readers are at that time in the other copy, which holds the complete
update n - 1: a writer that stops or dies at any point leaves them that one. A reader takes a copy whose number
was the head at some moment of the read, and accepts it when it still carries the sequence it began with and the
checksum agrees: no two reads, by whomever, go back in time. The checksum needs no fences and holds on any memory
model; the compiled latch has fences as well.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trader.codes import Role
from trader.core.records import ACCOUNT, EQUITY_POINT, LIMITS, SLOT
from trader.state.dtypes import BEAT, CHECK, HEALTH, MAX_CHECKS, MAX_STRATEGIES, SERVICE, STRATEGY, VENUE, WORKER

#: change it with any rule of this module or of `header`
LAYOUT_VERSION = 1

WORD_BYTES = 8
#: 128 bytes: two lines, because processors fetch them in pairs
LINE_WORDS = 16
#: sequence and checksum
STAMP_WORDS = 2

EQUITY_CAPACITY = 8192

MASK64 = 0xFFFF_FFFF_FFFF_FFFF
# Odd weights, all different: no change of one word, no exchange of two and no opposite changes of
# two (cash down, position up) leaves the sum as it was.
WEIGHT_FIRST = 0x9E37_79B9_7F4A_7C15
WEIGHT_STEP = 0xD1B5_4A32_D192_ED02
SEQUENCE_WEIGHT = 0x8CB9_2BA7_2F3D_8DD7
CHECKSUM_START = 0x5851_F42D_4C95_7F2D

Words: TypeAlias = NDArray[np.int64]
Records: TypeAlias = NDArray[np.void]
RecordType: TypeAlias = np.dtype[Any]


@dataclass(frozen=True, slots=True)
class SlotSpec:
    """A slot: parts that are published together, so that they always agree."""

    name: str
    parts: tuple[tuple[str, RecordType, int], ...]


@dataclass(frozen=True, slots=True)
class WordSpec:
    """One aligned int64, alone on its line: read and written in one piece by the processor."""

    name: str


@dataclass(frozen=True, slots=True)
class RingSpec:
    """A ring of records that overwrites its oldest."""

    name: str
    dtype: RecordType
    capacity: int


Spec: TypeAlias = SlotSpec | WordSpec | RingSpec


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a slot, located within the payload [words]."""

    name: str
    dtype: RecordType
    count: int
    start: int
    words: int


@dataclass(frozen=True, slots=True)
class PlacedSlot:
    """A slot at its place [words from the beginning of the segment's body]."""

    name: str
    offset: int
    payload: int
    copy_words: int
    parts: tuple[Part, ...]

    def copy_offset(self, which: int) -> int:
        """Return where copy 0 or 1 begins."""
        return self.offset + LINE_WORDS + which * self.copy_words


@dataclass(frozen=True, slots=True)
class PlacedWord:
    """A word at its place."""

    name: str
    offset: int


@dataclass(frozen=True, slots=True)
class PlacedRing:
    """A ring at its place: a line with the head (records ever appended), then the entries."""

    name: str
    offset: int
    dtype: RecordType
    capacity: int
    entry_words: int

    @property
    def entries_offset(self) -> int:
        """Where the first entry begins."""
        return self.offset + LINE_WORDS


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything in a segment, by name."""

    slots: dict[str, PlacedSlot]
    words: dict[str, PlacedWord]
    rings: dict[str, PlacedRing]
    total_words: int
    fingerprint: int


def segment_layout(role: Role, n_symbols: int) -> Layout:
    """Return the layout of a role's segment.

    Parameters
    ----------
    role : Role
        The segment's writer.
    n_symbols : int
        Symbols that the engine trades; other roles have none.

    Returns
    -------
    Layout
        Same arguments, same layout: writer and reader both compute it.
    """
    return _place(_specs(role, n_symbols))


def _specs(role: Role, n_symbols: int) -> tuple[Spec, ...]:
    if role is Role.SUPERVISOR:
        return (
            WordSpec("lease_until_ns"),
            SlotSpec("service", (("service", SERVICE, 1),)),
            SlotSpec("workers", (("workers", WORKER, len(Role)),)),
        )
    beat = SlotSpec("beat", (("beat", BEAT, 1),))
    if role is Role.ENGINE:
        return (
            beat,
            # one latch, so that equity always equals cash and positions
            SlotSpec("book", (("account", ACCOUNT, 1), ("slots", SLOT, n_symbols))),
            SlotSpec("limits", (("limits", LIMITS, 1),)),
            SlotSpec("strategies", (("strategies", STRATEGY, MAX_STRATEGIES),)),
            SlotSpec("venue", (("venue", VENUE, 1),)),
            RingSpec("equity", EQUITY_POINT, EQUITY_CAPACITY),
        )
    if role is Role.MONITOR:
        return (
            WordSpec("clear_until_ns"),
            WordSpec("veto_mask"),
            beat,
            SlotSpec("health", (("health", HEALTH, 1),)),
            SlotSpec("checks", (("checks", CHECK, MAX_CHECKS),)),
        )
    return (beat,)


def _place(specs: tuple[Spec, ...]) -> Layout:
    slots: dict[str, PlacedSlot] = {}
    words: dict[str, PlacedWord] = {}
    rings: dict[str, PlacedRing] = {}
    offset = 0
    for spec in specs:
        if isinstance(spec, WordSpec):
            words[spec.name] = PlacedWord(spec.name, offset)
            offset += LINE_WORDS
        elif isinstance(spec, SlotSpec):
            slot = _place_slot(spec, offset)
            slots[spec.name] = slot
            offset = slot.copy_offset(2)
        else:
            ring = PlacedRing(spec.name, offset, spec.dtype, spec.capacity, STAMP_WORDS + _words_of(spec.dtype))
            rings[spec.name] = ring
            offset = _lines(ring.entries_offset + ring.capacity * ring.entry_words)
    return Layout(slots, words, rings, offset, _fingerprint(specs))


def _place_slot(spec: SlotSpec, offset: int) -> PlacedSlot:
    parts = []
    start = 0
    for name, dtype, count in spec.parts:
        size = count * _words_of(dtype)
        parts.append(Part(name, dtype, count, start, size))
        start += size
    return PlacedSlot(spec.name, offset, start, _lines(STAMP_WORDS + start), tuple(parts))


def _words_of(dtype: RecordType) -> int:
    words, rest = divmod(dtype.itemsize, WORD_BYTES)
    if rest:
        raise ValueError(f"a record of {dtype.itemsize} bytes does not travel as whole words")
    return words


def _lines(words: int) -> int:
    return -(-words // LINE_WORDS) * LINE_WORDS


def _fingerprint(specs: tuple[Spec, ...]) -> int:
    text = repr([LAYOUT_VERSION, LINE_WORDS, WEIGHT_FIRST, WEIGHT_STEP, SEQUENCE_WEIGHT, CHECKSUM_START, specs])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little", signed=True)


def checksum_weights(words: int) -> NDArray[np.uint64]:
    """Return the weight of each word of a payload in its checksum."""
    steps = np.arange(words, dtype=np.uint64) * np.uint64(WEIGHT_STEP)
    return steps + np.uint64(WEIGHT_FIRST)


def checksum(sequence: int, payload: NDArray[np.uint64], weights: NDArray[np.uint64]) -> int:
    """Return the checksum of a payload that belongs to a sequence, modulo 2**64."""
    return (int(np.dot(payload, weights)) + sequence * SEQUENCE_WEIGHT + CHECKSUM_START) & MASK64
