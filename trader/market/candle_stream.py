"""The stream of candles: one subscription per symbol, cut and begun anew as a whole when something is wrong with it.

The stream has a client of its own, without keys: it can be thrown away with everything that ccxt keeps in it, and
execution's own stream is not touched. A mute socket looks like a quiet market from here; who compares with answered
requests calls `restart`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any

from trader.clock import NS_PER_S, boottime_ns
from trader.market.connection import CLOSE_S, ExchangeConnection
from trader.market.live_candles import Row, parse_rows
from trader.market.venue_client import make_client
from trader.units import timeframe_ns

log = logging.getLogger(__name__)

#: pauses before a new stream grow from the first to the last of these [s], and are drawn from half to all of it
PAUSE_FIRST_S, PAUSE_MOST_S = 1.0, 60.0

#: a stream that lived this long has earned a short pause again [s]
PROVEN_S = 60.0

#: longest wait for a subscription's next message before it is looked at again [s]
LOOK_S = 30.0

#: a symbol that the stream refuses is asked for by requests alone, and tried again after this time [s]
REFUSED_S = 3600.0


class CandleStream:
    """Streams candles of all symbols into a callable.

    Parameters
    ----------
    connection : ExchangeConnection
        Open; its markets are shared with the stream's client.
    symbols : sequence of str
        By slot.
    timeframe : str
        As in 5m.
    on_rows : callable
        Called with a slot, its newest rows (oldest first) and how many rows were none.
    on_begin : callable
        Called with True when a stream has begun, with False when it has ended.
    """

    def __init__(
        self,
        connection: ExchangeConnection,
        symbols: Sequence[str],
        timeframe: str,
        on_rows: Callable[[int, list[Row], int], None],
        on_begin: Callable[[bool], None],
    ) -> None:
        self._connection = connection
        self._symbols = tuple(symbols)
        self._timeframe = timeframe
        self._length_ns = timeframe_ns(timeframe)
        self._on_rows = on_rows
        self._on_begin = on_begin
        self._restart = asyncio.Event()
        self._pause_s = PAUSE_FIRST_S
        self.reconnects = 0
        self.connected = False
        self.message_ns = 0  #: of the last message [ns, boot clock]; 0: none yet

    def restart(self, why: str) -> None:
        """Cut the stream and begin a new one."""
        if not self._restart.is_set():
            log.warning("%s: the stream is begun anew: %s", self._connection.venue, why)
            self._restart.set()

    async def run(self) -> None:
        """Stream until cancelled."""
        while True:
            began_ns = boottime_ns()
            await self._session()
            if boottime_ns() - began_ns > PROVEN_S * NS_PER_S:
                self._pause_s = PAUSE_FIRST_S
            pause_s = self._pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - so that not all come back at once
            self._pause_s = min(2 * self._pause_s, PAUSE_MOST_S)
            await asyncio.sleep(pause_s)
            self.reconnects += 1

    # one client's life
    async def _session(self) -> None:
        client = make_client(self._connection.market)
        client.set_markets_from_exchange(self._connection.rest)
        client.newUpdates = True
        self._restart.clear()
        self._on_begin(True)  # noqa: FBT003 - a state, not an option
        loops = [asyncio.create_task(self._watch(client, slot)) for slot in range(len(self._symbols))]
        cut = asyncio.create_task(self._restart.wait())
        try:
            await asyncio.wait([*loops, cut], return_when=asyncio.FIRST_COMPLETED)
            failures = [task.exception() for task in loops if task.done()]
            for failure in failures[:1]:
                if failure is not None:
                    self._tell(failure)
        finally:
            self.connected = False
            self._on_begin(False)  # noqa: FBT003
            await _end([*loops, cut])
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_S):
                    await client.close()

    # ends with an error of the connection; what concerns this symbol alone ends nothing
    async def _watch(self, client: Any, slot: int) -> None:
        from ccxt.base.errors import ExchangeError

        symbol = self._symbols[slot]
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    raw = await client.watch_ohlcv(symbol, self._timeframe)
            except TimeoutError:
                continue
            except ExchangeError as error:
                self._tell(error)
                log.warning("%s: %s is not streamed for an hour, requests go on", self._connection.venue, symbol)
                await asyncio.sleep(REFUSED_S)
                continue
            self.connected, self.message_ns = True, boottime_ns()
            rows, bad = parse_rows(raw if isinstance(raw, list) else [], self._length_ns)
            self._on_rows(slot, rows, bad)

    def _tell(self, error: BaseException) -> None:
        log.warning("%s: stream: %s: %s", self._connection.venue, type(error).__name__, str(error)[:200])
        self._connection.on_error(error)


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
