"""Damage: a ledger that isn't whole is refused and not touched; what a kill leaves is simply taken up."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing

import pytest

from tests.paper_desk import PaperDesk, open_ledger
from tests.unit.ledger.tables import contents, files, side_files, tamper
from trader.errors import LedgerDamaged, LedgerMissing, TraderError
from trader.ledger import disk
from trader.ledger.disk import Reserve, shm_path, wal_path
from trader.ledger.reader import LedgerReader


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Return a ledger that was closed in order: everything is in the file itself."""
    path = tmp_path_factory.mktemp("played") / "ledger.db"
    desk = PaperDesk.open(path)
    desk.play(range(1, 80))
    desk.close()
    assert not wal_path(path).exists()
    return path


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Return a ledger as a kill leaves it: committed steps are in the write-ahead log only."""
    folder = tmp_path_factory.mktemp("killed")
    desk = PaperDesk.open(folder / "alive.db")
    desk.play(range(1, 60))
    for name in ("", "-wal"):
        shutil.copy(folder / f"alive.db{name}", folder / f"ledger.db{name}")
    desk.close()
    return folder / "ledger.db"


@pytest.fixture
def copy(tmp_path):
    """Copy a ledger and its log, without the log's index, as after a reboot."""

    def make(path):
        target = tmp_path / "ledger.db"
        for source, name in ((path, "ledger.db"), (wal_path(path), "ledger.db-wal")):
            if source.exists():
                shutil.copy(source, tmp_path / name)
        return target

    return make


def refused_untouched(path, match=None):
    """Open a ledger that must be refused, and prove that nothing has changed on disk."""
    before, beside = files(path), side_files(path)
    had_index = shm_path(path).exists()
    with pytest.raises(LedgerDamaged, match=match):
        open_ledger(path)
    assert files(path) == before
    assert side_files(path) == beside
    assert shm_path(path).exists() == had_index


def test_open_after_kill_recovers_every_committed_step(killed, copy):
    """The log of a killed process is taken up: all steps are there, and the next can be written."""
    path = copy(killed)
    disk.check(path)
    desk = PaperDesk.open(path)
    assert len(desk.ledger.books.balances) > 1
    desk.play(range(60, 80))
    desk.close()
    fresh = path.with_name("undisturbed.db")
    desk = PaperDesk.open(fresh)
    desk.play(range(1, 80))
    desk.close()
    assert contents(path) == contents(fresh)


@pytest.mark.parametrize("cut", [1, 30, 2000, 4096 + 24, 9000])
def test_open_after_kill_in_the_middle_of_a_write_is_a_prefix(killed, copy, cut):
    """An unfinished tail of the log is what a kill leaves: the steps before it are all there."""
    path = copy(killed)
    data = wal_path(path).read_bytes()
    wal_path(path).write_bytes(data[:-cut])
    desk = PaperDesk.open(path)
    minute = int((desk.account["event_ns"] - 1_704_067_200_000_000_000) // 60_000_000_000)
    assert 0 < minute < 60
    desk.play(range(minute, 80))
    desk.close()
    fresh = path.with_name("undisturbed.db")
    desk = PaperDesk.open(fresh)
    desk.play(range(1, 80))
    desk.close()
    assert contents(path) == contents(fresh)


def test_open_with_log_left_empty_is_whole(played, copy):
    """A log without a byte says nothing."""
    path = copy(played)
    wal_path(path).touch()
    ledger = open_ledger(path)
    assert ledger.fill_count > 0
    ledger.close()


@pytest.mark.parametrize("seed", range(60))
def test_open_with_random_byte_damage_is_refused_or_harmless(played, copy, seed):
    """A byte changed anywhere is either noticed, or it is in a place where nothing is stored."""
    path, rng = copy(played), random.Random(seed)
    whole = contents(path)
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data))
    data[at] ^= rng.randrange(1, 256)
    path.write_bytes(data)
    before = files(path)
    try:
        disk.check(path)
    except TraderError:
        assert files(path) == before
        refused = True
    else:
        refused = False
        found = contents(path)
        # decisions are sealed by the block, which the audit proves, not every start
        without = [tables.pop("decisions") for tables in (whole, found)]
        assert whole == found
        assert len(without[0]) == len(without[1])
    if refused:
        with pytest.raises(TraderError):
            open_ledger(path)
        assert files(path) == before


@pytest.mark.parametrize("table", ["orders", "fills", "balances", "round_trips", "account", "slots", "cursor", "meta"])
def test_open_with_one_changed_value_is_refused(played, copy, table):
    """A value that SQLite has no reason to doubt is found by its seal."""
    path = copy(played)
    column = {"orders": "quantity", "fills": "price", "balances": "amount", "round_trips": "pnl", "meta": "value"}
    name = column.get(table, {"account": "cash", "slots": "stop_price", "cursor": "cursor_ns"}.get(table))
    with closing(sqlite3.connect(path)) as connection, connection:
        keys = {"account": "id", "cursor": "id", "meta": "key", "balances": "currency", "slots": "symbol"}
        key = keys.get(table, "rowid")
        first = connection.execute(f"SELECT {key} FROM {table} LIMIT 1").fetchone()[0]
        connection.execute(f"UPDATE {table} SET {name} = 7 WHERE {key} = ?", (first,))
    refused_untouched(path, f"{table} has changed")


