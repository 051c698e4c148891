"""The simulated feed: an endless seeded market that needs no network, no files and no account."""

from __future__ import annotations

import asyncio
import math
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator

import numpy as np
import numpy.typing as npt

from trader.clock import parse_utc
from trader.config.sections import MarketConfig
from trader.core.records import CANDLE
from trader.domain.instrument import Instrument
from trader.domain.market import Candles, FloatArray, MarketEvent
from trader.market.instruments import instrument_for, refuse_strangers, significant_step
from trader.market.pacing import Pacer
from trader.market.synthesis import Synthesis, market_noise
from trader.market.timeline import from_records
from trader.units import exact, timeframe_ns

#: when trading begins, for every seed
EPOCH_NS = parse_utc("2025-01-01T00:00:00Z")

#: candles before it, so that strategies are warm at once
HISTORY_BARS = 4096

#: prices that an owner expects; any other symbol gets one by its name
BASE_PRICES = {"BTC": 60_000.0, "ETH": 3_000.0, "SOL": 150.0, "XRP": 0.6, "DOGE": 0.15, "AVAX": 35.0}
BASE_PRICES |= {"LINK": 15.0, "LTC": 80.0, "BNB": 550.0, "ADA": 0.45}

#: blocks per symbol that are kept: an event needs one, a history up to a few
_BLOCKS_KEPT = 8


class SimulatedFeed:
    """Candles made from `market.seed`: the same seed, symbol and timeframe give the same candles.

    Each begins when the one before it closed: there are no gaps, and there is no end.

    Parameters
    ----------
    config : MarketConfig
        Section `market`.

    Raises
    ------
    ConfigError
        When `market.instruments` names a symbol that is not traded.
    """

    waits = False

    def __init__(self, config: MarketConfig) -> None:
        refuse_strangers(config.symbols, config.instruments)
        self.symbols = config.symbols
        self.timeframe = config.timeframe
        self.timeframe_ns = timeframe_ns(config.timeframe)
        self._speed = config.speed
        self._pacer: Pacer | None = None
        self._first_open_ns = EPOCH_NS - HISTORY_BARS * self.timeframe_ns
        prices = [base_price(symbol) for symbol in self.symbols]
        self.instruments: tuple[Instrument, ...] = tuple(
            instrument_for(symbol, significant_step(price), price, config.instruments)
            for symbol, price in zip(self.symbols, prices, strict=True)
        )
        market = market_noise(config.seed)
        self._makers = [
            Synthesis(config.seed, one.symbol, self.timeframe_ns, price, float(one.tick_size), market)
            for one, price in zip(self.instruments, prices, strict=True)
        ]
        self._block_bars = self._makers[0].block_bars
        self._blocks: OrderedDict[tuple[int, int], FloatArray] = OrderedDict()

    @property
    def start_ns(self) -> int:
        """Market time just before the first event [ns UTC]."""
        return EPOCH_NS

    async def open(self) -> None:
        """Make the first candles, so that the first event comes without delay."""
        for slot in range(len(self.symbols)):
            self._block(slot, HISTORY_BARS // self._block_bars)
            await asyncio.sleep(0)

    def history(self, slot: int, until_ns: int, bars: int) -> Candles:
        """Return the last `bars` candles of a slot that closed at or before `until_ns`."""
        end = max(0, self._closed(until_ns))
        first = max(0, end - max(bars, 0))
        rows = np.empty(end - first, CANDLE)
        for block in range(first // self._block_bars, -(-end // self._block_bars)):
            start = block * self._block_bars
            low, high = max(first, start), min(end, start + self._block_bars)
            self._fill(
                rows[low - first : high - first], slot, low, self._block(slot, block)[:, low - start : high - start]
            )
        return from_records(self.symbols[slot], self.timeframe, rows)

    async def events(self, after_ns: int) -> AsyncIterator[MarketEvent]:
        """Yield each event later than `after_ns`, at the configured speed, without end."""
        after_ns = max(after_ns, EPOCH_NS)
        self._pacer = pacer = Pacer(self._speed, after_ns)
        i = self._closed(after_ns)
        while True:
            block = i // self._block_bars
            rows = await self._records(block)
            for candles in rows[i - block * self._block_bars :]:
                time_ns = int(candles["close_ns"][0])
                await pacer.until(time_ns)
                yield MarketEvent(time_ns, candles)
            i = (block + 1) * self._block_bars

    def now_ns(self) -> int:
        """Return market time now [ns UTC]."""
        return self._pacer.market_now_ns() if self._pacer else EPOCH_NS

    def health(self) -> None:
        """Return None: there is no network that could fail."""

    def close(self) -> None:
        """Let go of the candles that were made."""
        self._blocks.clear()

    # how many candles, counted from the very first, have closed at a time
    def _closed(self, time_ns: int) -> int:
        return (time_ns - self._first_open_ns) // self.timeframe_ns

    # a block of events, shape (bars, slots); many symbols take a while, so the loop gets its turns
    async def _records(self, block: int) -> npt.NDArray[np.void]:
        rows = np.empty((self._block_bars, len(self.symbols)), CANDLE)
        for slot in range(len(self.symbols)):
            self._fill(rows[:, slot], slot, block * self._block_bars, self._block(slot, block))
            if slot % 16 == 15:
                await asyncio.sleep(0)
        return rows

    def _fill(self, rows: npt.NDArray[np.void], slot: int, first: int, columns: FloatArray) -> None:
        rows["slot"] = slot
        rows["open_ns"] = self._first_open_ns + (first + np.arange(len(rows))) * self.timeframe_ns
        rows["close_ns"] = rows["open_ns"] + self.timeframe_ns
        for field, column in zip(("open", "high", "low", "close", "volume"), columns, strict=True):
            rows[field] = column

    def _block(self, slot: int, block: int) -> FloatArray:
        key = (slot, block)
        columns = self._blocks.get(key)
        if columns is None:
            columns = self._blocks[key] = self._makers[slot].block(block)
            if len(self._blocks) > _BLOCKS_KEPT * len(self.symbols):
                self._blocks.popitem(last=False)
        return columns


def base_price(symbol: str) -> float:
    """Return the price that a symbol keeps coming back to [quote per base].

    Parameters
    ----------
    symbol : str
        As in BTC/USDT; one that is not known gets 0.5 to 500 by its name.
    """
    base = symbol.partition("/")[0]
    if base in BASE_PRICES:
        return BASE_PRICES[base]
    return float(exact(round(0.5 * math.pow(1000, zlib.crc32(base.encode()) / 2**32), 4)))
