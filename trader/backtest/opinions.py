"""What strategies say of a whole history at once, as the live engine would have heard it candle by candle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trader.backtest.history import History
from trader.codes import Direction
from trader.core.history import Opinions, order_of
from trader.core.rulebook import pack
from trader.domain.invalidation import Gauge, Invalidation
from trader.domain.market import Candles, FloatArray, IntArray
from trader.domain.signal import Signals
from trader.errors import StrategyError
from trader.strategy.base import FIELDS, rules_at
from trader.strategy.registry import Bound

#: rows by number; a slice where they follow each other, which costs no copy
Where = IntArray | slice

#: as in `trader.engine.panel`: a strategy that fails this often in a row is not asked again
FAILURES_BEFORE_DISABLED = 5

#: the codes are whole numbers without a hole
_DIRECTIONS = sorted(int(direction) for direction in Direction)
_HOLD = int(Direction.HOLD)


@dataclass(frozen=True, slots=True)
class Columns:
    """One strategy's opinions by played row; an array of one value stands for all rows."""

    direction: npt.NDArray[np.int8]
    confidence: FloatArray
    stop_price: FloatArray
    target_price: FloatArray
    slots: tuple[int, ...]  #: what it is asked about
    failures: int = 0  #: opinions that were none
    disabled_ns: int = 0  #: close of the candle from which it was not asked any more [ns UTC]; 0: always asked
    failure: str = ""  #: what was wrong with the first of them
    rules: Mapping[int, tuple[Invalidation, ...]] = field(default_factory=dict)  #: by row, where there are any
    gauges: tuple[Gauge, ...] = ()  #: what those look at

    @property
    def nbytes(self) -> int:
        """Memory that they take."""
        return self.direction.nbytes + self.confidence.nbytes + self.stop_price.nbytes + self.target_price.nbytes


def ask(bound: Bound, history: History, interval_ns: int) -> Columns:
    """Ask one strategy about every candle of a history.

    What is no opinion (a NaN confidence, a stop of 0) counts as a failure, and after five in a row the strategy is not
    asked again, as in the live engine.

    Parameters
    ----------
    bound : Bound
        The strategy and its slots.
    history : History
        The candles.
    interval_ns : int
        Distance of decision cycles [ns]: a candle is judged in the first cycle after it closed.

    Raises
    ------
    StrategyError
        When the strategy raises, or answers in arrays of another length.
    """
    direction = np.zeros(history.bars, np.int8)
    levels: list[FloatArray | None] = [None, None, None]
    faults: dict[int, str] = {}
    rules: dict[int, tuple[Invalidation, ...]] = {}
    for slot in bound.slots:
        skipped, at, before, waiting = _places(bound, history, slot)
        candles = history.candles(slot, skipped)
        signals = _signals(bound, candles)
        said = signals.direction[before:]
        columns = (signals.confidence, signals.stop_price, signals.target_price)
        numbers = [_shortest(column[before:]) for column in columns]
        if not len(said):
            continue
        told = said.astype(np.int8)
        if _may_be_faulty(said, *numbers):
            bad = _faults(said, *numbers)
            bad[:waiting] = False
            told[bad] = _HOLD
            faults.update(dict.fromkeys(np.arange(history.bars)[at][bad].tolist(), history.symbols[slot]))
        told[:waiting] = _HOLD
        if signals.invalidations:
            rows = np.arange(history.bars)[at]
            brought, wrong = _rules(bound, candles, signals, rows, before, waiting)
            rules.update(brought)
            faults.update(dict.fromkeys(rows[wrong].tolist(), history.symbols[slot]))
            told[wrong] = _HOLD
        direction[at] = told
        levels = [_with(level, values, at, history.bars) for level, values in zip(levels, numbers, strict=True)]
    confidence, stop, target = (np.full(1, np.nan) if one is None else one for one in levels)
    gauges = bound.strategy.gauges
    said_of_all = Columns(direction, confidence, stop, target, bound.slots, rules=rules, gauges=gauges)
    return _count_failures(said_of_all, bound, history, interval_ns, faults) if faults else said_of_all


