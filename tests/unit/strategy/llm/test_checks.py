"""Every check passes just inside its bound and fires just outside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.model_views import NOW_NS, market_view, position, symbol_view
from trader.clock import NS_PER_S
from trader.config.sections import LlmConfig
from trader.strategy.llm.checks import ALL_CHECKS, check
from trader.strategy.llm.prompt import metrics
from trader.strategy.llm.reply import Proposal, Rule
from trader.strategy.llm.vocabulary import Action, Hold, Metric, Op

SETTINGS = LlmConfig(min_stop_atr=0.5, cooldown_s=900, min_hold_s=300)
PRICE = 60_000.0
ATR = metrics(symbol_view().candles, "1h")[Metric.ATR]
RSI = metrics(symbol_view().candles, "1h")[Metric.RSI]


def opening(**changed):
    """Return a proposal that passes every check."""
    rule = Rule(Metric.CLOSE, "4h", Op.LT, 40_000.0)
    return replace(
        Proposal("BTC/USDT", Action.OPEN_LONG, 0.8, 0.005, PRICE * 0.98, PRICE * 1.05, 720, (rule,), "why"), **changed
    )


def closing(**changed):
    """Return a proposal to close."""
    return replace(Proposal("BTC/USDT", Action.CLOSE, 0.8, None, None, None, None, (), "why"), **changed)


def short(**changed):
    """Return a proposal that passes every check where short positions are allowed."""
    return opening(
        **({"action": Action.OPEN_SHORT, "stop_price": PRICE * 1.02, "target_price": PRICE * 0.95, "invalidations": ()}
           | changed)
    )  # fmt: skip


def aged(seconds):
    """Return a market whose last candle closed so many seconds ago."""
    return market_view(time_ns=NOW_NS + round(seconds * NS_PER_S))


def entered(*seconds_ago):
    """Return a market in which the model has opened positions."""
    return market_view(entries_ns=tuple(sorted(NOW_NS - round(one * NS_PER_S) for one in seconds_ago)))


# at this stop the reward over the risk, after fees of 0.1 % and slippage of 5 bps a side, is 1.2
def _target(ratio):
    risk = PRICE * 0.02 + 0.001 * (PRICE + PRICE * 0.98) + 0.0005 * (PRICE + PRICE * 0.98)
    return (ratio * risk + PRICE * (1 + 0.001 + 0.0005)) / (1 - 0.001)


NEAR = PRICE - 0.5 * ATR
EMPTY = replace(symbol_view().candles, **{
    name: getattr(symbol_view().candles, name)[:0] for name in ("open_ns", "open", "high", "low", "close", "volume")
})  # fmt: skip

#: check -> (inside, outside), each a proposal and what it is about
BOUNDS = {
    Hold.NO_CANDLES: ((opening(), market_view()), (opening(), market_view(symbol_view(candles=EMPTY)))),
    Hold.STALE: ((opening(), aged(3 * 3600)), (opening(), aged(3 * 3600 + 1))),
    Hold.SHORT_NOT_ALLOWED: ((short(), market_view(allow_short=True)), (short(), market_view())),
    Hold.POSITION_OPEN: ((opening(), market_view()), (opening(), market_view(symbol_view(position=position())))),
    Hold.ORDER_IN_FLIGHT: ((opening(), market_view()), (opening(), market_view(symbol_view(order_in_flight=True)))),
    Hold.LOW_CONFIDENCE: ((opening(confidence=0.6), market_view()), (opening(confidence=0.5999), market_view())),
    Hold.COOLDOWN: (
        (opening(), market_view(symbol_view(last_close_ns=NOW_NS - 900 * NS_PER_S))),
        (opening(), market_view(symbol_view(last_close_ns=NOW_NS - 899 * NS_PER_S))),
    ),
    Hold.ENTRIES_HOUR: ((opening(), entered(1, 2, 3, 3600)), (opening(), entered(1, 2, 3, 3599))),
    Hold.ENTRIES_DAY: (
        (opening(), entered(*(3700 + one for one in range(9)))),
        (opening(), entered(*(3700 + one for one in range(10)))),
    ),
    Hold.NO_STOP: ((opening(), market_view()), (opening(stop_price=None), market_view())),
    Hold.STOP_SIDE: ((opening(), market_view()), (opening(stop_price=PRICE), market_view())),
    Hold.STOP_NEAR: (
        (opening(stop_price=NEAR - 0.01), market_view()),
        (opening(stop_price=NEAR + 0.01), market_view()),
    ),
    Hold.STOP_FAR: (
        (opening(stop_price=PRICE * 0.9001, target_price=PRICE * 1.5), market_view()),
        (opening(stop_price=PRICE * 0.8999, target_price=PRICE * 1.5), market_view()),
    ),
    Hold.NO_TARGET: ((opening(), market_view()), (opening(target_price=None), market_view())),
    Hold.TARGET_SIDE: ((opening(), market_view()), (opening(target_price=PRICE), market_view())),
    Hold.REWARD_RISK: (
        (opening(target_price=_target(1.2001)), market_view()),
        (opening(target_price=_target(1.1999)), market_view()),
    ),
    Hold.RISK: ((opening(risk_frac=0.01), market_view()), (opening(risk_frac=0.0101), market_view())),
    Hold.MAX_HOLD: (
        (opening(max_hold_minutes=10_080), market_view()),
        (opening(max_hold_minutes=10_081), market_view()),
    ),
    Hold.INVALIDATION: (
        (opening(invalidations=(Rule(Metric.RSI, "1h", Op.GT, 99.9),)), market_view()),
        (opening(invalidations=(Rule(Metric.RSI, "1h", Op.GT, 100.0),)), market_view()),
    ),
    Hold.ALREADY_INVALID: (
        (opening(invalidations=(Rule(Metric.RSI, "1h", Op.LT, RSI - 0.1),)), market_view()),
        (opening(invalidations=(Rule(Metric.RSI, "1h", Op.LT, RSI + 0.1),)), market_view()),
    ),
    Hold.NOTHING_OPEN: ((closing(), market_view(symbol_view(position=position()))), (closing(), market_view())),
    Hold.MIN_HOLD: (
        (closing(), market_view(symbol_view(position=position(entry_ns=NOW_NS - 300 * NS_PER_S)))),
        (closing(), market_view(symbol_view(position=position(entry_ns=NOW_NS - 299 * NS_PER_S)))),
    ),
}  # fmt: skip


def test_table_has_every_check():
    """A check that is added here has to be made to fire."""
    assert set(BOUNDS) == set(ALL_CHECKS)


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_check_passes_inside_and_fires_outside(name):
    """Just inside it is acted upon, just outside it is a hold that names this check first."""
    (inside, calm), (outside, view) = BOUNDS[Hold(name)]
    final, verdicts = check(inside, calm, SETTINGS)
    assert final.reason is Hold.NONE, [one for one in verdicts if not one.ok]
    final, verdicts = check(outside, view, SETTINGS)
    assert (final.action, final.reason) == (Action.HOLD, Hold(name))
    assert not next(one for one in verdicts if one.check is Hold(name)).ok


@pytest.mark.parametrize("risk_frac", [0.0, -0.1, None])
def test_risk_that_is_none_is_refused(risk_frac):
    """Nothing, less than nothing and no word of it."""
    assert check(opening(risk_frac=risk_frac), market_view(), SETTINGS)[0].reason is Hold.RISK


def test_short_is_checked_on_its_own_sides():
    """A stop below and a target above a short position are on the wrong sides."""
    market = market_view(allow_short=True)
    assert check(short(), market, SETTINGS)[0].action is Action.OPEN_SHORT
    assert check(short(stop_price=PRICE * 0.98), market, SETTINGS)[0].reason is Hold.STOP_SIDE
    assert check(short(target_price=PRICE * 1.05), market, SETTINGS)[0].reason is Hold.TARGET_SIDE


def test_plan_of_an_open_has_its_rules_and_an_age():
    """Every rule and the longest holding time become rules that the core enforces."""
    final, _ = check(opening(), market_view(), SETTINGS)
    assert [str(rule) for rule in final.invalidations] == ["close below 40000 on 4h", "age over 12h"]


def test_hold_is_a_hold_of_the_model():
    """Nothing to check."""
    final, verdicts = check(opening(action=Action.HOLD), market_view(), SETTINGS)
    assert (final.action, final.reason, verdicts) == (Action.HOLD, Hold.MODEL, ())


def test_stop_near_counts_ticks_where_nothing_moves():
    """Without a range the stop must be three ticks away."""
    flat = symbol_view().candles
    still = replace(flat, **{name: np.full(len(flat), PRICE) for name in ("open", "high", "low", "close")})
    market = market_view(symbol_view(candles=still, fee_rate_frac=0.0, slippage_frac=0.0))
    assert check(opening(stop_price=PRICE - 0.2), market, SETTINGS)[0].reason is Hold.STOP_NEAR
    assert check(opening(stop_price=PRICE - 0.3), market, SETTINGS)[0].reason is Hold.NONE
