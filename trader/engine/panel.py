"""The panel of strategies: asks each one about each new candle, and survives all of them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from trader.codes import Decided, Direction
from trader.domain.market import FloatArray
from trader.domain.signal import Signal
from trader.errors import StrategyError
from trader.market.store import CandleStore
from trader.strategy.advised import AdvisedStrategy
from trader.strategy.base import last_signal
from trader.strategy.registry import Bound

log = logging.getLogger(__name__)

#: a strategy that fails this often in a row is not asked again until a reload
FAILURES_BEFORE_DISABLED = 5


class Opinion(NamedTuple):
    """What one strategy said of one symbol, or why it said nothing."""

    strategy_index: int
    slot: int
    signal: Signal
    decided: Decided  #: HOLD for an opinion; WARMING_UP or FAILED where there is none
    detail: str = ""


class StrategyPanel:
    """Asks strategies once per closed candle; a strategy's failure stays its own.

    Parameters
    ----------
    bound : sequence of Bound
        Strategies with the slots that each is asked for, in configured order.
    store : CandleStore
        Closed candles by slot.
    """

    def __init__(self, bound: Sequence[Bound], store: CandleStore) -> None:
        self.bound = tuple(bound)
        self._store = store
        self._asked = [0] * len(self.bound)
        self._failures = [0] * len(self.bound)
        self._in_row = [0] * len(self.bound)
        self._failed_ns = [0] * len(self.bound)
        self._asked_ns: dict[tuple[int, int], int] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the strategies, by index."""
        return tuple(item.name for item in self.bound)

    def enabled(self, index: int) -> bool:
        """Return whether a strategy is still asked."""
        return self._in_row[index] < FAILURES_BEFORE_DISABLED

    def rows(self) -> list[tuple[bytes, int, int, int, int, int]]:
        """Return how each strategy is doing, as the fields of `trader.state.dtypes.STRATEGY`."""
        columns = zip(self.bound, self._asked, self._failures, self._in_row, self._failed_ns, strict=True)
        return [
            (item.name.encode()[:48], asked, failures, in_row, int(not self.enabled(index)), failed_ns)
            for index, (item, asked, failures, in_row, failed_ns) in enumerate(columns)
        ]

    def remember_asked(self, candle_ns: Sequence[int], cycle_ns: int) -> None:
        """Take candles that closed by the last cycle as judged, after a restart or a reload.

        Parameters
        ----------
        candle_ns : sequence of int
            Close of the last candle by slot [ns UTC].
        cycle_ns : int
            Market time of the last cycle [ns UTC]; 0: none yet.
        """
        for index, item in enumerate(self.bound):
            for slot in item.slots:
                if candle_ns[slot] <= cycle_ns:
                    self._asked_ns[index, slot] = candle_ns[slot]

    def ask(self, candle_ns: Sequence[int], before_ns: int = 0, now_ns: int = 0) -> Iterator[Opinion]:
        """Ask every strategy about every symbol that has a candle it has not judged yet.

        Strategies that take their time are asked what they have said since the last cycle.

        Parameters
        ----------
        candle_ns : sequence of int
            Close of the last candle by slot [ns UTC]; 0: none yet.
        before_ns, now_ns : int
            Market time of the last cycle, and of this one [ns UTC].

        Yields
        ------
        Opinion
            In the order of strategies, then slots.
        """
        asked_ns = self._asked_ns
        for index, item in enumerate(self.bound):
            if isinstance(item.strategy, AdvisedStrategy):
                yield from self._said(index, item, item.strategy, before_ns, now_ns)
                continue
            for slot in item.slots:
                close_ns = candle_ns[slot]
                if close_ns <= asked_ns.get((index, slot), 0):
                    continue
                if not self.enabled(index):
                    break
                asked_ns[index, slot] = close_ns
                yield self._ask_one(index, item, slot, close_ns)

    def _said(
        self, index: int, item: Bound, strategy: AdvisedStrategy, before_ns: int, now_ns: int
    ) -> Iterator[Opinion]:
        for slot in item.slots:
            last = self._store.window(slot, 1)
            if not len(last):
                continue
            signal = strategy.said(last.symbol, before_ns, now_ns, float(last.close[-1]))
            if signal is not None:
                self._asked[index] += 1
                yield Opinion(index, slot, signal._replace(strategy=item.name), Decided.HOLD)

    def _ask_one(self, index: int, item: Bound, slot: int, close_ns: int) -> Opinion:
        self._asked[index] += 1
        strategy = item.strategy
        candles = self._store.window(slot, strategy.lookback_bars)
        if len(candles) < strategy.warmup_bars:
            decided, detail = Decided.WARMING_UP, f"{len(candles)} of {strategy.warmup_bars} candles"
            return Opinion(index, slot, _silent(item.name, candles.symbol, close_ns, candles.close), decided, detail)
        try:
            signal = last_signal(strategy, item.name, candles, close_ns)
        except StrategyError as error:
            return self._failed(index, item, slot, close_ns, error)
        self._in_row[index] = 0
        return Opinion(index, slot, signal, Decided.HOLD)

    def _failed(self, index: int, item: Bound, slot: int, close_ns: int, error: StrategyError) -> Opinion:
        self._failures[index] += 1
        self._in_row[index] += 1
        self._failed_ns[index] = close_ns
        log.warning("strategy failed, %d in a row: %s", self._in_row[index], error, exc_info=error.__cause__)
        if not self.enabled(index):
            log.error(
                "strategy %s is disabled after %d failures in a row; mend it and reload",
                item.name,
                self._in_row[index],
            )
        candles = self._store.window(slot, 1)
        return Opinion(
            index, slot, _silent(item.name, candles.symbol, close_ns, candles.close), Decided.FAILED, str(error)
        )


def _silent(name: str, symbol: str, close_ns: int, closes: FloatArray) -> Signal:
    price = float(closes[-1]) if len(closes) else math.nan
    return Signal(name, symbol, close_ns, price, Direction.HOLD, 0.0, math.nan, math.nan)
