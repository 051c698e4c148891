"""The same candles through the engine and through the compiled driver: the same trades, the same equity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.unit.engine.conftest import SCRIPTED, Rig
from trader.codes import CoreEvent, Decided, Limit, Reason
from trader.config.sections import Config
from trader.core.history import Log, Opinions, Tape, finished, new_log, opinion_of, play
from trader.core.records import fund, new_desk, new_slots
from trader.domain.market import Candles
from trader.engine.assembly import bind_strategies
from trader.market.instruments import write_instruments
from trader.risk.exit_plan import write_costs, write_limits

SYMBOLS = ("AAA/USDT", "BBB/USDT", "CCC/USDT", "DDD/USDT")


def played(config: Config, rig: Rig, events: list[Any], room: int = 65_536) -> tuple[Any, Any, Log, np.ndarray]:
    """Play a rig's candles through the compiled driver; return desk, slots, log and all core events."""
    rows = np.concatenate([event.candles for event in events])
    starts = np.concatenate([[0], np.cumsum([len(event.candles) for event in events])]).astype(np.int64)
    symbols = tuple(config.market.symbols)
    desk, slots = new_desk(), new_slots(len(symbols))
    fund(desk, config.initial_capital)
    write_limits(desk, config, 1)
    write_instruments(slots, rig.parts.feed.instruments)
    write_costs(slots, config)
    bound = bind_strategies(config)
    opinions = Opinions(
        np.zeros((len(bound), len(rows)), np.int8),
        np.zeros((len(bound), len(rows))),
        np.full((len(bound), len(rows)), np.nan),
        np.full((len(bound), len(rows)), np.nan),
        np.zeros((len(bound), len(symbols)), np.uint8),
    )
    for index, item in enumerate(bound):
        for slot in item.slots:
            opinions.asked[index, slot] = 1
            mine = np.flatnonzero(rows["slot"] == slot)
            prices = [np.ascontiguousarray(rows[mine][name]) for name in ("open", "high", "low", "close", "volume")]
            said = item.strategy.signals(Candles(symbols[slot], "1h", rows["open_ns"][mine].copy(), *prices))
            opinions.direction[index, mine] = said.direction
            opinions.confidence[index, mine] = said.confidence
            opinions.stop_price[index, mine] = said.stop_price
            opinions.target_price[index, mine] = said.target_price
    tape = Tape(rows, starts)
    interval_ns = round(config.engine.loop_interval_seconds * 1e9)
    log = new_log(tape, len(bound), len(symbols), rig.parts.feed.start_ns, interval_ns, room)
    told = []
    while not finished(tape, log):
        count = play(desk, slots, tape, opinions, log, interval_ns, config.engine.max_new_positions_per_cycle)
        assert count >= 0
        told.append(log.events[:count].copy())
    return desk, slots, log, np.concatenate(told)


def through_engine(rig: Rig, events: list[Any]) -> np.ndarray:
    """Play events through the engine; return the equity after each of them."""
    equity = []
    for event in events:
        rig.play([event])
        equity.append(float(rig.parts.engine.book.desk["account"]["equity"][0]))
    return np.array(equity)


