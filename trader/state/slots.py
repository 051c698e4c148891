"""Reading and writing slots, words and rings with numpy alone, for processes without a compiler.

The rules are those of `layout`. A reader never waits for a writer: it copies, checks, and tries
again only when the writer overtook it by a whole update meanwhile.
"""

from __future__ import annotations

import time

import numpy as np

from trader.errors import UnreadableSlot
from trader.state.layout import (
    CHECKSUM_START,
    MASK64,
    SEQUENCE_WEIGHT,
    STAMP_WORDS,
    PlacedRing,
    PlacedSlot,
    Records,
    Words,
    checksum,
    checksum_weights,
)

#: copies that a reader checks before it gives up; a full-speed writer costs it a handful
ATTEMPTS = 2_000
#: copies after which it lets others run between two tries
EAGER_ATTEMPTS = 50


class Word:
    """One aligned int64 of shared memory, such as a lease: read and written in one piece."""

    def __init__(self, words: Words, offset: int) -> None:
        # a memoryview item is one aligned 8-byte access, and a third of numpy's price
        self._cell = words[offset : offset + 1].data

    def get(self) -> int:
        """Return the value."""
        return self._cell[0]

    def set(self, value: int) -> None:
        """Set the value; only the segment's owner can."""
        self._cell[0] = value


class SlotWriter:
    """Publishes into one slot; a slot has one writer, ever."""

    def __init__(self, words: Words, place: PlacedSlot) -> None:
        self._place = place
        self._head = Word(words, place.offset)
        self._weights = checksum_weights(place.payload)
        copies = [words[place.copy_offset(which) :][: STAMP_WORDS + place.payload] for which in (0, 1)]
        self._stamps = [copy[:STAMP_WORDS].data for copy in copies]
        self._payloads = [copy[STAMP_WORDS:] for copy in copies]
        self._staged = np.zeros(place.payload, np.int64)
        self._parts = [self._staged[part.start : part.start + part.words] for part in place.parts]

    def publish(self, *arrays: Records) -> None:
        """Make these records the slot's newest snapshot.

        Parameters
        ----------
        *arrays : ndarray
            One array per part of the slot, in the layout's order.

        Raises
        ------
        ValueError
            When an array is not what the layout says.
        """
        check_parts(self._place, arrays)
        for part, array in zip(self._parts, arrays, strict=True):
            # as words: numpy copies records field by field, fifty times slower
            part[:] = np.ascontiguousarray(array).view(np.int64)
        sequence = self._head.get() + 1
        stamp = self._stamps[sequence & 1]
        stamp[0] = -sequence
        self._payloads[sequence & 1][:] = self._staged
        total = checksum(sequence, self._staged.view(np.uint64), self._weights)
        stamp[1] = signed(total)
        stamp[0] = sequence
        self._head.set(sequence)


class SlotReader:
    """Reads one slot."""

    def __init__(self, words: Words, place: PlacedSlot, label: str) -> None:
        self._place = place
        self._label = label
        self._head = Word(words, place.offset)
        self._weights = checksum_weights(place.payload)
        self._copies = [words[place.copy_offset(which) :][: STAMP_WORDS + place.payload] for which in (0, 1)]

    @property
    def sequence(self) -> int:
        """Number of the newest complete update; 0 before the first. It tells whether there is news."""
        return self._head.get()

    def read(self) -> dict[str, Records]:
        """Return private copies of the newest complete snapshot, by part.

        Returns
        -------
        dict of ndarray
            One array per part of the slot.

        Raises
        ------
        UnreadableSlot
            When nothing was published yet, or no copy is intact.
        """
        payload = self._payload()
        return {part.name: _view(payload, part.start, part.words, part.dtype) for part in self._place.parts}

    def _payload(self) -> Words:
        for attempt in range(ATTEMPTS):
            head = self._head.get()
            if head <= 0:
                raise UnreadableSlot(f"{self._label}: nothing was published yet")
            for which in (head & 1, ~head & 1):
                copy = self._copies[which].copy()
                # Never a copy that is complete and not yet the head: the next reader could get the one before it.
                if head <= copy[0] <= self._head.get() and self._intact(copy, which):
                    return copy[STAMP_WORDS:]
            if attempt > EAGER_ATTEMPTS:
                time.sleep(0)
        raise UnreadableSlot(
            f"{self._label}: no intact copy of update {head} in {ATTEMPTS} tries; its writer is broken or "
            "something else wrote into the segment; restart the service"
        )

    def _intact(self, copy: Words, which: int) -> bool:
        sequence = int(copy[0])
        payload = copy[STAMP_WORDS:].view(np.uint64)
        return sequence & 1 == which and int(copy[1]) & MASK64 == checksum(sequence, payload, self._weights)


