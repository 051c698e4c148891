"""What every feed promises: closed candles in order, and the same history whenever it is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from trader.domain.instrument import Instrument
from trader.domain.market import Candles, MarketEvent


@dataclass(frozen=True, slots=True)
class FeedHealth:
    """How a feed from a venue is doing."""

    connected: bool  #: messages or answers arrive
    streaming: bool  #: messages arrive
    message_ns: int  #: when the last of either came [ns, CLOCK_BOOTTIME]; 0: none yet
    behind_s: float  #: age of the last event [s]
    skew_ns: int  #: venue's clock less ours
    reconnects: int
    differences: int  #: closed candles that stream and request told differently
    gaps: int  #: candles that the venue does not have
    unfit: str  #: why nothing may be opened on this data; "" when there is no reason


class Feed(Protocol):
    """A source of closed candles for a fixed list of symbols; slot i is symbol i.

    Market time is the feed's own: the close of the last candle that was delivered.
    """

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols by slot."""

    @property
    def timeframe(self) -> str:
        """Length of a candle, as in 5m."""

    @property
    def timeframe_ns(self) -> int:
        """Length of a candle [ns]."""

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """Instruments by slot; known once the feed is open."""

    @property
    def waits(self) -> bool:
        """Whether this market waits while trading is fenced or the ledger can't be written.

        History does: what it delivers is a pure function of the configuration, and so must be what is traded
        on it. A live market goes on without us, and the simulated one with it.
        """

    def now_ns(self) -> int:
        """Return market time now [ns UTC]: not before the last event, not after the next one."""

    @property
    def start_ns(self) -> int:
        """Market time just before the first event [ns UTC]; known once the feed is open."""

    async def open(self) -> None:
        """Read and validate what the feed needs before its first event.

        Raises
        ------
        MarketDataError
            When the data is missing or impossible.
        """

    def history(self, slot: int, until_ns: int, bars: int) -> Candles:
        """Return the last `bars` candles of a slot that closed at or before a time.

        Parameters
        ----------
        slot : int
            Index of the symbol.
        until_ns : int
            Latest close that may be in it [ns UTC, market time].
        bars : int
            How many, at most; fewer when there are not as many.

        Returns
        -------
        Candles
            Oldest first; the same whether or not the engine was restarted.
        """

    def events(self, after_ns: int) -> AsyncIterator[MarketEvent]:
        """Yield each event that is later than `after_ns`, in order; ends when the data ends.

        Parameters
        ----------
        after_ns : int
            Market time of the last event that needs no delivery [ns UTC].

        Yields
        ------
        MarketEvent
            Its candles are a view: copy what is kept.
        """

    def health(self) -> FeedHealth | None:
        """Return how a feed from a venue is doing; None for one that needs no network."""

    def close(self) -> None:
        """Let go of what `open` took."""
