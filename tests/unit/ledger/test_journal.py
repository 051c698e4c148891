"""The journal: what is recorded is there after a restart, exactly, and nothing half."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from tests.paper_desk import SYMBOLS, PaperDesk, candles_at, configure, open_ledger
from tests.unit.ledger.tables import contents, files
from trader.codes import Decided, Halt
from trader.core.records import ACCOUNT, SLOT, new_desk, new_slots
from trader.errors import ConfigError, DuplicateClientOrderId, LedgerTooNew, LedgerUnwritable
from trader.ledger import schema
from trader.ledger.reader import LedgerReader


@pytest.fixture
def path(tmp_path):
    """Return where the ledger is to be."""
    return tmp_path / "ledger.db"


def restored_state(path, strategies=("alpha", "beta")):
    """Return desk and slots as a new process gets them, every restored field overwritten beforehand."""
    desk, slots = new_desk(), new_slots(len(SYMBOLS))
    for field in ACCOUNT.names:
        desk["account"][field] = 77
    for field in SLOT.names:
        slots[field] = 77
    configure(desk, slots)
    slots["min_quantity"] = slots["min_notional"] = 0.0
    with open_ledger(path) as ledger:
        restored = ledger.restore(desk, slots, SYMBOLS, strategies)
    return desk, slots, restored


def test_kept_fields_cover_every_field_of_the_records():
    """A field added to a record must be kept, or said to be configured: a restart must not lose it unseen."""
    assert set(schema.ACCOUNT_FIELDS) | {"updated_ns"} == set(ACCOUNT.names)
    kept = {*schema.SLOT_FIELDS, *schema.SLOT_FIELDS_CONFIGURED, *schema.SLOT_FIELDS_STRATEGY}
    kept |= {*schema.SLOT_FIELDS_COMPUTED, *schema.SLOT_FIELDS_RULES, *schema.SLOT_FIELDS_GAUGES}
    assert kept == set(SLOT.names)


def test_tables_have_the_columns_that_are_sealed(path):
    """Every column but the wall clock and the seal itself is under a seal."""
    open_ledger(path).close()
    with closing(sqlite3.connect(path)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert tables == {*schema.SEALED, "decisions"}
        for table, columns in schema.SEALED.items():
            found = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            assert found - {"recorded_ns", "crc"} == set(columns)


def test_open_new_ledger_begins_with_the_capital(path):
    """The first run gets an account that holds the initial capital and nothing else."""
    desk = PaperDesk.open(path)
    assert desk.restored.fresh
    assert desk.restored.cursor_ns == 0
    assert desk.ledger.books.balances == {"USDT": Decimal(10000)}
    for field in ("cash", "equity", "peak_equity", "initial_capital", "day_start_equity"):
        assert desk.account[field] == 10000.0
    desk.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.execute("PRAGMA user_version").fetchone()[0] == schema.VERSION


def test_connection_waits_for_the_disk(path):
    """Commits are synchronous: FULL is 2."""
    with open_ledger(path) as ledger:
        assert ledger._connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert ledger._connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [("instance", "other"), ("quote", "EUR"), ("initial_capital", Decimal(5)), ("mode", "live")],
)
def test_open_as_another_account_is_refused(path, key, value):
    """A ledger belongs to one instance, currency, capital and mode; the message names what differs."""
    open_ledger(path).close()
    with pytest.raises(ConfigError, match=key):
        open_ledger(path, **{key: value})


def test_open_same_capital_written_differently_is_the_same(path):
    """10000, 10000.0 and 1E+4 are one capital."""
    open_ledger(path).close()
    open_ledger(path, initial_capital=Decimal("1E+4")).close()


def test_restore_after_play_is_bit_exact(path):
    """After a restart every float of account, positions, plans and orders in flight has the same bits."""
    desk = PaperDesk.open(path)
    desk.play(range(1, 120), seed=3)
    if not desk.slots["pending_lots"].any():
        desk.enter(int(np.flatnonzero(desk.slots["quantity"] == 0)[0]), "1")
        desk.commit()
    assert desk.slots["quantity"].any()
    assert desk.slots["pending_lots"].any()
    balances, holdings = desk.ledger.books.balances, desk.ledger.books.holdings
    live = desk.router.tracker.live()
    desk.close()
    again, slots, restored = restored_state(path)
    again["account"]["updated_ns"] = desk.account["updated_ns"]
    assert again["account"].tobytes() == desk.desk["account"].tobytes()
    assert slots.tobytes() == desk.slots.tobytes()
    assert restored.cursor_ns == desk.account["event_ns"]
    # NaN differs from itself, so orders are compared by their text
    assert repr(restored.open_orders) == repr(live)
    with open_ledger(path) as ledger:
        assert ledger.books.balances == balances
        assert ledger.books.holdings == holdings


def test_play_across_restarts_gives_the_ledger_of_one_run(tmp_path):
    """Forty restarts change nothing but wall-clock stamps."""
    one = PaperDesk.open(tmp_path / "one.db")
    one.play(range(1, 200))
    one.close()
    for first in range(1, 200, 5):
        desk = PaperDesk.open(tmp_path / "many.db")
        desk.play(range(first, min(first + 5, 200)))
        desk.close()
    assert contents(tmp_path / "one.db") == contents(tmp_path / "many.db")
    assert len(contents(tmp_path / "one.db")["round_trips"]) > 20


def test_restore_position_in_missing_symbol_is_refused(path):
    """Taking a symbol out of the configuration while it is held says so, and what to do."""
    desk = PaperDesk.open(path)
    desk.feed(candles_at(1))
    desk.enter(1, "0.5")
    desk.feed(candles_at(2))
    desk.commit()
    desk.close()
    with open_ledger(path) as ledger, pytest.raises(ConfigError, match=r"ETH/USDT.*trader close"):
        ledger.restore(new_desk(), new_slots(1), ["BTC/USDT"], ["alpha"])


def test_restore_order_in_flight_in_missing_symbol_is_refused(path):
    """An order that may still fill counts like a position."""
    desk = PaperDesk.open(path)
    desk.feed(candles_at(1))
    desk.enter(1, "0.5")
    desk.commit()
    desk.close()
    with open_ledger(path) as ledger, pytest.raises(ConfigError, match="ETH/USDT"):
        ledger.restore(new_desk(), new_slots(1), ["BTC/USDT"], ["alpha"])


def test_restore_other_order_of_symbols_and_strategies_finds_them_by_name(path):
    """Slots and strategies are remembered by name, not by index."""
    desk = PaperDesk.open(path)
    desk.feed(candles_at(1))
    desk.enter(1, "0.5", strategy=1)
    desk.feed(candles_at(2))
    desk.commit()
    desk.close()
    again, slots = new_desk(), new_slots(3)
    with open_ledger(path) as ledger:
        restored = ledger.restore(again, slots, SYMBOLS[::-1], ["beta", "gamma"])
    assert slots["quantity"].tolist() == [0.0, 0.5, 0.0]
    assert slots["strategy"].tolist() == [-1, 0, -1]
    assert slots["mark_price"].tolist() == desk.slots["mark_price"].tolist()[::-1]
    assert restored.forgotten == ()


def test_restore_without_the_strategy_keeps_position_and_plan(path):
    """A strategy that is gone leaves its position under its exit plan, and is reported."""
    desk = PaperDesk.open(path)
    desk.feed(candles_at(1))
    desk.enter(1, "0.5", strategy=1)
    desk.feed(candles_at(2))
    desk.commit()
    desk.close()
    _, slots, restored = restored_state(path, ("alpha",))
    assert restored.forgotten == ("beta",)
    assert slots["strategy"][1] == -1
    assert slots["stop_price"][1] == desk.slots["stop_price"][1]


def test_uncommitted_work_is_seen_by_no_reader(path):
    """What was recorded is in the file from the commit on, all of it at once."""
    desk = PaperDesk.open(path)
    desk.feed(candles_at(1))
    order = desk.enter(0, "0.01")
    desk.save()
    with LedgerReader(path) as reader:
        assert reader.orders() == []
        assert reader.account() is None
        assert desk.ledger.uncommitted > 0
        desk.ledger.commit()
        assert [item.order_id for item in reader.orders()] == [order.order_id]
        assert reader.account()["event_ns"] == desk.account["event_ns"]
        assert desk.ledger.uncommitted == 0
    desk.close()


def test_save_state_unchanged_leaves_nothing_to_commit(path):
    """An idle second costs no write: only the time of publication has changed."""
    desk = PaperDesk.open(path)
    desk.feed(candles_at(1))
    desk.commit()
    before = desk.ledger._connection.total_changes
    desk.account["updated_ns"] = 123456
    desk.commit()
    assert desk.ledger._connection.total_changes == before
    desk.slots["stop_price"][0] = 1.5
    desk.commit()
    assert desk.ledger._connection.total_changes > before
    desk.close()


def test_ids_go_on_after_restart(path):
    """Ids rise by one and never come twice."""
    desk = PaperDesk.open(path)
    desk.feed(candles_at(1))
    desk.enter(0, "0.01")
    desk.commit()
    assert (desk.ledger.next_order_id(), desk.ledger.next_decision_id()) == (2, 2)
    desk.close()
    with open_ledger(path) as ledger:
        assert [ledger.next_order_id(), ledger.next_order_id(), ledger.next_decision_id()] == [2, 3, 2]


@pytest.mark.parametrize("committed", [False, True])
def test_record_order_same_client_order_id_is_refused(path, committed):
    """A client order id is used once, before and after the commit."""
    desk = PaperDesk.open(path)
    desk.feed(candles_at(1))
    order = desk.enter(0, "0.01")
    if committed:
        desk.commit()
    with pytest.raises(DuplicateClientOrderId, match="main-1"):
        desk.ledger.record_order(replace(order, order_id=99))
    desk.close()


@pytest.mark.parametrize("committed", [False, True])
def test_record_fill_twice_is_recorded_once(path, committed):
    """A venue may report a trade again; its id makes it count once."""
    desk = PaperDesk.open(path)
    desk.feed(candles_at(1))
    desk.enter(0, "0.01")
    fill = next(item.fill for item in desk.feed(candles_at(2)) if item.fill)
    if committed:
        desk.commit()
    assert desk.ledger.record_fill(fill) is False
    assert desk.ledger.record_fill(replace(fill, trade_id="another")) is True
    desk.close()
    trades = [row[1] for row in contents(path)["fills"]]
    assert sorted(trades) == sorted({*trades, fill.trade_id, "another"})


def test_commit_while_locked_keeps_the_work_for_the_next(path):
    """A ledger that can't be written now loses nothing: the next commit writes all of it once."""
    desk = PaperDesk.open(path)
    desk.ledger._connection.execute("PRAGMA busy_timeout = 0")
    desk.feed(candles_at(1))
    desk.enter(0, "0.01")
    desk.save()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnwritable, match="tried again"):
            desk.ledger.commit()
        desk.feed(desk.candles(0, *[float(desk.slots["mark_price"][0])] * 4, minute=2))
        desk.save()
        with pytest.raises(LedgerUnwritable):
            desk.ledger.commit()
        other.execute("ROLLBACK")
    desk.ledger.commit()
    desk.close()
    tables = contents(path)
    assert [len(tables[name]) for name in ("orders", "fills", "decisions")] == [1, 1, 1]
    assert tables["cursor"][0][1] == desk.account["event_ns"]


