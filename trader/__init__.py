"""An autonomous crypto trading service for one Linux machine.

    from trader import AutonomousTradingSystem, SimpleRSIStrategy

    system = AutonomousTradingSystem(strategies=[SimpleRSIStrategy(symbol="BTC/USDT", timeframe="1h")])
    asyncio.run(system.start())

What is public is listed in `__all__` and imported when it is first asked for: a command must not wait for a compiler.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "AutonomousTradingSystem": "trader.system",
    "AutonomousDecisionEngine": "trader.engine.decision_engine",
    "ExitPlanMonitor": "trader.risk.exit_monitor",
    "EnhancedRiskManager": "trader.risk.manager",
    "PerformanceMonitor": "trader.monitor.performance",
    "ErrorRecoveryManager": "trader.recovery.manager",
    "setup_comprehensive_logging": "trader.logs.pipeline",
    "log_trade_event": "trader.logs.events",
    "log_decision": "trader.logs.events",
    "Strategy": "trader.strategy.base",
    "SimpleRSIStrategy": "trader.strategy.simple_rsi",
    "EmaTrendStrategy": "trader.strategy.ema_trend",
    "BollingerBreakoutStrategy": "trader.strategy.bollinger_breakout",
    "DonchianAtrStrategy": "trader.strategy.donchian_atr",
    "EnsembleStrategy": "trader.strategy.ensemble",
    "LlmStrategy": "trader.strategy.llm.strategy",
}

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604 - the table is the list


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
