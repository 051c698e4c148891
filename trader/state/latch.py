"""The latch compiled: the engine's way to publish, and a reader that costs nanoseconds.

The same format and the same rules as `layout` and `slots`, with the atomics and fences that the
processor and the compiler need to keep the order: plain loads and stores are merged, hoisted and
reordered by LLVM, and a sequence check written with them is deleted. Imported by the engine and by
tests only: numba costs its process 100 MiB.

Compiled code gets addresses instead of arrays, in one array of words (the plan): numba spends longer on
looking at five array arguments than on the copy itself. The objects here keep what the addresses
point to alive. With NUMBA_DISABLE_JIT=1 both classes fall back to numpy.
"""

from __future__ import annotations

from operator import is_not

import numpy as np
from numba import config, int64, njit, types, uint64
from numba.extending import intrinsic

from trader.errors import StateError, UnreadableSlot
from trader.state.layout import (
    CHECKSUM_START,
    LINE_WORDS,
    SEQUENCE_WEIGHT,
    STAMP_WORDS,
    WEIGHT_FIRST,
    WEIGHT_STEP,
    WORD_BYTES,
    Records,
    Words,
)
from trader.state.segment import Segment
from trader.state.slots import check_parts

#: tries of a compiled reader; one costs some hundred nanoseconds, a full-speed writer spoils a few in a row
SPINS = 1_000_000
#: checksums that may disagree under a stable sequence before it is no race but damage
_DISAGREEMENTS = 1_000

# The format's constants are literals of the format, frozen into the code on purpose (LAYOUT_VERSION guards
# them); nothing else may be a global here.
_FIRST = np.uint64(WEIGHT_FIRST)
_STEP = np.uint64(WEIGHT_STEP)
_SEQUENCE = np.uint64(SEQUENCE_WEIGHT)
_START = np.uint64(CHECKSUM_START)
_STAMP = STAMP_WORDS * WORD_BYTES
_LINE = LINE_WORDS * WORD_BYTES

# the plan of a writer or a reader: words of an int64 array
PLAN_SLOT = 0  # address of the slot
PLAN_COPY = 1  # size of a copy [bytes]
PLAN_PARTS = 2  # number of (address, words) pairs that follow
PLAN_PAIRS = 3


def _fence(order):
    @intrinsic
    def fence(typing_context):
        def generate(context, builder, signature, arguments):
            builder.fence(order)
            return context.get_dummy_value()

        return types.void(), generate

    return fence


def _load(order):
    @intrinsic
    def load(typing_context, address):
        if not isinstance(address, types.Integer):
            return None

        def generate(context, builder, signature, arguments):
            word = context.get_value_type(types.int64)
            pointer = builder.inttoptr(arguments[0], word.as_pointer())
            return builder.load_atomic(pointer, order, WORD_BYTES)

        return types.int64(types.int64), generate

    return load


def _store(order):
    @intrinsic
    def store(typing_context, address, value):
        if not isinstance(address, types.Integer):
            return None

        def generate(context, builder, signature, arguments):
            pointer = builder.inttoptr(arguments[0], arguments[1].type.as_pointer())
            builder.store_atomic(arguments[1], pointer, order, WORD_BYTES)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), generate

    return store


fence_acquire, fence_release = _fence("acquire"), _fence("release")
load_relaxed, load_acquire = _load("monotonic"), _load("acquire")
store_relaxed, store_release = _store("monotonic"), _store("release")


@njit(int64(int64[::1]), cache=True, nogil=True)
def publish(plan):
    """Publish the parts that a plan names as the slot's next update.

    Parameters
    ----------
    plan : ndarray of int64
        Slot address, copy size, number of parts, then address and words of each part.

    Returns
    -------
    int
        The update's number.
    """
    slot = plan[PLAN_SLOT]
    sequence = load_relaxed(slot) + 1
    copy = slot + _LINE + (sequence & 1) * plan[PLAN_COPY]
    store_relaxed(copy, -sequence)
    fence_release()  # whoever sees a payload word of this update sees that the copy is busy
    total = _START + uint64(sequence) * _SEQUENCE
    weight = _FIRST
    target = copy + _STAMP
    for part in range(plan[PLAN_PARTS]):
        source = plan[PLAN_PAIRS + 2 * part]
        for _ in range(plan[PLAN_PAIRS + 2 * part + 1]):
            word = load_relaxed(source)
            store_relaxed(target, word)
            total += uint64(word) * weight
            weight += _STEP
            source += WORD_BYTES
            target += WORD_BYTES
    store_relaxed(copy + WORD_BYTES, int64(total))
    store_release(copy, sequence)  # the payload is there before its number is
    store_release(slot, sequence)
    return sequence