def test_record_halt_and_day_are_kept_in_order(path):
    """Halts, resumptions and days are read back as they were recorded."""
    with open_ledger(path) as ledger:
        ledger.record_day(19_723, 10_000.25, 5)
        ledger.record_halt(Halt.PAUSED, active=True, time_ns=7, note="owner")
        ledger.record_halt(Halt.PAUSED, active=False, time_ns=9)
    with LedgerReader(path) as reader:
        assert [(day.day, day.start_equity, day.time_ns) for day in reader.days()] == [(19_723, 10_000.25, 5)]
        halts = [(item.time_ns, item.halt, item.active, item.note) for item in reader.halts()]
        assert halts == [(9, Halt.PAUSED, False, ""), (7, Halt.PAUSED, True, "owner")]


def test_record_decisions_come_back_as_they_were(path):
    """Every field of a decision survives, NaN and empty texts included."""
    desk = PaperDesk.open(path)
    rows = [
        desk.decision(desk.ledger.next_decision_id(), slot, Decided.DENIED)._replace(
            detail="because", mask=5, value=-0.0
        )
        for slot in (0, 1, 2)
    ] + [desk.decision(desk.ledger.next_decision_id(), 0, Decided.HOLD)._replace(symbol="", strategy="")]
    desk.ledger.record_decisions(rows)
    desk.close()
    with LedgerReader(path) as reader:
        assert repr(reader.decisions(newest_first=False)).replace("-0.0", "0.0") == repr(rows).replace("-0.0", "0.0")


