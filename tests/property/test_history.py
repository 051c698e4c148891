"""The compiled driver's short cut through quiet moments, held against playing every moment in full."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.test_core_model import Core, in_words, markets, rule_sets, some_rules
from trader.core import kernels
from trader.core.history import Log, Opinions, Tape, cycle, finished, new_log, open_gate, order_of, play
from trader.core.records import CANDLE
from trader.core.rulebook import pack

STEP_NS = 3_600 * 10**9
PROPERTY = settings(max_examples=40)


def tape_of(events: list[dict[int, tuple]]) -> Tape:
    """Return candles by slot as a tape; moments without a candle are none."""
    present = [rows for rows in events if rows]
    rows = np.zeros(sum(map(len, present)), CANDLE)
    at = 0
    for moment in present:
        for slot, (o, h, low, c, open_ns) in sorted(moment.items()):
            rows[at] = (slot, open_ns, open_ns + STEP_NS, o, h, low, c, 1.0)
            at += 1
    return Tape(rows, np.cumsum([0, *map(len, present)]).astype(np.int64))


def in_full(core: Core, tape: Tape, opinions: Opinions, log: Log, interval_ns: int, max_new: int) -> np.ndarray:
    """Play every moment through `on_candles` and the cycle, one call each; return all core events."""
    told = []
    next_ns = int(log.progress["next_cycle_ns"][0])
    open_gate(core.desk)
    for moment in range(len(tape.starts) - 1):
        rows = tape.rows[tape.starts[moment] : tape.starts[moment + 1]]
        count = kernels.on_candles(core.desk, core.slots, rows, 1, core.buffer)
        told.append(core.buffer[:count].copy())
        for row in range(tape.starts[moment], tape.starts[moment + 1]):
            index = tape.rows["slot"][row]
            if core.slots["candle_ns"][index] == tape.rows["close_ns"][row]:
                log.seen[index] = row
        now_ns = int(rows["close_ns"][0])
        if now_ns >= next_ns:
            next_ns = (now_ns // interval_ns + 1) * interval_ns
            cycle(core.desk, core.slots, tape, opinions, log, now_ns, max_new)
        log.equity[moment] = core.account["equity"]
    return np.concatenate(told)


def rules_of(
    direction: np.ndarray, close: np.ndarray, random: np.random.Generator, *, some: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return rules for what opens something, as a strategy's opinions bring them; none at all now and then."""
    orders, rules = [], []
    for row, strategy in zip(*np.nonzero(direction.T), strict=True):
        price = close[row] if math.isfinite(close[row]) else 100.0
        for rule in some_rules(random, float(price)) if some else ():
            orders.append(order_of(int(row), int(strategy), len(direction)))
            rules.append(in_words(rule))
    return np.array(orders, np.int64), pack(rules)


@PROPERTY
@given(data=st.data())
def test_history_short_cut_changes_nothing(data: st.DataObject) -> None:
    """Account, slots, events, equity and every count are the same, bit for bit, whatever is skipped."""
    compare(data, data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3)))


@PROPERTY
@given(data=st.data())
def test_history_short_cut_of_one_symbol_and_strategy_changes_nothing(data: st.DataObject) -> None:
    """They have a short cut of their own."""
    compare(data, 1, 1)


def compare(data: st.DataObject, count: int, strategies: int) -> None:
    """Play a drawn market both ways."""
    rules = data.draw(rule_sets())
    tape = tape_of(data.draw(markets(rules, count, 150)))
    if not len(tape.rows):
        return
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    share = data.draw(st.sampled_from([0.0, 0.03, 0.3]))
    shape = (strategies, len(tape.rows))
    said = random.choice([1, -1, 2], size=shape, p=[0.5, 0.2, 0.3])
    spoiled = tape.rows["high"] if data.draw(st.booleans()) else np.zeros(0)
    if len(spoiled):
        spoiled[random.random(len(spoiled)) < 0.02] = data.draw(st.sampled_from([math.nan, 0.0, math.inf]))
    direction = np.where(random.random(shape) < share, said, 0).astype(np.int8)
    opinions = Opinions(
        direction,
        random.choice([0.5, 0.8, 0.9], size=shape),
        np.full((strategies, 1), math.nan),
        np.full((strategies, 1), math.nan),
        (random.random((strategies, count)) < 0.8).astype(np.uint8),
        *rules_of(direction, tape.rows["close"], random, some=rules.watched),
    )
    interval_ns = data.draw(st.sampled_from([STEP_NS // 7, STEP_NS, 3 * STEP_NS]))
    max_new = data.draw(st.integers(1, 2))
    whole, short = Core(rules, count), Core(rules, count)
    begun_ns, bars = int(tape.rows["open_ns"][0]), rules.window
    logs = [new_log(tape, strategies, count, begun_ns, interval_ns, correlation_bars=bars) for _ in range(2)]
    expected = in_full(whole, tape, opinions, logs[0], interval_ns, max_new)
    told = []
    while not finished(tape, logs[1]):
        n = play(short.desk, short.slots, tape, opinions, logs[1], interval_ns, max_new)
        told.append(logs[1].events[:n].copy())
    assert np.concatenate(told).tobytes() == expected.tobytes()
    assert short.desk["account"].tolist() == whole.desk["account"].tolist()
    assert short.slots.tobytes() == whole.slots.tobytes()
    asked = opinions.asked == 1
    assert (logs[0].judged[asked] == logs[1].judged[asked]).all()
    for field in ("seen", "decided", "denied", "equity"):
        assert (getattr(logs[0], field) == getattr(logs[1], field)).all(), field
