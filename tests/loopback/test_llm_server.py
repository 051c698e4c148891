"""The language model's server does everything that a server can do: each ends in a hold, a booking and a record."""

from __future__ import annotations

import asyncio
import json
import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.loopback.model_server import HOSTILE, KEY, ModelServer, eager
from tests.model_views import market_view
from trader.clock import NS_PER_S, parse_utc
from trader.codes import Breaker
from trader.config.secrets import Secret
from trader.config.sections import LlmConfig
from trader.strategy.llm.adviser import Adviser, RecordMissing
from trader.strategy.llm.budget import Budget
from trader.strategy.llm.client import Client
from trader.strategy.llm.decision import Decision
from trader.strategy.llm.records import Records
from trader.strategy.llm.request import request_body, worst_cost_usd
from trader.strategy.llm.vocabulary import Action, Hold

START_NS = parse_utc("2024-11-03T12:00:00Z")
COST = Decimal("0.00086")

#: what a call is booked at: what it has cost, its reservation for as long as nobody knows better, or nothing
SPENT, KEPT, FREE, COMPUTED = "spent", "kept", "free", "computed"

#: behaviour -> reason of the hold, booking of the last try, requests that were made
BAD: dict[str, tuple[Hold, str, int]] = {
    "fenced": (Hold.REPLY_NOT_JSON, SPENT, 1),
    "prose": (Hold.REPLY_NOT_JSON, SPENT, 1),
    "trailing_text": (Hold.REPLY_NOT_JSON, SPENT, 1),
    "truncated": (Hold.TRUNCATED, SPENT, 1),
    "cut_without_saying": (Hold.REPLY_NOT_JSON, SPENT, 1),
    "wrong_enum": (Hold.SCHEMA, SPENT, 1),
    "unknown_symbol": (Hold.UNKNOWN_SYMBOL, SPENT, 1),
    "repeated_symbol": (Hold.REPEATED_SYMBOL, SPENT, 1),
    "extra_field": (Hold.SCHEMA, SPENT, 1),
    "missing_field": (Hold.SCHEMA, SPENT, 1),
    "prose_invalidation": (Hold.SCHEMA, SPENT, 1),
    "nan": (Hold.NOT_FINITE, SPENT, 1),
    "overflow": (Hold.NOT_FINITE, SPENT, 1),
    "duplicate_key": (Hold.DUPLICATE_KEY, SPENT, 1),
    "list_not_object": (Hold.SCHEMA, SPENT, 1),
    "no_choices": (Hold.NO_CHOICES, SPENT, 1),
    "no_content": (Hold.REPLY_NOT_JSON, SPENT, 1),
    "error_with_200": (Hold.ERROR_BODY, KEPT, 1),
    "finish_error": (Hold.FINISH_ERROR, SPENT, 1),
    "content_filter": (Hold.FINISH_OTHER, SPENT, 1),
    "http_400": (Hold.HTTP_400, FREE, 1),
    "http_401": (Hold.HTTP_401, FREE, 1),
    "http_402": (Hold.HTTP_402, FREE, 1),
    "http_402_in_flight": (Hold.HTTP_429, FREE, 2),
    "http_403": (Hold.HTTP_403, FREE, 1),
    "http_404": (Hold.HTTP_404, FREE, 1),
    "http_408": (Hold.HTTP_408, KEPT, 2),
    "http_418": (Hold.HTTP_OTHER, FREE, 1),
    "http_429": (Hold.HTTP_429, FREE, 2),
    "http_429_retry_after": (Hold.HTTP_429, FREE, 2),
    "http_429_retry_late": (Hold.HTTP_429, FREE, 1),
    "http_500": (Hold.HTTP_500, KEPT, 2),
    "http_502": (Hold.HTTP_502, KEPT, 2),
    "http_503": (Hold.HTTP_503, KEPT, 2),
    "http_504": (Hold.HTTP_504, KEPT, 2),
    "http_524": (Hold.HTTP_524, KEPT, 2),
    "html": (Hold.HTTP_502, KEPT, 2),
    "html_with_200": (Hold.NOT_JSON, KEPT, 1),
    "redirect": (Hold.HTTP_OTHER, KEPT, 1),
    "slow_headers": (Hold.TIMEOUT, KEPT, 1),
    "slow_body": (Hold.TIMEOUT, KEPT, 1),
    "reset": (Hold.CONNECTION, KEPT, 2),
    "closed": (Hold.CONNECTION, KEPT, 2),
    "half_body": (Hold.CONNECTION, KEPT, 2),
    "garbage": (Hold.CONNECTION, KEPT, 2),
    "oversized": (Hold.OVERSIZED, KEPT, 1),
    "oversized_chunks": (Hold.OVERSIZED, KEPT, 1),
    "other_model": (Hold.OTHER_MODEL, SPENT, 1),
    "no_usage": (Hold.NO_USAGE, KEPT, 1),
    "usage_nonsense": (Hold.NO_USAGE, KEPT, 1),
    "cost_above_reservation": (Hold.COST, SPENT, 1),
    "key_echoed": (Hold.HTTP_400, FREE, 1),
}

