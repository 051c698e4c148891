"""The replay feed: real candles from files, on the clock that they were made on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np

from trader.clock import format_utc, parse_utc
from trader.config.sections import Config, MarketConfig
from trader.domain.instrument import Instrument
from trader.domain.market import Candles, MarketEvent
from trader.errors import ConfigError, MarketDataError
from trader.market.candles_file import find_candle_file, read_candle_file
from trader.market.instruments import infer_tick_size, instrument_for, refuse_strangers
from trader.market.pacing import Pacer
from trader.market.timeline import Timeline
from trader.market.validation import validate_candles
from trader.units import timeframe_ns

_FOREVER_NS = int(np.iinfo(np.int64).max)


class ReplayFeed:
    """Candles of `market.candles`, from `market.since` to `market.until`.

    Candles before `since` are history: a strategy is warm at the first event if the files reach
    back far enough. A symbol whose file ends early just ends.

    Parameters
    ----------
    config : MarketConfig
        Section `market`.

    Raises
    ------
    ConfigError
        When the section does not say what to replay.
    """

    waits = True

    def __init__(self, config: MarketConfig) -> None:
        if config.candles is None:
            raise ConfigError("market.candles: a replay needs the folder of its candle files")
        refuse_strangers(config.symbols, config.instruments)
        self.symbols = config.symbols
        self.timeframe = config.timeframe
        self.timeframe_ns = timeframe_ns(config.timeframe)
        self.instruments: tuple[Instrument, ...] = ()
        self._config = config
        self._folder = Path(config.candles).expanduser()
        self._since_ns = parse_utc(config.since) if config.since else 0
        self._until_ns = parse_utc(config.until) if config.until else _FOREVER_NS
        if self._since_ns >= self._until_ns:
            raise ConfigError(f"market.until: {config.until} is not after market.since, {config.since}")
        self._timeline: Timeline | None = None
        self._pacer: Pacer | None = None
        self._first_ns = self._last_ns = 0

    @property
    def start_ns(self) -> int:
        """Market time just before the first event [ns UTC]."""
        self._opened()
        return self._first_ns - self.timeframe_ns

    async def open(self) -> None:
        """Read and validate all files, beside the loop.

        Raises
        ------
        MarketDataError
            Naming what is wrong in each file.
        """
        await asyncio.to_thread(self.load)

    def load(self) -> None:
        """Read and validate all files, here and now.

        Raises
        ------
        MarketDataError
            Naming what is wrong in each file.
        """
        self._timeline = Timeline(self.read(), self.timeframe, self.timeframe_ns)
        self._set_bounds(self._timeline)

    def read(self) -> list[Candles]:
        """Read and validate all files and infer the instruments, and keep none of the candles: for a backtest.

        Returns
        -------
        list of Candles
            Whole files, by slot.

        Raises
        ------
        MarketDataError
            Naming what is wrong in each file.
        """
        candles, problems = [], []
        for symbol in self.symbols:
            try:
                candles.append(self._load_symbol(symbol))
            except MarketDataError as error:
                problems.append(str(error))
        if problems:
            raise MarketDataError("\n".join(problems))
        given = self._config.instruments
        self.instruments = tuple(
            instrument_for(one.symbol, infer_tick_size(one), float(one.open[0]), given) for one in candles
        )
        return candles

    @property
    def bounds_ns(self) -> tuple[int, int]:
        """First open that is delivered, and the end of those that are [ns UTC]."""
        return self._since_ns, self._until_ns

    def history(self, slot: int, until_ns: int, bars: int) -> Candles:
        """Return the last `bars` candles of a slot that closed at or before `until_ns`."""
        return self._opened().history(slot, until_ns, bars)

    async def events(self, after_ns: int) -> AsyncIterator[MarketEvent]:
        """Yield each event later than `after_ns`, at the configured speed, until the data ends."""
        timeline = self._opened()
        after_ns = max(after_ns, self.start_ns)
        self._pacer = pacer = Pacer(self._config.speed, after_ns)
        for event in timeline.events(after_ns, self._last_ns):
            await pacer.until(event.time_ns)
            yield event

    def now_ns(self) -> int:
        """Return market time now [ns UTC]."""
        return self._pacer.market_now_ns() if self._pacer else self.start_ns

    def health(self) -> None:
        """Return None: there is no network that could fail."""

    def close(self) -> None:
        """Let go of the candles."""
        self._timeline = None

    def _opened(self) -> Timeline:
        if self._timeline is None:
            raise MarketDataError("the feed is not open")
        return self._timeline

    def _load_symbol(self, symbol: str) -> Candles:
        path = find_candle_file(self._folder, symbol, self.timeframe)
        candles = read_candle_file(path, symbol, self.timeframe)
        validate_candles(str(path), candles)
        inside = (candles.open_ns >= self._since_ns) & (candles.open_ns < self._until_ns)
        if not inside.any():
            first, last = (format_utc(int(candles.open_ns[i])) for i in (0, -1))
            raise MarketDataError(
                f"{path}: no candle from market.since ({self._config.since or 'the start'}) to market.until"
                f" ({self._config.until or 'the end'}); the file has {first} to {last}"
            )
        return candles

    # first and last close that are delivered; each file has at least one candle inside
    def _set_bounds(self, timeline: Timeline) -> None:
        opens_ns = timeline.times - self.timeframe_ns
        first, end = np.searchsorted(opens_ns, (self._since_ns, self._until_ns))
        self._first_ns = int(timeline.times[first])
        self._last_ns = int(timeline.times[end - 1])


def preflight(config: Config) -> None:
    """Read and validate the replay's files, and nothing else; any other market passes.

    Parameters
    ----------
    config : Config
        Its section `market` is read.

    Raises
    ------
    ConfigError
        When the section does not say what to replay.
    MarketDataError
        Naming what is wrong in each file.
    """
    if config.market.source == "replay":
        ReplayFeed(config.market).load()
