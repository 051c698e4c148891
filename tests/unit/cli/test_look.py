"""Commands that look: status, positions, orders, decisions, report, verify."""

from __future__ import annotations

import json
import re
import sqlite3

import pytest

from tests.unit.cli.conftest import START_NS
from trader.cli import main
from trader.cli.html import page
from trader.codes import Halt


def run(capsys, *argv: str) -> tuple[int, str, str]:
    """Carry out a command; return exit code, stdout, stderr."""
    exit_code = main(argv)
    captured = capsys.readouterr()
    return exit_code, captured.out, captured.err


def as_json(capsys, *argv: str):
    """Carry out a command with --json; return exit code and document."""
    exit_code, out, _ = run(capsys, *argv, "--json")
    return exit_code, json.loads(out)


def test_status_nothing_there_says_not_running_and_exits_1(tmp_path, capsys):
    """No service, no ledger: said plainly."""
    exit_code, out, err = run(capsys, "status", "--data-dir", str(tmp_path))
    assert exit_code == 1
    assert out.startswith(f"not running: no service runs on {tmp_path / 'data'}")
    assert err == ""
    assert as_json(capsys, "status", "--data-dir", str(tmp_path))[1]["account"] is None


def test_status_stopped_service_shows_its_last_account(ledger, tmp_path, capsys):
    """What the ledger knows is shown, and still exit 1."""
    exit_code, out, _ = run(capsys, "status", "--data-dir", str(tmp_path))
    assert exit_code == 1
    assert out.startswith("not running: ")
    assert "10,037.72 USDT (+0.38 %)" in out  # 10000 + 27.97 + (104 - 100) x 2.5 - 0.25


def test_status_engine_starting_shows_the_service(running, capsys, tmp_path):
    """A service whose engine has published nothing is running all the same, and opens nothing."""
    exit_code, out, _ = run(capsys, "status", "--data-dir", str(tmp_path))
    assert exit_code == 0
    assert "main: running, PAPER, up 1 min 15 s, process 4242" in out
    assert "refused (the monitor has not given clearance)" in out
    assert "the engine has not published one yet" in out


def test_status_running_shows_account_and_workers(running, capsys, tmp_path):
    """Equity, result and workers come from shared memory."""
    running.start_engine()
    running.start_monitor()
    exit_code, document = as_json(capsys, "status", "--data-dir", str(tmp_path))
    assert (exit_code, document["running"], document["mode"], document["config_epoch"]) == (0, True, "paper", 3)
    account = document["account"]
    assert (account["total_pnl"], account["day_pnl"], account["total_pnl_frac"]) == (100.0, 50.0, 0.01)
    engine = document["workers"][0]
    assert (engine["role"], engine["state"], engine["pid"]) == ("engine", "ready", 4243)
    text = run(capsys, "status", "--data-dir", str(tmp_path))[1]
    assert "entries  allowed" in text
    assert "10,100.00 USDT (+1.00 %)" in text
    assert "200 MiB" in text


def test_status_halted_names_the_cause(running, capsys, tmp_path):
    """What keeps the service from trading stands at the top."""
    running.start_engine(int(Halt.DRAWDOWN | Halt.PAUSED))
    running.start_monitor()
    assert "entries  refused (halted: paused, drawdown)" in run(capsys, "status", "--data-dir", str(tmp_path))[1]


def test_status_shows_strategies_and_who_is_disabled(running, capsys, tmp_path):
    """An owner sees at once that one of them is broken."""
    running.start_engine(0, [(b"simple_rsi", 120, 0, 0, 0, 0), (b"mine", 9, 7, 5, 1, START_NS)])
    text = run(capsys, "status", "--data-dir", str(tmp_path))[1]
    assert re.search(r"mine +9 +7 +2024-01-03T12:00:00Z +DISABLED after 5 failures in a row: mend it and reload", text)
    first, second = as_json(capsys, "status", "--data-dir", str(tmp_path))[1]["strategies"]
    assert (first["name"], first["failures"], first["disabled"]) == ("simple_rsi", 0, False)
    assert second == {
        "name": "mine",
        "asked": 9,
        "failures": 7,
        "failures_in_row": 5,
        "disabled": True,
        "last_failure": "2024-01-03T12:00:00Z",
    }


