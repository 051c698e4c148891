"""Strategies that make an engine busy, block it or kill it, when a file says so."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from trader.codes import Direction
from trader.domain.market import Candles
from trader.domain.signal import Signals
from trader.strategy.base import Strategy
from trader.units import timeframe_ns

#: a strategy asks for its fault by the file that this variable names; there is none in the normal course of things
TRIGGER = "FAULT_TRIGGER"


def triggered(what: str) -> bool:
    """Tell whether a fault is due, and take it back: the next incarnation does not suffer it again."""
    path = Path(os.environ.get(TRIGGER, "/nonexistent"))
    try:
        if path.read_text(encoding="ascii") != what:
            return False
        path.unlink()
    except OSError:
        return False
    return True


class Busy(Strategy):
    """Goes in for two candles and out for two, in every symbol: orders all the time.

    What it does depends on the candles alone, so that a disturbed run can be held against an undisturbed one.
    """

    name = "busy"
    lookback_bars = 4

    def signals(self, candles: Candles) -> Signals:
        """Return LONG and FLAT in turn."""
        turn = candles.open_ns // timeframe_ns(candles.timeframe) % 4
        direction = np.where(turn < 2, int(Direction.LONG), int(Direction.FLAT)).astype(np.int8)
        nans = np.full(len(candles), np.nan)
        return Signals(direction, np.ones(len(candles)), nans, nans, nans)


class Blocking(Busy):
    """Stands still in Python when it is told to."""

    def signals(self, candles: Candles) -> Signals:
        """Block for ever, or be busy."""
        if triggered("block"):
            self.stand_still()
        return super().signals(candles)

    @staticmethod
    def stand_still() -> None:
        """Block the engine's loop: the frame that its traceback has to show."""
        time.sleep(3600)


class Spinning(Busy):
    """Spins in compiled code when it is told to; no signal handler of Python's runs there."""

    def signals(self, candles: Candles) -> Signals:
        """Spin for ever, or be busy."""
        if triggered("spin"):
            spin_in_compiled_code()
        if triggered("spin deaf"):  # as C code that keeps signals away from the whole process
            signal.signal(signal.SIGABRT, signal.SIG_IGN)
            spin_in_compiled_code()
        return super().signals(candles)


def spin_in_compiled_code() -> None:
    """Never return from nopython code, and keep the interpreter's lock meanwhile."""
    from numba import njit

    @njit
    def spin(n: int) -> int:
        while n > 0:
            n = n * 3 % 1_000_003 + 1
        return n

    spin(7)


class Dying(Busy):
    """Dies at its first candle, in every incarnation, for as long as it is configured with `die`."""

    def __init__(self, die: bool = False, **more: str) -> None:
        super().__init__(**more)
        self.die = die

    def signals(self, candles: Candles) -> Signals:
        """Die, or be busy."""
        if self.die:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().signals(candles)
