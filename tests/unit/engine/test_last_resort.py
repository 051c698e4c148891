"""Entries that nobody looks after are taken back, and nothing else is touched."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.paper_desk import SYMBOLS, PaperDesk
from tests.staging import paths_in
from trader.codes import Reason
from trader.domain.order import OrderState
from trader.engine.last_resort import cancel_entries
from trader.errors import AlreadyRunning
from trader.ledger.audit import audit
from trader.ledger.reader import LedgerReader
from trader.process.lock import LockFile

BTC, ETH, DOGE = range(3)


@pytest.fixture
def paths(tmp_path):
    """Return the paths of an instance that died with an entry and an exit in flight, and a position left."""
    paths = paths_in(tmp_path)
    desk = PaperDesk.open(paths.ledger)
    for slot in (BTC, ETH, DOGE):
        desk.feed(desk.candles(slot, 100.0, 100.0, 100.0, 100.0, minute=1))
    desk.enter(ETH, "1")
    desk.enter(DOGE, "1")
    for slot in (ETH, DOGE):
        desk.feed(desk.candles(slot, 100.0, 100.0, 100.0, 100.0, minute=2))
    desk.enter(BTC, "0.5", strategy=1)
    desk.router.close(ETH, Reason.OWNER_CLOSE)
    desk.ledger.save_state(desk.desk, desk.slots, int(desk.account["event_ns"]))
    desk.ledger.close()
    return paths


def run(paths):
    """Run it as the supervisor does: in a process of its own."""
    code = (
        "import sys; from pathlib import Path; from trader.state.paths import InstancePaths;"
        "from trader.engine.last_resort import cancel_entries;"
        "print(cancel_entries(InstancePaths(*map(Path, sys.argv[1:])))['canceled'])"
    )
    arguments = (str(paths.data_dir), str(paths.runtime_dir), str(paths.log_dir))
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_entry_is_canceled_exit_and_positions_stay(paths):
    """The ledger is consistent afterwards, capital is free again, and the exit still is in flight."""
    assert run(paths) == "['main-3 buy BTC/USDT']"
    with LedgerReader(paths.ledger) as reader:
        states = {order.client_order_id: order.state for order in reader.orders()}
        assert states["main-3"] is OrderState.CANCELED
        assert states["main-4"] is OrderState.OPEN
        assert {position.symbol for position in reader.positions()} == {SYMBOLS[ETH], SYMBOLS[DOGE]}
    assert audit(paths, None).differences == ()
    desk = PaperDesk.open(paths.ledger)
    assert desk.slots["pending_lots"].tolist()[BTC] == 0
    assert desk.slots["reserved"][BTC] == 0.0
    assert desk.account["pending_orders"] == 1
    assert desk.slots["strategy"].tolist()[ETH] == 0  # the position still knows whose it is
    desk.ledger.close()


def test_second_time_changes_nothing(paths):
    """There is nothing left to cancel."""
    run(paths)
    before = paths.ledger.read_bytes()
    assert run(paths) == "[]"
    assert paths.ledger.read_bytes() == before


def test_living_engine_keeps_its_orders(paths):
    """Whoever holds the engine's lock looks after them."""
    lock = LockFile(paths.engine_lock, "engine")
    lock.take()
    try:
        with pytest.raises(AlreadyRunning):
            cancel_entries(paths)
    finally:
        lock.release()


def test_without_a_ledger_there_is_nothing_to_do(tmp_path):
    """A service that died before its engine ever ran."""
    assert cancel_entries(paths_in(tmp_path)) == {"canceled": []}