def fills_of(events: np.ndarray, symbols: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """Return the fills that core events tell of, as the ledger has them."""
    kinds = (int(CoreEvent.ENTRY_FILLED), int(CoreEvent.EXIT_FILLED))
    return [
        (
            symbols[e["slot"]],
            int(e["side"]),
            int(e["reason"]),
            int(e["time_ns"]),
            *map(float, e[["price", "quantity", "fee"]]),
        )
        for e in events
        if e["kind"] in kinds
    ]


def agree(rig: Rig, config: Config, room: int = 65_536) -> tuple[Any, Log, np.ndarray]:
    """Hold the compiled driver against the engine; return its desk, log and events."""
    events = rig.events()
    desk, slots, log, told = played(config, rig, events, room)
    equity = through_engine(rig, events)
    symbols = tuple(config.market.symbols)
    fills = rig.rows("SELECT symbol, side, reason, time_ns, price, quantity, fee FROM fills ORDER BY fill_id")
    mine = fills_of(told, symbols)
    assert [fill[:4] for fill in mine] == [fill[:4] for fill in fills]
    numbers = np.array([[float(x) for x in fill[4:]] for fill in fills])
    assert np.array([fill[4:] for fill in mine]) == pytest.approx(numbers, rel=1e-12, abs=1e-12)
    assert log.equity == pytest.approx(equity, rel=1e-12)
    book = rig.parts.engine.book
    for field in ("day_trades", "round_trips", "wins", "losses", "loss_streak", "halt_mask", "cycles", "decisions"):
        assert desk["account"][field][0] == book.desk["account"][field][0], field
    for field in (
        "quantity",
        "stop_price",
        "target_price",
        "best_price",
        "expires_ns",
        "strategy",
        "pending_lots",
        "trailing_price",
        "atr",
        "break_even_price",
    ):
        assert slots[field] == pytest.approx(book.slots[field], rel=1e-12, nan_ok=True), field
    decided = dict(rig.rows("SELECT decided, count(*) FROM decisions GROUP BY decided"))
    assert {code: int(n) for code, n in enumerate(log.decided.sum(axis=0)) if n} == decided
    masks = [mask for (mask,) in rig.rows("SELECT mask FROM decisions WHERE mask")]
    assert log.denied.sum(axis=0).tolist() == [sum(mask >> bit & 1 for mask in masks) for bit in range(24)]
    return desk, log, told


def test_history_plays_as_the_engine_does(make_rig: Callable[..., Rig]) -> None:
    """Fills, equity, plans, counts of decisions and of broken limits are the engine's, with limits that bind."""
    strategies = [
        {"use": SCRIPTED, "params": {"long_hours": [1, 5, 9, 15, 19], "flat_hours": [3, 17], "name": "first"}},
        {"use": SCRIPTED, "params": {"long_hours": [5, 6, 23], "flat_hours": [11], "confidence": 0.95, "name": "sure"}},
        {"use": SCRIPTED, "params": {"long_hours": [7], "confidence": 0.3, "name": "shy"}, "symbols": ["BBB/USDT"]},
        {"use": SCRIPTED, "params": {"short_hours": [5, 13, 21], "name": "bear"}},
    ]
    rig = make_rig(
        strategies,
        bars=400,
        symbols=SYMBOLS,
        engine={"loop_interval_seconds": 7200, "max_new_positions_per_cycle": 2},
        risk={"max_open_positions": 3, "max_daily_trades": 5, "allow_short": True, "max_daily_loss_frac": 0.004},
        exits={
            "stop_loss_frac": 0.01,
            "take_profit_frac": 0.015,
            "trailing_stop_frac": 0.02,
            "max_hold_seconds": 86400,
        },
    )
    desk, log, told = agree(rig, rig.config)
    broken = {limit.name for bit, limit in enumerate(Limit) if log.denied[:, bit].any()}
    assert {"CONFIDENCE", "OPEN_POSITIONS", "DAILY_TRADES", "DAILY_LOSS", "HALTED", "POSITION_OPEN"} <= broken
    for outcome in (Decided.ORDERED, Decided.DENIED, Decided.NOT_CHOSEN, Decided.EXIT_ORDERED):
        assert log.decided[:, outcome].any(), outcome
    assert int(desk["account"]["round_trips"][0]) > 50
    entries = told[(told["kind"] == CoreEvent.ENTRY_FILLED) & (told["order"] > 0)]
    assert set(np.unique(opinion_of(entries["order"], 4)[1])) == {0, 1, 3}


def test_history_plays_moving_stops_and_cooldowns_as_the_engine_does(make_rig: Callable[..., Rig]) -> None:
    """The same with stops that move by range and to the entry, and with both cooldowns."""
    strategies = [{"use": SCRIPTED, "params": {"long_hours": [1, 7, 13, 19], "flat_hours": [5], "short_hours": [10]}}]
    rig = make_rig(
        strategies,
        bars=300,
        engine={"loop_interval_seconds": 3600},
        risk={
            "allow_short": True,
            "cooldown_seconds": 5 * 3600,
            "loss_streak_limit": 2,
            "loss_streak_cooldown_seconds": 12 * 3600,
        },
        exits={
            "take_profit_frac": 0.05,
            "trailing_stop_atr": 2.0,
            "atr_bars": 5,
            "break_even_after_frac": 0.006,
            "break_even_lock_frac": 0.002,
        },
    )
    _, log, told = agree(rig, rig.config)
    assert {"COOLDOWN", "LOSS_STREAK"} <= {limit.name for bit, limit in enumerate(Limit) if log.denied[:, bit].any()}
    assert {Reason.TRAILING, Reason.STOP} <= set(told["reason"][told["kind"] == CoreEvent.EXIT_FILLED])


def test_history_plays_borrowed_money_as_the_engine_does(make_rig: Callable[..., Rig]) -> None:
    """With leverage the cash of long positions may be borrowed, and both books agree on that too."""
    strategies = [{"use": SCRIPTED, "params": {"long_hours": [1, 9, 17], "flat_hours": [5]}}]
    risk = {"leverage": 3, "max_gross_exposure_frac": 3, "max_symbol_exposure_frac": 1.5, "risk_per_trade_frac": 1}
    rig = make_rig(strategies, bars=60, risk=risk, engine={"loop_interval_seconds": 3600})
    events = rig.events()
    lowest = min(float(cash) for cash in _cash(rig, events))
    assert lowest < -9000
    fresh = make_rig(strategies, bars=60, risk=risk, engine={"loop_interval_seconds": 3600})
    agree(fresh, fresh.config)


def _cash(rig: Rig, events: list[Any]) -> list[float]:
    """Play events and return the cash after each of them."""
    cash = []
    for event in events:
        rig.play([event])
        cash.append(float(rig.parts.engine.book.desk["account"]["cash"][0]))
    return cash


def test_history_in_small_pieces_is_the_same(make_rig: Callable[..., Rig]) -> None:
    """With room for the events of one moment only, the driver goes on where it stopped."""
    strategies = [{"use": SCRIPTED, "params": {"long_hours": [1, 5, 9, 14, 20], "flat_hours": [3, 17]}}]
    rig = make_rig(strategies, bars=200)
    events = rig.events()
    *_, whole, told = played(rig.config, rig, events)
    *_, parts, told_in_parts = played(rig.config, rig, events, room=1)
    assert len(parts.events) == 16
    assert (told == told_in_parts).all()
    assert (whole.equity == parts.equity).all()


def test_history_without_room_says_so(make_rig: Callable[..., Rig]) -> None:
    """A log that can't hold what one moment may report is refused, and nothing is played."""
    rig = make_rig([{"use": SCRIPTED}], bars=10)
    *_, log, _ = played(rig.config, rig, rig.events())
    tape = Tape(np.concatenate([event.candles for event in rig.events()]), np.array([0, 2], np.int64))
    opinions = Opinions(np.zeros((1, 20), np.int8), *[np.zeros((1, 1))] * 3, np.ones((1, 2), np.uint8))
    assert play(new_desk(), new_slots(2), tape, opinions, log._replace(events=log.events[:3]), 1, 1) == -1
