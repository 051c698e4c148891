"""The audit: clean on what the service wrote, and each check notices the one thing that it is there for."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.paper_desk import SYMBOLS, PaperDesk
from tests.unit.ledger.tables import tamper
from trader.errors import LedgerMissing, SegmentMissing
from trader.ledger.audit import audit
from trader.state.paths import InstancePaths

CHECKS = {
    "seals",
    "order_states",
    "order_quantities",
    "fill_orders",
    "entry_decisions",
    "cash",
    "positions",
    "round_trips",
    "venue_balances",
    "unexplained",
    "account",
}


@dataclass
class ShownBook:
    account: Any
    slots: Any
    symbols: tuple[str, ...] = SYMBOLS


class ShownState:
    """Shared memory as a function of the number of looks."""

    def __init__(self, *books):
        self.books = list(books)

    def book(self):
        """Return what the next look shows."""
        book = self.books.pop(0) if len(self.books) > 1 else self.books[0]
        if isinstance(book, Exception):
            raise book
        return book


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Play once for all tests of this module."""
    folder = tmp_path_factory.mktemp("audited")
    desk = PaperDesk.open(folder / "ledger.db")
    desk.play(range(1, 90))
    assert desk.slots["quantity"].any()
    desk.close()
    return folder, desk


@pytest.fixture
def paths(played, tmp_path):
    """Return the paths of a copy of what was played."""
    shutil.copy(played[0] / "ledger.db", tmp_path / "ledger.db")
    return InstancePaths(tmp_path, tmp_path, tmp_path)


def found_by(paths, state=None):
    """Return the checks that found a difference."""
    return {difference.check for difference in audit(paths, state).differences}


def one(paths, query):
    """Return the one row of a query."""
    with closing(sqlite3.connect(paths.ledger)) as connection:
        return connection.execute(query).fetchone()


def test_audit_of_what_was_written_is_clean(paths):
    """Everything agrees, every check ran, and each looked at something."""
    report = audit(paths)
    assert [str(item) for item in report.differences] == []
    assert report.is_clean
    assert set(report.checks) == CHECKS
    assert all(count for name, count in report.checks.items() if name != "unexplained")


def test_audit_without_ledger_says_so(tmp_path):
    """There is nothing to audit before the first run."""
    with pytest.raises(LedgerMissing):
        audit(InstancePaths(tmp_path, tmp_path, tmp_path))


def test_audit_notices_a_changed_row(paths):
    """A value changed without its seal, even where nothing else depends on it."""
    with closing(sqlite3.connect(paths.ledger)) as connection, connection:
        connection.execute("UPDATE orders SET note = 'x' WHERE order_id = 1")
    assert found_by(paths) == {"seals"}


def test_audit_notices_a_changed_decision(paths):
    """Decisions are sealed by the block."""
    with closing(sqlite3.connect(paths.ledger)) as connection, connection:
        connection.execute("UPDATE decisions SET confidence = 0.123 WHERE decision_id = 3")
    assert found_by(paths) == {"seals"}


def test_audit_notices_an_illegal_step(paths):
    """An order that was filled after it was rejected never was."""
    event = one(paths, "SELECT event_id FROM order_events WHERE event = 'acknowledge' LIMIT 1")[0]
    tamper(paths.ledger, "order_events", event, event="reject", state="rejected")
    assert found_by(paths) == {"order_states"}


def test_audit_notices_a_state_without_its_event(paths):
    """The state that an order is said to be in is the one that its events lead to."""
    order = one(paths, "SELECT order_id FROM orders WHERE state = 'canceled' LIMIT 1")
    tamper(paths.ledger, "orders", order[0], state="expired")
    assert found_by(paths) == {"order_states"}


def test_audit_notices_fills_that_do_not_add_up(paths):
    """What an order says is filled is the sum of its fills."""
    tamper(paths.ledger, "orders", 1, filled_quantity="0.00001")
    assert found_by(paths) == {"order_quantities"}


def test_audit_notices_an_overfill(paths):
    """No order fills beyond what was ordered."""
    tamper(paths.ledger, "orders", 1, quantity="0.00001")
    assert found_by(paths) == {"order_quantities"}


def test_audit_notices_a_fill_without_order(paths):
    """Nothing is executed that was not ordered."""
    last = one(paths, "SELECT max(fill_id) FROM fills")[0]
    order = one(paths, f"SELECT order_id FROM fills WHERE fill_id = {last}")[0]
    tamper(paths.ledger, "fills", last, order_id=99_999)
    assert {"fill_orders", "order_quantities"} <= found_by(paths)
    assert order != 99_999


def test_audit_notices_an_order_of_another_side(paths):
    """A fill and its order agree on symbol and side."""
    side = one(paths, "SELECT side FROM orders WHERE order_id = 1")[0]
    tamper(paths.ledger, "orders", 1, side=-side)
    assert found_by(paths) == {"fill_orders"}


