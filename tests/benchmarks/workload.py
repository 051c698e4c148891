"""The fixed RSI workload, through our engine and as a hand-written loop that checks no limit.

RSI(14, Wilder) crosses below 30: buy at the next open with 20 % of equity, fee 0.1 %, slippage 0.05 %; target +3 %,
stop -2 %, inside the candle, the stop first; RSI above 70: sell at the next open.
"""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from trader.backtest.history import History, from_candles
from trader.clock import NS_PER_S
from trader.codes import Direction
from trader.config.sections import Config
from trader.domain.instrument import Instrument
from trader.domain.market import Candles
from trader.domain.signal import Signals
from trader.strategy.base import Strategy
from trader.strategy.indicators import RSI

CAPITAL = 1_000_000.0
FEE, SLIPPAGE, TARGET, STOP, SIZE = 0.001, 0.0005, 0.03, 0.02, 0.20
MINUTE_NS = 60 * NS_PER_S
START_NS = 1_640_995_200 * NS_PER_S


class CrossingRsi(Strategy):
    """LONG where the RSI crosses below a threshold, FLAT where it is above another."""

    name = "crossing_rsi"
    lookback_bars = 600

    def __init__(self, period: int = 14, lower: float = 30.0, upper: float = 70.0) -> None:
        super().__init__()
        self.period, self.lower, self.upper = period, lower, upper
        self.warmup_bars = period + 2

    def signals(self, candles: Candles) -> Signals:
        """Return one opinion per candle."""
        rsi = RSI(candles.close, self.period)
        direction = np.zeros(len(rsi), np.int8)
        direction[1:][(rsi[1:] < self.lower) & (rsi[:-1] >= self.lower)] = int(Direction.LONG)
        direction[rsi > self.upper] = int(Direction.FLAT)
        none, sure = np.broadcast_to(np.nan, len(rsi)), np.broadcast_to(1.0, len(rsi))
        return Signals(direction, sure, none, none, rsi)


def prices(bars: int, seed: int = 5) -> np.ndarray:
    """Return open, high, low, close of simulated minutes, shape (4, bars); each open is the close before.

    With TRADER_BENCH_DATA, the first bars of the reference workload's own `one.npy` instead.
    """
    folder = os.environ.get("TRADER_BENCH_DATA")
    if folder:
        rows = np.load(Path(folder) / "one.npy", mmap_mode="r")[:bars]
        if len(rows) == bars:
            return np.ascontiguousarray(rows[:, 1:5].T)
    chance = np.random.default_rng(seed)
    calm = np.exp(0.5 * np.sin(np.arange(bars) / 400.0) + 0.3 * chance.standard_normal(bars))
    steps = chance.standard_normal((bars, 4)) * (0.0005 * calm)[:, None]
    inside = np.cumsum(steps, axis=1)
    moved = inside[:, -1]
    for start in range(0, bars, 50_000):  # home again every 50,000 minutes, so that prices stay prices
        moved[start : start + 50_000] -= moved[start : start + 50_000].mean()
    log_close = np.cumsum(moved)
    log_open = np.append(0.0, log_close[:-1])
    path = log_open[:, None] + inside
    low, high = np.minimum(path.min(1), log_close), np.maximum(path.max(1), log_close)
    columns = [log_open, np.maximum(high, log_open), np.minimum(low, log_open), log_close]
    return np.round(40_000.0 * np.exp(np.array(columns)), 2)


def history_of(columns: np.ndarray, symbols: int = 1) -> History:
    """Return minutes of one symbol, or the same cut into pieces for several, as a backtest takes them."""
    bars = columns.shape[1] // symbols
    open_ns = START_NS + np.arange(bars, dtype=np.int64) * MINUTE_NS
    step = Decimal(1).scaleb(-9)
    candles, instruments = [], []
    for index in range(symbols):
        symbol = f"S{index}/USDT"
        piece = (np.ascontiguousarray(column[index * bars : (index + 1) * bars]) for column in columns)
        candles.append(Candles(symbol, "1m", open_ns, *piece, np.ones(bars)))
        instruments.append(Instrument(symbol, f"S{index}", "USDT", step, step, step, Decimal(0)))
    return from_candles(candles, instruments, MINUTE_NS)


def config_of(symbols: int = 1, **params: Any) -> Config:
    """Return the configuration that sets our conventions like the loop's; every limit is checked, none binds."""
    return Config.model_validate(
        {
            "initial_capital": CAPITAL,
            "market": {
                "source": "replay",
                "candles": "in memory",
                "timeframe": "1m",
                "symbols": [f"S{index}/USDT" for index in range(symbols)],
                "stale_after_seconds": 31_536_000,
            },
            "strategies": [{"use": "tests.benchmarks.workload:CrossingRsi", "params": params}],
            "engine": {"loop_interval_seconds": 60, "max_new_positions_per_cycle": symbols},
            # the loop sizes by the price with slippage, we by the one before
            "risk": {
                "max_open_positions": 10_000,
                "min_confidence_threshold": 0.0,
                "max_daily_loss_frac": 1.0,
                "max_daily_trades": 1_000_000,
                "max_symbol_exposure_frac": SIZE / (1.0 + SLIPPAGE),
                "max_gross_exposure_frac": 100,
                "max_drawdown_frac": 1.0,
                "risk_per_trade_frac": 1.0,
            },
            "exits": {"stop_loss_frac": STOP, "take_profit_frac": TARGET},
            "execution": {"fee_rate_frac": FEE, "slippage_bps": SLIPPAGE * 1e4},
        }
    )


@njit(cache=True, nogil=True)
def reference(o, h, l, c, period, lower, upper, trades):
    """Play the workload in one flat loop; return trades, final equity and worst drawdown. Trades: in, out, result."""
    cash, held, entry, cost = 1_000_000.0, 0.0, 0.0, 0.0
    gain, loss, before, previous = 0.0, 0.0, c[0], 50.0
    wanted, count, opened = 0, 0, 0
    peak, worst = cash, 0.0
    for i in range(o.shape[0]):
        if wanted == 1:
            entry = o[i] * (1.0 + 0.0005)
            held = 0.20 * cash / entry
            cost = held * entry * (1.0 + 0.001)
            cash -= cost
            opened = i
        price = 0.0
        if wanted == -1:
            price = o[i] * (1.0 - 0.0005)
        elif held > 0.0:
            stop, target = entry * (1.0 - 0.02), entry * (1.0 + 0.03)
            if o[i] <= stop:
                price = o[i] * (1.0 - 0.0005)
            elif l[i] <= stop:
                price = stop * (1.0 - 0.0005)
            elif o[i] >= target:
                price = o[i]
            elif h[i] >= target:
                price = target
        if price > 0.0:
            got = held * price * (1.0 - 0.001)
            cash += got
            trades[count, 0], trades[count, 1], trades[count, 2] = opened, i, got - cost
            count += 1
            held = 0.0
        wanted = 0
        change = c[i] - before
        before = c[i]
        up, down = max(change, 0.0), max(-change, 0.0)
        if i <= period:
            gain += up / period
            loss += down / period
        else:
            gain += (up - gain) / period
            loss += (down - loss) / period
        both = gain + loss
        rsi = 100.0 * gain / both if both > 0.0 else 50.0
        if i > period:
            if held == 0.0:
                wanted = 1 if rsi < lower <= previous else 0
            elif rsi > upper:
                wanted = -1
        previous = rsi
        equity = cash + held * c[i]
        peak = max(peak, equity)
        worst = max(worst, 1.0 - equity / peak)
    return count, cash + held * c[-1], worst
