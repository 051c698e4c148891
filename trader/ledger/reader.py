"""The ledger as everyone else reads it: while the engine writes, and when no service runs.

Never writes a byte of it. Each query sees one committed state; several that must agree go into one `snapshot`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import numpy as np

from trader.codes import Halt
from trader.core.records import ACCOUNT, new_slots
from trader.core.rulebook import rules_of
from trader.domain.decision import Decision
from trader.domain.fill import Fill
from trader.domain.invalidation import Invalidation
from trader.domain.order import Order, OrderEvent, OrderState
from trader.domain.round_trip import RoundTrip
from trader.errors import LedgerMissing
from trader.ledger import disk, layouts, rows, schema
from trader.ledger.books import Holding

# the dashboard asks from a thread of its own, never from two at a time
_OPTIONS: dict[str, Any] = {"uri": True, "isolation_level": None, "timeout": 5.0, "check_same_thread": False}
_LIVE = "state NOT IN ('filled', 'canceled', 'rejected', 'expired', 'lost')"


@dataclass(frozen=True, slots=True)
class Position:
    """An open position with its exit plan: exact amounts, and the levels as the kernels know them."""

    holding: Holding
    mark_price: float  #: last price [quote per base]; NaN: none yet
    mark_ns: int
    stop_price: float  #: NaN: none
    target_price: float  #: NaN: none
    trailing_stop_frac: float  #: NaN: none
    best_price: float  #: since entry
    expires_ns: int  #: 0: never
    invalidations: tuple[Invalidation, ...] = ()

    @property
    def symbol(self) -> str:
        """Its symbol."""
        return self.holding.symbol

    @property
    def unrealised_pnl(self) -> float:
        """Result at the last price, before the fee of closing [quote]; NaN without a price."""
        return float(self.holding.quantity) * (self.mark_price - float(self.holding.entry_price))


@dataclass(frozen=True, slots=True)
class Day:
    """The beginning of a UTC day."""

    day: int  #: days since the Unix epoch
    start_equity: float  #: [quote]
    time_ns: int  #: first event of the day, market time


@dataclass(frozen=True, slots=True)
class HaltChange:
    """Entries were halted for a cause, or no longer are."""

    time_ns: int  #: market time
    halt: Halt
    active: bool
    note: str
    recorded_ns: int  #: wall clock


@dataclass(frozen=True, slots=True)
class OrderStep:
    """One event in an order's life."""

    order_id: int
    event: OrderEvent
    state: OrderState  #: after it
    time_ns: int  #: market time


