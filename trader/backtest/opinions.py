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
from trader.domain.market import FloatArray, IntArray
from trader.domain.signal import Signals
from trader.errors import StrategyError
from trader.strategy.registry import Bound

#: as in `trader.engine.panel`: a strategy that fails this often in a row is not asked again
FAILURES_BEFORE_DISABLED = 5

_DIRECTIONS = np.array([int(direction) for direction in Direction])
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
    confidence = np.zeros(history.bars)
    levels: dict[str, FloatArray] = {}
    faults: dict[int, str] = {}
    for slot in bound.slots:
        rows = _rows(history, slot)
        skipped = max(int(np.searchsorted(rows, history.first)) - bound.strategy.lookback_bars, 0)
        rows = rows[skipped:]
        said, numbers = _signals(bound, history, slot, rows)
        before = int(np.searchsorted(rows, history.first))
        at = rows[before:] - history.first
        told = said[before:].astype(np.int8)
        told[: max(bound.strategy.warmup_bars - 1 - skipped - before, 0)] = _HOLD
        confidence[at] = numbers[0][before:]
        for name, values in (("stop_price", numbers[1][before:]), ("target_price", numbers[2][before:])):
            if not np.isnan(values).all():
                levels.setdefault(name, np.full(history.bars, np.nan))[at] = values
        bad = _faults(said[before:], *(column[before:] for column in numbers))
        bad[: max(bound.strategy.warmup_bars - 1 - skipped - before, 0)] = False
        if bad.any():
            told[bad] = _HOLD
            faults.update(dict.fromkeys((int(row) for row in at[bad]), history.symbols[slot]))
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


def _rows(history: History, slot: int) -> IntArray:
    where = history.rows_of(slot)
    return np.arange(where.stop, dtype=np.int64) if isinstance(where, slice) else where


def _signals(
    bound: Bound, history: History, slot: int, rows: IntArray
) -> tuple[npt.NDArray[np.int8], tuple[FloatArray, FloatArray, FloatArray]]:
    whole = slice(int(rows[0]), int(rows[-1]) + 1) if len(history.symbols) == 1 else rows
    candles = history.candles(slot, whole)
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
    good = np.isin(direction, _DIRECTIONS) & (confidence >= 0.0) & (confidence <= 1.0)
    for level in (stop, target):
        good &= np.isnan(level) | ((level > 0.0) & (level < np.inf))
    return ~good


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
