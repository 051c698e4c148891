"""Over any market, exact books and the kernels' floats tell one story, and the audit agrees."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.paper_desk import SYMBOLS, PaperDesk
from trader.ledger.audit import audit
from trader.state.paths import InstancePaths


@settings(max_examples=12)
@given(seed=st.integers(0, 10**9), minutes=st.integers(1, 60), commit_every=st.integers(1, 20))
def test_settle_any_market_keeps_floats_at_the_exact_amounts(seed, minutes, commit_every):
    """Cash and quantities are the nearest floats, results agree to 1e-9, and every check of the audit passes."""
    with tempfile.TemporaryDirectory() as folder:
        desk = PaperDesk.open(Path(folder) / "ledger.db")
        desk.play(range(1, minutes + 1), seed, commit_every=commit_every)
        books = desk.ledger.books
        assert desk.account["cash"] == float(books.balance("USDT"))
        for slot, symbol in enumerate(SYMBOLS):
            assert desk.slots["quantity"][slot] == float(books.quantity(symbol))
        open_cost = sum(item.flow - item.fees for item in books.holdings.values())
        realised = float(books.balance("USDT") - 10_000 - open_cost)
        if not books.holdings:
            assert desk.account["realised_pnl"] == pytest.approx(realised, abs=1e-6)
        assert desk.account["round_trips"] == books.closed
        assert desk.account["open_positions"] == len(books.holdings)
        desk.close()
        report = audit(InstancePaths(Path(folder), Path(folder), Path(folder)))
        assert [str(item) for item in report.differences] == []
