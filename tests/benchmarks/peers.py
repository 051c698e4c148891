"""Peers on the same workload: run by the Python of an environment that has the peer; prints one JSON line."""

from __future__ import annotations

import itertools
import json
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

FEE, SLIPPAGE, TARGET, STOP, SIZE, CAPITAL = 0.001, 0.0005, 0.03, 0.02, 0.20, 1_000_000.0


def vectorbt(columns: np.ndarray, symbols: int = 1, grid: tuple[Any, ...] = ()) -> Callable[[], int]:
    """Return a run that gives the number of trades."""
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

    def single() -> int:
        rsi = vbt.RSI.run(closes, window=27, ewm=True)
        entries = rsi.rsi_crossed_below(30.0).vbt.signals.fshift(1)
        exits = rsi.rsi_above(70.0).vbt.signals.fshift(1)
        return int(np.sum(vbt.Portfolio.from_signals(closes, entries, exits, **common).trades.count()))

    def swept() -> int:
        rsi = vbt.RSI.run(closes, window=[2 * one[0] - 1 for one in grid], ewm=True, run_unique=True).rsi.to_numpy()
        lower, upper = np.array([one[1] for one in grid]), np.array([one[2] for one in grid])
        entries, exits = np.zeros(rsi.shape, bool), np.zeros(rsi.shape, bool)
        entries[2:] = (rsi[1:-1] < lower) & (rsi[:-2] >= lower)
        exits[1:] = rsi[:-1] > upper
        names = pd.MultiIndex.from_tuples(grid)
        wide = [pd.DataFrame(signals, index=index, columns=names) for signals in (entries, exits)]
        return int(np.sum(vbt.Portfolio.from_signals(closes, *wide, **common).trades.count()))

    return swept if grid else single


def backtesting(columns: np.ndarray) -> Callable[[], int]:
    """Return a run that gives the number of trades."""
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
    return lambda: int(made.run()["# Trades"])


def main() -> None:
    """Measure one peer: the first run warms up, the median of three more is what it took."""
    warnings.simplefilter("ignore")
    what, columns = sys.argv[1], np.load(sys.argv[2])
    grid = tuple(itertools.product((7, 10, 14, 21, 28), (20.0, 25.0, 30.0, 35.0, 40.0), (60.0, 65.0, 70.0, 75.0)))
    run = {
        "vectorbt": lambda: vectorbt(columns),
        "vectorbt-multi": lambda: vectorbt(columns, 10),
        "vectorbt-sweep": lambda: vectorbt(columns, 1, grid),
        "backtesting": lambda: backtesting(columns),
    }[what]()
    trades, times = run(), []
    for _ in range(3):
        started = time.perf_counter()
        trades = run()
        times.append(time.perf_counter() - started)
    rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peer": what, "seconds": statistics.median(times), "trades": trades, "rss_mib": rss_mib}))


if __name__ == "__main__":
    main()
