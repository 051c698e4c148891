"""An engine alone: the cycle of the service on paper, over candles at hand, in a script or a notebook.

    with AutonomousDecisionEngine.alone([SimpleRSIStrategy("BTC/USDT")], [candles], "desk/ledger.db") as engine:
        engine.play()
        print(engine.account)

The ledger it leaves is one as the service's: `trader report` and `trader verify` read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from trader.clock import boottime_ns
from trader.config.sections import Config
from trader.domain.market import Candles, MarketEvent
from trader.engine.decision_engine import AutonomousDecisionEngine
from trader.engine.fence import Gate
from trader.engine.wiring import paper_router, wire
from trader.errors import ConfigError
from trader.ledger.journal import Ledger
from trader.market.instruments import infer_tick_size, instrument_for
from trader.market.timeline import Timeline
from trader.market.validation import validate_candles
from trader.strategy.base import Strategy
from trader.strategy.registry import bind_built
from trader.units import exact, timeframe_ns


class PaperEngine(AutonomousDecisionEngine):
    """An engine with a ledger, an account and a paper venue of its own; made by `AutonomousDecisionEngine.alone`.

    Opened again on the same ledger it goes on after the last candle that was played.

    Parameters
    ----------
    strategies : sequence of Strategy
        Each for its own symbol, or for all.
    candles : sequence of Candles
        One per symbol, all of one timeframe.
    ledger : path
        File of the ledger; begun when it is missing.
    config : Config, optional
        Its risk, exits, costs, capital and instruments count; strategies and market are those given here.

    Raises
    ------
    TraderError
        When candles are missing or bad, a strategy is for another market, or the ledger can't be used.
    """

    def __init__(
        self,
        strategies: Sequence[Strategy],
        candles: Sequence[Candles],
        ledger: str | Path,
        config: Config | None = None,
    ) -> None:
        if not candles or not strategies:
            raise ConfigError("an engine alone needs candles of a symbol at least, and a strategy")
        config = config or Config()
        timeframe, symbols = candles[0].timeframe, tuple(one.symbol for one in candles)
        for one in candles:
            validate_candles(one.symbol, one)
            if one.timeframe != timeframe:
                raise ConfigError(f"{one.symbol}: candles of {one.timeframe}, but {symbols[0]} has {timeframe}")
        bound = bind_built(strategies, symbols, timeframe)
        config = _of_this_market(config, symbols, timeframe)
        instruments = tuple(
            instrument_for(one.symbol, infer_tick_size(one), float(one.open[0]), config.market.instruments)
            for one in candles
        )
        self._timeline = Timeline(candles, timeframe, timeframe_ns(timeframe))
        capital = exact(config.initial_capital)
        journal = Ledger.open(Path(ledger), instance=config.instance, quote=config.quote, initial_capital=capital)
        wired = wire(config, bound, instruments, journal, self._timeline.history, 0, 1)
        self._played_ns = wired.cursor_ns
        super().__init__(
            wired.book,
            wired.store,
            wired.panel,
            wired.risk,
            paper_router(config, journal, wired),
            journal,
            wired.schedule,
            max_new_positions=config.engine.max_new_positions_per_cycle,
        )

    def play(self, until_ns: int | None = None) -> int:
        """Play the candles that were not played yet; each moment is one entry in the ledger, whole or not at all.

        Parameters
        ----------
        until_ns : int, optional
            Close of the last candle to be played [ns UTC]; all of them otherwise.

        Returns
        -------
        int
            Moments that were played.
        """
        moments = 0
        end_ns = int(self._timeline.times[-1]) if until_ns is None else until_ns
        for event in self._timeline.events(self._played_ns, end_ns):
            self._play(event)
            moments += 1
        return moments

    def _play(self, event: MarketEvent) -> None:
        now_ns = boottime_ns()  # nobody else is there whose lease could run out
        self.on_market(event, Gate(now_ns, now_ns + 1, now_ns + 1))
        self._ledger.save_state(self.book.desk, self.book.slots, event.time_ns)
        self._ledger.commit()
        self._played_ns = event.time_ns

    @property
    def account(self) -> dict[str, float | int]:
        """The account as it is now, by field of `trader.core.records.ACCOUNT` [quote, ns UTC, counts]."""
        record = self.book.desk["account"][0]
        return {name: record[name].item() for name in record.dtype.names}

    def close_ledger(self) -> None:
        """Let go of the ledger; what was played stays in it."""
        self._ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close_ledger()


def _of_this_market(config: Config, symbols: tuple[str, ...], timeframe: str) -> Config:
    """Return the configuration with the market that the candles are from: stale prices count in its candles."""
    market = config.market.model_copy(update={"symbols": symbols, "timeframe": timeframe})
    return config.model_copy(update={"market": market})