@pytest.mark.parametrize("table", ["orders", "fills", "round_trips", "decisions", "order_events"])
def test_open_with_a_missing_row_is_refused(played, copy, table):
    """A row that is gone is found by the count, even where no other row refers to it."""
    path = copy(played)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"DELETE FROM {table} WHERE rowid = (SELECT max(rowid) FROM {table})")
    refused_untouched(path)


@pytest.mark.parametrize("kept_frac", [0.001, 0.1, 0.5, 0.9, 0.99])
def test_open_truncated_is_refused(played, copy, kept_frac):
    """A file that was cut off is refused."""
    path = copy(played)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept_frac)])
    refused_untouched(path)


def test_open_garbage_is_refused(copy, played):
    """A file that begins like nothing of ours is refused, its whole pages or not."""
    path = copy(played)
    data = path.read_bytes()
    path.write_bytes(b"garbage, " * 20 + data[180:])
    refused_untouched(path, "does not begin as a ledger")
    path.write_bytes(b"x")
    refused_untouched(path, "does not begin as a ledger")


def test_open_another_database_is_refused(tmp_path):
    """A SQLite file of another program isn't taken over."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE theirs (x)")
    refused_untouched(path, "no ledger of trader")


def test_open_zeroed_page_is_refused(played, copy):
    """A page of zeros, as a bad disk leaves, is found wherever it is."""
    path = copy(played)
    data = path.read_bytes()
    for page in range(1, len(data) // 4096, 3):
        path.write_bytes(data[: page * 4096] + bytes(4096) + data[(page + 1) * 4096 :])
        with pytest.raises(LedgerDamaged):
            disk.check(path)


@pytest.mark.parametrize("with_log", [False, True])
def test_open_zero_length_is_refused(killed, played, copy, with_log):
    """An empty file is a ledger cut off; beside a log, SQLite itself would throw the log away."""
    path = copy(killed if with_log else played)
    path.write_bytes(b"")
    assert wal_path(path).exists() == with_log
    refused_untouched(path, "is empty")


def test_open_log_without_ledger_is_refused(killed, copy):
    """A log whose ledger is gone must not be swallowed by a new one."""
    path = copy(killed)
    path.unlink()
    before = wal_path(path).read_bytes()
    with pytest.raises(LedgerDamaged, match="is gone"):
        open_ledger(path)
    assert wal_path(path).read_bytes() == before
    assert not path.exists()


@pytest.mark.parametrize("at", [0, 9, 17, 25])
def test_open_with_damaged_log_header_is_refused(killed, copy, at):
    """SQLite would take a log with a bad header for an empty one and forget committed steps."""
    path = copy(killed)
    data = bytearray(wal_path(path).read_bytes())
    data[at] ^= 0x55
    wal_path(path).write_bytes(data)
    refused_untouched(path, "damaged header")


@pytest.mark.parametrize("seed", range(12))
def test_open_with_damaged_log_frame_is_refused(killed, copy, seed):
    """A frame that is bad while committed ones follow means lost steps, which SQLite would not mention."""
    path = copy(killed)
    data = bytearray(wal_path(path).read_bytes())
    frames = (len(data) - 32) // (4096 + 24)
    at = 32 + random.Random(seed).randrange((frames // 2) * (4096 + 24))
    data[at] ^= 0x10
    wal_path(path).write_bytes(data)
    refused_untouched(path, "is damaged at frame|damaged")


def test_reader_without_ledger_says_so(tmp_path):
    """A command before the first run gets a sentence, not a traceback."""
    with pytest.raises(LedgerMissing, match="begins when the service first runs"):
        LedgerReader(tmp_path / "ledger.db")


def test_reader_of_garbage_says_damaged(tmp_path):
    """A reader doesn't take just any file."""
    path = tmp_path / "ledger.db"
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(LedgerDamaged):
        LedgerReader(path)


def test_tamper_seals_anew_so_that_the_start_does_not_notice(played, copy):
    """The audit's tests rely on it: a change with a fitting seal passes the check of the start."""
    path = copy(played)
    tamper(path, "balances", "USDT", amount="1")
    disk.check(path)


def test_reserve_take_and_release_gives_the_space_back(tmp_path):
    """The reserve is really allocated, is taken once, and is given back once."""
    reserve = Reserve(tmp_path / "reserve", 1 << 20)
    assert reserve.take()
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= 1 << 20
    assert Reserve(tmp_path / "reserve", 1 << 20).held
    assert reserve.take()
    assert reserve.release()
    assert not (tmp_path / "reserve").exists()
    assert not reserve.release()


def test_reserve_larger_than_the_free_space_is_not_taken(tmp_path):
    """A reserve that would fill the disk is none, and leaves no file."""
    reserve = Reserve(tmp_path / "reserve", 1 << 60)
    assert not reserve.take()
    assert not (tmp_path / "reserve").exists()
