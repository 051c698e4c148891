"""Health checks: each is a pure function of what was observed and answers with a state, numbers and advice.

What is grave becomes a bit of the veto. Checks of this module are about things that the engine can't judge of
itself: whether it is alive, whether what it publishes is consistent, whether its disk fills up.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trader.codes import VETO_TEXT, Level, Veto
from trader.state.reader import Book

#: an engine that is silent for this long gets no clearance [s]
ENGINE_SILENT_S = 5.0
#: below this much free space in the data folder entries stop, and below that it is worth a warning [bytes]
DISK_GRAVE_BYTES = 32 * 2**20
DISK_LOW_BYTES = 512 * 2**20
#: relative difference between equity and cash plus positions that rounding can explain
BOOKS_TOLERANCE_FRAC = 1e-9


@dataclass(frozen=True, slots=True)
class Observed:
    """What a round of checks looks at; None stands for what could not be read."""

    book: Book | None
    engine_beat_age_s: float | None
    data_age_s: float | None
    stale_after_s: float  #: of the data's age
    max_drawdown_frac: float  #: the configured limit
    free_bytes: int | None
    metrics_error: str | None  #: why history can't be written


@dataclass(frozen=True, slots=True)
class Check:
    """One check's answer."""

    name: str
    level: Level
    value: float
    bound: float
    text: str  #: what it means and what to do
    veto: Veto | None = None  #: what it adds to the veto when it is grave


def check_all(observed: Observed) -> tuple[Check, ...]:
    """Return every check's answer."""
    return (
        _state(observed),
        _books(observed),
        _engine(observed),
        _data(observed),
        _drawdown(observed),
        _disk(observed),
        _metrics(observed),
    )


def veto_of(checks: tuple[Check, ...]) -> Veto:
    """Return the veto that follows from the grave checks."""
    total = Veto(0)
    for check in checks:
        if check.level is Level.GRAVE and check.veto is not None:
            total |= check.veto
    return total


def free_bytes(folder: Path) -> int | None:
    """Return the space that is left for us in a folder [bytes], or None when it can't be told."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize


def _state(observed: Observed) -> Check:
    if observed.book is None:
        return Check("state", Level.GRAVE, math.nan, 0, VETO_TEXT[Veto.STATE], Veto.STATE)
    return Check("state", Level.OK, 0, 0, "account and positions are readable")


def _books(observed: Observed) -> Check:
    if observed.book is None:
        return Check("books", Level.OK, math.nan, BOOKS_TOLERANCE_FRAC, "nothing to check")
    difference = books_difference_frac(observed.book)
    if not difference <= BOOKS_TOLERANCE_FRAC:  # NaN is grave, too
        return Check("books", Level.GRAVE, difference, BOOKS_TOLERANCE_FRAC, VETO_TEXT[Veto.BOOKS], Veto.BOOKS)
    return Check("books", Level.OK, difference, BOOKS_TOLERANCE_FRAC, "equity is cash and positions together")


def books_difference_frac(book: Book) -> float:
    """Return how far equity is from cash plus marked positions, relative to equity; NaN when it can't be told."""
    slots = book.slots[book.slots["quantity"] != 0]
    cash, equity = float(book.account["cash"]), float(book.account["equity"])
    held = float(np.sum(slots["quantity"] * slots["mark_price"]))
    scale = max(abs(equity), abs(cash), abs(held), 1e-9)
    return abs(equity - cash - held) / scale


def _engine(observed: Observed) -> Check:
    age_s = observed.engine_beat_age_s
    if age_s is None or age_s > ENGINE_SILENT_S:
        value = math.nan if age_s is None else age_s
        return Check("engine", Level.GRAVE, value, ENGINE_SILENT_S, VETO_TEXT[Veto.ENGINE], Veto.ENGINE)
    return Check("engine", Level.OK, age_s, ENGINE_SILENT_S, "the engine beats")


def _data(observed: Observed) -> Check:
    # The kernels refuse entries on a stale mark by themselves, symbol by symbol; this only tells people.
    age_s = observed.data_age_s
    if age_s is None:
        return Check("data", Level.OK, math.nan, observed.stale_after_s, "no market data yet")
    if age_s > observed.stale_after_s:
        text = f"no market data for {age_s:.0f} s; look at the feed and the network"
        return Check("data", Level.WARNING, age_s, observed.stale_after_s, text)
    return Check("data", Level.OK, age_s, observed.stale_after_s, "market data is fresh")


def _drawdown(observed: Observed) -> Check:
    bound = observed.max_drawdown_frac
    value = float(observed.book.account["drawdown_frac"]) if observed.book is not None else math.nan
    if value >= bound:
        text = "drawdown limit reached; entries resume with `trader resume`"
        return Check("drawdown", Level.WARNING, value, bound, text)
    return Check("drawdown", Level.OK, value, bound, "drawdown is within its limit")


def _disk(observed: Observed) -> Check:
    free = observed.free_bytes
    if free is None:
        return Check(
            "disk", Level.WARNING, math.nan, DISK_LOW_BYTES, "free space can not be told; look at the data folder"
        )
    if free < DISK_GRAVE_BYTES:
        return Check("disk", Level.GRAVE, free, DISK_GRAVE_BYTES, VETO_TEXT[Veto.DISK], Veto.DISK)
    if free < DISK_LOW_BYTES:
        text = f"{free // 2**20} MiB left in the data folder; free disk space soon"
        return Check("disk", Level.WARNING, free, DISK_LOW_BYTES, text)
    return Check("disk", Level.OK, free, DISK_LOW_BYTES, "there is room in the data folder")


def _metrics(observed: Observed) -> Check:
    if observed.metrics_error is not None:
        return Check(
            "metrics", Level.WARNING, 1, 0, f"performance history can not be written: {observed.metrics_error}"
        )
    return Check("metrics", Level.OK, 0, 0, "performance history is written")