@njit(int64(int64[::1], int64), cache=True, nogil=True)
def snapshot(plan, spins):
    """Copy the newest complete update of a slot into the parts that a plan names.

    Parameters
    ----------
    plan : ndarray of int64
        As for `publish`; the parts are written to.
    spins : int
        Tries before it gives up.

    Returns
    -------
    int
        The update's number; 0: nothing published yet; -1: gave up; -2: the sequence was stable and the
        checksum never agreed.
    """
    slot = plan[PLAN_SLOT]
    disagreed = 0
    for _ in range(spins):
        head = load_acquire(slot)
        if head <= 0:
            return 0
        copy = slot + _LINE + (head & 1) * plan[PLAN_COPY]
        sequence = load_acquire(copy)
        if sequence != head:
            continue
        total = _START + uint64(sequence) * _SEQUENCE
        weight = _FIRST
        source = copy + _STAMP
        for part in range(plan[PLAN_PARTS]):
            target = plan[PLAN_PAIRS + 2 * part]
            for _ in range(plan[PLAN_PAIRS + 2 * part + 1]):
                word = load_relaxed(source)
                store_relaxed(target, word)
                total += uint64(word) * weight
                weight += _STEP
                source += WORD_BYTES
                target += WORD_BYTES
        stored = load_relaxed(copy + WORD_BYTES)
        fence_acquire()  # every payload load is done before the second look at the sequence
        if load_relaxed(copy) == sequence:
            if stored == int64(total):
                return sequence
            disagreed += 1
            if disagreed == _DISAGREEMENTS:
                return -2
    return -1


class CompiledWriter:
    """Publishes into one slot with compiled code; a slot has one writer, ever."""

    def __init__(self, segment: Segment, slot: str) -> None:
        self._fallback = segment.writer(slot)  # refuses a segment that is mapped read-only
        self._place = segment.slot(slot)
        self._words = segment.words
        self._sources: tuple[Records, ...] = ()
        self._plan = _plan(self._words, self._place.offset, self._place.copy_words, len(self._place.parts))
        self._jit = not config.DISABLE_JIT

    def publish(self, *arrays: Records) -> None:
        """Make these records the slot's newest snapshot.

        Fastest when it is given the same array objects each time: their addresses are looked up once.

        Parameters
        ----------
        *arrays : ndarray
            One C-contiguous array per part of the slot, in the layout's order.
        """
        if not self._jit:
            self._fallback.publish(*arrays)
            return
        if len(arrays) != len(self._sources) or any(map(is_not, arrays, self._sources)):
            self._bind(arrays)
        publish(self._plan)

    def _bind(self, arrays: tuple[Records, ...]) -> None:
        check_parts(self._place, arrays)
        for index, (part, array) in enumerate(zip(self._place.parts, arrays, strict=True)):
            if not array.flags.c_contiguous:
                raise StateError(f"part {part.name} of slot {self._place.name} is not C-contiguous")
            self._plan[PLAN_PAIRS + 2 * index : PLAN_PAIRS + 2 * index + 2] = array.ctypes.data, part.words
        self._sources = arrays


class CompiledReader:
    """Reads one slot with compiled code."""

    def __init__(self, segment: Segment, slot: str) -> None:
        self._fallback = segment.reader(slot)
        self._place = segment.slot(slot)
        self._label = f"slot {slot} of {segment.path}"
        self._words = segment.words
        #: private arrays that `refresh` writes to, by part
        self.parts: dict[str, Records] = {part.name: np.zeros(part.count, part.dtype) for part in self._place.parts}
        self._plan = _plan(self._words, self._place.offset, self._place.copy_words, len(self._place.parts))
        for index, part in enumerate(self._place.parts):
            pair = self.parts[part.name].ctypes.data, part.words
            self._plan[PLAN_PAIRS + 2 * index : PLAN_PAIRS + 2 * index + 2] = pair
        self._jit = not config.DISABLE_JIT

    def refresh(self) -> int:
        """Bring `parts` up to the newest complete snapshot.

        Returns
        -------
        int
            The update's number.

        Raises
        ------
        UnreadableSlot
            When nothing was published yet, or no copy is intact; `parts` is then not to be used.
        """
        if not self._jit:
            for name, records in self._fallback.read().items():
                self.parts[name][:] = records
            return self._fallback.sequence
        sequence: int = snapshot(self._plan, SPINS)
        if sequence <= 0:
            raise UnreadableSlot(f"{self._label}: {_WHY[sequence]}")
        return sequence

    def read(self) -> dict[str, Records]:
        """Return private copies of the newest complete snapshot, by part."""
        self.refresh()
        return {part.name: self.parts[part.name].view(np.int64).copy().view(part.dtype) for part in self._place.parts}


_WHY = {
    0: "nothing was published yet",
    -1: f"no complete update in {SPINS} tries; restart the service",
    -2: "the checksum does not agree: something else wrote into the segment; restart the service",
}


def _plan(words: Words, offset: int, copy_words: int, parts: int) -> Words:
    plan = np.zeros(PLAN_PAIRS + 2 * parts, np.int64)
    plan[PLAN_SLOT] = words.ctypes.data + offset * WORD_BYTES
    plan[PLAN_COPY] = copy_words * WORD_BYTES
    plan[PLAN_PARTS] = parts
    return plan
