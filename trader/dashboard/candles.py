"""Candles for the charts: read or made again from what the configuration names, and put together until they are few.

A replay's files and the simulated market say the same to everybody who asks, so the dashboard asks them itself and
costs the engine nothing. Nothing later than the engine's own market time is ever shown.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trader.config.sections import Config
from trader.errors import TraderError
from trader.units import timeframe_ns

NS_PER_MS = 1_000_000

#: what is kept of all symbols together [bytes]; one symbol may have more, alone
MOST_BYTES = 48 * 2**20

#: lengths that candles are put together to, so that they begin where people expect [s]
_STEPS_S = (
    1, 5, 15, 30, 60, 180, 300, 900, 1800, 3600, 7200, 14_400, 21_600, 28_800, 43_200,
    86_400, 172_800, 604_800, 1_209_600, 2_419_200,
)  # fmt: skip

Array = npt.NDArray[Any]


class Bars:
    """Candles as columns: open time [ns], then open, high, low, close, volume."""

    __slots__ = ("open_ns", "prices")

    def __init__(self, open_ns: Array, prices: tuple[Array, ...]) -> None:
        self.open_ns = open_ns
        self.prices = prices

    def __len__(self) -> int:
        return len(self.open_ns)

    @property
    def nbytes(self) -> int:
        """What they take [bytes]."""
        return int(self.open_ns.nbytes) + sum(int(column.nbytes) for column in self.prices)

    def between(self, since_ns: int, until_ns: int) -> Bars:
        """Return those that open in a range, both ends included (views)."""
        first, end = np.searchsorted(self.open_ns, (since_ns, until_ns + 1))
        return Bars(self.open_ns[first:end], tuple(column[first:end] for column in self.prices))

    def rows(self) -> list[tuple[int, float, float, float, float, float]]:
        """Return plain rows for JSON."""
        columns = [column.tolist() for column in self.prices]
        return list(zip((self.open_ns // NS_PER_MS).tolist(), *columns, strict=True))


def together(bars: Bars, base_ns: int, most: int) -> tuple[Bars, int]:
    """Return candles that are few enough, and how long each is [ns].

    Parameters
    ----------
    bars : Bars
        Sorted by time.
    base_ns : int
        Length of each [ns].
    most : int
        How many at most.

    Returns
    -------
    (Bars, int)
        Each begins at a multiple of its length; first open, highest high, lowest low, last close, all the volume.
    """
    step_ns = base_ns
    if len(bars) > most:
        span_ns = int(bars.open_ns[-1] - bars.open_ns[0]) + base_ns
        step_ns = next(
            (
                step_s * 10**9
                for step_s in _STEPS_S
                if step_s * 10**9 % base_ns == 0 and span_ns // (step_s * 10**9) + 1 <= most
            ),
            -(-span_ns // max(1, most - 1) // base_ns) * base_ns,
        )
    if step_ns == base_ns:
        return bars, base_ns
    buckets = bars.open_ns // step_ns
    starts = np.flatnonzero(np.diff(buckets, prepend=buckets[0] - 1))
    ends = np.append(starts[1:], len(bars)) - 1
    o, h, low, c, volume = bars.prices
    return Bars(
        buckets[starts] * step_ns,
        (
            o[starts],
            np.maximum.reduceat(h, starts),
            np.minimum.reduceat(low, starts),
            c[ends],
            np.add.reduceat(volume, starts),
        ),
    ), step_ns


class CandleHistory:
    """The candles of every configured symbol, each read when it is first asked for.

    Parameters
    ----------
    config : Config
        The configuration in force.
    """

    def __init__(self, config: Config) -> None:
        self._market = config.market
        self._base_ns = timeframe_ns(config.market.timeframe)
        self._kept: OrderedDict[str, tuple[Any, Bars]] = OrderedDict()

    @property
    def base_ns(self) -> int:
        """Length of the market's own candles [ns]."""
        return self._base_ns

    def bars(self, symbol: str, until_ns: int) -> Bars:
        """Return all candles of a symbol that have closed at a moment of market time, oldest first.

        Raises
        ------
        TraderError
            When the file can't be read.
        """
        if until_ns <= 0:
            return _EMPTY
        reads = {"replay": self._from_file, "simulated": self._simulated}
        read = reads.get(self._market.source, self._downloaded)
        return read(symbol, until_ns).between(0, until_ns - self._base_ns)

    def _keep(self, symbol: str, key: Any, bars: Bars) -> Bars:
        self._kept[symbol] = (key, bars)
        self._kept.move_to_end(symbol)
        while len(self._kept) > 1 and sum(one.nbytes for _, one in self._kept.values()) > MOST_BYTES:
            self._kept.popitem(last=False)
        return bars

    def _from_file(self, symbol: str, until_ns: int) -> Bars:  # noqa: ARG002 - a file is read whole
        from trader.market.candles_file import find_candle_file, read_candle_file

        path = find_candle_file(Path(str(self._market.candles)).expanduser(), symbol, self._market.timeframe)
        status = path.stat()
        key = (path, status.st_mtime_ns, status.st_size)
        known = self._kept.get(symbol)
        if known is not None and known[0] == key:
            self._kept.move_to_end(symbol)
            return known[1]
        return self._keep(symbol, key, _bars(read_candle_file(path, symbol, self._market.timeframe)))

    def _downloaded(self, symbol: str, until_ns: int) -> Bars:
        """Return what `trader download` has put where `market.candles` leads; without it there is no history."""
        if self._market.candles is None:
            return _EMPTY
        try:
            return self._from_file(symbol, until_ns)
        except TraderError:
            return _EMPTY

    def _simulated(self, symbol: str, until_ns: int) -> Bars:
        from trader.market.simulated import HISTORY_BARS, SimulatedFeed

        known = self._kept.get(symbol)
        have = known[1] if known is not None else _EMPTY
        feed = SimulatedFeed(self._market)
        end_ns = int(have.open_ns[-1]) + self._base_ns if len(have) else feed.start_ns - HISTORY_BARS * self._base_ns
        missing = (until_ns - end_ns) // self._base_ns
        if missing <= 0:
            self._kept.move_to_end(symbol)
            return have
        more = _bars(feed.history(feed.symbols.index(symbol), until_ns, int(missing)))
        columns = tuple(np.concatenate(pair) for pair in zip(have.prices, more.prices, strict=True))
        return self._keep(symbol, None, Bars(np.concatenate((have.open_ns, more.open_ns)), columns))


_EMPTY = Bars(np.zeros(0, np.int64), tuple(np.zeros(0) for _ in range(5)))


def _bars(candles: Any) -> Bars:
    prices = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    order = candles.open_ns
    if len(order) > 1 and not bool(np.all(order[1:] > order[:-1])):
        raise TraderError(f"{candles.symbol}: the candles are not in order")
    return Bars(np.ascontiguousarray(order), tuple(np.ascontiguousarray(column) for column in prices))
