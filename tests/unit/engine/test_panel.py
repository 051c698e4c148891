"""The panel asks once per candle, counts what fails, and stops asking who goes on failing."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.strategy.strategies import Always, Raising
from trader.codes import Decided
from trader.core.records import CANDLE
from trader.engine.panel import FAILURES_BEFORE_DISABLED, StrategyPanel
from trader.market.store import CandleStore
from trader.state.dtypes import STRATEGY
from trader.strategy.registry import Bound

SYMBOLS = ("BTC/USDT", "ETH/USDT")
MINUTE_NS = 60 * 10**9


class Moody(Always):
    """Says nonsense at every other candle."""

    def signals(self, candles):
        """Return a confidence of NaN at odd minutes."""
        said = super().signals(candles)
        said.confidence[candles.open_ns // MINUTE_NS % 2 == 1] = np.nan
        return said


@pytest.fixture
def store():
    """Return a store of two symbols."""
    return CandleStore(SYMBOLS, "1m", 300)


def closed(store, minute):
    """Close a candle of both symbols, and return when."""
    rows = np.zeros(2, CANDLE)
    rows["slot"] = (0, 1)
    rows["open_ns"], rows["close_ns"] = minute * MINUTE_NS, (minute + 1) * MINUTE_NS
    for field in ("open", "high", "low", "close", "volume"):
        rows[field] = 100.0
    store.append(rows)
    return [(minute + 1) * MINUTE_NS] * 2


def panel_of(store, *strategies):
    """Return a panel that asks these about both symbols."""
    return StrategyPanel([Bound(one, one.name, (0, 1)) for one in strategies], store)


def test_ask_same_candle_is_judged_once(store):
    """A cycle without a new candle asks nobody."""
    panel = panel_of(store, Always())
    closes = closed(store, 0)
    assert len(list(panel.ask(closes))) == 2
    assert list(panel.ask(closes)) == []


def test_failures_are_counted_and_end_in_disabled(store):
    """An exception is told with its words, and after five in a row nobody asks any more; the others go on."""
    raising, fine = Raising(), Always()
    raising.name = "raising"
    panel = panel_of(store, raising, fine)
    told = []
    for minute in range(4):
        told += [(one.signal.strategy, one.decided, one.detail) for one in panel.ask(closed(store, minute))]
    failed = [one for one in told if one[1] is Decided.FAILED]
    assert len(failed) == FAILURES_BEFORE_DISABLED
    assert {one[0] for one in failed} == {"raising"}
    assert "raised ZeroDivisionError: no idea about 1 candles" in failed[0][2]
    assert not panel.enabled(0)
    assert panel.enabled(1)
    last_ns = 3 * MINUTE_NS
    assert panel.rows() == [(b"raising", 5, 5, 5, 1, last_ns), (b"always", 8, 0, 0, 0, 0)]


def test_failures_in_a_row_begin_anew_after_an_answer(store):
    """Who fails now and then is counted, but asked again."""
    panel = panel_of(store, Moody(confidence=0.5))
    for minute in range(20):
        list(panel.ask(closed(store, minute)))
    ((name, asked, failures, in_row, disabled, failed_ns),) = panel.rows()
    assert (name, asked, failures, in_row, disabled) == (b"always", 40, 20, 2, 0)
    assert failed_ns == 20 * MINUTE_NS


def test_rows_fit_their_record(store):
    """Any name does, cut to what there is room for."""
    long = Always()
    long.name = "ä" * 40
    (row,) = np.array(panel_of(store, long).rows(), STRATEGY)
    assert row["name"].decode() == "ä" * 24
