"""The language model's strategy under anything: replies, crashes, costs."""

from __future__ import annotations

import json
import tempfile
from decimal import Decimal
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.loopback.model_server import hold, open_long, reply
from trader.clock import NS_PER_DAY
from trader.strategy.llm.budget import Budget, Reservation
from trader.strategy.llm.records import Records
from trader.strategy.llm.reply import DecisionInvalid, Proposal, printable, read_reply
from trader.strategy.llm.vocabulary import Hold

SYMBOLS, FRAMES = ("BTC/USDT", "ETH/USDT"), ("1h", "4h", "1d")
RULE = {"metric": "close", "timeframe": "4h", "op": "lt", "value": 58_000.5}
GOOD = reply([open_long("BTC/USDT", 60_000.0, invalidations=[RULE]), hold("ETH/USDT")])

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Draw a good reply with a part cut out, put in, doubled or exchanged."""
    text = GOOD
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 30)))
        words = ["NaN", "1e999", "-Infinity", "null", '"', "{", "}", "[", text[start:end] * 2]
        put = draw(st.text(max_size=10) | st.sampled_from(words))
        text = text[:start] + put + text[end:]
    return text


@st.composite
def rewritten(draw: st.DrawFn) -> str:
    """Draw a good reply in which one value is anything."""
    document = json.loads(GOOD)
    decision = draw(st.sampled_from(document["decisions"]))
    decision[draw(st.sampled_from(sorted(decision)))] = draw(JSON)
    return json.dumps(document)


@settings(max_examples=300)
@given(st.one_of(mutated(), rewritten(), JSON.map(json.dumps), st.text()))
def test_any_reply_is_proposals_or_a_refusal_with_a_reason(text):
    """Nothing else comes out, and what comes out is finite, known and in its range."""
    try:
        proposals = read_reply(text, SYMBOLS, FRAMES)
    except DecisionInvalid as error:
        assert error.reason not in (Hold.NONE, Hold.MODEL)  # noqa: PT017 - both outcomes are right
        return
    assert len({one.symbol for one in proposals}) == len(proposals)
    for one in proposals:
        assert isinstance(one, Proposal)
        assert one.symbol in SYMBOLS
        assert 0 <= one.confidence <= 1
        assert len(one.justification) <= 400
        assert one.justification.isprintable()
        assert len(one.invalidations) <= 3


@given(st.text(max_size=600))
def test_printable_text_stays_on_its_line(text):
    """Whatever a model writes."""
    assert "\n" not in printable(text)
    assert "\x1b" not in printable(text)


STEP = st.tuples(
    st.sampled_from(["settle", "keep", "crash"]),
    st.decimals(Decimal(0), Decimal("0.3"), places=6),
    st.floats(0, 1),
    st.integers(0, NS_PER_DAY // 4),
)


@settings(max_examples=60)
@given(st.lists(STEP, max_size=40))
def test_spent_and_reserved_never_pass_the_cap(steps):
    """Over any failures, crashes and midnights, as long as no call costs more than was reserved for it."""
    cap = Decimal("1.0")
    now_ns = 0
    expected: dict[int, Decimal] = {}
    with tempfile.TemporaryDirectory() as folder:
        budget = Budget(Path(folder) / "llm.db", 1_000, cap)
        try:
            for what, worst, share, pause_ns in steps:
                now_ns += pause_ns
                day = now_ns // NS_PER_DAY
                made = budget.reserve(now_ns, "d", worst)
                if isinstance(made, Hold):
                    assert expected.get(day, Decimal(0)) + worst > cap
                    continue
                assert isinstance(made, Reservation)
                cost = (worst * Decimal(str(round(share, 4)))).quantize(Decimal("0.000001"))
                if what == "settle":
                    budget.settle(made, min(cost, worst))
                    expected[day] = expected.get(day, Decimal(0)) + min(cost, worst)
                else:
                    expected[day] = expected.get(day, Decimal(0)) + worst
                if what == "crash":
                    budget.close()
                    budget = Budget(Path(folder) / "llm.db", 1_000, cap)
                assert budget.today(now_ns).total_usd == expected[day] <= cap
        finally:
            budget.close()


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.dictionaries(st.text(max_size=5), st.text(max_size=30), max_size=3), st.integers(1, 200)),
        max_size=6,
    )
)
def test_records_survive_lines_that_a_crash_has_cut(entries):
    """What was written whole is read whole; what was cut is left out; nothing else is lost."""
    with tempfile.TemporaryDirectory() as folder:
        records = Records(Path(folder))
        whole = []
        for number, (content, cut) in enumerate(entries):
            record = {"decision_id": f"llm-{number}", "market_ns": 0, "content": content, "final": []}
            records.append(record)
            path = Path(folder) / "1970-01-01.jsonl"
            if number % 2:
                line = len(json.dumps(record, separators=(",", ":")).encode()) + 1
                keep = max(20, line - 1 - cut)
                with path.open("r+b") as file:
                    file.truncate(path.stat().st_size - line + min(keep, line - 2))
            else:
                whole.append(record)
        assert list(records.read()) == whole
