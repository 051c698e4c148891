"""Peers on the same workload: run by the Python of an environment that has the peer; prints one JSON line.

    python peers.py WHAT CANDLES.npy [MODE]

MODE is steady (the default: the first run warms up, the median of three more counts), once (one run, for who measures
the whole process) or trades (what it traded).
"""

from __future__ import annotations

import itertools
import json
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Run(NamedTuple):
    """One way to play the workload."""

    play: Callable[[], Any]  #: returns the peer's own result
    count: Callable[[Any], int]  #: trades in a result
    trades: Callable[[Any], list[list[float]]] | None = None  #: entry row, exit row, entry price, exit price, quantity


FEE, SLIPPAGE, TARGET, STOP, SIZE, CAPITAL = 0.001, 0.0005, 0.03, 0.02, 0.20, 1_000_000.0


def vectorbt(columns: np.ndarray, symbols: int = 1, grid: tuple[Any, ...] = ()) -> Run:
    """Return the workload in vectorbt."""
    import pandas as pd
    import vectorbt as vbt
    from vectorbt.portfolio.enums import SizeType, StopEntryPrice, StopExitPrice

    bars = columns.shape[1] // symbols
    index = pd.date_range("2022-01-01", periods=bars, freq="min")
    frames = [pd.DataFrame(column[: bars * symbols].reshape(symbols, bars).T.copy(), index=index) for column in columns]
    opens, highs, lows, closes = frames if symbols > 1 else [frame[0] for frame in frames]
    common = {
        "size": SIZE, "size_type": SizeType.Percent, "fees": FEE, "slippage": SLIPPAGE,
        "sl_stop": STOP, "tp_stop": TARGET,
        "stop_entry_price": StopEntryPrice.FillPrice, "stop_exit_price": StopExitPrice.StopMarket,
        "init_cash": CAPITAL, "freq": "1min", "open": opens, "high": highs, "low": lows, "price": opens,
    }  # fmt: skip
    if symbols > 1:
        common |= {"cash_sharing": True, "group_by": True}

    def single() -> Any:
        rsi = vbt.RSI.run(closes, window=27, ewm=True)
        entries = rsi.rsi_crossed_below(30.0).vbt.signals.fshift(1)
        exits = rsi.rsi_above(70.0).vbt.signals.fshift(1)
        return vbt.Portfolio.from_signals(closes, entries, exits, **common)

    def swept() -> Any:
        rsi = vbt.RSI.run(closes, window=[2 * one[0] - 1 for one in grid], ewm=True, run_unique=True).rsi.to_numpy()
        lower, upper = np.array([one[1] for one in grid]), np.array([one[2] for one in grid])
        entries, exits = np.zeros(rsi.shape, bool), np.zeros(rsi.shape, bool)
        entries[2:] = (rsi[1:-1] < lower) & (rsi[:-2] >= lower)
        exits[1:] = rsi[:-1] > upper
        names = pd.MultiIndex.from_tuples(grid)
        wide = [pd.DataFrame(signals, index=index, columns=names) for signals in (entries, exits)]
        return vbt.Portfolio.from_signals(closes, *wide, **common)

    def count(result: Any) -> int:
        return int(np.sum(result.trades.count()))

    def trades(result: Any) -> list[list[float]]:
        names = ["entry_idx", "exit_idx", "entry_price", "exit_price", "size"]
        return [list(map(float, row)) for row in result.trades.records[names].to_numpy()]

    return Run(swept if grid else single, count, trades)


def backtesting(columns: np.ndarray) -> Run:
    """Return the workload in backtesting.py."""
    import pandas as pd
    from backtesting import Strategy
    from backtesting.lib import FractionalBacktest

    def wilder(close: Any) -> Any:
        change = pd.Series(close).diff()
        up, down = (
            part.ewm(alpha=1 / 14, adjust=False).mean() for part in (change.clip(lower=0), -change.clip(upper=0))
        )
        return 100 - 100 / (1 + up / down)

    class Rsi(Strategy):
        def init(self) -> None:
            self.rsi = self.I(wilder, self.data.Close)

        def next(self) -> None:
            if not self.position:
                if self.rsi[-1] < 30 <= self.rsi[-2]:
                    price = self.data.Close[-1] * (1 + SLIPPAGE)
                    self.buy(size=SIZE, sl=price * (1 - STOP), tp=price * (1 + TARGET))
            elif self.rsi[-1] > 70:
                self.position.close()

    index = pd.date_range("2022-01-01", periods=columns.shape[1], freq="min")
    frame = pd.DataFrame(columns.T, columns=["Open", "High", "Low", "Close"], index=index).assign(Volume=1.0)
    made = FractionalBacktest(
        frame, Rsi, cash=CAPITAL, commission=FEE, spread=SLIPPAGE, fractional_unit=1e-6, finalize_trades=True
    )

    def trades(result: Any) -> list[list[float]]:
        names = ["EntryBar", "ExitBar", "EntryPrice", "ExitPrice", "Size"]
        return [list(map(float, row)) for row in result["_trades"][names].to_numpy()]

    return Run(made.run, lambda result: int(result["# Trades"]), trades)


def main() -> None:
    """Play the workload of one peer, and print what it took or traded."""
    warnings.simplefilter("ignore")
    what, columns, mode = sys.argv[1], np.load(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "steady"
    grid = tuple(itertools.product((7, 10, 14, 21, 28), (20.0, 25.0, 30.0, 35.0, 40.0), (60.0, 65.0, 70.0, 75.0)))
    run = {
        "vectorbt": lambda: vectorbt(columns),
        "vectorbt-multi": lambda: vectorbt(columns, 10),
        "vectorbt-sweep": lambda: vectorbt(columns, 1, grid),
        "backtesting": lambda: backtesting(columns),
    }[what]()
    result = run.play()
    if mode == "trades" and run.trades is not None:
        print(json.dumps({"peer": what, "trades": run.trades(result)}))
        return
    times, busy = [], []
    for _ in range(3 if mode == "steady" else 0):
        started, worked = time.perf_counter(), time.process_time()
        result = run.play()
        trades = run.count(result)
        times.append(time.perf_counter() - started)
        busy.append(time.process_time() - worked)
    trades = run.count(result)
    rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds, cpu_seconds = (statistics.median(taken) if taken else None for taken in (times, busy))
    found = {"peer": what, "seconds": seconds, "cpu_seconds": cpu_seconds, "trades": trades, "rss_mib": rss_mib}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
