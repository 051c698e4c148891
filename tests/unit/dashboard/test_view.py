"""The status document: every number recomputed by hand from what was published."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.serving import config_of
from tests.staging import MINUTE_NS, Stage, paths_in
from trader.clock import NS_PER_S
from trader.codes import Halt, Reason, Role, Veto
from trader.core.records import new_slots
from trader.dashboard import view
from trader.dashboard.source import Sample, Source
from trader.state.reader import StateReader


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Stage a running instance with an idle account."""
    stage = Stage(paths_in(tmp_path)).start()
    yield stage
    stage.stop()


def _document(stage: Stage) -> dict[str, Any]:
    stage.publish()
    sample = Source(StateReader(stage.paths)).sample()
    return view.status_document(sample, config_of(), sample.book.account if sample.book else None)


def test_status_open_position_shows_result_and_exit_plan(stage: Stage) -> None:
    """0.02 BTC at 60,000, mark 61,000: +20.00, +1.667 %; stop 58,800 is 3.607 % below the mark, target 61,800."""
    stage.slots["mark_price"][0] = 60_000.0
    stage.trade(0, "0.02", Reason.SIGNAL)
    stage.now_ns += 5 * MINUTE_NS
    stage.slots["mark_price"][0] = 61_000.0
    [position] = _document(stage)["positions"]
    assert position["symbol"] == "BTC/USDT"
    assert position["side"] == "long"
    assert position["strategy"] == "simple_rsi"
    assert position["unrealised_pnl"] == pytest.approx(20.0)
    assert position["unrealised_frac"] == pytest.approx(1 / 60)
    assert position["effective_stop_price"] == pytest.approx(58_800.0)
    assert position["to_stop_frac"] == pytest.approx(58_800 / 61_000 - 1)
    assert position["to_target_frac"] == pytest.approx(61_800 / 61_000 - 1)
    assert position["age_s"] == pytest.approx(300.0)
    assert position["expires_in_s"] is None


def test_status_account_is_consistent(stage: Stage) -> None:
    """Fee 1.20 and a gain of 20.00 on 10,000: total +18.80, 0.188 %; unrealised before fees."""
    stage.slots["mark_price"][0] = 60_000.0
    stage.trade(0, "0.02", Reason.SIGNAL)
    stage.slots["mark_price"][0] = 61_000.0
    account = _document(stage)["account"]
    assert account["total_pnl"] == pytest.approx(18.80)
    assert account["total_pnl_frac"] == pytest.approx(0.00188)
    assert account["daily_pnl"] == pytest.approx(18.80)
    assert account["unrealised_pnl"] == pytest.approx(20.0)
    assert account["win_frac"] is None
    assert account["gross_exposure"] == pytest.approx(1_220.0)


def test_status_limits_are_used_of_allowed(stage: Stage) -> None:
    """1,220 of 10,018.80 equity in one symbol; 1 of 5 positions; 1 of 20 entries; no loss today."""
    stage.slots["mark_price"][0] = 60_000.0
    stage.trade(0, "0.02", Reason.SIGNAL)
    stage.slots["mark_price"][0] = 61_000.0
    limits = {limit["name"]: limit for limit in _document(stage)["limits"]}
    share = 1_220.0 / 10_018.80
    assert limits["symbol_exposure"]["used"] == pytest.approx(share)
    assert limits["symbol_exposure"]["note"] == "BTC/USDT"
    assert limits["gross_exposure"]["used"] == pytest.approx(share)
    assert (limits["open_positions"]["used"], limits["open_positions"]["allowed"]) == (1, 5)
    assert (limits["daily_trades"]["used"], limits["daily_trades"]["allowed"]) == (1, 20)
    assert limits["daily_loss"] == {
        "name": "daily_loss", "label": "Daily loss", "used": 0.0, "allowed": 0.05, "kind": "frac", "note": "",
    }  # fmt: skip
    assert "loss_streak" not in limits


