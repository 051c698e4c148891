"""The journal of a real systemd: what an owner asks it for is exactly what the ledger holds."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from tests.systemd.conftest import DEFAULT, eventually

pytestmark = pytest.mark.systemd

#: fast enough for a few dozen fills in seconds; nothing here depends on how many they are
BUSY = DEFAULT.replace("speed: 60", "speed: 3000").replace("max_daily_trades: 20", "max_daily_trades: 1000")


def entries(trader: Any, *matches: str) -> list[dict[str, Any]]:
    """Return entries of the service as JSON, as an owner's script reads them."""
    trader.box.run("journalctl", "--sync", check=False)
    asked = ("journalctl", "-u", "trader", "-o", "json", "--all", "--no-pager", *matches)
    lines = trader.box.run(*asked, check=False).stdout.splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def rows(trader: Any, statement: str) -> list[Any]:
    """Return rows of the ledger of the stopped service."""
    script = (
        "import json, sqlite3, sys\n"
        "connection = sqlite3.connect('file:/var/lib/trader/data/ledger.db?mode=ro', uri=True)\n"
        "print(json.dumps(connection.execute(sys.argv[1]).fetchall()))"
    )
    found: list[Any] = json.loads(trader.box.run("/opt/trader/venv/bin/python", "-c", script, statement).stdout)
    return found


def test_journal_queries_return_exactly_the_events_of_the_ledger(trader: Any) -> None:
    """Fills of one symbol by field, closed positions, warnings by priority, a traceback in one entry."""
    assert BUSY != DEFAULT
    trader.configure(BUSY)
    trader.systemctl("start", "trader")
    run_id = trader.show("InvocationID")
    eventually(lambda: len(entries(trader, f"RUN_ID={run_id}", "TRADER_EVENT=position.closed")) >= 5, "trades", 120)
    trader.systemctl("stop", "trader")
    this_run = f"RUN_ID={run_id}"

    for symbol in ("BTC/USDT", "ETH/USDT", "SOL/USDT"):
        told = entries(trader, this_run, "TRADER_EVENT=order.filled", f"SYMBOL={symbol}")
        known = rows(trader, f"SELECT order_id, price, quantity, fee, side FROM fills WHERE symbol = '{symbol}'")
        found = Counter(
            (int(one["ORDER_ID"]), Decimal(one["PRICE"]), Decimal(one["QUANTITY"]), Decimal(one["FEE"]), one["ACTION"])
            for one in told
        )
        expected = Counter(
            (order_id, Decimal(price), Decimal(quantity), Decimal(fee), "buy" if side > 0 else "sell")
            for order_id, price, quantity, fee, side in known
        )
        assert found == expected
        assert {one["SYSLOG_IDENTIFIER"] for one in told} <= {"trader"}
        assert {one["PRIORITY"] for one in told} <= {"6"}

    closed = entries(trader, this_run, "TRADER_EVENT=position.closed")
    assert Counter((int(one["POSITION_ID"]), Decimal(one["PNL"])) for one in closed) == Counter(
        (position_id, Decimal(pnl)) for position_id, pnl in rows(trader, "SELECT position_id, pnl FROM round_trips")
    )
    warned = entries(trader, this_run, "-p", "warning")
    assert all(int(one["PRIORITY"]) <= 4 for one in warned)
    everything = entries(trader, this_run)
    assert len(warned) == sum(int(one["PRIORITY"]) <= 4 for one in everything)
    # nothing that the service said is without its fields, so no line of it can have been forged into one
    assert all(one.get("TRADER_ROLE") for one in everything)
    assert {one["TRADER_ROLE"] for one in everything} >= {"supervisor", "engine"}


def test_journal_traceback_is_one_entry_and_hostile_text_forges_none(trader: Any) -> None:
    """Lines of an exception stay together, and no text can make a field or another entry."""
    script = (
        "import logging\n"
        "from trader.logs import setup_logging, log_event\n"
        "logs = setup_logging('probe', None, 'INFO', 'probe-run')\n"
        "log = logging.getLogger('trader.probe')\n"
        "try:\n    raise ValueError('first\\nPRIORITY=0\\nTRADER_EVENT=order.filled\\nsecond')\n"
        "except ValueError:\n    log.exception('caught')\n"
        "log_event(log, 30, 'x.y\\nSYMBOL=FAKE', 'text\\nTRADER_EVENT=order.filled', remark='a\\nSYMBOL=FAKE')\n"
        "logs.close()\n"
    )
    command = ("systemd-run", "--wait", "--quiet", "--unit=trader-probe", "-p", "StandardError=journal")
    trader.box.run(*command, "/opt/trader/venv/bin/python", "-c", script)

    def found() -> list[dict[str, Any]] | None:
        trader.box.run("journalctl", "--sync", check=False)
        asked = ("journalctl", "RUN_ID=probe-run", "-o", "json", "--all", "--no-pager")
        lines = [line for line in trader.box.run(*asked, check=False).stdout.splitlines() if line.startswith("{")]
        return [json.loads(line) for line in lines] if len(lines) >= 2 else None

    caught, event = eventually(found, "both entries")
    assert caught["MESSAGE"].startswith("caught\nTraceback")
    assert caught["MESSAGE"].count("\n") > 3
    assert caught["PRIORITY"] == "3"
    assert "TRADER_EVENT" not in caught
    assert "SYMBOL" not in event
    assert event["REMARK"] == "a\nSYMBOL=FAKE"
    assert event["MESSAGE"] == "text\\nTRADER_EVENT=order.filled"
