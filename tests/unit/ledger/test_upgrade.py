"""Upgrade: ledgers of earlier formats are read as they are, and taken over whole with positions open."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.paper_desk import SYMBOLS, PaperDesk, open_ledger
from tests.unit.ledger.tables import contents
from trader.codes import Side
from trader.errors import LedgerDamaged
from trader.ledger import disk, layouts, schema, seals
from trader.ledger.disk import wal_path
from trader.ledger.reader import LedgerReader


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Return a ledger of today with trades behind it and a position open."""
    path = tmp_path_factory.mktemp("played") / "ledger.db"
    desk = PaperDesk.open(path)
    minute = 1
    while minute < 60 or not desk.ledger.books.holdings:
        desk.play(range(minute, minute + 1))
        minute += 1
    desk.close()
    return path


def written_as(source, path, layout):
    """Write a ledger as a trader of an earlier layout has: fewer columns, its own seals, rowid tables and number."""
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.execute("PRAGMA journal_mode = WAL")
        old.execute("ATTACH DATABASE ? AS source", (str(source),))
        for table in layouts.COLUMNS:
            if table not in layout.lacking_tables:
                copy_table(old, table, layout)
        old.execute("PRAGMA application_id = " + str(schema.APPLICATION_ID))
        old.execute("PRAGMA user_version = 1")
    return path


def copy_table(old, table, layout):
    """Copy a table with the columns that it had, sealed as they were."""
    columns = layout.columns(table)
    stored = {row[1] for row in old.execute(f"PRAGMA source.table_info({table})")}
    stamp = ("recorded_ns",) if "recorded_ns" in stored else ()
    crc = ("crc",) if "crc" in stored else ()
    declared = ", ".join((f"{columns[0]} PRIMARY KEY", *(f"{name} ANY" for name in (*columns[1:], *stamp, *crc))))
    old.execute(f"CREATE TABLE main.{table} ({declared.replace(' PRIMARY', ' ANY PRIMARY')}) STRICT")
    for row in old.execute(f"SELECT {', '.join((*columns, *stamp))} FROM source.{table}").fetchall():
        values = list(row[: len(columns)])
        if table == "meta" and values[0] == "format":
            values[1] = "1"
        full = (*values, *row[len(columns) :], *((seals.seal(values),) if crc else ()))
        old.execute(f"INSERT INTO main.{table} VALUES ({', '.join('?' * len(full))})", full)
    if table == "decision_seals":
        reseal_decisions(old, layout)


def reseal_decisions(old, layout):
    """Seal the decisions' blocks over the columns that there were."""
    blocks = {}
    query = f"SELECT {', '.join(layout.columns('decisions'))} FROM source.decisions ORDER BY decision_id"
    seals.extend_blocks(blocks, old.execute(query))
    for block, value in blocks.items():
        row = (block, *value)
        old.execute("INSERT OR REPLACE INTO main.decision_seals VALUES (?, ?, ?, ?)", (*row, seals.seal(row)))


@pytest.fixture(params=layouts.KNOWN[1], ids=["as-now", "without-rules", "without-ranges"])
def layout(request):
    """Return each layout that files of format 1 have."""
    return request.param


@pytest.fixture
def older(played, tmp_path, layout):
    """Return the same ledger as an earlier trader has written it."""
    return written_as(played, tmp_path / "old" / "ledger.db", layout)


def forgotten(tables, layout):
    """Return a ledger's contents with what the layout did not keep as its defaults."""
    for table, rows in tables.items():
        at = {layouts.COLUMNS[table].index(name): value for name, value in layout.defaults(table).items()}
        tables[table] = [tuple(at.get(index, value) for index, value in enumerate(row)) for row in rows]
    tables.pop("decision_seals")
    return {table: [row for row in rows if row[0] != "format"] for table, rows in tables.items()}


def test_open_older_format_with_a_position_is_taken_over_whole(played, older, layout):
    """Every row is there, the position with its plan too; the desk trades on; the old file stays as it was."""
    before = older.read_bytes()
    disk.check(older)
    with LedgerReader(played) as reader:
        held = {position.symbol: (position.holding, position.stop_price) for position in reader.positions()}
    assert held
    desk = PaperDesk.open(older)
    assert {symbol: holding for symbol, (holding, _) in held.items()} == dict(desk.ledger.books.holdings)
    for symbol, (_, stop) in held.items():
        assert repr(float(desk.slots[SYMBOLS.index(symbol)]["stop_price"])) == repr(stop)
    assert forgotten(contents(older), layout) == forgotten(contents(played), layout)
    kept = older.with_name("ledger.format-1.db")
    assert kept.read_bytes() == before
    for symbol in held:
        desk.enter(SYMBOLS.index(symbol), "1", Side.BUY)
    desk.close()
    disk.check(older)
    with closing(sqlite3.connect(older)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)


def test_reader_of_older_format_sees_it_as_today_and_writes_nothing(played, older):
    """Commands of the new version work before the service was restarted."""
    before = older.read_bytes()
    with LedgerReader(older) as reader, LedgerReader(played) as now:
        assert [item.holding for item in reader.positions()] == [item.holding for item in now.positions()]
        assert len(reader.decisions()) == len(now.decisions()) > 0
    assert older.read_bytes() == before


def test_open_older_format_with_changed_decision_is_refused_untouched(older):
    """All is sealed anew, so nothing that was changed may be sealed with it."""
    with closing(sqlite3.connect(older)) as connection, connection:
        connection.execute("UPDATE decisions SET mask = mask + 1 WHERE decision_id = 2")
    with closing(sqlite3.connect(older)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = older.read_bytes()
    with pytest.raises(LedgerDamaged, match="decisions have changed"):
        open_ledger(older)
    assert older.read_bytes() == before
    assert not older.with_name("ledger.db.new").exists()


def test_open_format_with_tables_it_never_had_is_refused(older):
    """A column with another name is damage, not an earlier layout."""
    with closing(sqlite3.connect(older)) as connection, connection:
        connection.execute("ALTER TABLE slots RENAME COLUMN expires_ns TO expires")
    with pytest.raises(LedgerDamaged, match="does not have the tables of format 1"):
        open_ledger(older)


def test_upgrade_killed_after_the_old_file_was_kept_is_done_again(older):
    """One copy is kept, and the half-written ledger is thrown away."""
    older.with_name("ledger.format-1.db").hardlink_to(older)
    older.with_name("ledger.db.new").write_bytes(b"half of a ledger")
    open_ledger(older).close()
    assert sorted(file.name for file in older.parent.glob("*.db*")) == ["ledger.db", "ledger.format-1.db"]
    assert not wal_path(older).exists()