class LedgerReader:
    """Reads a ledger.

    Parameters
    ----------
    path : Path
        The ledger.

    Raises
    ------
    LedgerMissing
        When there is none.
    LedgerDamaged
        When it can't be read as one.
    LedgerTooNew
        When a newer version of trader wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise LedgerMissing(f"there is no ledger at {path}: it begins when the service first runs")
        self._connection = _connect(path)
        try:
            self.layout = disk.read_layout(self._connection, path)
            layouts.provide_views(self._connection, self.layout)
        except sqlite3.Error as error:
            self._connection.close()
            raise disk.translated(error, path) from error
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def snapshot(self) -> Iterator[Self]:
        """Let all queries inside see the same committed state; one inside another is part of it."""
        if self._connection.in_transaction:
            yield self
            return
        self._rows("BEGIN")
        try:
            yield self
        finally:
            self._connection.execute("ROLLBACK")

    # -- the account ---------------------------------------------------------------------------

    def meta(self) -> dict[str, str]:
        """Return what the ledger was begun as: instance, quote, initial_capital, mode, format."""
        return dict(self._rows("SELECT key, value FROM meta"))

    def cursor_ns(self) -> int:
        """Return the market time up to which everything was worked through [ns UTC]; 0: nothing was."""
        return int(self._rows("SELECT cursor_ns FROM cursor")[0][0])

    def account(self) -> np.void | None:
        """Return the account as it was last committed, dtype ACCOUNT; None before the first event."""
        found = self._rows(rows.select("account"))
        if not found:
            return None
        account = np.zeros(1, ACCOUNT)
        rows.fill_account(account, found[0])
        record: np.void = account[0]
        return record

    def balances(self) -> dict[str, Decimal]:
        """Return the exact amount of each currency."""
        return {currency: Decimal(amount) for currency, amount in self._rows(rows.select("balances"))}

    def paper_balances(self) -> dict[str, Decimal]:
        """Return what the paper venue holds of each currency."""
        return {currency: Decimal(amount) for currency, amount in self._rows(rows.select("paper_balances"))}

    def holdings(self) -> list[Holding]:
        """Return the open positions in exact amounts, by symbol."""
        return [rows.holding_from(row) for row in self._rows(rows.select("positions", "ORDER BY symbol"))]

    def slots(self) -> dict[str, np.void]:
        """Return the kernels' view of every symbol, dtype SLOT; what the configuration decides is 0."""
        found = self._rows(rows.select("slots", "ORDER BY symbol"))
        slots = new_slots(len(found))
        for index, row in enumerate(found):
            rows.fill_slot(slots, index, row, ())
        return {row[0]: slots[index] for index, row in enumerate(found)}

    def positions(self) -> list[Position]:
        """Return the open positions with their exit plans, by symbol."""
        with self.snapshot():
            holdings, slots = self.holdings(), self.slots()
        blank = new_slots(1)[0]
        return [_position(holding, slots.get(holding.symbol, blank)) for holding in holdings]

    # -- orders and fills ----------------------------------------------------------------------

    def orders(
        self,
        limit: int | None = None,
        symbol: str | None = None,
        *,
        live: bool = False,
        newest_first: bool = True,
        before_id: int | None = None,
    ) -> list[Order]:
        """Return orders, newest first.

        Parameters
        ----------
        limit : int, optional
            At most so many.
        symbol : str, optional
            Of this symbol only.
        live : bool
            Only those that have not ended.
        newest_first : bool
            False: oldest first.
        before_id : int, optional
            Only those with a smaller number.
        """
        conditions = [_LIVE] if live else []
        if before_id is not None:
            conditions.append(f"order_id < {int(before_id)}")
        rest, values = _rest("order_id", conditions, symbol, limit, newest_first=newest_first)
        return [rows.order_from(row) for row in self._rows(rows.select("orders", rest), values)]

    def order(self, order_id: int) -> Order | None:
        """Return one order; None when there is no such order."""
        found = self._rows(rows.select("orders", "WHERE order_id = ?"), (order_id,))
        return rows.order_from(found[0]) if found else None

    def order_steps(self, order_id: int | None = None) -> list[OrderStep]:
        """Return the events of one order's life, or of all orders, oldest first."""
        where, values = ("WHERE order_id = ?", (order_id,)) if order_id is not None else ("", ())
        found = self._rows(rows.select("order_events", f"{where} ORDER BY event_id"), values)
        return [OrderStep(row[1], OrderEvent(row[2]), OrderState(row[3]), row[4]) for row in found]

    def fills(
        self, limit: int | None = None, symbol: str | None = None, *, newest_first: bool = True, after_id: int = 0
    ) -> list[Fill]:
        """Return fills, newest first; `after_id` leaves out the first so many ever recorded."""
        conditions = [f"fill_id > {int(after_id)}"] if after_id else []
        rest, values = _rest("fill_id", conditions, symbol, limit, newest_first=newest_first)
        return [rows.fill_from(row) for row in self._rows(rows.select("fills", rest), values)]

    def round_trips(
        self,
        limit: int | None = None,
        symbol: str | None = None,
        *,
        newest_first: bool = True,
        before: tuple[int, int] | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
    ) -> list[RoundTrip]:
        """Return closed positions, the last closed first.

        Parameters
        ----------
        limit : int, optional
            At most so many.
        symbol : str, optional
            Of this symbol only.
        newest_first : bool
            False: oldest first.
        before : (int, int), optional
            Only those that come after a round trip in this order: its `exit_ns` and `position_id`.
        since_ns, until_ns : int, optional
            Only those that were open at some time between these two, both inclusive [ns UTC].
        """
        conditions = [f"exit_ns >= {int(since_ns)}"] if since_ns is not None else []
        if until_ns is not None:
            conditions.append(f"entry_ns <= {int(until_ns)}")
        if before is not None:
            conditions.append(f"(exit_ns, position_id) < ({int(before[0])}, {int(before[1])})")
        rest, values = _rest("exit_ns", conditions, symbol, limit, newest_first=newest_first, then="position_id")
        return [rows.round_trip_from(row) for row in self._rows(rows.select("round_trips", rest), values)]

    # -- decisions and the rest ----------------------------------------------------------------

    def decisions(
        self,
        limit: int | None = 100,
        symbol: str | None = None,
        since_ns: int | None = None,
        *,
        idle: bool = True,
        newest_first: bool = True,
        until_ns: int | None = None,
        before_id: int | None = None,
        decided: int | None = None,
        mask: int = 0,
    ) -> list[Decision]:
        """Return decisions, newest first.

        Parameters
        ----------
        limit : int, optional
            At most so many; None: all.
        symbol : str, optional
            On this symbol only.
        since_ns : int, optional
            Of this market time or later [ns UTC].
        idle : bool
            False: only those that ordered something, or would have.
        newest_first : bool
            False: oldest first.
        until_ns : int, optional
            Of this market time or earlier [ns UTC].
        before_id : int, optional
            Only those with a smaller number.
        decided : int, optional
            Only those that became this, see `codes.Decided`.
        mask : int
            Only those that broke at least one of these limits, see `codes.Limit`; 0: all.
        """
        conditions = [f"time_ns >= {int(since_ns)}"] if since_ns is not None else []
        bounds = (("time_ns <= ", until_ns), ("decision_id < ", before_id), ("decided = ", decided))
        conditions += [f"{words}{int(value)}" for words, value in bounds if value is not None]
        if mask:
            conditions.append(f"mask & {int(mask)} != 0")
        if not idle:
            conditions.append("decided IN (1, 2, 3, 4, 7)")
        with self.snapshot():  # decisions of a moment later may bring names that are not among these
            names = dict(self._rows("SELECT name_id, name FROM names"))
            if symbol is not None:
                symbol_id = next((key for key, name in names.items() if name == symbol), -1)
                conditions.append(f"symbol_id = {symbol_id}")
            rest, values = _rest("decision_id", conditions, None, limit, newest_first=newest_first)
            columns = ", ".join(schema.DECISION_COLUMNS)
            found = self._rows(f"SELECT {columns} FROM decisions {rest}", values)  # noqa: S608 - our own names
        return [rows.decision_from(row, names) for row in found]

    def decision(self, decision_id: int) -> Decision | None:
        """Return one decision; None when there is no such decision."""
        columns = ", ".join(schema.DECISION_COLUMNS)
        with self.snapshot():
            names = dict(self._rows("SELECT name_id, name FROM names"))
            found = self._rows(f"SELECT {columns} FROM decisions WHERE decision_id = ?", (decision_id,))  # noqa: S608
        return rows.decision_from(found[0], names) if found else None

    def decision_counts(self) -> dict[int, int]:
        """Return how many decisions there are of each kind, by `codes.Decided`."""
        return dict(self._rows("SELECT decided, count(*) FROM decisions GROUP BY decided ORDER BY decided"))

    def days(self) -> list[Day]:
        """Return the UTC days that were traded on, oldest first."""
        return [Day(*row) for row in self._rows(rows.select("days", "ORDER BY day"))]

    def halts(self, limit: int | None = None) -> list[HaltChange]:
        """Return halts and resumptions, newest first."""
        columns = "time_ns, halt, active, note, recorded_ns"
        rest, values = _rest("halt_id", [], None, limit, newest_first=True)
        found = self._rows(f"SELECT {columns} FROM halts {rest}", values)  # noqa: S608 - our own names
        return [HaltChange(row[0], Halt(row[1]), bool(row[2]), row[3], row[4]) for row in found]

    # -- plumbing ------------------------------------------------------------------------------

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a query of one's own; the audit uses it."""
        return self._rows(statement, values)

    @property
    def connection(self) -> sqlite3.Connection:
        """The read-only connection."""
        return self._connection

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise disk.translated(error, self.path) from error


