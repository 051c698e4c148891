"""The Python interface: the same supervised service, and its objects alone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import trader
from trader import (
    AutonomousTradingSystem,
    EmaTrendStrategy,
    EnsembleStrategy,
    ErrorRecoveryManager,
    ExitPlanMonitor,
    PerformanceMonitor,
    SimpleRSIStrategy,
)
from trader.codes import Reason
from trader.errors import AlreadyRunning, ConfigError
from trader.strategy.registry import build, entry_of

REPOSITORY = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "system_script.py"


def run_script(folder: Path) -> dict[str, Any]:
    """Return what the script has printed at its end."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run the script once."""
    return run_script(tmp_path_factory.mktemp("script"))


def test_status_of_a_running_system_has_what_it_promises(told: dict[str, Any]) -> None:
    """Its keys, and numbers that fit each other."""
    status = told["status"]
    assert status["is_running"] is True
    assert status["uptime_formatted"].endswith("s")
    assert status["loops"] >= 5
    assert status["decisions"] >= 20
    risk = status["risk_stats"]
    assert risk["current_capital"] == pytest.approx(5000.0 + risk["total_pnl"])
    assert {"daily_pnl", "open_positions"} <= risk.keys()
    assert {"total_errors", "recoveries"} <= status["error_stats"].keys()
    assert status["health"]["status"] in ("ok", "warning", "grave")


def test_strategies_travel_to_the_engine(told: dict[str, Any]) -> None:
    """One of ours, and one that was made in the script itself."""
    strategies = {one["name"]: one for one in told["status"]["strategies"]}
    assert strategies.keys() == {"simple_rsi", "mine"}
    assert all(one["asked"] >= 10 and one["failures"] == 0 for one in strategies.values())


def test_report_of_a_running_system_has_what_it_promises(told: dict[str, Any]) -> None:
    """Summary in percent, the last hour, day and week, activity, statistics of capital."""
    report = told["report"]
    assert {"win_rate", "max_drawdown", "total_pnl"} <= report["summary"].keys()
    assert 0 <= report["summary"]["win_rate"] <= 100
    assert report["recent_performance"].keys() == {"1h", "1d", "7d"}
    assert report["trading_activity"]
    assert {"mean", "median", "min", "max", "std"} <= report["capital_stats"].keys()


def test_status_of_a_stopped_system_comes_from_the_ledger(told: dict[str, Any]) -> None:
    """Nothing runs, and nothing is forgotten."""
    after = told["after"]
    assert after["is_running"] is False
    assert after["decisions"] >= told["status"]["decisions"]


def test_system_is_stopped_by_a_signal(tmp_path: Path) -> None:
    """SIGTERM to the script is an orderly stop of the service."""
    system = AutonomousTradingSystem(data_dir=tmp_path / "data", log_dir=tmp_path / "logs", enable_dashboard=False)

    async def run() -> None:
        running = asyncio.create_task(system.start())
        async with asyncio.timeout(180):
            while not running.done() and not system.get_status()["is_running"]:
                await asyncio.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(90):
            await running

    asyncio.run(run())
    assert not system.get_status()["is_running"]
    assert not (tmp_path / "data" / "running").exists()


def test_second_system_on_one_folder_is_refused(tmp_path: Path) -> None:
    """By its own error, while the first goes on."""
    first = AutonomousTradingSystem(data_dir=tmp_path / "data", log_dir=tmp_path / "logs", enable_dashboard=False)
    second = AutonomousTradingSystem(data_dir=tmp_path / "data", log_dir=tmp_path / "logs", enable_dashboard=False)

    async def run() -> None:
        running = asyncio.create_task(first.start())
        async with asyncio.timeout(180):
            while not running.done() and not first.get_status()["is_running"]:
                await asyncio.sleep(0.2)
        with pytest.raises(AlreadyRunning):
            await second.start()
        with pytest.raises(AlreadyRunning):
            await first.start()
        assert first.get_status()["is_running"]
        await first.stop()
        await running

    asyncio.run(run())


def test_defaults_are_the_published_ones(tmp_path: Path) -> None:
    """What a system without arguments runs on."""
    config = AutonomousTradingSystem(data_dir=tmp_path / "d", log_dir=tmp_path / "l").config
    assert config.initial_capital == 10_000.0
    assert config.engine.loop_interval_seconds == 180
    assert config.engine.enable_trading is False
    assert config.risk.max_open_positions == 5
    assert config.risk.min_confidence_threshold == 0.7
    assert config.dashboard.enable is True
    assert config.dashboard.port == 8080
    assert config.recovery.max_consecutive_errors == 5
    assert config.recovery.error_cooldown_seconds == 300