GOOD = ("ok", "leading_newlines", "content_leading_newlines", "variant_of_model", "usage_without_cost", "hostile")


class Bench:
    """An adviser on a server, with a clock that a test turns."""

    def __init__(self, folder: Path, server: ModelServer, **settings: Any) -> None:
        self.folder, self.server = folder, server
        values: dict[str, Any] = {"deadline_s": 20.0, "max_usd_per_day": 1.0}
        self.settings = LlmConfig(enabled=True, base_url=server.base_url, **(values | settings))
        self.now_ns = START_NS
        self.asked = 0
        self.open()

    def open(self, known: dict[str, Any] | None = None) -> None:
        """Build the adviser, as after a restart."""
        self.budget = Budget(
            self.folder / "llm.db", self.settings.max_calls_per_day, Decimal(str(self.settings.max_usd_per_day))
        )
        client = Client(self.settings.base_url, Secret(KEY))
        self.records = Records(self.folder / "llm")
        self.adviser = Adviser(self.settings, client, self.budget, self.records, known, clock=lambda: self.now_ns)

    def decide(self, **changed: Any) -> Decision:
        """Ask once, about a market that waits, a second of its time later with each question."""
        self.asked += 1
        at_ns = START_NS + (self.asked - 1) * NS_PER_S

        async def ask() -> Decision | None:
            return await self.adviser.decide(market_view(**({"time_ns": at_ns} | changed)), None)

        decision = asyncio.run(ask())
        assert decision is not None
        return decision

    @property
    def record(self) -> dict[str, Any]:
        """The last record."""
        return list(self.records.read())[-1]


@pytest.fixture
def server():
    """Serve."""
    with ModelServer(mind=eager) as server:
        yield server


@pytest.mark.parametrize("behaviour", sorted(BAD))
def test_every_bad_answer_is_a_hold_with_a_reason_a_booking_and_a_record(behaviour, server, tmp_path, caplog):
    """One row of the table: reason, budget and record are as it says, and the key is nowhere."""
    reason, booking, requests = BAD[behaviour]
    server.script = [behaviour]
    slow = behaviour in ("slow_headers", "slow_body")
    bench = Bench(tmp_path, server, deadline_s=1.0 if slow else 20.0, max_usd_per_day=10.0)
    with caplog.at_level(logging.DEBUG):
        decision = bench.decide()
    assert [(one.action, one.reason) for one in decision.finals] == [(Action.HOLD, reason)] * 2
    assert len(server.requests) == requests
    spent = bench.budget.today(START_NS)
    worst = worst_cost_usd(request_body(market_view(), bench.settings), bench.settings)
    assert spent.calls == requests
    assert spent.reserved_usd == (worst * requests if booking == KEPT else 0)
    cost = Decimal("3.5") if reason is Hold.COST else COST
    assert spent.spent_usd == (cost if booking == SPENT else 0)
    record = bench.record
    assert [one["reason_code"] for one in record["final"]] == [reason.value] * 2
    assert len(record["attempts"]) == requests
    assert Decimal(record["cost_usd"]) == spent.spent_usd
    assert Decimal(record["reserved_usd"]) == spent.reserved_usd
    assert record["parsed"] is None
    assert KEY not in json.dumps(record)
    assert KEY not in caplog.text
    assert server.keys == [f"Bearer {KEY}"] * requests


