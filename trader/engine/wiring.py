"""Wiring: what an engine works with, taken up from its ledger and the candles before its cursor.

The same for the service and for an engine alone; only markets, venues and who reads the result differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trader.config.sections import Config
from trader.core.records import new_desk, new_slots
from trader.domain.instrument import Instrument
from trader.domain.invalidation import Gauge
from trader.domain.market import Candles
from trader.engine.decision_engine import Book
from trader.engine.panel import StrategyPanel
from trader.engine.schedule import CycleSchedule
from trader.execution.paper import PaperVenue
from trader.execution.router import OrderRouter
from trader.ledger.journal import Ledger, Restored
from trader.market.instruments import write_instruments
from trader.market.store import CandleStore
from trader.risk.lookback import gauges_of
from trader.risk.manager import EnhancedRiskManager
from trader.strategy.registry import Bound

#: the last candles of a slot that closed by a moment: slot, moment [ns UTC], how many at most
History = Callable[[int, int, int], Candles]


@dataclass(frozen=True, slots=True)
class Wired:
    """The parts of a decision engine that don't depend on where its orders go."""

    book: Book
    restored: Restored
    instruments: tuple[Instrument, ...]  #: by slot
    cursor_ns: int  #: the last event that was processed [ns UTC]
    store: CandleStore
    risk: EnhancedRiskManager
    panel: StrategyPanel
    schedule: CycleSchedule


def wire(
    config: Config,
    bound: Sequence[Bound],
    instruments: Sequence[Instrument],
    ledger: Ledger,
    history: History,
    start_ns: int,
    epoch: int,
) -> Wired:
    """Take up account, positions and plans from a ledger, and the candles that were seen before.

    Parameters
    ----------
    config : Config
        Whose limits, intervals and rules are in force.
    bound : sequence of Bound
        Strategies to ask.
    instruments : sequence of Instrument
        By slot.
    ledger : Ledger
        Just opened.
    history : callable
        Returns the last candles of a slot: slot, until when [ns UTC], how many at most.
    start_ns : int
        Where the market begins, for a ledger that has seen nothing [ns UTC].
    epoch : int
        Number of the configuration.
    """
    symbols = tuple(instrument.symbol for instrument in instruments)
    desk, slots = new_desk(), new_slots(len(symbols))
    write_instruments(slots, instruments)
    restored = ledger.restore(desk, slots, symbols, tuple(item.name for item in bound))
    cursor_ns = restored.cursor_ns or start_ns
    store = CandleStore(symbols, config.market.timeframe, lookback_bars(bound))
    fill_store(store, history, cursor_ns)
    risk = EnhancedRiskManager(desk, slots, symbols)
    risk.apply_limits(config, epoch)
    gauges = gauges_of(config, strategy_gauges(bound))
    risk.look_back(config, gauges, lambda slot, bars: history(slot, cursor_ns, bars))
    panel = StrategyPanel(bound, store)
    cycle_ns = int(desk["account"]["cycle_ns"][0])
    panel.remember_asked(slots["candle_ns"].tolist(), cycle_ns)
    schedule = CycleSchedule(config.engine.loop_interval_seconds, max(cursor_ns, cycle_ns))
    book = Book(desk, slots, symbols)
    return Wired(book, restored, tuple(instruments), cursor_ns, store, risk, panel, schedule)


def paper_router(config: Config, ledger: Ledger, wired: Wired) -> OrderRouter:
    """Return a router to the paper venue, with the orders that are still open there."""
    desk, slots, symbols = wired.book.desk, wired.book.slots, wired.book.symbols
    venue, open_orders = PaperVenue(ledger, wired.restored.open_orders), wired.restored.open_orders
    return OrderRouter(
        ledger, ledger.books, venue, desk, slots, symbols, wired.instruments, config.instance, open_orders
    )


def strategy_gauges(bound: Sequence[Bound]) -> tuple[Gauge, ...]:
    """Return what the strategies' invalidations may look at."""
    return tuple(gauge for item in bound for gauge in item.strategy.gauges)


def lookback_bars(bound: Sequence[Bound]) -> int:
    """Return how many candles the strategies look back on, at most."""
    return max(item.strategy.lookback_bars for item in bound)


def fill_store(store: CandleStore, history: History, until_ns: int) -> None:
    """Give the store the history up to the cursor, the same whether or not there was a restart."""
    for slot in range(len(store.symbols)):
        store.load(slot, history(slot, until_ns, store.capacity))