def test_symbols_and_timeframe_come_from_the_strategies(tmp_path: Path) -> None:
    """Unless config names them."""
    strategies = [SimpleRSIStrategy(symbol="BTC/USDT", timeframe="1h"), SimpleRSIStrategy(symbol="ETH/USDT")]
    config = AutonomousTradingSystem(strategies=strategies, data_dir=tmp_path).config
    assert config.market.symbols == ("BTC/USDT", "ETH/USDT")
    assert config.market.timeframe == "1h"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_open_positions": 0}, "max_open_positions"),
        ({"config": {"risk": {"max_open_position": 3}}}, "did you mean max_open_positions"),
        ({"max_open_positions": 3, "config": {"risk": {"max_open_positions": 4}}}, "say it in one place"),
        ({"strategies": [object()]}, "is no strategy"),
        (
            {"strategies": [SimpleRSIStrategy(timeframe="1h"), SimpleRSIStrategy(timeframe="5m")]},
            "one market has one timeframe",
        ),
    ],
)
def test_nonsense_is_refused_when_the_system_is_made(arguments: dict[str, Any], words: str, tmp_path: Path) -> None:
    """Before anything runs, naming what is wrong."""
    with pytest.raises(ConfigError, match=words):
        AutonomousTradingSystem(data_dir=tmp_path, **arguments)


@pytest.mark.parametrize(
    "strategy",
    [
        SimpleRSIStrategy("BTC/USDT", period=9, oversold=25.0),
        EmaTrendStrategy(),
        EnsembleStrategy(members=[{"use": "simple_rsi", "weight": 2.0}, {"use": "ema_trend"}]),
    ],
)
def test_strategy_is_built_again_as_it_was(strategy: Any) -> None:
    """From what travels: name and parameters."""
    entry = entry_of(strategy)
    again = build(entry["use"], entry["params"])
    assert type(again) is type(strategy)
    assert again.built_with == {key: value for key, value in strategy.built_with.items() if value is not None}
    assert again.lookback_bars == strategy.lookback_bars


def test_everything_public_can_be_imported() -> None:
    """And nothing of it is imported before it is asked for."""
    for name in trader.__all__:
        assert getattr(trader, name) is not None
    done = subprocess.run(
        [sys.executable, "-c", "import trader, sys; print([m for m in ('numba', 'pydantic') if m in sys.modules])"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_exit_plan_monitor_alone_closes_what_its_plan_says() -> None:
    """Stop before target, gaps at the open, rules at the close."""
    monitor = ExitPlanMonitor.alone(["BTC/USDT", "ETH/USDT"])
    monitor.hold("BTC/USDT", 0.1, 60_000.0, stop_price=58_800.0, target_price=63_000.0)
    monitor.hold(
        "ETH/USDT", -1.0, 2_500.0, stop_price=2_600.0, target_price=2_300.0, invalidations=["close above 2550"]
    )
    assert monitor.check("BTC/USDT", open=60_100, high=60_200, low=59_000, close=59_900) == []
    (stopped,) = monitor.check("BTC/USDT", open=59_900, high=63_500, low=58_700, close=63_100)
    assert stopped.reason is Reason.STOP
    assert stopped.price == pytest.approx(58_800.0 * (1 - 0.0005))
    assert monitor.check("ETH/USDT", open=2_500, high=2_560, low=2_490, close=2_555) == []
    (closed,) = monitor.check("ETH/USDT", open=2_556, high=2_560, low=2_550, close=2_552)
    assert closed.reason is Reason.INVALIDATED
    with pytest.raises(ValueError, match="SOL/USDT is not watched"):
        monitor.levels("SOL/USDT")


def test_error_recovery_manager_alone_pauses_after_errors_in_a_row() -> None:
    """As the engine's own does."""
    manager = ErrorRecoveryManager(max_consecutive_errors=3, cooldown_seconds=60, error_window_seconds=3600)
    for _ in range(2):
        manager.record_error(RuntimeError("something"))
    assert manager.allows_entries
    manager.record_error(RuntimeError("something"))
    assert not manager.allows_entries


def test_performance_monitor_alone_reports(tmp_path: Path) -> None:
    """What a notebook feeds by hand."""
    with PerformanceMonitor(10_000.0, tmp_path) as monitor:
        monitor.update_metrics(10_120.0, open_positions=1, total_trades=4, win_rate=75.0)
        report = monitor.generate_report()
    assert report["summary"]["current_capital"] == 10_120.0