@pytest.mark.parametrize("behaviour", GOOD)
def test_every_good_answer_is_acted_upon(behaviour, server, tmp_path):
    """What a good server may do as well changes nothing."""
    server.script = [behaviour]
    bench = Bench(tmp_path, server)
    decision = bench.decide()
    assert [(one.action, one.reason) for one in decision.finals] == [(Action.OPEN_LONG, Hold.NONE)] * 2
    assert all(verdict["ok"] for verdict in bench.record["verdicts"])
    spent = bench.budget.today(START_NS)
    assert spent.reserved_usd == 0
    expected = Decimal("0.00303") if behaviour == "usage_without_cost" else COST  # 2100 x 1 + 310 x 3 USD a million
    assert spent.spent_usd == expected


def test_missing_symbol_holds_that_symbol_alone(server, tmp_path):
    """The others are acted upon."""
    server.script = ["missing_symbol"]
    decision = Bench(tmp_path, server).decide()
    assert [(one.symbol, one.reason) for one in decision.finals] == [
        ("BTC/USDT", Hold.MISSING_SYMBOL),
        ("ETH/USDT", Hold.NONE),
    ]


def test_hostile_justification_changes_nothing_but_the_stored_text(server, tmp_path, caplog):
    """It is stored as text on one line, and everything else is as with a kind one."""
    server.script = ["ok", "hostile"]
    kind = Bench(tmp_path / "kind", server).decide()
    with caplog.at_level(logging.DEBUG):
        hostile = Bench(tmp_path / "hostile", server).decide()
    for one, other in zip(kind.finals, hostile.finals, strict=True):
        assert (one.action, one.stop_price, one.target_price, one.confidence) == (
            other.action,
            other.stop_price,
            other.target_price,
            other.confidence,
        )
    stored = hostile.finals[0].justification
    assert stored == " ".join(HOSTILE.replace("\x1b", " ").replace("\u202e", " ").split())
    assert "\n" not in stored
    assert "\x1b" not in caplog.text


def test_retry_succeeds_within_the_deadline(server, tmp_path):
    """A server that was busy for a moment costs one more call and no decision."""
    server.script = ["http_503", "ok"]
    bench = Bench(tmp_path, server)
    assert bench.decide().finals[0].reason is Hold.NONE
    assert [one["status"] for one in bench.record["attempts"]] == [503, 200]
    assert bench.record["attempts"][1]["wait_s"] == 1.0


def test_hundred_ticks_at_once_stay_one_call(server, tmp_path):
    """Whoever asks while a question is under way gets none of his own."""
    bench = Bench(tmp_path, server)
    server.delay_s = 0.3

    async def ask() -> list[Decision | None]:
        return await asyncio.gather(*(bench.adviser.decide(market_view(), None) for _ in range(100)))

    found = asyncio.run(ask())
    assert sum(one is not None for one in found) == 1
    assert len(server.requests) == 1
    assert server.most_in_flight == 1


def test_breaker_opens_after_failures_and_one_question_tries_again(server, tmp_path):
    """While it is open nobody is asked; afterwards one answer closes it, one failure opens it again."""
    server.script = ["fenced", "fenced", "fenced", "fenced", "ok"]
    bench = Bench(tmp_path, server, breaker_failures=3, breaker_cooldown_s=900)
    for _ in range(3):
        assert bench.decide().finals[0].reason is Hold.REPLY_NOT_JSON
        bench.now_ns += 1_000_000_000
    assert bench.decide().finals[0].reason is Hold.BREAKER
    assert len(server.requests) == 3
    bench.now_ns += 900_000_000_000
    assert bench.decide().finals[0].reason is Hold.REPLY_NOT_JSON
    assert bench.decide().finals[0].reason is Hold.BREAKER
    bench.now_ns += 900_000_000_000
    assert bench.decide().finals[0].reason is Hold.NONE
    assert bench.budget.breaker().state is Breaker.CLOSED


def test_refused_key_stays_refused_until_a_restart(server, tmp_path):
    """401 asks nobody again, whatever the hour; a restart tries once."""
    server.script = ["http_401"]
    bench = Bench(tmp_path, server)
    bench.decide()
    bench.now_ns += 30 * 86_400_000_000_000
    assert bench.decide().finals[0].reason is Hold.BREAKER
    bench.adviser.close()
    bench.open()
    assert bench.decide().finals[0].reason is Hold.HTTP_401
    assert len(server.requests) == 2


