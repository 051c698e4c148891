"""The cycle: who is asked, who is chosen, what is recorded."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from tests.unit.engine.conftest import HOUR_NS, SCRIPTED, SHUT, Rig
from trader.codes import Decided, Direction, Halt, Limit, Reason

MakeRig = Callable[..., Rig]

EVERY_HOUR = {"long_hours": tuple(range(24))}


def scripted(name: str = "scripted", symbols: list[str] | None = None, **params: object) -> dict[str, object]:
    """Return the configuration of a scripted strategy."""
    return {"use": SCRIPTED, "symbols": symbols, "params": {"name": name, **params}}


def decided(rig: Rig) -> list[tuple[str, str, Decided]]:
    """Return strategy, symbol and outcome of every decision, in order."""
    rows = rig.parts.ledger  # only to fail early when there is none
    assert rows is not None
    from trader.ledger.reader import LedgerReader

    with LedgerReader(rig.paths.ledger) as reader:
        found = list(reader.decisions(limit=10_000))
    found.sort(key=lambda item: item.decision_id)
    return [(item.strategy, item.symbol, Decided(item.decided)) for item in found]


def test_cycle_with_nothing_to_do_records_an_idle_row_for_each_symbol(make_rig: MakeRig) -> None:
    """HOLD is a decision too."""
    rig = make_rig([scripted()])
    rig.play(rig.events()[:3])
    assert decided(rig) == [("scripted", symbol, Decided.HOLD) for _ in range(3) for symbol in ("AAA/USDT", "BBB/USDT")]


def test_cycle_with_two_signals_takes_the_more_confident_one(make_rig: MakeRig) -> None:
    """One entry a cycle: the best signal by confidence."""
    rig = make_rig(
        [
            scripted("shy", ["AAA/USDT"], confidence=0.75, **EVERY_HOUR),
            scripted("sure", ["BBB/USDT"], confidence=0.95, **EVERY_HOUR),
        ]
    )
    rig.play(rig.events()[:1])
    assert decided(rig) == [("shy", "AAA/USDT", Decided.NOT_CHOSEN), ("sure", "BBB/USDT", Decided.ORDERED)]


def test_cycle_when_the_best_is_denied_takes_the_next_one(make_rig: MakeRig) -> None:
    """A denied signal does not use up the cycle's entry."""
    rig = make_rig(
        [
            scripted("sure", ["AAA/USDT"], confidence=0.95, **EVERY_HOUR),
            scripted("shy", ["BBB/USDT"], confidence=0.75, **EVERY_HOUR),
        ]
    )
    events = rig.events()
    rig.play(events[:1])
    rig.play(events[1:2])
    assert decided(rig)[2:] == [("sure", "AAA/USDT", Decided.DENIED), ("shy", "BBB/USDT", Decided.ORDERED)]
    ((mask, detail),) = rig.rows("SELECT mask, detail FROM decisions WHERE mask != 0")
    assert mask & Limit.POSITION_OPEN
    assert "position_open" in json.loads(detail)


def test_cycle_below_the_confidence_limit_is_denied_with_both_numbers(make_rig: MakeRig) -> None:
    """The record says by how much."""
    rig = make_rig([scripted(confidence=0.6, **EVERY_HOUR)], symbols=("AAA/USDT",))
    rig.play(rig.events()[:1])
    ((mask, detail),) = rig.rows("SELECT mask, detail FROM decisions")
    assert mask == Limit.CONFIDENCE
    assert json.loads(detail) == {"confidence": [0.6, 0.7]}


def test_cycle_behind_a_shut_fence_opens_nothing_and_says_lease_and_veto(make_rig: MakeRig) -> None:
    """Without lease and clearance no risk is added."""
    rig = make_rig([scripted(**EVERY_HOUR)], symbols=("AAA/USDT",))
    rig.play(rig.events()[:2], SHUT)
    assert {row[0] for row in rig.rows("SELECT mask FROM decisions")} == {int(Limit.LEASE | Limit.VETO)}
    assert rig.rows("SELECT count(*) FROM orders") == [(0,)]


