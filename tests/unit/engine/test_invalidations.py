"""Rules through the whole engine: kept in the ledger, enforced after restarts and without whoever made them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.unit.engine.conftest import Rig
from trader.backtest.runner import run
from trader.codes import Decided, Reason
from trader.core.rulebook import rules_of
from trader.errors import ConfigError

RULED = "tests.unit.engine.scripted:Ruled"
SYMBOLS = ("AAA/USDT", "BBB/USDT", "CCC/USDT", "DDD/USDT")
LIMITS: dict[str, Any] = {
    "engine": {"max_new_positions_per_cycle": 2, "loop_interval_seconds": 3600},
    "risk": {
        "allow_short": True,
        "max_daily_trades": 50,
        "max_daily_loss_frac": 0.5,
        "max_correlated_exposure_frac": 0.35,
        "correlation_window_bars": 24,
        "correlation_threshold": 0.1,
    },
    "exits": {
        "stop_loss_frac": 0.05,
        "take_profit_frac": None,
        "invalidations": ["age over 20h", "RSI(5) below 25 on 2h"],
    },
}
STRATEGY = {"use": RULED, "params": {"long_hours": [1, 6, 13], "short_hours": [3, 17]}}


def test_rules_through_engine_and_backtest_end_the_same_trades(make_rig: Callable[..., Rig]) -> None:
    """Same trades, same rules named, same entries refused for correlation."""
    rig = make_rig([STRATEGY], bars=400, symbols=SYMBOLS, **LIMITS)
    rig.play(rig.events())
    result = run(rig.config)
    rows = rig.rows("SELECT symbol, entry_ns, exit_ns, exit_reason, exit_note FROM round_trips ORDER BY position_id")
    trades = sorted(result.trades, key=lambda trade: trade.position_id)
    mine = [(one.symbol, one.entry_ns, one.exit_ns, one.exit_reason, one.exit_note) for one in trades]
    assert mine == [(symbol, begun, ended, Reason(why).name.lower(), note) for symbol, begun, ended, why, note in rows]
    notes = {note.split(" ")[0] + note.split(" ")[1] for *_, note in mine if note}
    assert {"closebelow", "closeabove", "RSI(5)below", "RSI(3)above", "ageover"} <= notes, notes
    assert result.denials["correlated"]


def test_rules_after_crashes_end_the_same_trades(make_rig: Callable[..., Rig]) -> None:
    """A restart every few events changes nothing: rules, averages and closes come back to the bit."""
    calm, shaken = (make_rig([STRATEGY], bars=120, symbols=SYMBOLS, **LIMITS) for _ in range(2))
    calm.play(calm.events())
    for number, event in enumerate(shaken.events()):
        shaken.play([event])
        if number % 13 == 3:
            before = shaken.parts.engine.book.slots.copy()
            shaken.crash()
            after = shaken.parts.engine.book.slots.copy()
            before["correlation"] = after["correlation"] = np.nan
            assert after.tobytes() == before.tobytes()
    query = "SELECT symbol, side, reason, time_ns, price, quantity FROM fills ORDER BY fill_id"
    assert len(calm.rows(query)) > 30
    assert shaken.rows(query) == calm.rows(query)
    masks = "SELECT decision_id, decided, mask, note FROM decisions ORDER BY decision_id"
    assert shaken.rows(masks) == calm.rows(masks)


def test_rules_are_enforced_when_their_strategy_is_gone(make_rig: Callable[..., Rig]) -> None:
    """Position and rules outlive the strategy, and what the rules look at does, too."""
    exits = {"exits": {"stop_loss_frac": 0.5, "take_profit_frac": None}}
    rig = make_rig([{"use": RULED, "params": {"long_hours": [5]}}], bars=100, symbols=SYMBOLS[:1], **exits)
    events = rig.events()
    held = next(number for number, event in enumerate(events) if event_opens(rig, event))
    rules = rules_of(rig.parts.engine.book.slots[0])
    assert len(rules) == 4
    gone = rig.config.model_copy(update={"strategies": rig.config.model_validate({}).strategies})
    rig.config = gone
    rig.crash()
    assert rules_of(rig.parts.engine.book.slots[0]) == rules
    assert int(rig.parts.engine.book.slots["gauges"][0]) == 2
    rig.play(events[held + 1 :])
    ((reason, note),) = rig.rows("SELECT exit_reason, exit_note FROM round_trips")
    assert Reason(reason) is Reason.INVALIDATED
    assert note in map(str, rules)


def event_opens(rig: Rig, event: Any) -> bool:
    """Play an event, and say whether a position is open then."""
    rig.play([event])
    return bool(rig.parts.engine.book.slots["quantity"][0])


def test_rules_and_notes_are_in_the_ledger(make_rig: Callable[..., Rig]) -> None:
    """An order says what it brings and why it ends, a decision says why it was made."""
    rig = make_rig([STRATEGY], bars=60, symbols=SYMBOLS[:1], **LIMITS)
    rig.play(rig.events())
    brought = [row[0] for row in rig.rows("SELECT invalidations FROM orders WHERE reduce_only = 0")]
    assert brought
    assert all("age over 9h" in rules and "RSI(3) above 90" in rules for rules in brought)
    notes = rig.rows(f"SELECT note FROM orders WHERE reason = {int(Reason.INVALIDATED)}")
    assert notes
    assert all(note for (note,) in notes)
    said = rig.rows(f"SELECT note FROM decisions WHERE decided = {int(Decided.ORDERED)}")
    assert {note.split(" ")[0] for (note,) in said} == {"hour"}


def test_reload_with_more_indicators_than_there_is_room_for_is_refused(make_rig: Callable[..., Rig]) -> None:
    """The one that runs stays as it is."""
    rig = make_rig([STRATEGY], bars=30, symbols=SYMBOLS[:1])
    rules = [f"RSI({period}) above 90 on 1h" for period in (2, 4, 6)]
    config = rig.config.model_validate(rig.config.model_dump() | {"exits": {"invalidations": rules}})
    with pytest.raises(ConfigError, match="there is room for 4"):
        rig.parts.check_reload(config)


def test_reload_with_another_rule_looks_back(make_rig: Callable[..., Rig]) -> None:
    """An indicator that a reload brings knows the candles before, and those that were there go on."""
    rig = make_rig([STRATEGY], bars=100, symbols=SYMBOLS[:1])
    events = rig.events()
    rig.play(events[:90])
    before = rig.parts.engine.book.slots.copy()
    config = rig.config.model_validate(rig.config.model_dump() | {"exits": {"invalidations": ["RSI(6) above 90"]}})
    rig.parts.apply(config, 2)
    slot, old = rig.parts.engine.book.slots[0], before[0]
    assert int(slot["gauges"]) == 3
    assert slot["gauge_count"].tolist() == [*old["gauge_count"][:2].tolist(), 7, 0]
    assert slot["gauge_up"][:2].tolist() == old["gauge_up"][:2].tolist()