def test_status_daily_loss_is_measured_from_the_days_start(stage: Stage) -> None:
    """Equity 9,700 in a day that began with 10,000 uses 3 % of 5 %."""
    stage.desk["account"]["cash"] = 9_700.0
    limits = {limit["name"]: limit for limit in _document(stage)["limits"]}
    assert limits["daily_loss"]["used"] == pytest.approx(0.03)
    assert limits["drawdown"]["used"] == pytest.approx(0.03)


def test_status_entry_in_flight_counts_as_position_and_is_shown(stage: Stage) -> None:
    """An entry on its way has no side yet, but its quantity, and takes a place."""
    stage.slots["pending_lots"][1], stage.slots["pending_quantity"][1], stage.slots["pending_order"][1] = 5_000, 0.5, 9
    stage.slots["pending_strategy"][1] = 0
    document = _document(stage)
    [position] = document["positions"]
    assert position["side"] == "none"
    assert position["pending"] == {"side": "buy", "quantity": 0.5, "order": 9}
    assert position["strategy"] == "simple_rsi"
    assert next(limit for limit in document["limits"] if limit["name"] == "open_positions")["used"] == 1


@pytest.mark.parametrize(
    ("quantity", "stop", "trailing", "best", "expected", "kind"),
    [
        (1.0, 95.0, math.nan, 110.0, 95.0, "stop"),
        (1.0, 95.0, 0.05, 110.0, 104.5, "trailing"),  # 110 x 0.95
        (1.0, 95.0, 0.20, 110.0, 95.0, "stop"),  # 110 x 0.80 = 88 is further away
        (1.0, math.nan, 0.05, 110.0, 104.5, "trailing"),
        (1.0, math.nan, math.nan, 110.0, None, None),
        (-1.0, 105.0, 0.05, 90.0, 94.5, "trailing"),  # 90 x 1.05
        (-1.0, 105.0, math.nan, 90.0, 105.0, "stop"),
    ],
)
def test_position_stop_that_is_hit_first_is_shown(
    quantity: float, stop: float, trailing: float, best: float, expected: float | None, kind: str | None
) -> None:
    """The trailing stop counts where it is nearer to the price than the plan's."""
    slot = new_slots(1)[0]
    slot["quantity"], slot["entry_price"], slot["mark_price"] = quantity, 100.0, 100.0
    slot["stop_price"], slot["trailing_stop_frac"], slot["best_price"] = stop, trailing, best
    found = view.position_view("X/Y", slot, 0, [])
    assert found["effective_stop_price"] == (None if expected is None else pytest.approx(expected))
    assert found["stop_kind"] == kind


def test_position_without_a_mark_shows_null_and_never_a_guess() -> None:
    """NaN becomes null everywhere."""
    slot = new_slots(1)[0]
    slot["quantity"], slot["entry_price"] = 1.0, 100.0
    found = view.position_view("X/Y", slot, 0, [])
    for name in ("mark_price", "unrealised_pnl", "unrealised_frac", "to_stop_frac", "notional"):
        assert found[name] is None
    orjson.dumps(found)


def test_entries_open_when_nothing_is_in_the_way(stage: Stage) -> None:
    """Lease, clearance, no halt: open."""
    assert _document(stage)["entries"]["open"] is True


def test_entries_every_reason_is_named(stage: Stage) -> None:
    """Two halts, a lost lease and a veto are four reasons."""
    stage.desk["account"]["halt_mask"] = Halt.PAUSED | Halt.LEDGER
    stage.segments[Role.SUPERVISOR].word("lease_until_ns").set(1)
    stage.segments[Role.MONITOR].word("clear_until_ns").set(0)
    stage.segments[Role.MONITOR].word("veto_mask").set(Veto.DISK)
    entries = _document(stage)["entries"]
    assert [reason["code"] for reason in entries["reasons"]] == ["paused", "ledger", "lease", "veto_disk"]
    assert entries["open"] is False
    assert entries["paused"] is True


def test_status_paper_and_live_are_told_apart(stage: Stage) -> None:
    """The mode is the supervisor's word."""
    assert _document(stage)["service"]["mode"] == "paper"
    stage.service["live"] = 1
    assert _document(stage)["service"]["mode"] == "live"


