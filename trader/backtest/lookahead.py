"""Proof that no signal looks ahead, and how much of the past a strategy really needs.

A strategy is asked about a history, then about its beginnings. What it said of a bar must not change when the bars
after it are added: where it does, the backtest has traded on what nobody could know. Then it is asked as the service
asks it, about the last `lookback_bars` only, and must say what it says with all of the past.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trader.codes import Direction
from trader.domain.invalidation import Invalidation
from trader.domain.market import Candles, IntArray
from trader.domain.signal import Signals
from trader.errors import StrategyError
from trader.strategy.base import FIELDS, Strategy, all_signals, faults, rules_at

#: what two computations of the same number may differ by: rounding, but nothing that means anything
RELATIVE, ABSOLUTE = 1e-9, 1e-12

#: what a difference between rules is called
RULES = "invalidations"

#: how many of the last bars are looked at one by one
LAST_BARS = 48

#: how many bars the need for a warm-up is measured at, and how much longer each window is than the one before
_MEASURED_BARS = 60
_LADDER = 1.3

#: findings that are kept for each strategy and symbol; all are counted
KEPT = 1000

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Change:
    """A bar of which a strategy said one thing with the future and another without."""

    bar: int  #: index of the candle
    open_ns: int  #: its start [ns UTC]
    known_bars: int  #: how many candles it was given when it said the other thing
    field: str  #: the first field of the signal that differs
    with_future: float
    without_future: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found out about one strategy on one symbol."""

    strategy: str
    symbol: str
    bars: int
    cuts: int  #: histories that ended early
    windows: int  #: windows of `lookback_bars`
    lookback_bars: int
    warmup_bars: int
    opinions: int = 0  #: bars on which it had one; with none there was nothing to be found
    changed: tuple[Change, ...] = ()  #: bars whose past was not settled, the oldest first
    changed_bars: int = 0  #: how many of them there are in all
    unlike: tuple[Change, ...] = ()  #: bars where the window says something else; `known_bars` is its length
    unlike_bars: int = 0
    needed_bars: int | None = None  #: shortest window that says what the whole history says; None: not measured
    faulty_bars: int = 0  #: answers that are no opinion
    error: str = ""  #: what it raised

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong: history and service see the same opinions, and neither knows the future."""
        return not (self.changed_bars or self.unlike_bars or self.faulty_bars or self.error)


def check(
    strategy: Strategy,
    name: str,
    candles: Candles,
    *,
    cuts: int = 200,
    seed: int = 1,
    progress: Callable[[float], None] | None = None,
) -> Verdict:
    """Ask a strategy about a history in every way that must not make a difference.

    Parameters
    ----------
    strategy : Strategy
        Bound to the candles' timeframe.
    name : str
        What it is called.
    candles : Candles
        A history, the longer the better.
    cuts : int
        Histories that end early: the last 48 bars one by one, right after bars on which the strategy acts (where a
        look into the future shows), and anywhere.
    seed : int
        Of the choice of bars.
    progress : callable, optional
        Told how much is done, 0..1.

    Returns
    -------
    Verdict
        With every bar found wrong, up to 1000 of each kind.
    """
    candles = _read_only(candles)
    empty = Verdict(name, candles.symbol, len(candles), 0, 0, strategy.lookback_bars, strategy.warmup_bars)
    try:
        whole = all_signals(strategy, name, candles)
        ends = cut_points(whole.direction, cuts, seed)
        changes = _Changes(candles, whole)
        for number, end in enumerate(ends.tolist()):
            changes.compare(all_signals(strategy, name, _cut(candles, 0, end)), 0, end)
            if progress is not None:
                progress(number / len(ends))
        again = all_signals(strategy, name, candles)
        changes.compare(again, 0, len(candles))
        opinions = int(np.count_nonzero(whole.direction))
        faulty = int(faults(whole).sum()) + _faulty_rules(strategy, candles, whole)
        found = replace(empty, cuts=len(ends), opinions=opinions, faulty_bars=faulty)
        found = _with_windows(found, strategy, candles, whole, changes, seed)
    except StrategyError as error:
        return replace(empty, error=str(error))
    return replace(found, changed=changes.kept(), changed_bars=changes.count())


def cut_points(direction: npt.NDArray[np.int8], cuts: int, seed: int) -> IntArray:
    """Return where to end histories, as numbers of bars, ascending.

    Whoever knows the future acts on it, so what is worth most is the bar on which it acts: cut right behind, it would
    have to act without. Half of the cuts are there; the last bars come all, for whatever a strategy says only while a
    bar is young; the rest is drawn.

    Parameters
    ----------
    direction : ndarray of int8, shape (bars,)
        What the strategy said with the whole history.
    cuts : int
        How many, at most.
    seed : int
        Of the draw.
    """
    bars = len(direction)
    dice = np.random.default_rng(seed)
    last = np.arange(max(1, bars - min(LAST_BARS, cuts)), bars)
    acts = np.flatnonzero(direction[1:] != direction[:-1]) + 2  # ends right behind the first bar of an opinion
    acts = np.append(acts, acts - 1)  # and right before it
    opens = np.flatnonzero((direction == Direction.LONG) | (direction == Direction.SHORT)) + 1
    chosen = [last]
    for pool, share in ((acts, cuts // 4), (opens, cuts // 4), (np.arange(1, bars), cuts - len(last) - cuts // 2)):
        inside = pool[(pool > 0) & (pool < bars)]
        chosen.append(dice.choice(inside, min(len(inside), max(share, 0)), replace=False))
    ends: IntArray = np.unique(np.concatenate(chosen)).astype(np.int64)
    return ends


class _Changes:
    """Bars of which something else was said than with the whole history."""

    def __init__(self, candles: Candles, whole: Signals) -> None:
        self._candles = candles
        self._whole = whole
        self._found: dict[int, Change] = {}
        self._changed = np.zeros(len(candles), np.bool_)

    def compare(self, part: Signals, start: int, end: int) -> None:
        """Note where an answer about the bars from start to end differs from the one about all."""
        differs = {field: _differs(getattr(self._whole, field)[start:end], getattr(part, field)) for field in FIELDS}
        differs[RULES] = _unlike_rules(self._whole, part, start, end)
        some = np.logical_or.reduce(list(differs.values()))
        if not some.any():
            return
        for at in np.flatnonzero(some & ~self._changed[start:end])[:KEPT].tolist():
            field = next(name for name, where in differs.items() if where[at])
            self.note(start + at, end, field, _said(part, field, at))
        self._changed[start:end] |= some

    def note(self, bar: int, known_bars: int, field: str, without: float) -> None:
        """Note one bar, unless it is known already."""
        self._changed[bar] = True
        if bar not in self._found and len(self._found) < KEPT:
            with_future = _said(self._whole, field, bar)
            open_ns = int(self._candles.open_ns[bar])
            self._found[bar] = Change(bar, open_ns, known_bars, field, with_future, float(without))

    def kept(self) -> tuple[Change, ...]:
        return tuple(self._found[bar] for bar in sorted(self._found))

    def count(self) -> int:
        return int(self._changed.sum())


# the windows that the service would have looked at
def _with_windows(
    found: Verdict, strategy: Strategy, candles: Candles, whole: Signals, changes: _Changes, seed: int
) -> Verdict:
    bars, lookback = len(candles), strategy.lookback_bars
    if bars <= lookback:
        return found
    dice = np.random.default_rng(seed + 1)
    # the last candle of a window of lookback_bars can be the one at index lookback - 1 at the earliest
    opens = np.flatnonzero((whole.direction == Direction.LONG) | (whole.direction == Direction.SHORT))
    pools = ((opens[opens >= lookback - 1], 300), (np.arange(lookback - 1, bars), 300))
    chosen = [dice.choice(pool, min(len(pool), count), replace=False) for pool, count in pools]
    at = np.unique(np.concatenate([*chosen, np.arange(max(lookback - 1, bars - LAST_BARS), bars)]))
    unlike = []
    for bar in at.tolist():
        change = _unlike(strategy, found.strategy, candles, whole, bar, lookback)
        if change is None:
            continue
        # with all of its past it says the same as the history: then the window was too short, else it looked ahead
        settled = _unlike(strategy, found.strategy, candles, whole, bar, bar + 1)
        if settled is None:
            unlike.append(change)
        else:
            changes.note(bar, bar + 1, settled.field, settled.without_future)
    needed = None
    if not changes.count():
        deep = at[at >= min(bars - 1, 4 * lookback)]  # with room for windows that are longer than it asks for
        some = dice.choice(deep, min(len(deep), _MEASURED_BARS), replace=False)
        measured = np.union1d(some, [change.bar for change in unlike[-_MEASURED_BARS:]]).astype(np.int64)
        needed = _needed_bars(strategy, found.strategy, candles, whole, measured)
    return replace(found, windows=len(at), unlike=tuple(unlike[:KEPT]), unlike_bars=len(unlike), needed_bars=needed)


def _unlike(strategy: Strategy, name: str, candles: Candles, whole: Signals, bar: int, window: int) -> Change | None:
    start = max(0, bar + 1 - window)
    part = all_signals(strategy, name, _cut(candles, start, bar + 1))
    for field in FIELDS:
        want, got = getattr(whole, field)[bar : bar + 1], getattr(part, field)[-1:]
        if _differs(want, got).any():
            return Change(bar, int(candles.open_ns[bar]), bar + 1 - start, field, float(want[0]), float(got[0]))
    if _unlike_rules(whole, part, start, bar + 1)[-1]:
        counts = _said(whole, RULES, bar), _said(part, RULES, bar - start)
        return Change(bar, int(candles.open_ns[bar]), bar + 1 - start, RULES, *counts)
    return None


# the longest window that fails at any of the bars, and one more
def _needed_bars(strategy: Strategy, name: str, candles: Candles, whole: Signals, at: IntArray) -> int | None:
    def fails(window: int) -> bool:
        return any(_unlike(strategy, name, candles, whole, bar, window) is not None for bar in at.tolist())

    longest = int(at[0]) + 1
    failing, enough = 0, None
    for window in _ladder(longest):
        if fails(window):
            failing, enough = window, None
        elif enough is None:
            enough = window
        if enough is not None and window >= max(4 * strategy.lookback_bars, 4 * enough):
            break
    if enough is None:
        return None
    while enough - failing > 1:
        middle = (failing + enough) // 2
        if fails(middle):
            failing = middle
        else:
            enough = middle
    return enough


def _ladder(longest: int) -> Iterator[int]:
    window = 1
    while window < longest:
        yield window
        window = max(window + 1, int(window * _LADDER))
    yield longest


# one number for a field of an opinion; of rules, how many there are
def _said(signals: Signals, field: str, bar: int) -> float:
    if field == RULES:
        return float(len(signals.invalidations.get(bar, ())))
    return float(getattr(signals, field)[bar])


def _faulty_rules(strategy: Strategy, candles: Candles, whole: Signals) -> int:
    count = 0
    for bar in whole.invalidations:
        try:
            rules_at(strategy, candles, whole, bar)
        except StrategyError:
            count += 1
    return count


# at which bars from start to end the rules are others than with the whole history
def _unlike_rules(whole: Signals, part: Signals, start: int, end: int) -> BoolArray:
    differs = np.zeros(end - start, np.bool_)
    if whole.invalidations or part.invalidations:
        bars = {bar for bar in whole.invalidations if start <= bar < end} | {bar + start for bar in part.invalidations}
        for bar in bars:
            one, other = whole.invalidations.get(bar, ()), part.invalidations.get(bar - start, ())
            differs[bar - start] = len(one) != len(other) or not all(map(_alike, one, other))
    return differs


def _alike(one: Invalidation, other: Invalidation) -> bool:
    same = (one.kind, one.frame_ns, one.period) == (other.kind, other.frame_ns, other.period)
    return same and bool(np.isclose(one.level, other.level, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True))


def _differs(one: npt.NDArray[np.generic], other: npt.NDArray[np.generic]) -> BoolArray:
    differs: BoolArray = (one != other) & ~((one != one) & (other != other))  # noqa: PLR0124 - NaN alone is not itself
    if differs.any() and one.dtype.kind == "f":
        differs &= ~np.isclose(one, other, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)
    return differs


def _cut(candles: Candles, start: int, end: int) -> Candles:
    where = slice(start, end)
    return Candles(
        candles.symbol,
        candles.timeframe,
        candles.open_ns[where],
        candles.open[where],
        candles.high[where],
        candles.low[where],
        candles.close[where],
        candles.volume[where],
    )


# a strategy that writes into its candles would change its own past
def _read_only(candles: Candles) -> Candles:
    locked = _cut(candles, 0, len(candles))
    for name in ("open_ns", "open", "high", "low", "close", "volume"):
        getattr(locked, name).flags.writeable = False
    return locked
