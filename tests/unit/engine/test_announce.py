"""What the engine tells of decisions: those that something came of, with the reason."""

from __future__ import annotations

import logging

import pytest

from trader.codes import Decided, Limit
from trader.domain.decision import Decision
from trader.engine.announce import tell_decisions
from trader.logs.events import DECISIONS

ORDERED = Decision(
    7, 3, 1_704_067_200_000_000_000, "mine", "BTC/USDT", 0, 60_000.0, 1, 0.9, 28.0, int(Decided.ORDERED), 0, 12, ""
)


def _told(caplog: pytest.LogCaptureFixture, *decisions: Decision) -> list[logging.LogRecord]:
    with caplog.at_level(logging.INFO, DECISIONS):
        tell_decisions(decisions)
    return [record for record in caplog.records if record.name == DECISIONS]


def test_tell_ordered_and_denied_say_why_and_can_be_searched_for(caplog: pytest.LogCaptureFixture) -> None:
    """The strategy's own words, or the limits that were broken."""
    mask = int(Limit.CONFIDENCE | Limit.LEASE)
    denied = ORDERED._replace(
        decision_id=8, decided=int(Decided.DENIED), mask=mask, order_id=0, detail="{}", note="RSI 28"
    )
    ordered, refused = _told(caplog, ORDERED._replace(note="RSI 28 and rising"), denied)
    assert ordered.getMessage() == "ordered BTC/USDT: RSI 28 and rising"
    assert refused.getMessage() == "denied BTC/USDT: beyond confidence, lease; RSI 28"
    assert (ordered.fields["order_id"], ordered.fields["decision_id"], ordered.fields["strategy"]) == (12, 7, "mine")
    assert ordered.fields["market_time"].startswith("2024-01-01T00:00:00")
    assert refused.fields["limits"] == ["confidence", "lease"]


def test_tell_idle_decisions_say_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """They are in the ledger; a line for each would fill the journal."""
    idle = (Decided.HOLD, Decided.NOT_CHOSEN, Decided.NOTHING_TO_EXIT, Decided.WARMING_UP, Decided.NO_NEW_CANDLE)
    held = ORDERED._replace(decided=int(Decided.DENIED), mask=int(Limit.POSITION_OPEN), order_id=0)
    assert _told(caplog, held) == []
    assert _told(caplog, *(ORDERED._replace(decided=int(one), order_id=0) for one in idle)) == []
