"""Rules in words: what is read, what is refused with which word, and that text and rule say the same."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader.codes import RuleKind
from trader.domain.invalidation import Gauge, Invalidation, join, parse, span, split

HOUR_NS = 3_600 * 10**9


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("close below 61500 on 4h", Invalidation(RuleKind.CLOSE_BELOW, 61500.0, 4 * HOUR_NS)),
        ("Close ABOVE 1.25", Invalidation(RuleKind.CLOSE_ABOVE, 1.25)),
        ("close  above .5 ON 60m", Invalidation(RuleKind.CLOSE_ABOVE, 0.5, HOUR_NS)),
        ("RSI above 75 on 1h", Invalidation(RuleKind.RSI_ABOVE, 75.0, HOUR_NS, 14)),
        ("rsi(7) below 20.5", Invalidation(RuleKind.RSI_BELOW, 20.5, 0, 7)),
        ("age over 90m", Invalidation(RuleKind.AGE_OVER, frame_ns=90 * 60 * 10**9)),
    ],
)
def test_parse_good_text_gives_the_rule(text: str, rule: Invalidation) -> None:
    """Every form that is documented, in any case and spacing."""
    assert parse(text) == rule
    assert parse(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must not be empty"),
        ("price below 5", "'price' is nothing that can be watched"),
        ("close", "below or above is missing after 'close'"),
        ("close under 5 on 4h", "'under' should be below or above"),
        ("close below", "a number is missing after 'below'"),
        ("close below 61,500 on 4h", "'61,500' is no number"),
        ("close below nan", "'nan' is no number"),
        ("close below -5", "'-5' is no number"),
        ("close below 0 on 4h", "above 0, was 0"),
        ("close below 1e999", "finite number above 0"),
        ("close below 5 at 4h", "'at' should be on"),
        ("close below 5 on", "as in 4h is missing after 'on'"),
        ("close below 5 on 4x", "'4x' is no timeframe"),
        ("close below 5 on 4h please", "nothing may follow '4h', found 'please'"),
        ("close below 5 on 600w", "up to ten years"),
        ("RSI above 100 on 1h", "between 0 and 100, was 100"),
        ("RSI(1) above 50", "from 2 to 500, was 1"),
        ("RSI(99999) above 50", "from 2 to 500, was 99999"),
        ("RSI(14 above 50", "'RSI(14' is nothing that can be watched"),
        ("age above 12h", "'above' should be over"),
        ("age over", "an age, as in 12h is missing after 'over'"),
        ("age over 0h", "'0h' is no timeframe"),
        ("age over 12h on 4h", "nothing may follow '12h', found 'on'"),
    ],
)
def test_parse_bad_text_names_the_word(text: str, problem: str) -> None:
    """The message quotes the rule and the word that is wrong."""
    with pytest.raises(ValueError) as raised:
        parse(text)
    assert problem in str(raised.value)
    assert repr(text) in str(raised.value) or not text


@pytest.mark.parametrize(
    "values",
    [
        {"kind": RuleKind.NONE},
        {"kind": RuleKind.CLOSE_BELOW, "level": math.nan},
        {"kind": RuleKind.CLOSE_BELOW, "level": math.inf},
        {"kind": RuleKind.CLOSE_BELOW, "level": 5.0, "frame_ns": -1},
        {"kind": RuleKind.CLOSE_BELOW, "level": 5.0, "frame_ns": 5},
        {"kind": RuleKind.RSI_ABOVE, "level": 50.0},
        {"kind": RuleKind.RSI_ABOVE, "level": math.nan, "period": 14},
        {"kind": RuleKind.AGE_OVER},
    ],
)
def test_invalidation_that_can_not_be_is_refused(values: dict[str, object]) -> None:
    """What a program makes of numbers is checked as what an owner writes."""
    with pytest.raises(ValueError):
        Invalidation(**values)  # type: ignore[arg-type]


SECONDS = st.integers(1, 3660 * 86_400).map(lambda seconds: seconds * 10**9)
PRICES = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
RULES = (
    st.builds(Invalidation, st.sampled_from([RuleKind.CLOSE_BELOW, RuleKind.CLOSE_ABOVE]), PRICES, st.just(0) | SECONDS)
    | st.builds(
        Invalidation,
        st.sampled_from([RuleKind.RSI_BELOW, RuleKind.RSI_ABOVE]),
        st.floats(0, 100, exclude_min=True, exclude_max=True),
        st.just(0) | SECONDS,
        st.integers(2, 500),
    )
    | st.builds(Invalidation, st.just(RuleKind.AGE_OVER), frame_ns=SECONDS)
)


@settings(max_examples=200)
@given(rules=st.lists(RULES, max_size=8))
def test_rules_any_written_and_read_back_are_the_same_to_the_bit(rules: list[Invalidation]) -> None:
    """The ledger keeps rules as text: nothing may be lost on the way."""
    assert split(join(rules)) == tuple(rules)
    assert all(one.gauge is None or parse(f"{one.gauge} x".split(" ")[0] + " above 5").period for one in rules)


@given(text=st.text(max_size=60))
def test_parse_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but a ValueError leaves the parser, whatever somebody types."""
    try:
        rule = parse(text)
    except ValueError:
        return
    assert parse(str(rule)) == rule


def test_gauge_reads_as_an_owner_writes_it() -> None:
    """A gauge is named in messages the way that a rule names it."""
    assert str(Gauge.of("1h", 9)) == "RSI(9) on 1h"
    assert str(Gauge.of("")) == "RSI(14)"
    assert parse("RSI(9) above 70 on 60m").gauge == Gauge.of("1h", 9)
    assert parse("close below 5").gauge is None


def test_span_takes_the_longest_unit() -> None:
    """Lengths are written without a rest."""
    assert [span(n * 10**9) for n in (1, 90, 120, 5400, 86_400, 172_800, 604_800)] == [
        *("1s", "90s", "2m", "90m", "1d", "2d", "1w"),
    ]
    with pytest.raises(ValueError):
        span(5)