def test_exit_signal_closes_only_what_its_strategy_opened(make_rig: MakeRig) -> None:
    """A position belongs to the strategy that opened it."""
    rig = make_rig(
        [
            scripted("owner", ["AAA/USDT"], long_hours=(0,), flat_hours=(4,)),
            scripted("other", ["AAA/USDT"], flat_hours=(2,)),
        ],
        exits={"stop_loss_frac": 0.5, "take_profit_frac": None},
    )
    events = rig.events()
    rig.play(events[:4])
    assert rig.parts.engine.book.slots["quantity"][0] > 0
    rig.play(events[4:6])
    assert rig.parts.engine.book.slots["quantity"][0] == 0
    outcomes = decided(rig)
    assert ("other", "AAA/USDT", Decided.NOTHING_TO_EXIT) in outcomes
    assert ("owner", "AAA/USDT", Decided.EXIT_ORDERED) in outcomes
    assert rig.rows("SELECT exit_reason FROM round_trips") == [(int(Reason.STRATEGY_EXIT),)]


def test_interval_longer_than_a_candle_skips_the_candles_in_between(make_rig: MakeRig) -> None:
    """Candles between two cycles are not judged; exits are still looked at."""
    rig = make_rig([scripted()], engine={"loop_interval_seconds": 4 * 3600})
    rig.play(rig.events()[:12])
    assert rig.rows("SELECT DISTINCT time_ns / 3600000000000 % 24 FROM decisions") == [(4,), (8,), (12,)]


def test_pause_denies_entries_until_resume_and_is_journaled(make_rig: MakeRig) -> None:
    """A paused engine goes on asking, and records what it denies."""
    rig = make_rig([scripted(**EVERY_HOUR)], symbols=("AAA/USDT",))
    events = rig.events()
    rig.parts.engine.pause()
    rig.play(events[:2])
    assert [row[0] for row in rig.rows("SELECT mask FROM decisions")] == [int(Limit.PAUSED)] * 2
    assert rig.parts.engine.resume() == Halt.PAUSED
    rig.play(events[2:3])
    assert decided(rig)[-1][2] is Decided.ORDERED
    assert len(rig.rows("SELECT * FROM halts")) == 2


def test_flatten_withdraws_entries_closes_positions_and_pauses(make_rig: MakeRig) -> None:
    """After the next candle nothing is open, and nothing opens."""
    rig = make_rig([scripted(**EVERY_HOUR)], exits={"stop_loss_frac": 0.5, "take_profit_frac": None})
    events = rig.events()
    rig.play(events[:2])  # AAA is open, BBB is ordered
    assert rig.parts.engine.flatten() == ("AAA/USDT",)
    rig.play(events[2:10])
    assert not rig.parts.engine.book.slots["quantity"].any()
    assert rig.parts.engine.halts == Halt.PAUSED
    assert rig.rows("SELECT exit_reason FROM round_trips") == [(int(Reason.OWNER_FLATTEN),)]


def test_close_without_a_position_says_so(make_rig: MakeRig) -> None:
    """Closing nothing orders nothing."""
    rig = make_rig([scripted()])
    rig.play(rig.events()[:1])
    assert not rig.parts.engine.close("AAA/USDT")


def test_time_without_candles_rolls_the_day_and_records_the_cycle(make_rig: MakeRig) -> None:
    """A cycle without a new candle still does all but asking."""
    rig = make_rig([scripted()])
    rig.play(rig.events()[:3])
    now_ns = int(rig.parts.engine.book.desk["account"]["event_ns"][0]) + 30 * HOUR_NS
    rig.parts.engine.on_time(now_ns, SHUT)
    rig.commit()
    assert decided(rig)[-1] == ("", "", Decided.NO_NEW_CANDLE)
    assert rig.rows("SELECT count(*) FROM days WHERE day > 19723") == [(1,)]