@pytest.mark.parametrize("how", ["all", "one"])
def test_decisions_that_bring_a_new_name_while_they_are_read_do_no_harm(path, how):
    """Names and rows are of one moment: a page that is open when a strategy first decides does not break."""
    desk = PaperDesk.open(path)
    first = desk.ledger.next_decision_id()
    desk.ledger.record_decisions([desk.decision(first, 0, Decided.HOLD)])
    desk.ledger.commit()
    late = desk.decision(desk.ledger.next_decision_id(), 0, Decided.HOLD)._replace(strategy="newcomer")
    with LedgerReader(path) as reader:

        def decide(statement: str) -> None:
            if "FROM decisions" in statement:
                reader.connection.set_trace_callback(None)
                desk.ledger.record_decisions([late])
                desk.ledger.commit()

        reader.connection.set_trace_callback(decide)
        if how == "all":
            assert [item.decision_id for item in reader.decisions()] == [first]
        else:
            assert reader.decision(late.decision_id) is None
        assert reader.decisions()[0].strategy == "newcomer"
    desk.close()


def test_open_newer_format_is_refused_untouched(path):
    """An older trader doesn't guess at a newer ledger."""
    open_ledger(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = files(path)
    with pytest.raises(LedgerTooNew, match=f"format {schema.VERSION + 1}"):
        open_ledger(path)
    assert files(path) == before
    with pytest.raises(LedgerTooNew):
        LedgerReader(path)


def test_begin_interrupted_leaves_no_half_ledger(path):
    """A kill while a ledger is begun leaves a file beside it that the next start throws away."""
    path.with_name("ledger.db.new").write_bytes(b"half of a ledger")
    open_ledger(path).close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["ledger.db", "ledger.reserve"]
