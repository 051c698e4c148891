"""Reader and statistics: what the ledger shows is what was played, added up by another way."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from tests.paper_desk import SYMBOLS, PaperDesk, open_ledger
from trader.codes import Decided
from trader.domain.order import TERMINAL
from trader.errors import LedgerUnwritable
from trader.ledger.reader import LedgerReader
from trader.ledger.statistics import report, results


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Play once for all tests of this module; the engine stays open."""
    path = tmp_path_factory.mktemp("told") / "ledger.db"
    desk = PaperDesk.open(path)
    desk.play(range(1, 150))
    yield path, desk
    desk.close()


@pytest.fixture
def reader(played):
    """Return a reader of what was played."""
    with LedgerReader(played[0]) as reader:
        yield reader


def test_reader_shows_the_account_while_the_engine_writes(played, reader):
    """Account, cursor and balances are those of the last commit."""
    desk = played[1]
    account = reader.account()
    assert account["equity"] == desk.account["equity"]
    assert reader.cursor_ns() == desk.account["event_ns"]
    assert reader.balances() == desk.ledger.books.balances
    assert reader.paper_balances() == desk.ledger.paper_balances()
    assert reader.meta()["initial_capital"] == "10000"


def test_reader_shows_positions_with_their_plans(played, reader):
    """Exact quantity from the books, levels from the kernels."""
    desk = played[1]
    positions = {item.symbol: item for item in reader.positions()}
    assert positions.keys() == desk.ledger.books.holdings.keys()
    assert positions
    for symbol, position in positions.items():
        slot = desk.slots[SYMBOLS.index(symbol)]
        assert position.holding == desk.ledger.books.holdings[symbol]
        assert (position.stop_price, position.target_price) == (slot["stop_price"], slot["target_price"])
        expected = slot["quantity"] * (slot["mark_price"] - slot["entry_price"])
        assert position.unrealised_pnl == pytest.approx(expected, abs=1e-6)


def test_reader_orders_filter_sort_and_limit(reader):
    """Newest first, by symbol, live ones only."""
    every = reader.orders()
    assert [item.order_id for item in every] == list(range(len(every), 0, -1))
    assert [item.order_id for item in reader.orders(newest_first=False)] == list(range(1, len(every) + 1))
    of_one = reader.orders(5, "ETH/USDT")
    assert len(of_one) == 5
    assert {item.symbol for item in of_one} == {"ETH/USDT"}
    assert [repr(item) for item in reader.orders(live=True)] == [repr(o) for o in every if o.state not in TERMINAL]
    assert repr(reader.order(3)) == repr(every[-3])
    assert reader.order(10**6) is None
    assert [step.event.value for step in reader.order_steps(1)][:2] == ["submit", "acknowledge"]


def test_reader_fills_and_round_trips_filter_sort_and_limit(reader):
    """The same for executions and closed positions."""
    fills = reader.fills(newest_first=False)
    assert reader.fills() == fills[::-1]
    assert reader.fills(2, "DOGE/USDT") == [item for item in fills[::-1] if item.symbol == "DOGE/USDT"][:2]
    assert reader.fills(newest_first=False, after_id=4) == fills[4:]
    trips = reader.round_trips()
    assert [trip.exit_ns for trip in trips] == sorted((trip.exit_ns for trip in trips), reverse=True)
    assert len(reader.round_trips(3)) == 3


def test_reader_decisions_filter_sort_and_limit(reader):
    """By symbol, by time, and without the idle ones."""
    every = reader.decisions(None)
    assert [item.decision_id for item in every] == list(range(len(every), 0, -1))
    since_ns = every[10].time_ns
    some = reader.decisions(None, "BTC/USDT", since_ns)
    assert repr(some) == repr([d for d in every if d.symbol == "BTC/USDT" and d.time_ns >= since_ns])
    assert {item.decided for item in reader.decisions(None, idle=False)} == {Decided.ORDERED}
    assert reader.decisions(5, "NONE/USDT") == []
    assert repr(reader.decision(7)) == repr(every[-7])
    assert reader.decision(10**6) is None
    assert sum(reader.decision_counts().values()) == len(every)


