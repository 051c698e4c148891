"""Ledger records in words."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from tests.staging import START_NS
from trader.codes import Decided, Direction, Limit, Reason, Side
from trader.dashboard.records import decision_view, trip_view
from trader.domain.decision import Decision
from trader.domain.round_trip import RoundTrip


def _decision(decided: Decided, **changes: object) -> Decision:
    made = Decision(
        decision_id=7, cycle=3, time_ns=START_NS, strategy="simple_rsi", symbol="BTC/USDT", candle_ns=START_NS,
        price=64_000.0, direction=int(Direction.LONG), confidence=0.66, value=27.4, decided=int(decided), mask=0,
        order_id=0, detail="",
    )  # fmt: skip
    return made._replace(**changes)


@pytest.mark.parametrize("decided", list(Decided))
def test_decision_every_outcome_has_a_reason(decided: Decided) -> None:
    """No decision is shown without words."""
    found = decision_view(_decision(decided, value=math.nan))
    assert found["decided"] == decided.name.lower()
    assert found["why"]
    assert found["value"] is None


def test_decision_denied_names_limits_and_both_numbers() -> None:
    """The text of the risk check stands as it is, with the reading before it."""
    detail = '{"confidence":[0.66,0.7],"paused":[1.0,0.0]}'
    found = decision_view(_decision(Decided.DENIED, mask=int(Limit.CONFIDENCE | Limit.PAUSED), detail=detail))
    assert found["limits"] == ["confidence", "paused"]
    assert found["broken"][0] == {"limit": "confidence", "observed": 0.66, "bound": 0.7}
    assert found["why"] == (
        "simple_rsi reads 27.4 · the signal's confidence is below risk.min_confidence_threshold (0.66 against 0.7); "
        "an owner has paused entries"
    )


@pytest.mark.parametrize(
    ("detail", "words"),
    [
        ("ValueError: no data", "ValueError: no data"),
        ("{not json", "{not json"),
        ('{"confidence":5}', '{"confidence":5}'),
        ('{"confidence":[null,0.7]}', "the signal's confidence is below risk.min_confidence_threshold"),
        ('{"of_tomorrow":[1,2]}', "of_tomorrow (1 against 2)"),
    ],
)
def test_decision_detail_of_any_kind_is_shown(detail: str, words: str) -> None:
    """Prose, broken JSON, NaN as null, a limit of a later version: never an error, never nothing."""
    assert decision_view(_decision(Decided.DENIED, value=math.nan, detail=detail))["why"] == words


def test_decision_ordered_names_its_order() -> None:
    """The way from decision to order can be followed."""
    assert (
        decision_view(_decision(Decided.ORDERED, order_id=12))["why"] == "simple_rsi reads 27.4 · entry sent · order 12"
    )


def test_trip_result_is_a_fraction_of_what_it_cost() -> None:
    """0.1 bought for 100 is 10; a net result of 0.5 is 5 %."""
    trip = RoundTrip(
        position_id=1, symbol="A/B", side=Side.BUY, quantity=Decimal("0.1"), entry_price=Decimal(100),
        exit_price=Decimal(106), entry_ns=START_NS, exit_ns=START_NS + 90 * 10**9, gross_pnl=Decimal("0.6"),
        fees=Decimal("0.1"), pnl=Decimal("0.5"), strategy="s", entry_reason=Reason.SIGNAL, exit_reason=Reason.TARGET,
        decision_id=4, entry_order_id=1, exit_order_id=2,
    )  # fmt: skip
    found = trip_view(trip)
    assert found["pnl_frac"] == pytest.approx(0.05)
    assert found["pnl_exact"] == "0.5"
    assert (found["side"], found["reason"], found["held_s"]) == ("long", "target", 90.0)
