"""The question: pure, complete, and made of the same words as the check of the answer."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from tests.model_views import HOUR_NS, NOW_NS, market_view, position, symbol_view
from trader.config.sections import LlmConfig
from trader.domain.market import Candles
from trader.strategy.llm.prompt import messages, number, snapshot
from trader.strategy.llm.reply import read_reply
from trader.strategy.llm.request import question_key, request_body
from trader.strategy.llm.schema import reply_schema
from trader.strategy.llm.vocabulary import RULE_METRICS, Action, Metric, Op, rule_timeframes


def test_same_view_is_the_same_bytes():
    """Nothing of clock, process or order of calls is in it."""
    settings = LlmConfig()
    first, second = request_body(market_view(), settings), request_body(market_view(), settings)
    assert json.dumps(first) == json.dumps(second)
    assert question_key(first) == question_key(second)


def test_another_view_is_another_question():
    """A tick of one price, the model and the sampling are part of the question; where it is asked is not."""
    view = market_view()
    one = view.symbols[0]
    close = one.candles.close.copy()
    close[-1] += 0.1
    moved = replace(view, symbols=(replace(one, candles=replace(one.candles, close=close)), *view.symbols[1:]))
    key = question_key(request_body(view, LlmConfig()))
    assert question_key(request_body(moved, LlmConfig())) != key
    assert question_key(request_body(view, LlmConfig(temperature=0.5))) != key
    assert question_key(request_body(view, LlmConfig(model="x/y"))) != key
    assert question_key(request_body(view, LlmConfig(base_url="http://127.0.0.1:9/v1"))) == key


def test_every_word_is_in_prompt_schema_and_validator():
    """The three are made of one vocabulary."""
    view = market_view(allow_short=True)
    text = messages(view)[0]["content"]
    schema = json.dumps(reply_schema(["BTC/USDT"], rule_timeframes("1h"), allow_short=True))
    for action in Action:
        assert f"- {action}: " in text
        assert f'"{action}"' in schema
        reply = {
            "schema_version": 1,
            "decisions": [
                {
                    "symbol": "BTC/USDT", "action": action.value, "confidence": 0.5, "risk_frac": None,
                    "stop_price": None, "target_price": None, "max_hold_minutes": None, "justification": "x",
                    "invalidations": [
                        {"metric": metric.value, "timeframe": frame, "op": op.value, "value": 1}
                        for metric, frame, op in zip(RULE_METRICS, rule_timeframes("1h"), Op, strict=False)
                    ],
                }
            ],
        }  # fmt: skip
        assert read_reply(json.dumps(reply), ["BTC/USDT"], rule_timeframes("1h"))[0].action is action
    for metric in Metric:
        assert f"- {metric}: " in text
        assert all(metric in one[frame] for one in snapshot(view)["symbols"] for frame in rule_timeframes("1h"))
    for word in (*RULE_METRICS, *Op, *rule_timeframes("1h")):
        assert word in text
        assert f'"{word}"' in schema


def test_short_is_not_offered_where_it_is_not_allowed():
    """Neither in the words nor in the form."""
    text = messages(market_view())[0]["content"]
    assert "open_short" not in text


def test_series_run_from_the_oldest_to_the_newest():
    """The last of the closes is the price."""
    view = market_view()
    shown = snapshot(view)["symbols"][0]["closes_1h"]
    assert [float(one) for one in shown] == pytest.approx(view.symbols[0].candles.close[-10:], abs=0.051)
    assert len(shown) == 10


def test_numbers_are_rounded_to_what_can_be_traded():
    """Prices to the tick, balances and quantities down: what is told to be there is there."""
    assert number("price", 60_000.06, Decimal("0.1")) == "60000.1"
    assert number("quantity", 0.0129, Decimal("0.001")) == "0.012"
    assert number("amount", 9_999.999) == "9999.99"
    assert number("amount", -0.001) == "-0.01"
    assert number("index", float("nan")) is None


def test_position_is_shown_with_its_plan():
    """Entry, age, stop, target, expiry and rules."""
    held = position(expires_ns=NOW_NS + HOUR_NS, rules=("close below 58500 on 4h",))
    shown = snapshot(market_view(symbol_view(position=held)))["symbols"][0]["position"]
    assert shown == {
        "side": "long",
        "quantity": "0.05",
        "entry_price": "59000",
        "age_minutes": 120,
        "unrealised_profit": "50",
        "stop_price": "58000",
        "target_price": "62000",
        "closes_at": "2024-11-03T13:00:00Z",
        "invalidations": ["close below 58500 on 4h"],
    }


def test_young_market_shows_what_there_is():
    """Too few candles are no reading, not an error."""
    few = market_view(symbol_view(candles=_first(symbol_view().candles, 3)))
    shown = snapshot(few)["symbols"][0]
    assert len(shown["closes_1h"]) == 3
    assert shown["1h"]["ema_50"] is None
    none = market_view(symbol_view(candles=_first(symbol_view().candles, 0)))
    assert snapshot(none)["symbols"][0]["closes_1h"] == []


def _first(candles: Candles, bars: int) -> Candles:
    columns = (candles.open_ns, candles.open, candles.high, candles.low, candles.close, candles.volume)
    return Candles(candles.symbol, candles.timeframe, *(np.ascontiguousarray(one[:bars]) for one in columns))


def test_nothing_that_a_model_has_written_is_shown_again():
    """A decision's justification has no way into the next question."""
    assert "justification" not in messages(market_view(symbol_view(position=position())))[1]["content"]