def test_snapshot_keeps_one_state_while_the_engine_goes_on(tmp_path):
    """Queries inside one snapshot agree, whatever is committed meanwhile."""
    desk = PaperDesk.open(tmp_path / "ledger.db")
    desk.play(range(1, 10))
    with LedgerReader(tmp_path / "ledger.db") as reader:
        with reader.snapshot():
            before = reader.cursor_ns()
            desk.play(range(10, 20))
            reader.positions()  # has a snapshot of its own, which is part of this one
            assert reader.cursor_ns() == before
        assert reader.cursor_ns() > before
    desk.close()


def test_reader_works_when_no_service_runs_and_leaves_the_ledger_as_it_is(tmp_path):
    """A closed ledger is read without changing a byte of it."""
    path = tmp_path / "ledger.db"
    desk = PaperDesk.open(path)
    desk.play(range(1, 10))
    desk.close()
    before = path.read_bytes()
    with LedgerReader(path) as reader:
        assert reader.cursor_ns() > 0
        with pytest.raises(LedgerUnwritable, match="readonly"):
            reader.query("DELETE FROM fills")
    assert path.read_bytes() == before


def test_report_adds_up(played, reader):
    """Sums over groups and days are the whole, and the whole is cash and marks."""
    desk = played[1]
    told = report(reader)
    json.dumps(told, allow_nan=False)
    summary, trades = told["summary"], told["trades"]
    assert summary["trades"] == len(trades) == desk.account["round_trips"] == summary["wins"] + summary["losses"]
    assert summary["wins"] == desk.account["wins"]
    assert summary["total_pnl"] == desk.account["equity"] - 10_000
    assert summary["total_pnl_percent"] == pytest.approx(summary["total_pnl"] / 100)
    assert summary["max_drawdown"] == pytest.approx(desk.account["max_drawdown_frac"] * 100)
    assert summary["fees_paid"] == pytest.approx(desk.account["fees_paid"])
    assert Decimal(summary["realised_pnl_exact"]) == sum(Decimal(trade["pnl"]) for trade in trades)
    for group in ("by_symbol", "by_strategy", "by_reason"):
        assert sum(item["trades"] for item in told[group].values()) == len(trades)
        assert sum(item["pnl"] for item in told[group].values()) == pytest.approx(summary["realised_pnl"])
    assert sum(day["pnl"] for day in told["days"]) == pytest.approx(summary["total_pnl"])
    assert sum(day["trades"] for day in told["days"]) == len(trades)


def test_report_before_the_first_event_is_empty(tmp_path):
    """A ledger that has just begun has a report without numbers that nothing defines."""
    open_ledger(tmp_path / "ledger.db").close()
    with LedgerReader(tmp_path / "ledger.db") as reader:
        told = report(reader)
    json.dumps(told, allow_nan=False)
    assert (told["summary"]["trades"], told["summary"]["total_pnl"], told["trades"]) == (0, 0.0, [])
    assert told["summary"]["profit_factor"] is None


def test_results_by_hand(played, reader):
    """Win rate, profit factor and expectancy, each by its definition."""
    trips = reader.round_trips(newest_first=False)
    won = [float(trip.pnl) for trip in trips if trip.pnl > 0]
    lost = [float(trip.pnl) for trip in trips if trip.pnl < 0]
    figures = results(trips)
    assert figures["win_rate_frac"] == len(won) / len(trips)
    assert figures["profit_factor"] == pytest.approx(sum(won) / -sum(lost))
    assert figures["expectancy"] == pytest.approx((sum(won) + sum(lost)) / len(trips))
    assert (figures["best"], figures["worst"]) == (max(won), min(lost))
    assert figures["average_loss"] == pytest.approx(sum(lost) / len(lost))
    assert 1 <= figures["longest_loss_streak"] <= len(lost)
