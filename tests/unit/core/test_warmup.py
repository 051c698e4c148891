"""The proof at start."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.unit.core.desks import Book, started
from trader.codes import Reason, Side
from trader.core import kernels, warmup
from trader.core.records import CANDLE
from trader.errors import KernelError


def test_warm_up_good_kernels_pass_and_can_be_asked_again() -> None:
    """The golden scene plays to its numbers, as often as wanted."""
    warmup.warm_up()
    warmup.warm_up()


def test_warm_up_wrong_result_names_it_with_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that gives something else is not let near an account."""
    monkeypatch.setitem(warmup._LIMITS, "stop_loss_frac", 0.03)
    with pytest.raises(KernelError, match=r"stop: 97\.0, not 98\.0"):
        warmup.warm_up()


def test_warm_up_without_jit_gives_the_same_numbers() -> None:
    """The same source runs as plain Python, to the same results, without a warning."""
    code = (
        "from trader.core.warmup import warm_up; warm_up(); from trader.core.kernels import place; print(type(place))"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (result.returncode, result.stdout.strip()) == (0, "<class 'function'>"), result.stderr


def test_warm_up_sealed_kernels_take_codes_and_compile_nothing() -> None:
    """A code or an integer where a float belongs is converted; nothing is compiled while trading."""
    warmup.warm_up()
    book = started()
    before = len(kernels.place.signatures), len(kernels.apply_fill.signatures)
    kernels.place(book.desk, book.slots, 0, 5, 8, Reason.SIGNAL, -1, 95, math.nan)
    kernels.cancel(book.desk, book.slots, 0)
    count = kernels.apply_fill(book.desk, book.slots, 0, Side.BUY, 5, 100, 0, 5, Reason.SIGNAL, book.events, 0)
    assert (count, book.slots["quantity"][0]) == (1, 5.0)
    assert (len(kernels.place.signatures), len(kernels.apply_fill.signatures)) == before


def test_warm_up_sealed_kernels_take_read_only_candles() -> None:
    """A feed may hand out candles that nobody can change."""
    warmup.warm_up()
    book = Book()
    candles = np.zeros(1, CANDLE)
    candles[0] = (0, 1, 2, 100.0, 100.0, 100.0, 100.0, 1.0)
    candles.flags.writeable = False
    assert book.play(candles) >= 0
    assert book.slots["mark_price"][0] == 100.0