def _rules(
    bound: Bound, candles: Candles, signals: Signals, rows: IntArray, before: int, waiting: int
) -> tuple[dict[int, tuple[Invalidation, ...]], list[int]]:
    """Return the invalidations of played bars by their rows, and the played bars whose rules are none."""
    brought, wrong = {}, []
    for bar in sorted(signals.invalidations):
        played = bar - before
        if not waiting <= played < len(rows):
            continue
        try:
            found = rules_at(bound.strategy, candles, signals, bar)
        except StrategyError:
            wrong.append(played)
        else:
            if found:
                brought[int(rows[played])] = found
    return brought, wrong


def _shortest(values: FloatArray) -> FloatArray:
    """Return an array of the one value that all are, where they are one; else all of them, in a row."""
    if len(values) > 1:
        first = values[0]
        if values.strides[0] == 0:
            return values[:1]
        if first == values[-1]:
            alike = bool((values == first).all())
        else:
            alike = bool(np.isnan(first) and np.isnan(values).all())
        if alike:
            return values[:1]
    return np.ascontiguousarray(values, np.float64)


def _with(level: FloatArray | None, values: FloatArray, at: Where, bars: int) -> FloatArray:
    """Return a level of all rows with one symbol's values in it; one value while all are the same."""
    if len(values) == 1 and (level is None or np.array_equal(level, values, equal_nan=True)):
        return values.copy()
    if level is None and len(values) == bars:
        return values  # no copy
    whole = np.full(bars, np.nan if level is None else level[0]) if level is None or len(level) == 1 else level
    whole[at] = values
    return whole


def stack(columns: Sequence[Columns], slots: int) -> Opinions:
    """Return the opinions of several strategies as compiled code takes them."""
    asked = np.zeros((len(columns), slots), np.uint8)
    for index, one in enumerate(columns):
        asked[index, list(one.slots)] = 1
    return Opinions(
        _stacked([one.direction for one in columns]),
        _stacked([one.confidence for one in columns]),
        _stacked([one.stop_price for one in columns]),
        _stacked([one.target_price for one in columns]),
        asked,
        *_stacked_rules(columns),
    )


def _stacked_rules(columns: Sequence[Columns]) -> tuple[IntArray, npt.NDArray[np.void]]:
    """Return the rules of all strategies in the order of their orders' ids."""
    every = sorted(
        (order_of(row, index, len(columns)), rules)
        for index, one in enumerate(columns)
        for row, rules in one.rules.items()
    )
    orders = [order for order, rules in every for _ in rules]
    return np.array(orders, np.int64), pack([rule for _, rules in every for rule in rules])