def test_status_lost_engine_keeps_the_last_book(stage: Stage) -> None:
    """While the engine is away its last numbers stay, marked as remembered."""
    source = Source(StateReader(stage.paths))
    assert source.sample().engine_up
    stage.desk["account"]["cash"] = 9_999.0
    stage.publish()
    source.sample()
    stage.lose_engine()
    sample = source.sample()
    document = view.status_document(sample, config_of(), sample.book.account)
    assert document["source"] == "memory"
    assert document["account"]["equity"] == 9_999.0
    assert document["entries"]["open"] is False
    assert document["market"]["next_decision_s"] is None
    assert document["workers"][0]["state"] == "backoff"
    assert document["workers"][0]["beat_age_s"] is None


def test_status_silent_engine_is_not_up(stage: Stage) -> None:
    """A table that says ready is not enough: the beat must be young."""
    stage.publish(beat_age_s=60.0)
    sample = Source(StateReader(stage.paths)).sample()
    assert not sample.engine_up


def test_status_without_a_service_is_complete(tmp_path: Path) -> None:
    """Nothing runs, nothing was ever run: a whole document of unknowns."""
    sample = Source(StateReader(paths_in(tmp_path))).sample()
    document = view.status_document(sample, config_of(), None)
    assert document["source"] == "none"
    assert document["service"]["running"] is False
    assert document["account"] is None
    assert document["positions"] == document["workers"] == document["limits"] == []
    assert view.performance_document(document)["available"] is False
    assert not view.health_document(document)["ok"]


def test_next_decision_follows_the_grid_of_market_time(stage: Stage) -> None:
    """09:01 on a grid of 180 s leaves 120 s of market time, 2 s at speed 60."""
    stage.now_ns += MINUTE_NS
    assert _document(stage)["market"]["next_decision_s"] == pytest.approx(2.0, abs=0.3)


def test_performance_uses_percent_where_its_names_say_so(stage: Stage) -> None:
    """3 of 4 won is 75; a worst drawdown of 0.05 is 5."""
    account = stage.desk["account"]
    account["wins"], account["losses"], account["round_trips"], account["max_drawdown_frac"] = 3, 1, 4, 0.05
    account["cash"] = 10_250.0
    performance = view.performance_document(_document(stage))
    assert performance["win_rate"] == pytest.approx(75.0)
    assert performance["max_drawdown"] == pytest.approx(5.0)
    assert performance["total_pnl_percent"] == pytest.approx(2.5)
    assert performance["total_trades"] == 4


@pytest.mark.parametrize(
    ("halt", "ok"),
    [(Halt.PAUSED, True), (Halt.DAILY_LOSS, True), (Halt.DRAWDOWN, True), (Halt.LEDGER, False), (Halt.FEED, False)],
)
def test_health_limits_at_work_are_healthy_and_faults_are_not(stage: Stage, halt: Halt, ok: bool) -> None:
    """An owner's pause or a loss limit is the service doing its work; a fault is not."""
    stage.desk["account"]["halt_mask"] = halt
    health = view.health_document(_document(stage))
    assert health["ok"] is ok
    assert health["halts"] == [(halt.name or "").lower()]


def test_health_stale_data_is_a_problem(stage: Stage) -> None:
    """Data that is older than three candles at this pace makes the service unhealthy."""
    stage.publish()
    sample = Source(StateReader(stage.paths)).sample()
    later = Sample(
        boot_ns=sample.boot_ns + 3630 * NS_PER_S, utc_ns=sample.utc_ns, service=sample.service, workers=sample.workers,
        beats=sample.beats, book=sample.book, limits=sample.limits, engine_up=True,
        lease_until_ns=2**62, clear_until_ns=2**62,
    )  # fmt: skip
    document = view.status_document(later, config_of(), sample.book.account)
    assert [problem["code"] for problem in view.health_document(document)["problems"]] == ["stale"]
