"""One core: the service replaying candles and a backtest of the same candles make the same trades."""

from __future__ import annotations

import inspect
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.acceptance.service import EIGHT_SYMBOLS, Service, replay_config
from trader.backtest.result import BacktestResult
from trader.backtest.runner import run
from trader.codes import Decided, Limit, Reason
from trader.config.loading import load
from trader.strategy.registry import REGISTERED, load_class

pytestmark = pytest.mark.data

SET = "genetrader-binance-2024"
EXACT = 1e-9

#: strategies that come with trader and are asked about candles; a language model's is not one of them
OURS = tuple(sorted(name for name in REGISTERED if name != "llm"))

#: limits that bind: every run below has entries that were refused for each of several reasons
TIGHT = {
    "risk": {
        "max_open_positions": 3,
        "min_confidence_threshold": 0.62,
        "max_daily_loss_frac": 0.008,
        "max_daily_trades": 5,
        "max_symbol_exposure_frac": 0.3,
        "max_gross_exposure_frac": 0.8,
        "max_drawdown_frac": 0.3,
        "risk_per_trade_frac": 0.004,
        "allow_short": True,
        "cooldown_seconds": 7200,
        "loss_streak_limit": 4,
        "loss_streak_cooldown_seconds": 21_600,
        "max_correlated_exposure_frac": 0.45,
        "correlation_window_bars": 48,
        "correlation_threshold": 0.6,
    },
    "exits": {
        "stop_loss_frac": 0.015,
        "take_profit_frac": 0.04,
        "trailing_stop_frac": 0.02,
        "max_hold_seconds": 172_800,
        "break_even_after_frac": 0.02,
        "break_even_lock_frac": 0.002,
        "invalidations": ["RSI(10) above 84 on 2h", "RSI below 12 on 4h", "age over 40h"],
    },
    "engine": {"loop_interval_seconds": 180, "max_new_positions_per_cycle": 2},
    "execution": {"fee_rate_frac": 0.00075, "slippage_bps": 3},
}


def strategies_of(*names: str) -> list[dict[str, Any]]:
    """Return a section `strategies`, in which everybody who can goes short too."""
    classes = {name: load_class(name) for name in names}
    return [
        {"use": name, "params": {"short": True} if "short" in inspect.signature(kind).parameters else {}}
        for name, kind in classes.items()
    ]


def ruled() -> dict[str, Any]:
    """Return the entry of a strategy whose signals bring invalidations."""
    return {"use": f"{Path(__file__).with_name('ruled.py')}:Ruled"}


def both(candles: Path, folder: Path, timeframe: str, timeout_s: float, **more: Any) -> tuple[Service, BacktestResult]:
    """Replay through the whole service and backtest the very same configuration file."""
    service = Service(folder, replay_config(candles / SET, timeframe, EIGHT_SYMBOLS, **more))
    assert service.run(timeout_s) == 0, service.text()[-4000:]
    return service, run(load(service.config_file))


def assert_same(service: Service, result: BacktestResult) -> None:
    """Hold every trade, the account, the days and the decisions against each other."""
    assert_same_trades(service, result)
    assert_same_account(service, result)
    assert_same_decisions(service, result)


def assert_same_trades(service: Service, result: BacktestResult) -> None:
    """Compare times, prices, quantities, fees, results, strategies and exit reasons of each round trip."""
    rows = service.rows(
        "SELECT position_id, symbol, side, strategy, entry_ns, exit_ns, exit_reason, exit_note, quantity, entry_price,"
        " exit_price,"
        " fees, gross_pnl, pnl FROM round_trips ORDER BY position_id"
    )
    trades = sorted(result.trades, key=lambda trade: trade.position_id)
    assert len(rows) == len(trades) > 0
    for row, trade in zip(rows, trades, strict=True):
        number, symbol, side, strategy, entry_ns, exit_ns, reason, note, *amounts = row
        assert (number, symbol, "long" if side > 0 else "short", strategy) == (
            trade.position_id,
            trade.symbol,
            trade.side,
            trade.strategy,
        )
        ours = (trade.entry_ns, trade.exit_ns, trade.exit_reason, trade.exit_note)
        assert (entry_ns, exit_ns, Reason(reason).name.lower(), note) == ours
        ours = (trade.quantity, trade.entry_price, trade.exit_price, trade.fees, trade.gross_pnl, trade.pnl)
        assert ours == pytest.approx([float(Decimal(amount)) for amount in amounts], rel=EXACT, abs=EXACT)


