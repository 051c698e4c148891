"""Strategies that are asked about the whole market at once, and take their time to answer."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from trader.config.sections import Config
from trader.domain.signal import Signal
from trader.domain.view import MarketView
from trader.strategy.base import Strategy
from trader.strategy.registry import Bound


class AdvisedStrategy(Strategy):
    """A strategy whose opinions come from somewhere else, in their own time.

    The engine asks it with `decide`, never waits for it while a market goes on, and takes what it has said at the
    next cycle. `signals` is the same for a history: what was said, at the bars at which it was taken.
    """

    #: market seconds between two questions, on a grid
    period_s: float = 180.0

    @abstractmethod
    def equip(self, config: Config, folder: Path | None) -> None:
        """Learn what is outside of its parameters, before the first question.

        Parameters
        ----------
        config : Config
            The whole configuration.
        folder : Path or None
            The instance's data folder; None: only check that everything that it needs is there.

        Raises
        ------
        ConfigError
            When it can't be used like that.
        """

    @abstractmethod
    def recall(self, config: Config, folder: Path) -> None:
        """Take what was said in an earlier run as said, so that `signals` can tell it of a history.

        Parameters
        ----------
        config : Config
            The whole configuration.
        folder : Path
            The instance's data folder.

        Raises
        ------
        ConfigError
            When nothing was said.
        """

    @abstractmethod
    async def decide(self, view: MarketView, market_now: Callable[[], int] | None) -> None:
        """Form opinions about a view; what comes of it is told by `said`.

        Parameters
        ----------
        view : MarketView
            What is known.
        market_now : callable or None
            Returns market time [ns UTC] while the market goes on; None: the market waits for the answer.

        Raises
        ------
        StrategyError
            When the strategy is broken; what goes wrong on the way to an answer is an opinion to hold instead.
        """

    @abstractmethod
    def said(self, symbol: str, after_ns: int, until_ns: int, price: float) -> Signal | None:
        """Return the newest opinion on a symbol that came in force within a span of market time.

        Parameters
        ----------
        symbol : str
            As in BTC/USDT.
        after_ns, until_ns : int
            The span, its beginning excluded [ns UTC].
        price : float
            Close of the last candle [quote per base].
        """

    def remarks(self, start_ns: int, end_ns: int) -> tuple[str, ...]:  # noqa: ARG002 - most have nothing to add
        """Return what an owner should know before believing figures of a history between two times [ns UTC]."""
        return ()

    def at_random(self, draw: random.Random, start_ns: int, end_ns: int) -> Strategy | None:  # noqa: ARG002
        """Return a strategy that opens as often as this one in a history, at moments that are drawn; None: no such."""
        return None

    def finish(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of files and sockets."""


def recall(bound: Sequence[Bound], config: Config, folder: Path) -> None:
    """Let each strategy that was asked in an earlier run take that as said; see `AdvisedStrategy.recall`."""
    for item in bound:
        if isinstance(item.strategy, AdvisedStrategy):
            item.strategy.recall(config, folder)


def remarks(bound: Sequence[Bound], start_ns: int, end_ns: int) -> tuple[str, ...]:
    """Return what the strategies have to say of a history; see `AdvisedStrategy.remarks`."""
    advised = [item.strategy for item in bound if isinstance(item.strategy, AdvisedStrategy)]
    return tuple(one for strategy in advised for one in strategy.remarks(start_ns, end_ns))


def equip(bound: Sequence[Bound], config: Config, folder: Path | None) -> None:
    """Tell each strategy that needs it what is outside of its parameters; see `AdvisedStrategy.equip`."""
    for item in bound:
        if isinstance(item.strategy, AdvisedStrategy):
            item.strategy.equip(config, folder)
