"""Candles by request: one page, and everything between two times; for the feed and for downloads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from trader.market.connection import ExchangeConnection
from trader.market.live_candles import MS, Row, parse_rows
from trader.units import timeframe_ns

#: longest wait for one page [s]
PAGE_S = 15.0

#: candles per request where a venue says nothing; most give more, some (Kraken) fewer whatever is asked
PAGE_ROWS = 500

#: what large venues give per request, by ccxt id
PAGE_ROWS_BY_VENUE = {"binance": 1000, "binanceus": 1000, "bybit": 1000, "bybiteu": 1000, "okx": 100, "kraken": 720}
PAGE_ROWS_BY_VENUE |= {"kucoin": 1500, "coinbase": 300, "coinbaseexchange": 300, "gate": 1000, "bitget": 200}


@dataclass(frozen=True, slots=True)
class Page:
    """One answer."""

    rows: tuple[Row, ...]  #: oldest first, each once
    bad: int  #: rows that no candle can be
    full: bool  #: there may be more after it


class CandleRequests:
    """Asks a venue for the candles of the past.

    Parameters
    ----------
    connection : ExchangeConnection
        Open.
    timeframe : str
        As in 5m.
    """

    def __init__(self, connection: ExchangeConnection, timeframe: str) -> None:
        self._connection = connection
        self._timeframe = timeframe
        self.length_ns = timeframe_ns(timeframe)
        self.page_rows = PAGE_ROWS_BY_VENUE.get(connection.market.exchange, PAGE_ROWS)

    async def page(self, symbol: str, since_ns: int, rows: int | None = None, *, deadline_s: float = PAGE_S) -> Page:
        """Ask for the candles from a time on.

        Parameters
        ----------
        symbol : str
            As in BTC/USDT.
        since_ns : int
            First open [ns UTC].
        rows : int, optional
            How many, at most; as many as the venue gives by default.
        deadline_s : float
            Longest wait [s].

        Returns
        -------
        Page
            What lies before `since_ns` is left out: some venues answer with more than they were asked for.

        Raises
        ------
        ccxt.BaseError
            As ccxt raised it; `ccxt.BadResponse` for an answer that is no list.
        """
        from ccxt.base.errors import BadResponse

        limit = min(rows or self.page_rows, self.page_rows)
        raw = await self._connection.call(
            "fetch_ohlcv", symbol, self._timeframe, since_ns // MS, limit, deadline_s=deadline_s
        )
        if not isinstance(raw, list):
            raise BadResponse(f"{self._connection.venue} fetch_ohlcv {symbol}: {str(raw)[:80]!r} is no list of candles")
        found, bad = parse_rows(raw, self.length_ns)
        if raw and not found:
            raise BadResponse(f"{self._connection.venue} fetch_ohlcv {symbol}: {str(raw[0])[:80]!r} is no candle")
        kept = tuple(row for row in found if row.open_ns >= since_ns)
        return Page(kept, bad, full=len(raw) >= limit)

    async def between(self, symbol: str, since_ns: int, until_ns: int) -> AsyncIterator[Page]:
        """Yield pages from a time up to, and without, another; each begins behind the one before it.

        An empty page that does not reach the end (a venue that answers with nothing where its history has a hole, or
        has not begun) is skipped over, page by page.

        Parameters
        ----------
        symbol : str
            As in BTC/USDT.
        since_ns, until_ns : int
            First open, and the end [ns UTC].

        Yields
        ------
        Page
            With candles before `until_ns` only.

        Raises
        ------
        ccxt.BaseError
            As ccxt raised it.
        """
        at_ns = since_ns
        while at_ns < until_ns:
            wanted = -(-(until_ns - at_ns) // self.length_ns)
            page = await self.page(symbol, at_ns, min(wanted + 1, self.page_rows))
            inside = tuple(row for row in page.rows if row.open_ns < until_ns)
            yield Page(inside, page.bad, page.full)
            if inside:
                at_ns = inside[-1].open_ns + self.length_ns
            elif page.rows:
                return
            else:
                at_ns += self.page_rows * self.length_ns