def test_missing_credit_waits_for_the_next_utc_day(server, tmp_path):
    """402 asks nobody again on that day, also after a restart."""
    server.script = ["http_402", "ok"]
    bench = Bench(tmp_path, server)
    bench.decide()
    bench.adviser.close()
    bench.open()
    bench.now_ns = parse_utc("2024-11-03T23:59:59Z")
    assert bench.decide().finals[0].reason is Hold.BREAKER
    bench.now_ns = parse_utc("2024-11-04T00:00:00Z")
    assert bench.decide().finals[0].reason is Hold.NONE


def test_budget_in_dollars_ends_the_day(server, tmp_path):
    """A call that could pass the cap is not made; the next UTC day has its own."""
    bench = Bench(tmp_path, server)
    worst = worst_cost_usd(request_body(market_view(), bench.settings), bench.settings)
    bench.budget.max_usd = worst + 5 * COST + COST / 2
    reasons = [bench.decide().finals[0].reason for _ in range(10)]
    assert reasons == [Hold.NONE] * 6 + [Hold.BUDGET_USD] * 4
    spent = bench.budget.today(START_NS)
    assert spent.total_usd <= bench.budget.max_usd
    assert spent.calls == len(server.requests) == 6
    bench.now_ns = parse_utc("2024-11-04T00:00:01Z")
    assert bench.decide().finals[0].reason is Hold.NONE


def test_budget_in_calls_counts_retries(server, tmp_path):
    """Each request is a call."""
    server.script = ["http_503"]
    bench = Bench(tmp_path, server, max_calls_per_day=3, breaker_failures=100)
    assert bench.decide().finals[0].reason is Hold.HTTP_503
    assert bench.decide().finals[0].reason is Hold.HTTP_503
    assert bench.decide().finals[0].reason is Hold.BUDGET_CALLS
    assert len(server.requests) == 3


def test_same_moment_after_a_crash_is_not_asked_again(server, tmp_path):
    """The record answers."""
    bench = Bench(tmp_path, server)
    first = bench.decide()
    bench.adviser.close()
    bench.open(known={bench.record["key"]: bench.record})
    again = bench.decide(time_ns=START_NS)
    assert again.finals == first.finals
    assert again.effective_ns == first.effective_ns
    assert len(server.requests) == 1


def test_replay_opens_no_socket_and_misses_nothing(server, tmp_path):
    """The same question gives the same decision; another one is an error that says what to do."""
    bench = Bench(tmp_path, server)
    first = bench.decide()
    settings = LlmConfig(enabled=True, mode="replay", base_url="http://127.0.0.1:1/v1")
    known = {record["key"]: record for record in bench.records.read()}
    adviser = Adviser(settings, None, None, bench.records, known)
    again = asyncio.run(adviser.decide(market_view(), None))
    assert again == first
    with pytest.raises(RecordMissing, match="on_missing_record"):
        asyncio.run(adviser.decide(market_view(time_ns=START_NS + NS_PER_S), None))
    holding = Adviser(settings.model_copy(update={"on_missing_record": "hold"}), None, None, bench.records, known)
    missed = asyncio.run(holding.decide(market_view(time_ns=START_NS + NS_PER_S), None))
    assert missed is not None
    assert {one.reason for one in missed.finals} == {Hold.NO_RECORD}


def test_request_asks_for_the_form_and_bounds_the_price(server, tmp_path):
    """Strict structured output, required parameters, a maximum price, no key in the body."""
    Bench(tmp_path, server, provider_order=["DeepInfra"], quantizations=["fp8"]).decide()
    (body,) = server.requests
    assert body["response_format"]["json_schema"]["strict"] is True
    assert body["response_format"]["json_schema"]["schema"]["additionalProperties"] is False
    assert body["provider"]["require_parameters"] is True
    assert body["provider"]["max_price"] == {"prompt": 1.0, "completion": 3.0}
    assert body["provider"]["order"] == ["DeepInfra"]
    assert body["provider"]["allow_fallbacks"] is False
    assert body["reasoning"] == {"enabled": False}
    assert body["stream"] is False
    assert "models" not in body
    assert "plugins" not in body
    assert KEY not in json.dumps(body)


def test_unwritable_records_hold(server, tmp_path):
    """What can't be recorded is not acted upon."""
    bench = Bench(tmp_path, server)
    (tmp_path / "llm").write_text("in the way")
    decision = bench.decide()
    assert {one.reason for one in decision.finals} == {Hold.NO_DISK}