def assert_same_account(service: Service, result: BacktestResult) -> None:
    """Equity at the end and at each day's first moment, drawdown, fees, and what is still open."""
    ((equity, drawdown, fees, cycles),) = service.rows(
        "SELECT equity, max_drawdown_frac, fees_paid, cycles FROM account"
    )
    metrics = result.metrics
    assert metrics.final_equity == pytest.approx(equity, rel=EXACT)
    assert metrics.max_drawdown_frac == pytest.approx(drawdown, rel=EXACT)
    assert metrics.fees == pytest.approx(fees, rel=EXACT)
    assert result.cycles == cycles
    days = service.rows("SELECT time_ns, start_equity FROM days ORDER BY time_ns")
    at = np.searchsorted(result.curve.time_ns, [time_ns for time_ns, _ in days])
    assert result.curve.time_ns[at].tolist() == [time_ns for time_ns, _ in days]
    assert result.curve.equity[at] == pytest.approx(np.array([equity for _, equity in days]), rel=EXACT)
    held = service.rows("SELECT symbol, entry_ns FROM positions ORDER BY symbol")
    assert held == sorted((one.symbol, one.entry_ns) for one in result.open_positions)


def assert_same_decisions(service: Service, result: BacktestResult) -> None:
    """Compare what became of each strategy's opinions, and every limit that each symbol's refused entries broke."""
    silent = (Decided.HOLD, Decided.WARMING_UP, Decided.FAILED)
    theirs: Counter[tuple[str, str]] = Counter()
    broken: Counter[tuple[str, str]] = Counter()
    for strategy, symbol, decided, mask in service.rows(
        "SELECT s.name, m.name, decided, mask FROM decisions JOIN names s ON s.name_id = strategy_id"
        " JOIN names m ON m.name_id = symbol_id"
    ):
        what = Decided.HOLD if decided in silent else Decided(decided)
        if what is not Decided.NO_NEW_CANDLE:
            theirs[strategy, what.name.lower()] += 1
        for limit in Limit:
            if mask & limit:
                broken[limit.name.lower(), symbol] += 1
    ours = {(name, what): count for name, counts in result.decisions.items() for what, count in counts.items()}
    assert ours == dict(theirs)
    assert {(limit, symbol): n for limit, counts in result.denials.items() for symbol, n in counts.items()} == broken


@pytest.mark.timeout(900)
@pytest.mark.parametrize("until", ["2024-02-05", pytest.param("", id="whole", marks=pytest.mark.slow)])
def test_parity_of_all_strategies_at_once_on_1h_candles_with_limits_that_bind(
    real_candles: Path, tmp_path: Path, until: str
) -> None:
    """Every registered strategy on one account, eight symbols, long and short; five weeks of them in each run."""
    config = replay_config(
        real_candles / SET, "1h", EIGHT_SYMBOLS, strategies=[*strategies_of(*OURS), ruled()], **TIGHT
    )
    config["market"] |= {"until": until} if until else {}
    service = Service(tmp_path, config)
    assert service.run(850) == 0, service.text()[-4000:]
    result = run(load(service.config_file))
    assert_same(service, result)
    bound = {"daily_trades", "daily_loss", "open_positions", "symbol_exposure", "confidence", "position_open", "halted"}
    bound |= {"correlated", "cooldown", "loss_streak"}
    assert bound <= set(result.denials), sorted(result.denials)
    assert {"stop", "trailing", "invalidated"} <= {group.name for group in result.by_reason}
    told = {trade.exit_note.rpartition(" on ")[0].rpartition(" ")[0] or trade.exit_note for trade in result.trades}
    # the rule that a strategy brings is the first to end a position only once in the eight months
    assert {"RSI(10) above", "age over 40h"} | (set() if until else {"age over 30h"}) <= told
    assert any(trade.side == "short" for trade in result.trades)


def test_parity_of_the_default_limits_from_a_date_in_the_middle(real_candles: Path, tmp_path: Path) -> None:
    """With `since` and `until`: candles before are history for warming up, in both."""
    config = replay_config(real_candles / SET, "1h", EIGHT_SYMBOLS)
    config["market"] |= {"since": "2024-03-01", "until": "2024-06-15T12:00:00Z"}
    service = Service(tmp_path, config)
    assert service.run(240) == 0, service.text()[-4000:]
    result = run(load(service.config_file))
    assert_same(service, result)
    assert result.curve.time_ns[-1] - result.start_ns == (106 * 24 + 12) * 3600 * 10**9


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", OURS)
def test_parity_of_each_strategy_on_5m_candles_with_limits_that_bind(
    real_candles: Path, tmp_path: Path, name: str
) -> None:
    """Half a million candles through the whole service, and the same trades from the backtest."""
    service, result = both(real_candles, tmp_path, "5m", 3000, strategies=strategies_of(name), **TIGHT)
    assert_same(service, result)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_parity_of_all_strategies_at_once_on_5m_candles_with_limits_that_bind(
    real_candles: Path, tmp_path: Path
) -> None:
    """The same with all strategies on one account, competing for its limits."""
    service, result = both(real_candles, tmp_path, "5m", 3000, strategies=[*strategies_of(*OURS), ruled()], **TIGHT)
    assert_same(service, result)
