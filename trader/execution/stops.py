"""Protective stops at the venue: what should stand behind each position, and for how long nothing did.

A stop follows from the quantity that is held and the plan's level, nothing else. It is moved when that has changed
by enough: a stop that is taken back and placed anew with every candle is without force most of the time, and venues
count it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal

from trader.units import exact

#: a level that has moved by less than this part of itself stays where it is
MIN_MOVE_FRAC = 0.001
#: least time between two replacements of one stop because of its level [s]
MIN_INTERVAL_S = 20.0
#: how long a stop whose replacement was refused is asked for, before it is taken back [s]
ASKED_S = 1.0


def on_tick(level: float, tick_size: Decimal) -> Decimal:
    """Round a stop below the price up to a tick, where it loses less; at least one tick."""
    ticks = (exact(level) / tick_size).quantize(Decimal("1e-6")).to_integral_value(rounding=ROUND_CEILING)
    return max(ticks, Decimal(1)) * tick_size


@dataclass(slots=True)
class _Watch:
    """One symbol's stop."""

    naked_since_s: float | None = None
    placed_s: float = -math.inf
    refused: int = 0
    replace_refused: bool = False
    asked_until_s: float = -math.inf
    not_before_s: float = -math.inf


@dataclass(slots=True)
class StopKeeper:
    """Knows when a stop may be placed or moved, and counts the time without one."""

    clock: Callable[[], float] = time.monotonic
    naked_s: float = 0.0  #: in all, intervals that have ended
    longest_s: float = 0.0
    _watches: dict[str, _Watch] = field(default_factory=dict)

    def _of(self, symbol: str) -> _Watch:
        return self._watches.setdefault(symbol, _Watch())

    def is_naked(self, symbol: str) -> None:
        """Note that a position has no stop at the venue."""
        watch = self._of(symbol)
        if watch.naked_since_s is None:
            watch.naked_since_s = self.clock()

    def is_covered(self, symbol: str) -> int | None:
        """Note that it has one, or that there is no position any more.

        Returns
        -------
        int or None
            How long it had none [ms]; None when it was not without.
        """
        watch = self._of(symbol)
        if watch.naked_since_s is None:
            return None
        lasted_s = self.clock() - watch.naked_since_s
        watch.naked_since_s = None
        self.naked_s += lasted_s
        self.longest_s = max(self.longest_s, lasted_s)
        return round(lasted_s * 1000)

    def was_covered(self, symbol: str) -> None:
        """Note that it had one all the time, as was found out now."""
        self._of(symbol).naked_since_s = None

    @property
    def total_naked_s(self) -> float:
        """Time without a stop so far, of all positions together [s]."""
        open_s = (self.clock() - w.naked_since_s for w in self._watches.values() if w.naked_since_s is not None)
        return self.naked_s + sum(open_s)

    @property
    def missing(self) -> int:
        """Positions that have no stop now."""
        return sum(watch.naked_since_s is not None for watch in self._watches.values())

    def may_place(self, symbol: str) -> bool:
        """Whether a stop may be placed now: not at once again after a refusal."""
        return self.clock() >= self._of(symbol).not_before_s

    def placed(self, symbol: str) -> None:
        """Note that a stop was sent."""
        self._of(symbol).placed_s = self.clock()

    def stands(self, symbol: str) -> None:
        """Note that the venue has taken a stop."""
        watch = self._of(symbol)
        watch.refused, watch.replace_refused = 0, False

    def may_replace(self, symbol: str) -> bool:
        """Whether a stop may be replaced in one request: after a refusal the next one takes the long way."""
        return not self._of(symbol).replace_refused

    def replace_refused(self, symbol: str) -> None:
        """Note that the venue has refused to replace a stop in one request; what became of the old one is asked now."""
        watch = self._of(symbol)
        watch.replace_refused, watch.asked_until_s = True, self.clock() + ASKED_S

    def may_take_back(self, symbol: str) -> bool:
        """Whether a stop that no longer serves may be taken back: not while the venue is asked if it still stands."""
        return self.clock() >= self._of(symbol).asked_until_s

    def refused(self, symbol: str) -> float:
        """Note that the venue has refused a stop; return how long to wait [s]."""
        watch = self._of(symbol)
        watch.refused += 1
        pause_s = min(2.0**watch.refused, 300.0)
        watch.not_before_s = self.clock() + pause_s
        return pause_s

    def should_move(self, symbol: str, stands_at: float, level: float) -> bool:
        """Whether a stop is to be moved to another level."""
        if abs(level - stands_at) <= MIN_MOVE_FRAC * abs(stands_at):
            return False
        return self.clock() - self._of(symbol).placed_s >= MIN_INTERVAL_S