class Ring:
    """A ring of records; the writer appends and never waits, a slow reader learns what it lost."""

    def __init__(self, words: Words, place: PlacedRing) -> None:
        self._place = place
        self._head = Word(words, place.offset)
        size = place.capacity * place.entry_words
        self._entries = words[place.entries_offset :][:size].reshape(place.capacity, place.entry_words)
        self._weights = checksum_weights(place.entry_words - STAMP_WORDS)

    @property
    def head(self) -> int:
        """How many records were ever appended."""
        return self._head.get()

    @property
    def capacity(self) -> int:
        """How many records the ring holds."""
        return self._place.capacity

    def append(self, record: Records) -> None:
        """Append one record, over the oldest when the ring is full.

        Parameters
        ----------
        record : ndarray
            Shape (1,), of the ring's dtype.

        Raises
        ------
        ValueError
            When it is another dtype or shape.
        """
        if record.dtype != self._place.dtype or record.size != 1:
            raise ValueError(
                f"ring {self._place.name} takes one record of {self._place.dtype.itemsize} bytes, "
                f"was {record.size} of {record.dtype.itemsize}"
            )
        position = self._head.get()
        sequence = position + 1
        entry = self._entries[position % self._place.capacity]
        payload = np.frombuffer(record.tobytes(), np.int64)
        entry[0] = -sequence
        entry[STAMP_WORDS:] = payload
        entry[1] = signed(checksum(sequence, payload.view(np.uint64), self._weights))
        entry[0] = sequence
        self._head.set(sequence)

    def read_since(self, position: int) -> tuple[Records, int, int]:
        """Return what was appended since a position.

        Parameters
        ----------
        position : int
            0 for all that is there, else what the last call gave back. A position beyond the end is
            of another ring, and reads like 0.

        Returns
        -------
        records : ndarray
            Copies, oldest first.
        next_position : int
            For the next call.
        lost : int
            Records since `position` that were overwritten before they were read.
        """
        head = self._head.get()
        if not 0 <= position <= head:
            position = 0
        first = max(position, head - self._place.capacity)
        sequences = np.arange(first + 1, head + 1)
        copies = self._entries[(sequences - 1) % self._place.capacity]
        # An entry that the writer overwrote while it was copied carries another sequence, or a sum that
        # does not agree: it is lost, like those before it.
        sums = np.dot(copies[:, STAMP_WORDS:].view(np.uint64), self._weights)
        sums += sequences.astype(np.uint64) * np.uint64(SEQUENCE_WEIGHT) + np.uint64(CHECKSUM_START)
        intact = (copies[:, 0] == sequences) & (copies[:, 1].view(np.uint64) == sums)
        payloads = np.ascontiguousarray(copies[intact, STAMP_WORDS:])
        records: Records = payloads.reshape(-1).view(self._place.dtype)
        return records, head, head - position - len(records)


def check_parts(place: PlacedSlot, arrays: tuple[Records, ...]) -> None:
    """Refuse arrays that are not what a slot holds.

    Parameters
    ----------
    place : PlacedSlot
        The slot.
    arrays : tuple of ndarray
        One per part.

    Raises
    ------
    ValueError
        When their number, a dtype, or a length differs; the message names both.
    """
    if len(arrays) != len(place.parts):
        raise ValueError(f"slot {place.name} has {len(place.parts)} parts, was given {len(arrays)}")
    for part, array in zip(place.parts, arrays, strict=True):
        if array.dtype != part.dtype or array.shape != (part.count,):
            raise ValueError(
                f"part {part.name} of slot {place.name} is shape ({part.count},) of {part.dtype.itemsize} bytes each, "
                f"was given shape {array.shape} of {array.dtype.itemsize} bytes each"
                + ("" if array.dtype.itemsize != part.dtype.itemsize else " with other fields or another shape")
            )


def signed(value: int) -> int:
    """Return the int64 with the same bits as an unsigned 64-bit value."""
    return value - (1 << 64) if value >> 63 else value


def _view(words: Words, start: int, count: int, dtype: np.dtype[np.void]) -> Records:
    view: Records = words[start : start + count].view(dtype)
    return view
