"""The board: everything the dashboard knows, read once and encoded once for all who ask.

A document is encoded again only when the board was refreshed since; between two refreshes everybody gets
the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trader.clock import NS_PER_S, boottime_ns
from trader.config.sections import Config
from trader.dashboard import view
from trader.dashboard.answer import Encoded, encode
from trader.dashboard.curve import Curve, Point, points_of, thinned
from trader.dashboard.history import History
from trader.dashboard.source import Sample, Source
from trader.errors import TraderError

Document = dict[str, Any]

#: a reading is not older than this when somebody gets it [ns]
FRESH_NS = NS_PER_S // 4
#: while the engine is away nothing tells that the ledger changed: it is read this often [ns]
LEDGER_NS = 5 * NS_PER_S

SNAPSHOT_POINTS = 1500
UPDATE_POINTS = 200
RECENT_INTERESTING = 60
RECENT_IDLE = 60
RECENT_TRIPS = 50


class Board:
    """Reads and encodes.

    Parameters
    ----------
    config : Config
        The configuration in force.
    source : Source
        Shared memory.
    history : History
        The databases.
    """

    def __init__(self, config: Config, source: Source, history: History) -> None:
        self.config = config
        self.history = history
        self.version = 0
        self.status: Document = {}
        self._source = source
        self._sample = Sample(0, 0)
        self._curve = Curve(history.curve(SNAPSHOT_POINTS))
        self._position = 0
        self._read_ns = 0
        self._born = boottime_ns()
        self._ledger_ns = 0
        self._ledger_key: tuple[int, ...] = ()
        self._ledger_account: Any = None
        self._ledger_positions: list[Document] = []
        self._decisions: list[Document] = []
        self._trips: list[Document] = []
        self._records_version = 0
        self._encoded: dict[str, tuple[int, Encoded]] = {}
        self._pushed: dict[str, bytes] = {}
        self._owed: set[str] = set()

    @property
    def decisions(self) -> list[Document]:
        """The newest decisions, newest first."""
        return self._decisions

    @property
    def trips(self) -> list[Document]:
        """The newest round trips, newest first."""
        return self._trips

    @property
    def records_version(self) -> int:
        """Rises when decisions or round trips may have changed."""
        return self._records_version

    def refresh(self) -> Document:
        """Read everything anew unless it is fresh; return the status document."""
        now_ns = boottime_ns()
        if now_ns - self._read_ns < FRESH_NS and self.version:
            return self.status
        self._read_ns = now_ns
        self._sample = self._source.sample()
        self._read_curve()
        self._read_ledger(now_ns)
        if self._sample.book is not None:
            self.status = view.status_document(self._sample, self.config, self._sample.book.account)
        else:
            self.status = view.status_document(self._sample, self.config, self._ledger_account, self._ledger_positions)
        self.version += 1
        return self.status

    def encoded(self, name: str, build: Callable[[], Any]) -> Encoded:
        """Return a document as JSON, encoded once for each reading."""
        self.refresh()
        known = self._encoded.get(name)
        if known is None or known[0] != self.version:
            tag = f'"{self._born:x}-{self.version:x}"'
            known = self._encoded[name] = (self.version, Encoded(encode(build()), etag=tag))
        return known[1]

    def snapshot(self) -> Encoded:
        """Return everything that a page needs to begin."""
        found = self.encoded("snapshot", self._snapshot)
        # what may be another than at the last update goes into the next one, also when it has changed back by then
        self._owed.update(name for name, part in self.status.items() if self._pushed.get(name) != encode(part))
        return found

    def update(self, after_ms: int, records_version: int) -> bytes:
        """Return what has changed since the last update, for pages that saw it.

        Parameters
        ----------
        after_ms : int
            Market time of the last point of the curve that they have.
        records_version : int
            `records_version` that they have.

        Returns
        -------
        bytes
            JSON: the members of the status that changed, new points, and the newest records if there are other ones.
        """
        frame: Document = {"type": "update", "status": self._changed(self.refresh())}
        if points := self.points_after(after_ms):
            frame["equity"] = points
        if records_version != self._records_version:
            frame["decisions"] = self._decisions
            frame["trades"] = self._trips
        return encode(frame)

    def _changed(self, status: Document) -> Document:
        encoded = {name: encode(part) for name, part in status.items()}
        changed = {
            name: part for name, part in status.items() if name in self._owed or self._pushed.get(name) != encoded[name]
        }
        self._pushed = encoded
        self._owed.clear()
        return changed

    @property
    def market_ns(self) -> int:
        """Market time of the last reading [ns UTC]; 0: nothing is known."""
        return int(self.refresh()["market"]["time_ms"] or 0) * 1_000_000

    def tick_size(self, symbol: str) -> float | None:
        """Return a symbol's price step; None until an engine has told it."""
        book = self._sample.book
        if book is None or symbol not in book.symbols:
            return None
        return float(book.slots["tick_size"][book.symbols.index(symbol)]) or None

    @property
    def curve_end_ms(self) -> int:
        """Market time of the curve's last point [ms UTC]."""
        return self._curve.last_ms

    def points_after(self, time_ms: int) -> list[Point]:
        """Return the curve's newer points, few enough for one push."""
        return self._curve.since(time_ms, UPDATE_POINTS)

    def curve(self, old: list[Point], points: int, since_ms: int, until_ms: int) -> list[Point]:
        """Return the curve of a range: history as far as it goes, then what is newer."""
        self.refresh()
        newest = old[-1][0] if old else since_ms - 1
        live = [point for point in self._curve.since(newest, points) if point[0] <= until_ms]
        return thinned(old + live, points)

    def _snapshot(self) -> Document:
        return {
            "type": "snapshot",
            "status": self.status,
            "equity": self._curve.since(0, SNAPSHOT_POINTS),
            "decisions": self._decisions,
            "trades": self._trips,
        }

    def _read_curve(self) -> None:
        try:
            records, self._position, _ = self._source.reader.equity_since(self._position)
        except TraderError:
            return
        self._curve.extend(points_of(records))

    def _read_ledger(self, now_ns: int) -> None:
        key = self._counters()
        changed = bool(key) and key != self._ledger_key and now_ns - self._ledger_ns >= NS_PER_S // 2
        if not changed and now_ns - self._ledger_ns < LEDGER_NS:
            return
        self._ledger_ns, self._ledger_key = now_ns, key
        if self._sample.book is None:
            self._ledger_account = self.history.account()
            self._ledger_positions = self.history.positions()
        decisions = self.history.recent_decisions(RECENT_INTERESTING, RECENT_IDLE)
        trips = self.history.trips(RECENT_TRIPS)
        if decisions != self._decisions or trips != self._trips:
            self._decisions, self._trips = decisions, trips
            self._records_version += 1

    def _counters(self) -> tuple[int, ...]:
        """Return what changes whenever the ledger has something new to show."""
        if not self._sample.engine_up or self._sample.book is None:
            return ()
        account = self._sample.book.account
        return tuple(int(account[name]) for name in ("decisions", "cycles", "round_trips", "day_trades"))
