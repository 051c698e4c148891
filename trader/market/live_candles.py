"""Which candles of a live market are closed, and when to hand them on: the rules, without any network.

A venue tells candles twice: it streams the one that is being built over and over, and answers requests with those of
the past. The answer is the truth; the stream only says early that there is something to ask for, and stands in where
requests have failed for a whole grace: its last messages about a candle may be lost, or come after those about the next
one, and a request made again a second later may be answered. What is handed on is closed for certain, strictly rising
per symbol, and never made up:

- half-built: a row is closed when a later one of its symbol is there; where nothing is traded any more and none comes,
  when two answers well after its end say the same (a venue under load shows a candle open beyond its end);
- late: the others do not wait for it longer than a grace; it follows on its own as soon as it comes;
- missing: a gap, once the venue itself shows that there is nothing;
- twice, out of order, impossible: left out, and counted.

All times are the venue's [ns UTC].
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trader.clock import NS_PER_S
from trader.core.records import CANDLE
from trader.domain.market import Candles, MarketEvent

MS = 1_000_000

#: how long after its end a candle is asked for: venues need a moment to close it
SETTLE_FRAC, SETTLE_MOST_NS = 0.05, NS_PER_S

#: how long the symbols that are there wait for the others
GRACE_FRAC, GRACE_MOST_NS = 0.25, 5 * NS_PER_S

#: how long the candles missed before the start may take
CATCH_UP_NS = 60 * NS_PER_S

#: pauses between two requests for the same candle
ASK_AGAIN_NS = tuple(round(seconds * NS_PER_S) for seconds in (1, 2, 4, 8, 15, 30))

#: where not every candle is asked for, the symbols take turns: each one every so many candles
CHECK_EVERY = 32

#: a symbol that the stream is silent about is asked for at least this often while its market is quiet
QUIET_MOST_NS = 300 * NS_PER_S

#: a candle that nobody has told for so many more is given up, where requests go on failing
SKIP_CANDLES = 3

#: streamed rows of a symbol that are kept
STREAMED_KEPT = 8

#: volumes that differ by less are the same (sums of floats)
VOLUME_NOISE_FRAC = 1e-9

_NEVER_NS = int(np.iinfo(np.int64).max)


class Row(NamedTuple):
    """One candle as a venue told it, checked."""

    open_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float

    def same_as(self, other: Row) -> bool:
        """Tell whether both say the same, but for the noise of added volumes."""
        return self[:5] == other[:5] and math.isclose(self.volume, other.volume, rel_tol=VOLUME_NOISE_FRAC)


def parse_row(raw: Any, timeframe_ns: int) -> Row | None:
    """Return a row of ccxt as a candle, or None when there can be no such candle.

    Parameters
    ----------
    raw : sequence
        Open time [ms], open, high, low, close, volume.
    timeframe_ns : int
        Length of a candle [ns].
    """
    try:
        open_ms, *prices = raw[:6]
        opened, high, low, closed = (float(price) for price in prices[:4])
        volume = float(prices[4]) if len(prices) > 4 and prices[4] is not None else 0.0
        open_ns = int(open_ms) * MS
    except (TypeError, ValueError, OverflowError):
        return None
    # comparisons that a NaN fails, whichever number it is
    if not (0 < low <= opened <= high < math.inf and low <= closed <= high and 0 <= volume < math.inf):
        return None
    # longer candles start where their venue's day or week starts
    if open_ns <= 0 or (timeframe_ns <= 3600 * NS_PER_S and open_ns % timeframe_ns):
        return None
    return Row(open_ns, opened, high, low, closed, volume)


def parse_rows(raw: Iterable[Any], timeframe_ns: int) -> tuple[list[Row], int]:
    """Return the candles of an answer, oldest first and each once, and how many rows were none."""
    found: dict[int, Row] = {}
    bad = 0
    for one in raw:
        row = parse_row(one, timeframe_ns)
        if row is None:
            bad += 1
        else:
            found[row.open_ns] = row
    return [found[open_ns] for open_ns in sorted(found)], bad


def to_candles(symbol: str, timeframe: str, rows: Sequence[Row]) -> Candles:
    """Return rows, oldest first, as candles."""
    open_ns = np.array([row.open_ns for row in rows], np.int64)
    columns = np.array([row[1:] for row in rows], np.float64).reshape(-1, 5).T
    return Candles(symbol, timeframe, open_ns, *(np.ascontiguousarray(column) for column in columns))


@dataclass(slots=True)
class Counts:
    """What was noticed since the start."""

    differences: int = 0  #: closed candles that stream and answer told differently
    gaps: int = 0  #: candles that the venue does not have
    late: int = 0  #: candles handed on after the others of their moment
    left_out: int = 0  #: rows that can not be, came twice or too late
    unconfirmed: int = 0  #: candles handed on as the stream told them, because requests failed


@dataclass(slots=True)
class _Symbol:
    last_open_ns: int  #: newest candle that is ready or handed on
    known_until_ns: int  #: close up to which everything is decided
    ready: deque[Row] = field(default_factory=deque)
    streamed: dict[int, Row] = field(default_factory=dict)
    message_ns: int = 0  #: when the stream last said something, or began; 0: there is none
    quiet_ns: int = 0  #: pause before the last question about its silence; 0: it has spoken since
    probe_ns: int = _NEVER_NS  #: when such a question is due
    probing: bool = False  #: asked for because of that, not for a candle
    ask_ns: int = 0  #: not asked again before
    asked: int = 0  #: requests since something new came
    tentative: Row | None = None  #: the last row of an answer, which may have been open still
    tentative_ns: int = 0  #: when it was first asked for
    in_flight: bool = False
    price: float = math.nan
    price_ns: int = 0


class LiveCandles:
    """Candles of all symbols on their way from the venue to the engine.

    Parameters
    ----------
    n_slots : int
        How many symbols.
    timeframe_ns : int
        Length of a candle [ns].
    after_ns : int
        Close of the last candles that are not to be handed on [ns UTC].
    now_ns : int
        Venue time [ns UTC].
    trust_stream : bool
        Hand streamed candles on without asking for each, because there are too many symbols to ask for.
    """

    def __init__(
        self, n_slots: int, timeframe_ns: int, after_ns: int, now_ns: int, *, trust_stream: bool = False
    ) -> None:
        self.counts = Counts()
        self.boundary_ns = after_ns + timeframe_ns
        self.last_event_ns = after_ns
        self._length_ns = timeframe_ns
        self._settle_ns = min(int(timeframe_ns * SETTLE_FRAC), SETTLE_MOST_NS)
        self._grace_ns = min(int(timeframe_ns * GRACE_FRAC), GRACE_MOST_NS)
        self._catch_up_until_ns = now_ns + CATCH_UP_NS
        self._trust_stream = trust_stream
        self._symbols = [_Symbol(after_ns - timeframe_ns, after_ns) for _ in range(n_slots)]

    # ------------------------------------------------------------------ asking

    def since_ns(self, slot: int) -> int:
        """Return the open of the first candle that is not known yet: where a request begins."""
        return self._symbols[slot].last_open_ns + self._length_ns

    def due(self, now_ns: int) -> list[int]:
        """Return the slots to ask for now, and count them as asked."""
        slots = [slot for slot in range(len(self._symbols)) if self._ask_at_ns(slot) <= now_ns]
        for slot in slots:
            symbol = self._symbols[slot]
            symbol.probing = self._candle_at_ns(slot) > now_ns
            symbol.in_flight = True
        return slots

    def wake_ns(self) -> int:
        """Return when something is due next [ns UTC]."""
        ask_ns = min(self._ask_at_ns(slot) for slot in range(len(self._symbols)))
        return min(ask_ns, self._deadline_ns())

    def _ask_at_ns(self, slot: int) -> int:
        if self._symbols[slot].in_flight:
            return _NEVER_NS
        return min(self._candle_at_ns(slot), self._probe_at_ns(slot))

    # when the next candle is to be asked for
    def _candle_at_ns(self, slot: int) -> int:
        symbol = self._symbols[slot]
        closes_ns = symbol.known_until_ns + self._length_ns
        wait_ns = self._settle_ns
        if self._trust_stream and (closes_ns // self._length_ns) % CHECK_EVERY != slot % CHECK_EVERY:
            open_ns = closes_ns - self._length_ns
            if open_ns in symbol.streamed and max(symbol.streamed) > open_ns:
                return _NEVER_NS
            wait_ns = self._grace_ns * 4 // 5
        return max(closes_ns + wait_ns, symbol.ask_ns)

    # when a question is due because the stream is silent: is it, or is the market?
    def _probe_at_ns(self, slot: int) -> int:
        symbol = self._symbols[slot]
        return max(symbol.probe_ns, symbol.ask_ns)

    # ----------------------------------------------------------------- answers

    def take_failure(self, slot: int, now_ns: int, pause_ns: int = 0) -> None:
        """Note that a request failed; it is made again after a pause."""
        symbol = self._symbols[slot]
        symbol.in_flight = False
        self._ask_later(symbol, now_ns, pause_ns)

    def take_answer(self, slot: int, rows: Sequence[Row], asked_ns: int, now_ns: int, *, complete: bool = True) -> bool:
        """Take what a request brought.

        Parameters
        ----------
        slot : int
            Index of the symbol.
        rows : sequence of Row
            Oldest first.
        asked_ns : int
            When the request left [ns UTC].
        now_ns : int
            Now [ns UTC].
        complete : bool
            Whether it goes up to the time of asking, and is not one page of several.

        Returns
        -------
        bool
            Whether the stream has missed something that the answer has.
        """
        symbol = self._symbols[slot]
        symbol.in_flight = False
        if symbol.probing:
            symbol.quiet_ns = min(2 * max(symbol.quiet_ns, 2 * self.patience_ns), QUIET_MOST_NS)
            symbol.probe_ns = now_ns + symbol.quiet_ns
        missed = complete and any(self._stream_missed(symbol, row, asked_ns) for row in rows[-2:])
        known_ns = symbol.known_until_ns
        decided_ns = asked_ns - self._grace_ns if complete else 0  # what ended before and is not here is not there
        for row in rows[:-1]:
            if row.open_ns + self._length_ns <= now_ns:
                self._compare(symbol, row)
                self._add(symbol, row)
        if rows and self._is_final(symbol, rows[-1], asked_ns):
            self._compare(symbol, rows[-1])
            self._add(symbol, rows[-1])
        elif rows and rows[-1].open_ns <= asked_ns:
            self._note_price(symbol, rows[-1], asked_ns)
            decided_ns = rows[-1].open_ns
        symbol.known_until_ns = max(symbol.known_until_ns, self._floor(decided_ns))
        if symbol.known_until_ns > known_ns:
            symbol.asked, symbol.ask_ns = 0, 0
        elif not symbol.probing:
            self._ask_later(symbol, now_ns, 0)
        return missed

    def take_streamed(self, slot: int, rows: Sequence[Row], now_ns: int) -> None:
        """Take what the stream said.

        Parameters
        ----------
        slot : int
            Index of the symbol.
        rows : sequence of Row
            Oldest first; the last one is being built.
        now_ns : int
            Now [ns UTC].
        """
        symbol = self._symbols[slot]
        for row in rows:
            newest = max(symbol.streamed, default=0)
            if row.open_ns > now_ns + self._length_ns or row.open_ns < newest - STREAMED_KEPT * self._length_ns:
                self.counts.left_out += 1
                continue
            self._heard(symbol, now_ns)
            known = symbol.streamed.get(row.open_ns)
            # a row that is being built only grows: a smaller one is an old message that came late
            if known is not None and row.volume < known.volume:
                self.counts.left_out += 1
                continue
            symbol.streamed[row.open_ns] = row
            if row.open_ns >= newest:
                self._note_price(symbol, row, now_ns)
            while len(symbol.streamed) > STREAMED_KEPT:
                del symbol.streamed[min(symbol.streamed)]

    def message_ns(self, slot: int) -> int:
        """Return when the stream last said something about a slot [ns UTC]; 0: never."""
        return self._symbols[slot].message_ns

    def begin_stream(self, now_ns: int) -> None:
        """Note that a new stream begins now, which says nothing about what came before [ns UTC]; 0: it has ended."""
        for symbol in self._symbols:
            symbol.streamed.clear()
            self._heard(symbol, now_ns)

    def price(self, slot: int) -> tuple[float, int]:
        """Return the newest price of a slot [quote per base] and when it was told [ns UTC]; NaN, 0: none yet."""
        symbol = self._symbols[slot]
        return symbol.price, symbol.price_ns

    # ------------------------------------------------------------------ events

    def events(self, now_ns: int) -> Iterator[MarketEvent]:
        """Yield what can be handed on now, in order.

        Parameters
        ----------
        now_ns : int
            Now [ns UTC].
        """
        while self.boundary_ns <= now_ns:
            boundary_ns = self.boundary_ns
            expired = now_ns >= self._deadline_ns()
            if expired or (self._trust_stream and now_ns >= boundary_ns + self._settle_ns):
                for symbol in self._symbols:
                    if symbol.known_until_ns < boundary_ns:
                        self._stand_in(symbol, boundary_ns)
            if not expired and any(symbol.known_until_ns < boundary_ns for symbol in self._symbols):
                break
            yield from self._at(boundary_ns)
            self.boundary_ns = boundary_ns + self._length_ns
            self.last_event_ns = boundary_ns
        for event in self._at(self.last_event_ns):  # what comes after its moment has passed
            self.counts.late += len(event.candles)
            yield event

    # one event per moment up to a boundary
    def _at(self, boundary_ns: int) -> Iterator[MarketEvent]:
        while True:
            opens_ns = [symbol.ready[0].open_ns for symbol in self._symbols if symbol.ready]
            first_ns = min(opens_ns, default=_NEVER_NS)
            if first_ns == _NEVER_NS or first_ns + self._length_ns > boundary_ns:
                return
            yield self._event(first_ns)

    def _event(self, open_ns: int) -> MarketEvent:
        picked = [
            (slot, open_ns, open_ns + self._length_ns, *symbol.ready.popleft()[1:])
            for slot, symbol in enumerate(self._symbols)
            if symbol.ready and symbol.ready[0].open_ns == open_ns
        ]
        candles: npt.NDArray[np.void] = np.array(picked, CANDLE)
        self.last_event_ns = max(self.last_event_ns, open_ns + self._length_ns)
        return MarketEvent(self.last_event_ns, candles)

    # -------------------------------------------------------------------- rows

    def _deadline_ns(self) -> int:
        usual_ns = self.boundary_ns + self._grace_ns
        if self.boundary_ns + self._length_ns > self._catch_up_until_ns - CATCH_UP_NS:
            return usual_ns
        return max(usual_ns, self._catch_up_until_ns)

    def _ask_later(self, symbol: _Symbol, now_ns: int, pause_ns: int) -> None:
        step_ns = ASK_AGAIN_NS[min(symbol.asked, len(ASK_AGAIN_NS) - 1)]
        symbol.asked += 1
        symbol.ask_ns = now_ns + max(pause_ns, min(step_ns, self._length_ns))

    # whether the last row of an answer, which no later one follows, has been closed
    def _is_final(self, symbol: _Symbol, row: Row, asked_ns: int) -> bool:
        closes_ns = row.open_ns + self._length_ns
        if closes_ns > asked_ns:
            return False
        streamed = symbol.streamed.get(row.open_ns)
        if streamed is not None and max(symbol.streamed) > row.open_ns and streamed.same_as(row):
            return True
        if symbol.tentative != row:
            symbol.tentative, symbol.tentative_ns = row, asked_ns
        apart_ns = min(ASK_AGAIN_NS[0], self._length_ns)
        return asked_ns >= max(symbol.tentative_ns + apart_ns, closes_ns + self._grace_ns * 3 // 5)

    # the stream's word, where a later candle of the same symbol shows that this one is closed
    def _stand_in(self, symbol: _Symbol, boundary_ns: int) -> None:
        for open_ns in sorted(symbol.streamed):
            closes_ns = open_ns + self._length_ns
            known_ns = max(symbol.known_until_ns, symbol.last_open_ns + self._length_ns)
            if known_ns < open_ns and boundary_ns - known_ns <= SKIP_CANDLES * self._length_ns:
                break  # one before it is missing here and may be asked for yet: handed on, it would be lost
            if open_ns > symbol.last_open_ns and closes_ns <= boundary_ns and max(symbol.streamed) > open_ns:
                self._add(symbol, _fuller(symbol.streamed[open_ns], symbol.tentative))
                self.counts.unconfirmed += not self._trust_stream

    def _add(self, symbol: _Symbol, row: Row) -> None:
        if row.open_ns <= symbol.last_open_ns:
            return
        missing = (row.open_ns - symbol.last_open_ns) // self._length_ns - 1
        self.counts.gaps += max(0, missing)
        symbol.ready.append(row)
        symbol.last_open_ns = row.open_ns
        symbol.known_until_ns = max(symbol.known_until_ns, row.open_ns + self._length_ns)
        self._note_price(symbol, row, row.open_ns + self._length_ns)

    def _compare(self, symbol: _Symbol, row: Row) -> None:
        streamed = symbol.streamed.get(row.open_ns)
        if streamed is not None and max(symbol.streamed) > row.open_ns and not streamed.same_as(row):
            self.counts.differences += 1
            symbol.streamed[row.open_ns] = row  # counted once

    # something was traded after the stream's last word, and it said nothing for a while
    def _stream_missed(self, symbol: _Symbol, row: Row, asked_ns: int) -> bool:
        if not symbol.message_ns or row.volume <= 0 or asked_ns - symbol.message_ns < self.patience_ns:
            return False
        streamed = symbol.streamed.get(row.open_ns)
        if streamed is None:
            return row.open_ns >= symbol.message_ns
        return row.open_ns == max(symbol.streamed) and row.volume > streamed.volume * (1 + VOLUME_NOISE_FRAC)

    @property
    def patience_ns(self) -> int:
        """How long a stream may be silent before an answer is held against it [ns]."""
        return min(max(self._length_ns // 4, 3 * NS_PER_S), 15 * NS_PER_S)

    # the stream has spoken, or begins; 0: it has ended
    def _heard(self, symbol: _Symbol, now_ns: int) -> None:
        symbol.message_ns, symbol.quiet_ns = now_ns, 0
        symbol.probe_ns = now_ns + 2 * self.patience_ns if now_ns else _NEVER_NS

    def _note_price(self, symbol: _Symbol, row: Row, told_ns: int) -> None:
        if told_ns >= symbol.price_ns:
            symbol.price, symbol.price_ns = row.close, told_ns

    # the grid's last point that is not after a time
    def _floor(self, time_ns: int) -> int:
        return time_ns - (time_ns - self.boundary_ns) % self._length_ns


# what the stream said of a candle, or what an answer did that could not tell whether it was closed: a candle only grows
def _fuller(streamed: Row, answered: Row | None) -> Row:
    if answered is None or answered.open_ns != streamed.open_ns or answered.volume < streamed.volume:
        return streamed
    return answered
