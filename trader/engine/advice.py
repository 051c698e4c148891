"""Asks the strategies that take their time: builds their view between two steps, and never lets a market wait for them.

Only a replayed market waits: history has time, and what is decided on it must be the same in every run.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from trader.clock import NS_PER_DAY
from trader.config.sections import Config
from trader.core.rulebook import rules_of
from trader.domain.instrument import Instrument
from trader.domain.market import Candles
from trader.domain.view import AccountView, MarketView, PositionView, SymbolView
from trader.engine.decision_engine import Book
from trader.engine.schedule import CycleSchedule
from trader.errors import StrategyError
from trader.market.store import CandleStore
from trader.strategy.advised import AdvisedStrategy
from trader.strategy.registry import Bound

log = logging.getLogger(__name__)

Records = npt.NDArray[np.void]

#: returns when a strategy has opened positions before: its name and the earliest moment that matters [ns UTC]
EntriesOf = Callable[[str, int], Iterable[int]]


class _Seat:
    """One strategy that is asked, with what it needs to be asked again."""

    def __init__(
        self, index: int, bound: Bound, strategy: AdvisedStrategy, last_ns: int, entries: Iterable[int]
    ) -> None:
        self.index = index
        self.bound = bound
        self.strategy = strategy
        self.schedule = CycleSchedule(strategy.period_s, last_ns)
        self.entries_ns: deque[int] = deque(entries, maxlen=10_000)
        self.last_order = 0
        self.task: asyncio.Task[None] | None = None


class Advice:
    """The questions of all strategies that are asked about the whole market.

    Parameters
    ----------
    bound : sequence of Bound
        All strategies, by index.
    book : Book
        Account and slots.
    instruments : sequence of Instrument
        By slot.
    config : Config
        In force.
    entries_of : callable
        What the ledger knows of earlier entries.
    """

    def __init__(
        self,
        bound: Sequence[Bound],
        book: Book,
        instruments: Sequence[Instrument],
        config: Config,
        entries_of: EntriesOf,
    ) -> None:
        self._book = book
        self._instruments = tuple(instruments)
        self._config = config
        account = book.desk["account"][0]
        since_ns = int(account["event_ns"]) - NS_PER_DAY
        self._seats = [
            _Seat(index, item, item.strategy, int(account["event_ns"]), sorted(entries_of(item.name, since_ns)))
            for index, item in enumerate(bound)
            if isinstance(item.strategy, AdvisedStrategy)
        ]

    def __bool__(self) -> bool:
        return bool(self._seats)

    def observe(self) -> None:
        """Note the entries that have been ordered; called after each step."""
        slots = self._book.slots
        now_ns = int(self._book.desk["account"]["event_ns"][0])
        for seat in self._seats:
            ours = (slots["pending_strategy"] == seat.index) & (slots["quantity"] == 0.0)
            orders = slots["pending_order"][ours]
            fresh = orders[orders > seat.last_order]
            seat.entries_ns.extend([now_ns] * len(fresh))
            if len(fresh):
                seat.last_order = int(fresh.max())

    def ask(self, now_ns: int, store: CandleStore, market_now: Callable[[], int] | None) -> None:
        """Begin to ask every strategy whose time has come and that has no question under way.

        Parameters
        ----------
        now_ns : int
            Market time [ns UTC].
        store : CandleStore
            Closed candles.
        market_now : callable or None
            Returns market time while the market goes on; None: it waits.
        """
        for seat in self._seats:
            if seat.task is not None and not seat.task.done():
                continue
            if seat.schedule.take(now_ns) and self._has_something_to_do(seat):
                view = self._view(seat, now_ns, store)
                seat.task = asyncio.create_task(_decide(seat, view, market_now))

    async def wait(self) -> None:
        """Wait until nothing is under way; a strategy bounds its own time."""
        tasks = [seat.task for seat in self._seats if seat.task is not None]
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        """Give up what is under way, and let go of what the strategies hold."""
        for seat in self._seats:
            if seat.task is not None:
                seat.task.cancel()
            seat.strategy.finish()

    def _has_something_to_do(self, seat: _Seat) -> bool:
        # while entries are halted there is nothing to propose, unless something can be closed
        slots = self._book.slots[list(seat.bound.slots)]
        return not self._book.desk["account"]["halt_mask"][0] or bool(np.any(slots["quantity"] != 0.0))

    # -- the view ------------------------------------------------------------------------------

    def _view(self, seat: _Seat, now_ns: int, store: CandleStore) -> MarketView:
        bars = seat.strategy.lookback_bars
        return MarketView(
            time_ns=now_ns,
            timeframe=self._config.market.timeframe,
            allow_short=self._config.risk.allow_short,
            account=self._account(now_ns),
            symbols=tuple(self._symbol(slot, store, bars) for slot in seat.bound.slots),
            entries_ns=tuple(entry_ns for entry_ns in seat.entries_ns if entry_ns > now_ns - NS_PER_DAY),
        )

    def _account(self, now_ns: int) -> AccountView:
        account = self._book.desk["account"][0]
        same_day = int(account["day"]) == now_ns // NS_PER_DAY
        return AccountView(
            quote=self._config.quote,
            equity=float(account["equity"]),
            cash=float(account["cash"]),
            gross_exposure=float(account["gross_exposure"]),
            day_pnl=float(account["equity"] - account["day_start_equity"]) if same_day else 0.0,
            drawdown_frac=float(account["drawdown_frac"]),
            open_positions=int(account["open_positions"]),
            max_open_positions=self._config.risk.max_open_positions,
            day_entries=int(account["day_trades"]) if same_day else 0,
            halted=bool(account["halt_mask"]),
        )

    def _symbol(self, slot: int, store: CandleStore, bars: int) -> SymbolView:
        row = self._book.slots[slot]
        return SymbolView(
            instrument=self._instruments[slot],
            candles=_copied(store.window(slot, bars)),
            position=_position(row) if row["quantity"] != 0.0 else None,
            order_in_flight=bool(row["pending_order"] or row["pending_lots"]),
            last_close_ns=int(row["last_close_ns"]),
            fee_rate_frac=float(row["fee_rate_frac"]),
            slippage_frac=float(row["slippage_frac"]),
        )


async def _decide(seat: _Seat, view: MarketView, market_now: Callable[[], int] | None) -> None:
    try:
        await seat.strategy.decide(view, market_now)
    except StrategyError as error:
        log.error("strategy %s can not decide: %s", seat.bound.name, error)
    except Exception:
        log.exception("strategy %s broke while it was asked", seat.bound.name)


# the store goes on while the question is under way
def _copied(candles: Candles) -> Candles:
    columns = (candles.open_ns, candles.open, candles.high, candles.low, candles.close, candles.volume)
    return Candles(candles.symbol, candles.timeframe, *(column.copy() for column in columns))  # type: ignore[arg-type]


def _position(row: np.void) -> PositionView:
    return PositionView(
        quantity=float(row["quantity"]),
        entry_price=float(row["entry_price"]),
        entry_ns=int(row["entry_ns"]),
        unrealised_pnl=float(row["quantity"] * (row["mark_price"] - row["entry_price"])),
        stop_price=float(row["stop_price"]),
        target_price=float(row["target_price"]),
        expires_ns=int(row["expires_ns"]),
        rules=tuple(str(rule) for rule in rules_of(row)),
    )
