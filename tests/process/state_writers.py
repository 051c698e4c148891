"""Writers at full speed in processes of their own, for the tests of the shared state.

    python -m tests.process.state_writers KIND PATH

writes the slot `book` (or the ring) of a segment until it is killed. Every word of update n is n, so that a
reader sees by the payload alone, whatever sequence and checksum say, whether it got parts of two
updates. Kind `nursery` forks compiled writers on demand: one line on stdin per command, one answer each.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

import numpy as np
from numba import int64, njit

from trader.core.records import ACCOUNT, EQUITY_POINT, SLOT
from trader.state.latch import CompiledWriter, publish
from trader.state.segment import Segment

PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def die_with_parent() -> None:
    """No test leaves a writer behind."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def arrays(n_symbols: int):
    """Return the parts of a book over one array of words."""
    account = ACCOUNT.itemsize // 8
    words = np.zeros(account + n_symbols * SLOT.itemsize // 8, np.int64)
    return words, words[:account].view(ACCOUNT), words[account:].view(SLOT)


@njit(int64(int64[::1], int64[::1], int64), cache=True, nogil=True)
def write_forever(plan, words, value):
    """Publish without a pause; returns only if the sequence runs wrong."""
    while True:
        for index in range(words.size):
            words[index] = value
        if publish(plan) != value:
            return value
        value += 1


def compiled(segment: Segment) -> None:
    """Publish as fast as compiled code can, going on from the number that the slot has."""
    words, account, slots = arrays(segment.n_symbols)
    writer = CompiledWriter(segment, "book")
    following = segment.reader("book").sequence + 1
    words[:] = following
    writer.publish(account, slots)
    write_forever(writer._plan, words, following + 1)


def plain(segment: Segment) -> None:
    """Publish as fast as numpy can."""
    words, account, slots = arrays(segment.n_symbols)
    writer = segment.writer("book")
    value = segment.reader("book").sequence
    while True:
        value += 1
        words[:] = value
        writer.publish(account, slots)


def ring(segment: Segment) -> None:
    """Append as fast as numpy can."""
    found = segment.ring("equity")
    words = np.zeros(EQUITY_POINT.itemsize // 8, np.int64)
    point = words.view(EQUITY_POINT)
    while True:
        words[:] = found.head
        found.append(point)


def word(segment: Segment) -> None:
    """Set a word to values whose halves differ in every bit."""
    cell = segment.word("clear_until_ns")
    while True:
        cell.set(0x0000_0000_0000_0000)
        cell.set(-1)


KINDS = {"compiled": compiled, "plain": plain, "ring": ring, "word": word}


def nursery() -> None:
    """Fork a compiled writer for each path on stdin and print its pid; reap it for each empty line.

    A fork of a process that has loaded the code already is there in a millisecond, a fresh
    interpreter with numba in a second: it makes hundreds of kills affordable.
    """
    print("ready", flush=True)
    for line in sys.stdin:
        path = line.strip()
        if not path:
            print(os.WTERMSIG(os.wait()[1]), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            die_with_parent()
            compiled(Segment.attach(Path(path), writable=True))
            os._exit(3)
        print(pid, flush=True)


def main() -> None:
    """Run one kind until killed."""
    die_with_parent()
    if sys.argv[1] == "nursery":
        nursery()
    else:
        KINDS[sys.argv[1]](Segment.attach(Path(sys.argv[2]), writable=True))


if __name__ == "__main__":
    main()
