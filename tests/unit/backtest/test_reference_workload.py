"""The workload that peers were measured on: our engine makes the trades of the hand-written loop, to the cent.

That loop was confirmed by two independent engines (backtrader and jesse) on the reference data, which
TRADER_BENCH_DATA names where it is at hand; without it the same is shown on a simulated market. vectorbt differs from
the same loop where it checks stops from the candle after the entry only; backtesting.py where it charges its spread at
entries only.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from tests.benchmarks.workload import CAPITAL, MINUTE_NS, START_NS, config_of, history_of, prices, reference
from trader.backtest.runner import run

BARS = 100_000


def test_workload_gives_the_trades_of_the_hand_written_loop() -> None:
    """Each trade's candles and result, the equity at the end, and the worst drawdown."""
    columns = prices(BARS)
    trades = np.zeros((BARS // 8, 3))
    count, equity, worst = reference(*columns, 14, 30.0, 70.0, trades)
    result = run(config_of(), history_of(columns))
    assert len(result.trades) == count > 100
    opened = [(trade.entry_ns - START_NS) // MINUTE_NS for trade in result.trades]
    assert opened == trades[:count, 0].astype(int).tolist()
    # an exit inside a candle is stamped with its close, one at the open with its open
    closed = np.array([(trade.exit_ns - START_NS) / MINUTE_NS for trade in result.trades])
    inside = np.array([trade.exit_reason in ("stop", "target") for trade in result.trades])
    assert (closed - inside).astype(int).tolist() == trades[:count, 1].astype(int).tolist()
    assert [trade.pnl for trade in result.trades] == pytest.approx(trades[:count, 2], abs=0.01)
    assert result.metrics.final_equity == pytest.approx(equity, abs=0.01)
    assert result.metrics.max_drawdown_frac == pytest.approx(worst, rel=1e-6)
    assert result.metrics.initial_equity == CAPITAL
    if os.environ.get("TRADER_BENCH_DATA"):
        assert (count, round(result.metrics.final_equity, 2)) == (415, 791_724.22)
