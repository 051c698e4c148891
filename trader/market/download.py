"""Downloads of candles: what a file lacks is asked for and added; what is cut off goes on where it was."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trader.clock import NS_PER_S, boottime_ns, format_utc
from trader.domain.market import Candles
from trader.errors import ConfigError, MarketDataError, VenueError
from trader.market.candle_requests import CandleRequests, Page
from trader.market.candle_writer import asked_spans, gaps_of, merge_candles, write_candle_file
from trader.market.candles_file import candle_file_stem, read_candle_file
from trader.market.connection import ExchangeConnection, explained
from trader.market.live_candles import Row, to_candles
from trader.market.spans import Span, joined, without
from trader.market.validation import validate_candles
from trader.units import timeframe_ns

log = logging.getLogger(__name__)

#: what is fetched is saved at least this often [s]: a download that is cut off loses no more
SAVE_S = 20.0

#: tries for one page, and pauses between them: from the first to the longest [s]
TRIES, PAUSE_FIRST_S, PAUSE_MOST_S = 8, 1.0, 60.0

#: a candle is fetched this long after its end, when venues have closed it [ns]
SETTLED_NS = 30 * NS_PER_S

#: told of a symbol, candles that are done and wanted
Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class Downloaded:
    """What became of one symbol's file."""

    symbol: str
    path: Path
    rows: int = 0  #: in the file now
    added: int = 0  #: of them by this download
    left_out: int = 0  #: rows of the venue that no candle can be
    first_ns: int = 0  #: first open in the file [ns UTC]; 0: it has none
    last_ns: int = 0  #: last open [ns UTC]
    gaps: list[tuple[int, int]] = field(default_factory=list)  #: first missing open and end [ns UTC]
    missing: int = 0  #: candles in all gaps
    error: str = ""  #: why it is not complete; "" when it is