def test_broken_strategy_is_disabled_and_the_others_go_on(make_rig: MakeRig) -> None:
    """A strategy's failure is its own problem."""
    rig = make_rig([{"use": "tests.unit.engine.scripted:Broken"}, scripted(**EVERY_HOUR)], symbols=("AAA/USDT",))
    rig.play(rig.events()[:8])
    outcomes = decided(rig)
    assert [row for row in outcomes if row[0] == "broken"] == [("broken", "AAA/USDT", Decided.FAILED)] * 5
    assert ("scripted", "AAA/USDT", Decided.ORDERED) in outcomes
    assert not rig.parts.engine.panel.enabled(0)
    ((detail,),) = rig.rows("SELECT DISTINCT detail FROM decisions WHERE decided = 7")
    assert "as written" in detail


def arrays(rig: Rig) -> tuple[bytes, bytes]:
    """Return account and slots as bytes, but for the stamp of their publication."""
    account = rig.parts.engine.book.desk["account"].copy()
    account["updated_ns"] = 0
    return account.tobytes(), rig.parts.engine.book.slots.tobytes()


@pytest.mark.parametrize("seed", range(4))
def test_crashes_at_random_events_change_nothing(make_rig: MakeRig, seed: int) -> None:
    """Account, slots and ledger after crashes are, bit by bit, those of an undisturbed run."""
    strategies = [
        scripted("a", long_hours=(1, 6, 7, 13, 20), flat_hours=(5, 11)),
        scripted("b", long_hours=(3, 9), flat_hours=(17,), confidence=0.8),
    ]
    more = {
        "exits": {"trailing_stop_frac": 0.01, "max_hold_seconds": 30_000},
        "engine": {"loop_interval_seconds": 7200},
    }
    calm, disturbed = make_rig(strategies, **more), make_rig(strategies, **more)
    calm.play(calm.events())
    chance = np.random.default_rng(seed)
    cuts = sorted(chance.choice(np.arange(1, 99), 6, replace=False).tolist())
    done = 0
    for cut in [*cuts, 100]:
        disturbed.play(disturbed.events()[: cut - done])
        done = cut
        disturbed.crash()
    calm.crash()
    assert arrays(disturbed) == arrays(calm)
    for table in ("orders", "fills", "round_trips", "days", "decisions"):
        columns = ", ".join(row[1] for row in calm.rows(f"PRAGMA table_info({table})") if row[1] != "recorded_ns")
        query = f"SELECT {columns} FROM {table}"
        assert disturbed.rows(query) == calm.rows(query), table
    assert calm.rows("SELECT count(*) FROM round_trips")[0][0] > 5


def test_reload_lets_a_position_follow_its_strategy(make_rig: MakeRig) -> None:
    """Strategies may be reordered, added and look back further; positions keep theirs."""
    rig = make_rig(
        [scripted("owner", long_hours=(0,), flat_hours=(6,))], exits={"stop_loss_frac": 0.5, "take_profit_frac": None}
    )
    events = rig.events()
    rig.play(events[:3])
    assert rig.parts.engine.book.slots["strategy"].tolist() == [0, -1]
    patient = {"use": "tests.unit.engine.scripted:Patient", "params": {"name": "patient"}}
    update = {
        "strategies": [patient, scripted("owner", long_hours=(0,), flat_hours=(6,))],
        "risk": {"max_open_positions": 1},
    }
    config = type(rig.config).model_validate({**rig.config.model_dump(), **update})
    rig.parts.check_reload(config)
    rig.parts.apply(config, 2)
    assert rig.parts.engine.book.slots["strategy"].tolist() == [1, -1]
    assert rig.parts.store.capacity == 400
    assert rig.parts.engine.book.desk["limits"]["max_open_positions"][0] == 1
    rig.play(events[3:8])
    assert rig.parts.engine.book.slots["quantity"][0] == 0
    assert rig.rows("SELECT count(*) FROM round_trips") == [(1,)]


def test_direction_codes_fit_what_the_engine_multiplies_by() -> None:
    """LONG and SHORT are signs."""
    assert (int(Direction.LONG), int(Direction.SHORT)) == (1, -1)