def _connect(path: Path) -> sqlite3.Connection:
    location = path.absolute().as_uri()
    try:
        connection: sqlite3.Connection = sqlite3.connect(f"{location}?mode=ro", **_OPTIONS)
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            connection.close()
            wal = disk.wal_path(path)
            if wal.exists() and wal.stat().st_size:
                raise
            # Who may not write in the folder can't make the log's index; without a log none is needed.
            connection = sqlite3.connect(f"{location}?immutable=1", **_OPTIONS)
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        raise disk.translated(error, path) from error
    return connection


def _rest(
    key: str,
    conditions: Sequence[str],
    symbol: str | None,
    limit: int | None,
    *,
    newest_first: bool,
    then: str | None = None,
) -> tuple[str, tuple[Any, ...]]:
    """Return what follows FROM TABLE: conditions, order and limit, with the values to bind."""
    order = "DESC" if newest_first else "ASC"
    all_conditions = [*conditions, *(("symbol = ?",) if symbol is not None else ())]
    where = f"WHERE {' AND '.join(all_conditions)} " if all_conditions else ""
    second = f", {then} {order}" if then else ""
    values = (*((symbol,) if symbol is not None else ()), *((limit,) if limit is not None else ()))
    return f"{where}ORDER BY {key} {order}{second}{' LIMIT ?' if limit is not None else ''}", values


def _position(holding: Holding, slot: np.void) -> Position:
    return Position(
        holding=holding,
        mark_price=float(slot["mark_price"]),
        mark_ns=int(slot["mark_ns"]),
        stop_price=float(slot["stop_price"]),
        target_price=float(slot["target_price"]),
        trailing_stop_frac=float(slot["trailing_stop_frac"]),
        best_price=float(slot["best_price"]),
        expires_ns=int(slot["expires_ns"]),
        invalidations=rules_of(slot),
    )