def test_status_of_real_orders_counts_what_waits_for_the_owner(running, capsys, tmp_path):
    """Differences, unknown orders and missing stops are in sight, and what ends them is said."""
    running.start_engine()
    assert "exchange" not in run(capsys, "status", "--data-dir", str(tmp_path))[1]
    running.tell_venue(
        exchange=1, live=1, feed_connected=1, breaker=1, differences=2, orders_unknown=1, stops_missing=1
    )
    text = run(capsys, "status", "--data-dir", str(tmp_path))[1]
    assert re.search(r"compared +not yet, 2 unexplained differences; .*`trader accept`", text)
    assert re.search(r"breaker +open", text)
    found = as_json(capsys, "status", "--data-dir", str(tmp_path))[1]["venue"]
    assert (found["orders_unknown"], found["stops_missing"], found["breaker"]) == (1, 1, "open")


def test_positions_without_a_service_come_from_the_ledger(ledger, capsys, tmp_path):
    """Exact amounts, and the data folder itself is understood as well."""
    for folder in (tmp_path, tmp_path / "data"):
        exit_code, (position,) = as_json(capsys, "positions", "--data-dir", str(folder))
        assert exit_code == 0
        assert (position["symbol"], position["side"], position["quantity"]) == ("BTC/USDT", "long", 2.5)
        assert (position["entry_price"], position["entry_time"]) == (100.0, "2024-01-03T12:06:00Z")
        assert (position["mark_price"], position["unrealised_pnl"], position["stop_price"]) == (104.0, 10.0, 98.0)


def test_positions_with_a_service_have_its_prices(ledger, running, capsys, tmp_path):
    """The newest price and stop are in shared memory."""
    running.start_engine()
    (position,) = as_json(capsys, "positions", "--data-dir", str(tmp_path))[1]
    assert (position["mark_price"], position["unrealised_pnl"], position["stop_price"]) == (110.0, 25.0, 104.5)
    assert run(capsys, "positions", "--data-dir", str(tmp_path))[1].splitlines()[1].split()[:5] == [
        "BTC/USDT",
        "long",
        "2.5",
        "100",
        "110",
    ]


def test_orders_newest_first_with_the_price_of_their_fills(ledger, capsys, tmp_path):
    """An order's price is what was paid."""
    found = as_json(capsys, "orders", "--data-dir", str(tmp_path))[1]
    assert [order["order_id"] for order in found] == [3, 2, 1]
    assert [order["average_price"] for order in found] == [100.0, 103.0, 100.0]
    assert (found[1]["side"], found[1]["state"], found[1]["reason"]) == ("sell", "filled", "target")


def test_orders_of_a_symbol_up_to_a_limit(ledger, capsys, tmp_path):
    """Symbol and limit narrow the list."""
    found = as_json(capsys, "orders", "eth-usdt", "--limit", "1", "--data-dir", str(tmp_path))[1]
    assert [order["order_id"] for order in found] == [2]
    assert run(capsys, "orders", "SOL/USDT", "--data-dir", str(tmp_path))[1] == "no orders\n"


def test_decisions_show_every_broken_limit_with_both_numbers(ledger, capsys, tmp_path):
    """A refusal explains itself."""
    found = as_json(capsys, "decisions", "--data-dir", str(tmp_path))[1]
    assert [item["decided"] for item in found] == ["denied", "hold", "ordered", "ordered"]
    assert found[0]["limits"] == ["confidence"]
    assert found[0]["broken"] == [{"limit": "confidence", "observed": 0.65, "bound": 0.7}]
    assert "confidence 0.65 against 0.7" in run(capsys, "decisions", "--data-dir", str(tmp_path))[1]


