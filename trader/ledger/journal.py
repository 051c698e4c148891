"""The journal: the ledger as the engine writes it.

What a step changes is collected in memory and written by `commit` as one transaction, so that a kill at any
moment leaves the state after a whole step. When the disk can't take it, nothing is forgotten: the same work
is tried again by the next commit. One process writes a ledger, and that is the engine.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from trader.clock import utc_ns
from trader.codes import Halt, Reason
from trader.domain.adjustment import Adjustment
from trader.domain.decision import Decision
from trader.domain.fill import Fill
from trader.domain.order import Order, OrderEvent
from trader.domain.round_trip import RoundTrip
from trader.errors import ConfigError, DuplicateClientOrderId, LedgerUnwritable
from trader.ledger import disk, opening, rows, schema, seals
from trader.ledger.books import Books
from trader.ledger.pending import Pending, State
from trader.ledger.upgrade import upgrade
from trader.units import plain

_LIVE = "WHERE state NOT IN ('filled', 'canceled', 'rejected', 'expired', 'lost') ORDER BY order_id"
_RESERVE_RETRY_COMMITS = 64


@dataclass(frozen=True, slots=True)
class Restored:
    """What a ledger gave back."""

    fresh: bool  #: nothing was there yet: the account begins now
    cursor_ns: int  #: market time up to which everything was done; 0: nothing was
    open_orders: tuple[Order, ...]  #: orders that are not in a terminal state, oldest first
    forgotten: tuple[str, ...]  #: strategies that held positions and are no longer configured


class Ledger:
    """The engine's hand on its ledger; made by `Ledger.open`.

    Attributes
    ----------
    books : Books
        Exact balances and positions, as of what was recorded (not only what was committed).
    strained : bool
        The disk is so full that the reserve is spent or could not be set aside: entries should halt, exits can
        still be written down.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, reserve: disk.Reserve) -> None:
        self.path = path
        self.strained = not reserve.take()
        self._connection = connection
        self._reserve = reserve
        self._commits_until_reserve = 0
        self._names: dict[str, int] = {name: key for key, name in connection.execute("SELECT name_id, name FROM names")}
        self._name_count = len(self._names)
        self._counts = self._load_counts()
        self._last_order = self._greatest("order_id", "orders")
        self._last_decision = self._greatest("decision_id", "decisions")
        self._paper = self._load_amounts("paper_balances")
        self._leaving: dict[str, tuple[Reason, int, int]] = {
            row[0]: (Reason(row[1]), row[2], row[3]) for row in rows.fetch(connection, "leaving")
        }
        self._symbols: tuple[str, ...] = ()
        self._strategy_names: tuple[str, ...] = ()
        self._state_written: State | None = None
        self._pending = Pending()
        self.books = self._load_books()

    # -- opening and closing -------------------------------------------------------------------

    @classmethod
    def open(cls, path: Path, *, instance: str, quote: str, initial_capital: Decimal, mode: str = "paper") -> Self:
        """Open a ledger, or begin one; one of an earlier format is taken over, and its file kept beside it.

        Parameters
        ----------
        path : Path
            Where it is; its folder is made when it is missing.
        instance : str
            Name of the instance; a ledger belongs to one.
        quote : str
            Currency of the account.
        initial_capital : Decimal
            Cash at the very start [quote].
        mode : str
            "paper" or "live"; play money and real money never share a ledger.

        Returns
        -------
        Ledger
            Ready to be restored from and written to.

        Raises
        ------
        LedgerDamaged
            When the file isn't whole; not a byte of it was touched.
        LedgerTooNew
            When a newer version of trader wrote it.
        LedgerUnwritable
            When it can't be written now.
        ConfigError
            When it belongs to another instance, currency, capital or mode.
        """
        begun_as = {
            "instance": instance,
            "quote": quote,
            "initial_capital": plain(initial_capital),
            "mode": mode,
        }
        try:
            if disk.exists(path):
                opening.refuse_another_account(disk.check(path), path, begun_as)
                upgrade(path)
            else:
                opening.begin(path, begun_as, initial_capital)
            connection = opening.connect(path)
        except sqlite3.Error as error:
            raise disk.translated(error, path) from error
        except OSError as error:
            raise LedgerUnwritable(f"{path} can not be opened: {error.strerror or error}") from error
        return cls(path, connection, disk.Reserve(path.with_suffix(".reserve")))

    def close(self) -> None:
        """Write what is pending and close the file; raises what `commit` raises, closed in any case."""
        try:
            self.commit()
        finally:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- recording -----------------------------------------------------------------------------

    def next_order_id(self) -> int:
        """Return the next order id: 1, 2, ..., going on after a restart."""
        self._last_order += 1
        return self._last_order

    def next_decision_id(self) -> int:
        """Return the next decision id: 1, 2, ..., going on after a restart."""
        self._last_decision += 1
        return self._last_decision

    def record_order(self, order: Order) -> None:
        """Record an order that is new.

        Raises
        ------
        DuplicateClientOrderId
            When its client order id was used before.
        """
        known = self._connection.execute("SELECT 1 FROM orders WHERE client_order_id = ?", (order.client_order_id,))
        if order.client_order_id in self._pending.client_order_ids or known.fetchone():
            raise DuplicateClientOrderId(f"client order id {order.client_order_id} was used before")
        self._pending.client_order_ids.add(order.client_order_id)
        self._counts["orders"] += 1
        self._pending.orders[order.order_id] = order

    def update_order(self, order: Order, event: OrderEvent | None = None) -> None:
        """Record what has become of an order, and the event that has brought it there."""
        self._pending.orders[order.order_id] = order
        if event is None:
            return
        self._counts["order_events"] += 1
        number = self._counts["order_events"]
        self._pending.order_events.append((number, order.order_id, event.value, order.state.value, order.updated_ns))

    def order(self, order_id: int) -> Order | None:
        """Return an order by its id, as it was recorded last; None when there is no such order."""
        pending = self._pending.orders.get(order_id)
        if pending is not None:
            return pending
        found = rows.fetch(self._connection, "orders", "WHERE order_id = ?", (order_id,))
        return rows.order_from(found[0]) if found else None

    def record_fill(self, fill: Fill) -> bool:
        """Record a fill once; return False, and change nothing, when its trade id is known already."""
        known = self._connection.execute("SELECT 1 FROM fills WHERE trade_id = ?", (fill.trade_id,))
        if fill.trade_id in self._pending.fills or known.fetchone():
            return False
        self._counts["fills"] += 1
        self._pending.fills[fill.trade_id] = (self._counts["fills"], fill)
        return True

    def record_round_trip(self, trip: RoundTrip) -> None:
        """Record a position that was closed."""
        self._counts["round_trips"] += 1
        self._pending.round_trips.append(trip)

    def record_decisions(self, decisions: Iterable[Decision]) -> None:
        """Record decisions, ascending by decision id."""
        before = len(self._pending.decisions)
        self._pending.decisions.extend(decisions)
        self._counts["decisions"] += len(self._pending.decisions) - before

    def record_halt(self, halt: Halt, *, active: bool, time_ns: int, note: str = "") -> None:
        """Record that entries were halted for a cause, or no longer are."""
        self._counts["halts"] += 1
        self._pending.halts.append((self._counts["halts"], time_ns, int(halt), int(active), note))

    def record_day(self, day: int, start_equity: float, time_ns: int) -> None:
        """Record the beginning of a UTC day."""
        self._pending.days[day] = (day, float(start_equity), time_ns)

    @property
    def mark(self) -> str:
        """The letters that all client order ids of this ledger carry; "" on paper."""
        found = self._connection.execute("SELECT value FROM meta WHERE key = 'mark'").fetchone()
        return str(found[0]) if found else ""

    @property
    def fill_count(self) -> int:
        """How many fills were recorded."""
        return self._counts["fills"]

    def skip_order_ids(self, used: int, beyond: int) -> bool:
        """Go on beyond an order number that was used elsewhere; tell whether it was ahead of ours.

        Parameters
        ----------
        used : int
            A number that is taken.
        beyond : int
            How many more are left out.
        """
        ahead = used > self._last_order
        if ahead:
            self._last_order = used + beyond
        return ahead

    def order_by_venue_id(self, symbol: str, venue_order_id: str) -> Order | None:
        """Return the newest order of a symbol that the venue knows by this id; None when there is none."""
        for order in reversed(self._pending.orders.values()):
            if (order.symbol, order.venue_order_id) == (symbol, venue_order_id):
                return order
        where = "WHERE venue_order_id = ? AND symbol = ? ORDER BY order_id DESC LIMIT 1"
        found = rows.fetch(self._connection, "orders", where, (venue_order_id, symbol))
        return rows.order_from(found[0]) if found else None

    def order_by_client_id(self, client_order_id: str) -> Order | None:
        """Return an order by the id that the venue was given; None when there is no such order."""
        for order in self._pending.orders.values():
            if order.client_order_id == client_order_id:
                return order
        found = rows.fetch(self._connection, "orders", "WHERE client_order_id = ?", (client_order_id,))
        return rows.order_from(found[0]) if found else None

    def last_filled_order(self, symbol: str) -> Order | None:
        """Return the order of a symbol's newest fill; None when there is none."""
        for _, fill in reversed(self._pending.fills.values()):
            if fill.symbol == symbol:
                return self.order(fill.order_id)
        query = "SELECT order_id FROM fills WHERE symbol = ? ORDER BY fill_id DESC LIMIT 1"
        found = self._connection.execute(query, (symbol,)).fetchone()
        return self.order(found[0]) if found else None

    def knows_trade(self, trade_id: str) -> bool:
        """Tell whether a fill with this trade id was recorded."""
        known = self._connection.execute("SELECT 1 FROM fills WHERE trade_id = ?", (trade_id,))
        return trade_id in self._pending.fills or known.fetchone() is not None

    def next_adjustment_id(self) -> int:
        """Return the number of the next adjustment: 1, 2, ..., going on after a restart."""
        return self._counts["adjustments"] + 1

    def record_adjustment(self, adjustment: Adjustment) -> None:
        """Record a change that no fill explains; the books are moved by whoever found it."""
        self._counts["adjustments"] += 1
        self._pending.adjustments[adjustment.adjustment_id] = adjustment

    def adjustments(self, *, waiting: bool = False) -> tuple[Adjustment, ...]:
        """Return all adjustments, or those alone that wait for the owner to accept them; oldest first."""
        where = f"WHERE accepted < {1 if waiting else 2} ORDER BY adjustment_id"
        found = {row[0]: rows.adjustment_from(row) for row in rows.fetch(self._connection, "adjustments", where)}
        found.update(self._pending.adjustments)
        return tuple(found[key] for key in sorted(found) if not (waiting and found[key].accepted))

    def accept_adjustment(self, adjustment: Adjustment) -> None:
        """Record that the owner has accepted an unexplained difference."""
        self._pending.adjustments[adjustment.adjustment_id] = replace(adjustment, accepted=True)

    def leaving(self) -> dict[str, tuple[Reason, int, int]]:
        """Return the symbols whose position is to end: why, the decision that it follows from, since when."""
        return dict(self._leaving)

    def set_leaving(self, symbol: str, why: tuple[Reason, int, int] | None) -> None:
        """Record that a position is to end, or (None) that it has."""
        if why is None:
            self._leaving.pop(symbol, None)
        else:
            self._leaving[symbol] = why
        self._pending.leaving.add(symbol)

    def paper_balances(self) -> dict[str, Decimal]:
        """Return what the paper venue holds, by currency."""
        return dict(self._paper)

    def set_paper_balance(self, currency: str, amount: Decimal) -> None:
        """Record what the paper venue holds of a currency now."""
        self._paper[currency] = amount
        self._pending.paper_balances.add(currency)

    def save_state(self, desk: rows.Records, slots: rows.Records, cursor_ns: int) -> None:
        """Take down the account and the slots as they are now, and how far market time was worked through.

        Cheap (two copies): only what is newest at the next `commit` is written, and nothing when nothing changed.
        """
        account = desk["account"].copy()
        account["updated_ns"] = 0
        state = (account, slots.copy(), cursor_ns)
        if self._pending.state is None and _same(state, self._state_written):
            return
        self._pending.state = state

    # -- writing -------------------------------------------------------------------------------

    def commit(self) -> None:
        """Write everything recorded since the last commit in one transaction, and wait until it is on disk.

        When the disk is full the reserve is given back and the write tried once more; `strained` tells.

        Raises
        ------
        LedgerUnwritable
            When it can't be written now; nothing is lost, a later commit tries again.
        LedgerDamaged
            When SQLite finds the file damaged.
        """
        if self._pending.is_empty and not self._changed_books():
            self._remake_reserve(at_once=True)  # an engine that waits for space has nothing else to write
            return
        self._remake_reserve()
        try:
            self._write()
        except LedgerUnwritable:
            self.strained = True
            if not self._reserve.release():
                raise
            self._write()

    @property
    def uncommitted(self) -> int:
        """How many records wait for the next commit."""
        return len(self._pending)

    def _changed_books(self) -> bool:
        return bool(self.books.changed_balances or self.books.changed_holdings)

    def _remake_reserve(self, *, at_once: bool = False) -> None:
        # Looking is cheap but not free: once in a while is soon enough.
        if not self.strained:
            return
        self._commits_until_reserve -= 1
        if at_once or self._commits_until_reserve < 0:
            self._commits_until_reserve = _RESERVE_RETRY_COMMITS
            self.strained = not self._reserve.take()

    def _write(self) -> None:
        names = dict(self._names)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._write_pending()
            self._connection.execute("COMMIT")
        except BaseException as error:
            self._names = names
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise disk.translated(error, self.path) from error
            raise
        self._name_count = len(self._names)
        self._state_written = self._pending.state or self._state_written
        self._pending = Pending()
        self.books.changed_balances.clear()
        self.books.changed_holdings.clear()

    def _write_pending(self) -> None:
        pending, stamp = self._pending, utc_ns()
        decisions = self._decision_rows()
        self._put("names", [(key, name) for name, key in list(self._names.items())[self._name_count :]])
        self._put("orders", [rows.order_row(order) for order in pending.orders.values()], stamp)
        self._put("order_events", pending.order_events)
        self._put("fills", [rows.fill_row(number, fill) for number, fill in pending.fills.values()], stamp)
        self._put("round_trips", [rows.round_trip_row(trip) for trip in pending.round_trips])
        self._put("days", list(pending.days.values()))
        self._put("halts", pending.halts, stamp)
        self._put("adjustments", [rows.adjustment_row(item) for item in pending.adjustments.values()], stamp)
        self._write_leaving(pending.leaving)
        self._put("paper_balances", [(name, plain(self._paper[name])) for name in sorted(pending.paper_balances)])
        self._write_books()
        self._write_decisions(decisions)
        self._write_state()

    def _put(self, table: str, values: Sequence[Sequence[Any]], stamp: int | None = None) -> None:
        if values:
            statement = schema.upsert(table, recorded=stamp is not None)
            self._connection.executemany(statement, [seals.sealed(row, stamp) for row in values])

    def _write_leaving(self, changed: set[str]) -> None:
        gone = [(symbol,) for symbol in changed if symbol not in self._leaving]
        self._connection.executemany("DELETE FROM leaving WHERE symbol = ?", gone)
        kept = sorted(symbol for symbol in changed if symbol in self._leaving)
        self._put("leaving", [(name, int(self._leaving[name][0]), *self._leaving[name][1:]) for name in kept])

    def _write_books(self) -> None:
        books = self.books
        self._put("balances", [(name, plain(books.balances[name])) for name in sorted(books.changed_balances)])
        changed = sorted(books.changed_holdings)
        gone = [(symbol,) for symbol in changed if symbol not in books.holdings]
        self._connection.executemany("DELETE FROM positions WHERE symbol = ?", gone)
        self._put("positions", [rows.holding_row(books.holdings[name]) for name in changed if name in books.holdings])

    def _decision_rows(self) -> list[tuple[Any, ...]]:
        # A replay writes half a million of these: unpacking is twice as fast as asking by name. A REAL column
        # forgets the sign of -0.0, and NaN is NULL; both are done here already, so that the seals fit.
        names = {name: self._name_id(name) for d in self._pending.decisions for name in (d.strategy, d.symbol)}
        return [
            (
                number, cycle, time_ns, names[strategy], names[symbol], candle_ns,
                price + 0.0 if price == price else None,  # noqa: PLR0124
                int(direction),
                confidence + 0.0 if confidence == confidence else None,  # noqa: PLR0124
                value + 0.0 if value == value else None,  # noqa: PLR0124
                int(decided), int(mask), order_id, detail or None, note or None,
            )
            for (
                number, cycle, time_ns, strategy, symbol, candle_ns, price, direction, confidence, value,
                decided, mask, order_id, detail, note,
            ) in self._pending.decisions
        ]  # fmt: skip

    def _write_decisions(self, values: list[tuple[Any, ...]]) -> None:
        if not values:
            return
        self._connection.executemany(schema.insert_decisions(), values)
        first, last = values[0][0] // seals.DECISIONS_PER_BLOCK, values[-1][0] // seals.DECISIONS_PER_BLOCK
        stored = self._connection.execute(
            "SELECT block, count, seal FROM decision_seals WHERE block BETWEEN ? AND ?", (first, last)
        )
        blocks = {block: (count, seal) for block, count, seal in stored}
        seals.extend_blocks(blocks, values)
        self._put("decision_seals", [(block, count, seal) for block, (count, seal) in sorted(blocks.items())])

    def _write_state(self) -> None:
        cursor_ns = None
        if self._pending.state is not None:
            account, slots, cursor_ns = self._pending.state
            self._put("account", [rows.account_row(account)])
            self._put("slots", self._changed_slots(slots))
        if cursor_ns is None:
            cursor_ns = self._connection.execute("SELECT cursor_ns FROM cursor").fetchone()[0]
        counts = (self._counts[table] for table in schema.SEALED["cursor"][2:])
        self._put("cursor", [(1, cursor_ns, *counts)])

    def _changed_slots(self, slots: rows.Records) -> list[tuple[Any, ...]]:
        before = self._state_written[1] if self._state_written else None
        return [
            rows.slot_row(slots[index], symbol, self._strategy_names)
            for index, symbol in enumerate(self._symbols)
            if before is None or before[index].tobytes() != slots[index].tobytes()
        ]

    def _name_id(self, name: str) -> int:
        return self._names.setdefault(name, len(self._names) + 1)

    # -- restoring -----------------------------------------------------------------------------

    def restore(
        self, desk: rows.Records, slots: rows.Records, symbols: Sequence[str], strategy_names: Sequence[str]
    ) -> Restored:
        """Write the last committed state into desk and slots, bit by bit, orders in flight included.

        What the configuration decides (limits, steps, costs) is left as it is.

        Parameters
        ----------
        desk : ndarray of DESK, shape (1,)
            Its account is written.
        slots : ndarray of SLOT, shape (n_symbols,)
            Written, but for the fields that the configuration decides.
        symbols : sequence of str
            Symbol of each slot.
        strategy_names : sequence of str
            Name of each configured strategy.

        Returns
        -------
        Restored
            How far the work was done, and the orders that are still open.

        Raises
        ------
        ConfigError
            When a position or an order is open in a symbol that is not configured.
        """
        self._symbols, self._strategy_names = tuple(symbols), tuple(strategy_names)
        open_orders = tuple(rows.order_from(row) for row in rows.fetch(self._connection, "orders", _LIVE))
        self._refuse_missing_symbols(open_orders)
        account = rows.fetch(self._connection, "account")
        if not account:
            self._start_account(desk)
            return Restored(fresh=True, cursor_ns=0, open_orders=open_orders, forgotten=())
        rows.fill_account(desk["account"], account[0])
        forgotten = self._restore_slots(slots)
        cursor_ns = self._connection.execute("SELECT cursor_ns FROM cursor").fetchone()[0]
        return Restored(fresh=False, cursor_ns=cursor_ns, open_orders=open_orders, forgotten=forgotten)

    def rename_strategies(self, strategy_names: Sequence[str]) -> None:
        """Take other names for the strategies that slots point to, after a reload."""
        self._strategy_names = tuple(strategy_names)
        self._state_written = None

    def _restore_slots(self, slots: rows.Records) -> tuple[str, ...]:
        stored = {row[0]: row for row in rows.fetch(self._connection, "slots")}
        forgotten = set()
        for index, symbol in enumerate(self._symbols):
            row = stored.get(symbol)
            if row is not None:
                rows.fill_slot(slots, index, row, self._strategy_names)
                forgotten |= {name for name in row[1:3] if name is not None and name not in self._strategy_names}
        return tuple(sorted(forgotten))

    def _refuse_missing_symbols(self, open_orders: Sequence[Order]) -> None:
        held = set(self.books.holdings) - set(self._symbols)
        ordered = {order.symbol for order in open_orders} - set(self._symbols)
        missing = sorted(held | ordered)
        if missing:
            raise ConfigError(
                f"market.symbols: {', '.join(missing)} can not be left out while a position or an order is open there: "
                "put it back, close it with `trader close`, then take it out"
            )

    def _start_account(self, desk: rows.Records) -> None:
        cash = float(self.books.balance(self._meta("quote")))
        account = desk["account"]
        for field in ("cash", "equity", "peak_equity", "day_start_equity"):
            account[field] = cash
        account["initial_capital"] = float(self._meta("initial_capital"))

    # -- loading -------------------------------------------------------------------------------

    def _meta(self, key: str) -> str:
        return str(self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0])

    def _load_counts(self) -> dict[str, int]:
        columns = schema.SEALED["cursor"][2:]
        return dict(zip(columns, rows.fetch(self._connection, "cursor")[0][2:], strict=True))

    def _greatest(self, column: str, table: str) -> int:
        return int(self._connection.execute(f"SELECT coalesce(max({column}), 0) FROM {table}").fetchone()[0])  # noqa: S608

    def _load_amounts(self, table: str) -> dict[str, Decimal]:
        return {currency: Decimal(amount) for currency, amount in rows.fetch(self._connection, table)}

    def _load_books(self) -> Books:
        holdings = [rows.holding_from(row) for row in rows.fetch(self._connection, "positions")]
        balances = self._load_amounts("balances")
        return Books(balances, {holding.symbol: holding for holding in holdings}, self._counts["round_trips"])


def _same(state: State, other: State | None) -> bool:
    if other is None or state[2] != other[2]:
        return False
    return state[0].tobytes() == other[0].tobytes() and state[1].tobytes() == other[1].tobytes()