def _stacked(rows: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    if len(rows) == 1 and rows[0].flags.writeable:
        return rows[0].reshape(1, -1)  # no copy
    return np.stack(np.broadcast_arrays(*rows))


def _places(bound: Bound, history: History, slot: int) -> tuple[int, Where, int, int]:
    """Return where a symbol's candles are, for one strategy.

    How many of its first ones the strategy doesn't see (it sees what is played, and its lookback before); where the
    played ones are among the played rows; how many of those that it sees are before; and how many of the played
    ones are warming up.
    """
    where = history.rows_of(slot)
    if isinstance(where, slice):
        step = where.step or 1
        earlier = max(-((where.start - history.first) // step), 0)
        begin = where.start + earlier * step - history.first
        at: Where = slice(begin, max(where.stop - history.first, 0), where.step)
    else:
        earlier = int(np.searchsorted(where, history.first))
        at = where[earlier:] - history.first
    skipped = max(earlier - bound.strategy.lookback_bars, 0)
    return skipped, at, earlier - skipped, max(bound.strategy.warmup_bars - 1 - earlier, 0)


def _signals(bound: Bound, candles: Candles) -> Signals:
    who = f"{bound.name}: {candles.symbol}"
    try:
        signals = bound.strategy.signals(candles)
    except StrategyError as error:
        raise StrategyError(f"{who}: {error}") from error
    except Exception as error:
        raise StrategyError(f"{who}: raised {type(error).__name__}: {error}") from error
    for name in FIELDS:
        column: Any = getattr(signals, name, None)
        shape = np.shape(column)
        if shape != (len(candles),):
            raise StrategyError(f"{who}: {name} has shape {shape}, must be an array of ({len(candles)},)")
    return signals


def _may_be_faulty(said: npt.NDArray[np.int8], confidence: FloatArray, *levels: FloatArray) -> bool:
    """Return whether anything is no opinion, those of a warm-up too; a NaN confidence makes its extremes NaN."""
    if not (confidence.min() >= 0.0 and confidence.max() <= 1.0):
        return True
    if said.min() < _DIRECTIONS[0] or said.max() > _DIRECTIONS[-1]:
        return True
    return any(bool(((level <= 0.0) | (level == np.inf)).any()) for level in levels)


def _faults(
    direction: npt.NDArray[np.int8], confidence: FloatArray, stop: FloatArray, target: FloatArray
) -> npt.NDArray[np.bool_]:
    bad = np.broadcast_to(~((confidence >= 0.0) & (confidence <= 1.0)), len(direction)).copy()  # NaN is bad
    bad |= (direction < _DIRECTIONS[0]) | (direction > _DIRECTIONS[-1])
    for level in (stop, target):
        bad |= (level <= 0.0) | (level == np.inf)  # NaN is the default, and good
    return bad


def _count_failures(
    columns: Columns, bound: Bound, history: History, interval_ns: int, faults: dict[int, str]
) -> Columns:
    """Go through what is asked in the engine's order, and silence the strategy where the engine would."""
    run = failures = 0
    disabled_ns = 0
    for row in _asked_rows(bound, history, interval_ns).tolist():
        failed = row in faults
        failures += failed
        run = run + 1 if failed else 0
        if run >= FAILURES_BEFORE_DISABLED:
            disabled_ns = int(history.rows["close_ns"][history.first + row])
            break
    direction = columns.direction
    if disabled_ns:
        # the rest of the cycle that it was disabled in is asked already by the live panel's order of slots
        direction[_after(history, row, interval_ns)] = _HOLD
    text = f"an opinion that is none: direction, confidence (0..1) or level, first in {next(iter(faults.values()))}"
    return replace(columns, failures=failures, disabled_ns=disabled_ns, failure=text)


def _cycles(history: History, interval_ns: int) -> IntArray:
    """Return for each played row which decision cycle judges it; rows after the last cycle have its number plus 1."""
    times = history.times_ns
    before = np.concatenate(([history.start_ns], times[:-1]))
    due = times // interval_ns != before // interval_ns
    cycle = np.cumsum(due) - due  # a moment's own cycle judges its own candles
    return np.repeat(cycle, np.diff(history.starts))


def _asked_rows(bound: Bound, history: History, interval_ns: int) -> IntArray:
    """Return the rows that a strategy is asked about, in the order of asking: by cycle, then slot."""
    slot = history.rows["slot"][history.first :]
    cycle = _cycles(history, interval_ns)
    mine = np.flatnonzero(np.isin(slot, bound.slots))
    order = np.lexsort((mine, slot[mine], cycle[mine]))
    rows = mine[order]
    newest = np.ones(len(rows), np.bool_)
    newest[:-1] = (slot[rows[1:]] != slot[rows[:-1]]) | (cycle[rows[1:]] != cycle[rows[:-1]])
    return rows[newest]


def _after(history: History, row: int, interval_ns: int) -> npt.NDArray[np.bool_]:
    """Return which rows are asked about after a row."""
    slot, cycle = history.rows["slot"][history.first :], _cycles(history, interval_ns)
    after: npt.NDArray[np.bool_] = (cycle > cycle[row]) | ((cycle == cycle[row]) & (slot > slot[row]))
    return after
