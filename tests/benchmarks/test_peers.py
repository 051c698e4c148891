"""The RSI workload trade by trade, ours beside peers': what differs is explained, or it is a fault.

Conventions are set alike as far as the peers' go. What is left, each held against the numbers below:

vectorbt
    - spends 20 % of the cash with the fee in it, we 20 % of the equity and the fee besides;
    - takes slippage off a target too (`StopMarket` is for stops and targets), we don't: a target is a limit order;
    - looks at stop and target before an order that was due at the same candle's open: a candle that opens with the exit
      ordered and reaches a level later ends at the level there, and at the open here;
    - looks at levels from the candle after the entry on, we from the entry on;
    - counts a position that is still open at the end.

backtesting.py
    - charges its spread at entries only: what it sells, it sells without slippage;
    - begins its RSI with the first change, TA-Lib with the mean of the first 14: they agree once that is forgotten;
    - ends what is still open with the last candle.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests.benchmarks.environments import peer
from tests.benchmarks.workload import FEE, MINUTE_NS, SIZE, SLIPPAGE, START_NS, STOP, TARGET, config_of, history_of
from tests.benchmarks.workload import prices as candles
from trader.backtest.runner import run

pytestmark = [pytest.mark.peers, pytest.mark.timeout(900)]

BARS = 400_000
#: rows after which both ways to begin an RSI(14) say the same
FORGOTTEN = 1_000
CLOSE = 1e-9


class Round(NamedTuple):
    """One trade: rows and prices of entry and exit, and the quantity."""

    entered: int
    left: int
    entry_price: float
    exit_price: float
    quantity: float
    reason: str = ""


@pytest.fixture(scope="module")
def columns() -> np.ndarray:
    """Open, high, low, close of a market in which stops, targets and exits happen."""
    return candles(BARS, seed=11)


@pytest.fixture(scope="module")
def ours(columns: np.ndarray) -> tuple[Round, ...]:
    """Our trades; an exit inside a candle is stamped with its close, so one row later."""
    found = run(config_of(), history_of(columns)).trades
    return tuple(
        Round(
            (one.entry_ns - START_NS) // MINUTE_NS,
            (one.exit_ns - START_NS) // MINUTE_NS - (one.exit_reason in ("stop", "target")),
            one.entry_price,
            one.exit_price,
            one.quantity,
            one.exit_reason,
        )
        for one in found
    )


def theirs(what: str, columns: np.ndarray, folder: Path) -> dict[int, Round]:
    """Return a peer's trades by the row of their entry."""
    said = peer(what, folder / "candles.npy", columns, "trades")
    if said is None:
        pytest.skip(f"{what} is not installed: make peers")
    return {int(one[0]): Round(int(one[0]), int(one[1]), *one[2:]) for one in said["trades"]}


def alike(one: float, other: float, of: float = CLOSE) -> bool:
    """Return whether two prices are one."""
    return abs(one / other - 1.0) < of


def reached(one: Round, columns: np.ndarray, row: int) -> bool:
    """Return whether a candle reaches a trade's stop or target."""
    return bool(
        columns[2][row] <= one.entry_price * (1.0 - STOP) or columns[1][row] >= one.entry_price * (1.0 + TARGET)
    )


def explained_by_vectorbt(mine: Round, its: Round, columns: np.ndarray) -> str:
    """Return which convention makes an exit differ; empty: none does."""
    target = mine.entry_price * (1.0 + TARGET)
    if mine.left == its.left and alike(mine.exit_price, its.exit_price):
        return "the same"
    if mine.left == its.left and mine.reason == "target" and alike(its.exit_price, target * (1.0 - SLIPPAGE)):
        return "slippage on a target"
    if mine.left == its.left and mine.reason == "strategy_exit" and reached(mine, columns, mine.left):
        return "level before the open"
    if mine.left == mine.entered and reached(mine, columns, mine.entered) and its.left > its.entered:
        return "level in the candle of the entry"
    return ""


def test_trades_agree_with_vectorbt_one_by_one(columns: np.ndarray, ours: tuple[Round, ...], tmp_path: Path) -> None:
    """Each entry is the same; each exit is, or one of vectorbt's conventions explains it."""
    its = theirs("vectorbt", columns, tmp_path)
    still_open = [one for one in its.values() if one.entered > ours[-1].left]
    assert len(ours) + len(still_open) == len(its)
    assert len(still_open) <= 1
    counts: dict[str, int] = {}
    cash = 1_000_000.0
    for mine in ours:
        other = its[mine.entered]
        assert alike(mine.entry_price, other.entry_price), (mine, other)
        assert alike(other.quantity * other.entry_price * (1.0 + FEE), SIZE * cash, 1e-6), (mine, other)
        cost = other.quantity * (other.exit_price * (1.0 - FEE) - other.entry_price * (1.0 + FEE))
        cash += cost
        why = explained_by_vectorbt(mine, other, columns)
        assert why, (mine, other)
        counts[why] = counts.get(why, 0) + 1
    print(f"\n  vectorbt: {len(ours)} trades: {counts}")
    assert counts["the same"] >= len(ours) - 10


def test_trades_agree_with_backtesting_py_one_by_one(
    columns: np.ndarray, ours: tuple[Round, ...], tmp_path: Path
) -> None:
    """Each entry is the same once the RSI's beginning is forgotten; each exit is, but for the slippage."""
    its = theirs("backtesting", columns, tmp_path)
    late = [one for one in ours if one.entered > FORGOTTEN]
    assert len(late) > 1_000
    unmatched = {row for row in its if row > FORGOTTEN} - {one.entered for one in late}
    assert all(its[row].left == BARS - 1 for row in unmatched)
    for mine in late:
        other = its[mine.entered]
        assert alike(mine.entry_price, other.entry_price), (mine, other)
        assert mine.left == other.left, (mine, other)
        slipped = 1.0 if mine.reason == "target" else 1.0 - SLIPPAGE
        assert alike(mine.exit_price, other.exit_price * slipped), (mine, other)
    print(f"\n  backtesting.py: {len(late)} trades the same")