def test_audit_notices_an_entry_without_decision(paths):
    """Every order that opens risk follows from a decision that names it."""
    tamper(paths.ledger, "orders", 1, decision_id=0)
    assert found_by(paths) == {"entry_decisions"}
    other = one(paths, "SELECT decision_id FROM decisions WHERE order_id = 0 LIMIT 1")[0]
    tamper(paths.ledger, "orders", 1, decision_id=other)
    assert found_by(paths) == {"entry_decisions"}


def test_audit_notices_cash_off_by_the_last_digit(paths):
    """Cash is exact: one part in ten to the twentieth is a difference."""
    for table in ("balances", "paper_balances"):
        amount = one(paths, f"SELECT amount FROM {table} WHERE currency = 'USDT'")[0]
        tamper(paths.ledger, table, "USDT", amount=f"{amount}000000001")
    assert found_by(paths) == {"cash"}


def test_audit_notices_a_venue_that_holds_something_else(paths):
    """The paper venue keeps its own balances."""
    tamper(paths.ledger, "paper_balances", "BTC", amount="1")
    assert found_by(paths) == {"venue_balances"}


def test_audit_notices_a_position_that_fills_do_not_make(paths):
    """A position is the sum of its fills."""
    symbol = one(paths, "SELECT symbol FROM positions LIMIT 1")[0]
    tamper(paths.ledger, "positions", symbol, quantity="0.00001")
    assert found_by(paths) == {"positions"}


def test_audit_notices_a_float_that_left_the_exact_quantity(paths):
    """What the kernels hold is what the books hold."""
    symbol, position = one(paths, "SELECT symbol, position_id FROM positions LIMIT 1")
    tamper(paths.ledger, "slots", symbol, position_id=position + 1)
    assert found_by(paths) == {"positions"}
    quantity = one(paths, f"SELECT quantity FROM slots WHERE symbol = '{symbol}'")[0]
    tamper(paths.ledger, "slots", symbol, position_id=position, quantity=quantity * (1 + 1e-6))
    assert "positions" in found_by(paths)


@pytest.mark.parametrize("column", ["pnl", "fees", "gross_pnl", "quantity"])
def test_audit_notices_a_round_trip_with_another_result(paths, column):
    """Results are walked through again from the fills."""
    value = one(paths, f"SELECT {column} FROM round_trips WHERE position_id = 1")[0]
    tamper(paths.ledger, "round_trips", 1, **{column: value.replace("1", "2", 1) if "1" in value else value + "1"})
    assert "round_trips" in found_by(paths) <= {"round_trips", "account"}


@pytest.mark.parametrize("field", ["cash", "equity", "gross_exposure", "fees_paid", "wins", "open_positions"])
def test_audit_notices_an_account_that_does_not_follow(paths, field):
    """The account's floats follow from exact amounts and marks."""
    value = one(paths, f"SELECT {field} FROM account")[0]
    tamper(paths.ledger, "account", 1, **{field: value + (1 if isinstance(value, int) else 0.01)})
    assert found_by(paths) == {"account"}


def test_audit_with_shared_memory_that_agrees_is_clean(paths, played):
    """What is shown is what is written."""
    desk = played[1]
    report = audit(paths, ShownState(ShownBook(desk.account.copy(), desk.slots.copy())))
    assert report.is_clean
    assert report.checks["shared_memory"] > 20


def test_audit_with_shared_memory_in_mid_update_looks_again(paths, played):
    """A book that is ahead of the ledger is not a difference when the next look agrees."""
    desk = played[1]
    ahead = desk.desk["account"].copy()
    ahead["cash"] += 5
    now = ShownBook(desk.account.copy(), desk.slots.copy())
    report = audit(paths, ShownState(ShownBook(ahead[0], desk.slots.copy()), now))
    assert report.is_clean


@pytest.mark.parametrize("what", ["account", "slots"])
def test_audit_notices_shared_memory_that_differs(paths, played, what, monkeypatch):
    """A book that stays different from the ledger is one."""
    monkeypatch.setattr("trader.ledger.audit._PATIENCE_S", 0.05)
    desk = played[1]
    account, slots = desk.desk["account"].copy(), desk.slots.copy()
    if what == "account":
        account["cash"] += 0.01
    else:
        held = int(np.flatnonzero(slots["quantity"])[0])
        slots["stop_price"][held] *= 1.0001
    report = audit(paths, ShownState(ShownBook(account[0], slots)))
    assert [item.check for item in report.differences] == ["shared_memory"]


def test_audit_without_running_service_leaves_shared_memory_out(paths):
    """No segment is no difference."""
    report = audit(paths, ShownState(SegmentMissing("gone")))
    assert report.is_clean
    assert "shared_memory" not in report.checks