def test_decisions_since_and_acted_narrow_the_list(ledger, capsys, tmp_path):
    """Idle ones can be left out, old ones too."""
    folder = ("--data-dir", str(tmp_path))
    assert [item["decision_id"] for item in as_json(capsys, "decisions", "--acted", *folder)[1]] == [4, 2, 1]
    since = ("--since", "2024-01-03T12:03:00Z")
    assert [item["decision_id"] for item in as_json(capsys, "decisions", *since, *folder)[1]] == [4, 3]


@pytest.mark.parametrize("command", ["positions", "orders", "decisions", "report", "verify"])
def test_command_without_a_ledger_says_where_it_looked(command, tmp_path, capsys):
    """One line on stderr, nothing on stdout, exit 1."""
    exit_code, out, err = run(capsys, command, "--json", "--data-dir", str(tmp_path))
    assert (exit_code, out) == (1, "")
    assert err.startswith(f"trader: there is no ledger at {tmp_path / 'data' / 'ledger.db'}")


def test_report_adds_up_the_ledger(ledger, capsys, tmp_path):
    """One round trip: (103 - 100) x 10 less fees of 1 and 1.03."""
    document = as_json(capsys, "report", "--data-dir", str(tmp_path))[1]
    assert document["summary"]["trades"] == len(document["trades"]) == 1
    assert document["summary"]["realised_pnl"] == pytest.approx(30 - 1 - 1.03)
    text = run(capsys, "report", "--data-dir", str(tmp_path))[1]
    assert "27.97 USDT" in text
    assert re.search(r"round trips +1, 100.00 % won", text)


def test_report_html_stands_alone(ledger, capsys, tmp_path):
    """The page has the figures, and asks no other host for anything."""
    exit_code, _, _ = run(capsys, "report", "--html", str(tmp_path / "r.html"), "--data-dir", str(tmp_path))
    shown = (tmp_path / "r.html").read_text()
    assert exit_code == 0
    assert "27.97 USDT" in shown
    assert "<td>ETH/USDT</td>" in shown
    assert not re.search(r"<script|https?://|<link|@import", shown)


def test_report_html_unwritable_place_is_one_line(ledger, capsys, tmp_path):
    """A folder that is not there is named."""
    target = tmp_path / "none" / "r.html"
    exit_code, _, err = run(capsys, "report", "--html", str(target), "--data-dir", str(tmp_path))
    assert exit_code == 1
    assert str(target) in err


def test_page_escapes_what_it_shows():
    """A name can't become markup."""
    text = page("<b>", "<i>", [0.0, 1.0], [("<u>", [{"a": "<script>"}], {"a": "A"})])
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "<b>" not in text.partition("<body>")[2]


def test_verify_clean_ledger_exits_0(ledger, capsys, tmp_path):
    """Everything agrees, and how much was looked at is said."""
    exit_code, document = as_json(capsys, "verify", "--data-dir", str(tmp_path))
    assert document["differences"] == []
    assert (exit_code, document["clean"], document["running"]) == (0, True, False)
    assert document["checks"]["round_trips"] >= 1
    assert "everything agrees" in run(capsys, "verify", "--data-dir", str(tmp_path))[1]


def test_verify_changed_amount_exits_1_and_names_it(ledger, capsys, tmp_path):
    """A cent that somebody changed is found."""
    with sqlite3.connect(ledger) as connection:
        connection.execute("UPDATE balances SET amount = '1.00' WHERE currency = 'USDT'")
    connection.close()
    exit_code, out, _ = run(capsys, "verify", "--data-dir", str(tmp_path))
    assert exit_code == 1
    assert "USDT" in out
    assert "everything agrees" not in out


def test_broken_configuration_does_not_hide_the_positions(ledger, capsys, tmp_path):
    """An owner can look, and act, with a half-edited file."""
    broken = tmp_path / "t.yaml"
    broken.write_text("risk: [")
    exit_code, out, err = run(capsys, "positions", "--config", str(broken), "--data-dir", str(tmp_path))
    assert exit_code == 0
    assert "BTC/USDT" in out
    assert "can not be used" in err