class Download:
    """Brings files of candles up to date with a venue.

    Parameters
    ----------
    connection : ExchangeConnection
        Open.
    folder : Path
        Where the files are; made if it is missing.
    since_ns, until_ns : int
        First open that is wanted, and the end [ns UTC].
    progress : callable
        See `Progress`.
    """

    def __init__(
        self, connection: ExchangeConnection, folder: Path, since_ns: int, until_ns: int, progress: Progress
    ) -> None:
        self._connection = connection
        self._folder = folder
        self._timeframe = connection.market.timeframe
        self._length_ns = timeframe_ns(self._timeframe)
        self._progress = progress
        # only candles that are closed, whatever was asked for
        closed_ns = (connection.now_ns() - SETTLED_NS) // self._length_ns * self._length_ns
        self._span = (-(-since_ns // self._length_ns) * self._length_ns, min(until_ns, closed_ns))

    async def run(self, symbol: str) -> Downloaded:
        """Complete one symbol's file; what was fetched is kept, whatever happens.

        Parameters
        ----------
        symbol : str
            As in BTC/USDT.

        Returns
        -------
        Downloaded
            With `error` when the venue or the file stood in the way.
        """
        path = self._folder / f"{candle_file_stem(symbol, self._timeframe)}.feather"
        result = Downloaded(symbol, path)
        try:
            file = _File(path, symbol, self._timeframe)
            await self._complete(file, result)
        except MarketDataError as error:
            result.error = str(error)
            return result
        if not len(file.held) and not result.error:
            since, until = map(format_utc, self._span)
            result.error = f"{self._connection.venue} has no {self._timeframe} candles of {symbol}: {since} to {until}"
        self._describe(file.held, result)
        return result

    async def _complete(self, file: _File, result: Downloaded) -> None:
        lacking = without(self._span, file.asked)
        wanted = sum(end_ns - start_ns for start_ns, end_ns in lacking) // self._length_ns
        before, done = len(file.held), 0
        self._progress(result.symbol, 0, wanted)

        def report(candles: int) -> None:
            self._progress(result.symbol, done + candles, wanted)

        for start_ns, end_ns in lacking:
            fetch = _Fetch(self._connection, file, (start_ns, end_ns), report)
            try:
                await fetch.run()
            except VenueError as error:
                result.error = f"{result.symbol}: {error}"
                break
            finally:
                result.left_out += fetch.left_out
                file.save()
            done += (end_ns - start_ns) // self._length_ns
        result.added = len(file.held) - before

    def _describe(self, held: Candles, result: Downloaded) -> None:
        result.rows = len(held)
        if len(held):
            result.first_ns, result.last_ns = int(held.open_ns[0]), int(held.open_ns[-1])
            result.gaps = gaps_of(held, self._length_ns)
            result.missing = sum(end_ns - start_ns for start_ns, end_ns in result.gaps) // self._length_ns


class _File:
    """A file that grows: what is in it, and what its venue was asked for."""

    def __init__(self, path: Path, symbol: str, timeframe: str) -> None:
        self._path = path
        self._rows: list[Row] = []
        self.held = no_candles(symbol, timeframe)
        self.asked: list[Span] = []
        self._saved_ns = boottime_ns()
        if path.exists():
            self.held = read_candle_file(path, symbol, timeframe)
            validate_candles(str(path), self.held)
            self.asked = asked_spans(path, self.held)

    def add(self, rows: Sequence[Row], asked: Span) -> None:
        """Take rows that come, and save now and then."""
        self._rows.extend(rows)
        self.asked = joined([*self.asked, asked])
        if boottime_ns() - self._saved_ns > SAVE_S * NS_PER_S:
            self.save()

    def save(self) -> None:
        """Write everything down."""
        self._saved_ns = boottime_ns()
        if self._rows:
            self.held = merge_candles(self.held, to_candles(self.held.symbol, self.held.timeframe, self._rows))
            self._rows = []
        if len(self.held):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_candle_file(self._path, self.held, self.asked)


class _Fetch:
    """One span of one symbol on its way into its file."""

    def __init__(self, connection: ExchangeConnection, file: _File, span: Span, report: Callable[[int], None]) -> None:
        self._connection, self._file = connection, file
        self._symbol = file.held.symbol
        self._requests = CandleRequests(connection, file.held.timeframe)
        self._length_ns = self._requests.length_ns
        self._start_ns, self._end_ns = span
        self._report = report
        self.left_out = 0  #: rows that no candle can be

    async def run(self) -> None:
        """Fetch page by page."""
        at_ns = self._start_ns
        while at_ns < self._end_ns:
            page = await self._page(at_ns)
            self.left_out += page.bad
            inside = [row for row in page.rows if row.open_ns < self._end_ns]
            behind_ns = await self._after(page, inside, at_ns)
            self._file.add(inside, (at_ns, behind_ns))
            at_ns = behind_ns
            self._report((at_ns - self._start_ns) // self._length_ns)

    # where to go on; an empty answer is no end: the listing, or the end of a hole, lies somewhere ahead
    async def _after(self, page: Page, inside: Sequence[Row], at_ns: int) -> int:
        if inside:
            # what is not full has told all there is, up to its last candle or to the end
            return min(inside[-1].open_ns + self._length_ns, self._end_ns)
        return self._end_ns if page.rows else await self._first_after(at_ns)

    # doubling steps until there is something again, then halving, to within a page
    async def _first_after(self, at_ns: int) -> int:
        step_ns = self._requests.page_rows * self._length_ns
        empty_ns, ahead_ns = at_ns, at_ns + step_ns
        while ahead_ns < self._end_ns and not (await self._page(ahead_ns)).rows:
            empty_ns, ahead_ns = ahead_ns, ahead_ns + 2 * (ahead_ns - at_ns)
        ahead_ns = min(ahead_ns, self._end_ns)
        while ahead_ns - empty_ns > step_ns:
            middle_ns = empty_ns + (ahead_ns - empty_ns) // 2 // self._length_ns * self._length_ns
            if (await self._page(middle_ns)).rows:
                ahead_ns = middle_ns
            else:
                empty_ns = middle_ns
        return min(empty_ns + step_ns, ahead_ns)

    async def _page(self, since_ns: int) -> Page:
        pause_s = PAUSE_FIRST_S
        for attempt in range(1, TRIES + 1):
            try:
                with explained(self._connection.venue):
                    page = await self._requests.page(self._symbol, since_ns)
                    # nothing is only believed when it is said twice: it would never be asked for again
                    return page if page.rows else await self._requests.page(self._symbol, since_ns)
            except ConfigError as error:
                raise VenueError(str(error)) from error
            except VenueError as error:
                if attempt == TRIES:
                    raise
                wait_s = max(pause_s, self._connection.retry_after_s())
                log.warning("%s; trying again in %.0f s", error, wait_s)
                await asyncio.sleep(wait_s * random.uniform(1.0, 1.25))  # noqa: S311 - so that not all come at once
                pause_s = min(2 * pause_s, PAUSE_MOST_S)
        raise AssertionError("unreachable")


def no_candles(symbol: str, timeframe: str) -> Candles:
    """Return no candles."""
    return to_candles(symbol, timeframe, [])
