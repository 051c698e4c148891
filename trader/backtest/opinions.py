"""What strategies say of a whole history at once, as the live engine would have heard it candle by candle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trader.backtest.history import History
from trader.codes import Direction
from trader.core.history import Opinions
from trader.domain.market import Candles, FloatArray, IntArray
from trader.domain.signal import Signals
from trader.errors import StrategyError
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

    @property
    def nbytes(self) -> int:
        """Memory that they take."""
        return self.direction.nbytes + self.confidence.nbytes + self.stop_price.nbytes + self.target_price.nbytes


def ask(bound: Bound, history: History, interval_ns: int, kept: dict[Any, Candles] | None = None) -> Columns:
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
    kept : dict, optional
        Candles as strategies get them, kept from one call to the next over the same history.

    Raises
    ------
    StrategyError
        When the strategy raises, or answers in arrays of another length.
    """
    direction = np.zeros(history.bars, np.int8)
    confidence = np.zeros(history.bars)
    levels: dict[str, FloatArray] = {}
    faults: dict[int, str] = {}
    for slot in bound.slots:
        whole, at, before, waiting = _places(bound, history, slot)
        name = (slot, before)
        candles = kept.get(name) if kept is not None else None
        if candles is None:
            candles = history.candles(slot, whole)
            if kept is not None:
                kept[name] = candles
        said, numbers = _signals(bound, candles)
        said, confident, stop, target = said[before:], *(column[before:] for column in numbers)
        bad = _faults(said, confident, stop, target)
        bad[:waiting] = False
        told = said.astype(np.int8)
        told[:waiting] = _HOLD
        confidence[at] = confident
        for level, values in (("stop_price", stop), ("target_price", target)):
            if not np.isnan(values).all():
                levels.setdefault(level, np.full(history.bars, np.nan))[at] = values
        if bad.any():
            told[bad] = _HOLD
            faults.update(dict.fromkeys(np.arange(history.bars)[at][bad].tolist(), history.symbols[slot]))
        direction[at] = told
    none = np.full(1, np.nan)
    columns = Columns(
        direction,
        np.where(direction == _HOLD, 0.0, confidence) if faults else confidence,
        levels.get("stop_price", none),
        levels.get("target_price", none),
        bound.slots,
    )
    return _count_failures(columns, bound, history, interval_ns, faults) if faults else columns


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
    )


def _stacked(rows: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    if len(rows) == 1:
        return rows[0].reshape(1, -1)  # no copy
    return np.stack(np.broadcast_arrays(*rows))


def _places(bound: Bound, history: History, slot: int) -> tuple[Where, Where, int, int]:
    """Return where a symbol's candles are, for one strategy.

    Among all rows those that it looks at (what is played, and its lookback before), and among the played ones
    those that it is asked about; how many of the first are before; and how many of the second are warming up.
    """
    where = history.rows_of(slot)
    if isinstance(where, slice):
        earlier = history.first
        skipped = max(earlier - bound.strategy.lookback_bars, 0)
        whole: Where = slice(skipped, where.stop)
        at: Where = slice(0, history.bars)
    else:
        earlier = int(np.searchsorted(where, history.first))
        skipped = max(earlier - bound.strategy.lookback_bars, 0)
        whole, at = where[skipped:], where[earlier:] - history.first
    return whole, at, earlier - skipped, max(bound.strategy.warmup_bars - 1 - earlier, 0)


def _signals(bound: Bound, candles: Candles) -> tuple[npt.NDArray[np.int8], tuple[FloatArray, FloatArray, FloatArray]]:
    who = f"{bound.name}: {candles.symbol}"
    try:
        signals = bound.strategy.signals(candles)
    except StrategyError as error:
        raise StrategyError(f"{who}: {error}") from error
    except Exception as error:
        raise StrategyError(f"{who}: raised {type(error).__name__}: {error}") from error
    for name in Signals.__slots__:
        column: Any = getattr(signals, name, None)
        shape = np.shape(column)
        if shape != (len(candles),):
            raise StrategyError(f"{who}: {name} has shape {shape}, must be an array of ({len(candles)},)")
    numbers = (signals.confidence, signals.stop_price, signals.target_price)
    return signals.direction, numbers


def _faults(
    direction: npt.NDArray[np.int8], confidence: FloatArray, stop: FloatArray, target: FloatArray
) -> npt.NDArray[np.bool_]:
    bad = ~((confidence >= 0.0) & (confidence <= 1.0))  # NaN is bad
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
    return Columns(
        direction,
        columns.confidence,
        columns.stop_price,
        columns.target_price,
        columns.slots,
        failures,
        disabled_ns,
        text,
    )


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
