"""A strategy that looks at longer candles says the same whatever happens: a crash, holes in the market, a reload."""

from __future__ import annotations

import numpy as np

from tests.unit.engine.conftest import OPEN
from trader.config.sections import Config

#: a trend that four-hour candles must agree with, on hourly candles; an ensemble, so that needs are passed on
TREND = {
    "use": "ema_trend",
    "params": {
        "fast": 3,
        "slow": 8,
        "min_efficiency": 0,
        "efficiency_period": 4,
        "atr_period": 3,
        "trend_timeframe": "4h",
        "trend_period": 5,
    },
}
STRATEGIES = [
    TREND,
    {
        "use": "ensemble",
        "params": {"members": [TREND, {"use": "donchian_atr", "params": {"atr_period": 3}}], "quorum": 0.3},
    },
]

DECISIONS = "SELECT decision_id, time_ns, direction, confidence, value, decided, order_id FROM decisions ORDER BY 1"
ENGINE = {"engine": {"loop_interval_seconds": 3600}}


def play(rig, events):
    """Process events in one commit."""
    for event in events:
        rig.parts.engine.on_market(event, OPEN)
    rig.commit()


def with_holes(events):
    """Return the events without some: hours that the exchange was out."""
    gone = np.random.default_rng(3).random(len(events)) < 0.15
    return [event for event, out in zip(events, gone, strict=True) if not out]


def test_crash_changes_no_opinion(make_rig):
    """The engine builds the same longer candles from the history that it is given after a crash."""
    undisturbed, crashing = make_rig(STRATEGIES, bars=600, **ENGINE), make_rig(STRATEGIES, bars=600, **ENGINE)
    events = undisturbed.events()
    play(undisturbed, events)
    for start in range(0, len(events), 130):
        play(crashing, events[start : start + 130])
        crashing.crash()
    want = undisturbed.rows(DECISIONS)
    assert crashing.rows(DECISIONS) == want
    assert {row[2] for row in want} >= {0, 1, 2}
    assert undisturbed.parts.store.capacity >= 24


def test_opinions_are_those_of_the_whole_history(make_rig):
    """With holes too: each decision is what `signals` says when it sees all candles at once."""
    rig = make_rig(STRATEGIES[:1], bars=600, symbols=("AAA/USDT",), **ENGINE)
    strategy = rig.parts.engine.panel.bound[0].strategy
    events = with_holes(rig.events())
    play(rig, events)
    # everything that was played, as one history
    store = type(rig.parts.store)(("AAA/USDT",), "1h", len(events))
    for event in events:
        store.append(event.candles)
    whole = strategy.signals(store.window(0, len(events)))
    said = rig.rows("SELECT candle_ns, direction, value FROM decisions WHERE decided NOT IN (6, 8) ORDER BY candle_ns")
    closes = (store.window(0, len(events)).open_ns + 3600 * 10**9).tolist()
    assert len(said) > 400
    for candle_ns, direction, value in said:
        at = closes.index(candle_ns)
        assert direction == whole.direction[at]
        np.testing.assert_allclose(value if value is not None else np.nan, whole.value[at], rtol=1e-9)


def test_reload_to_a_longer_lookback_is_warm_at_once(make_rig):
    """The candles that it needs are fetched, not waited for."""
    rig = make_rig([{"use": "donchian_atr", "params": {"atr_period": 2}}], bars=600, **ENGINE)
    events = rig.events()
    play(rig, events[:500])
    config = Config.model_validate({**rig.config.model_dump(), "strategies": STRATEGIES[:1]})
    rig.parts.check_reload(config)
    rig.parts.apply(config, 2)
    play(rig, events[500:])
    want = make_rig(STRATEGIES[:1], bars=600, **ENGINE)
    play(want, events)
    last = "SELECT candle_ns, direction, value FROM decisions WHERE candle_ns > 0 ORDER BY decision_id DESC LIMIT 150"
    assert rig.rows(last) == want.rows(last)
