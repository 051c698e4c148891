from trader.engine.decision_engine import AutonomousDecisionEngine as AutonomousDecisionEngine
from trader.logs.events import log_decision as log_decision
from trader.logs.events import log_trade_event as log_trade_event
from trader.logs.pipeline import setup_comprehensive_logging as setup_comprehensive_logging
from trader.monitor.performance import PerformanceMonitor as PerformanceMonitor
from trader.recovery.manager import ErrorRecoveryManager as ErrorRecoveryManager
from trader.risk.exit_monitor import ExitPlanMonitor as ExitPlanMonitor
from trader.risk.manager import EnhancedRiskManager as EnhancedRiskManager
from trader.strategy.base import Strategy as Strategy
from trader.strategy.bollinger_breakout import BollingerBreakoutStrategy as BollingerBreakoutStrategy
from trader.strategy.donchian_atr import DonchianAtrStrategy as DonchianAtrStrategy
from trader.strategy.ema_trend import EmaTrendStrategy as EmaTrendStrategy
from trader.strategy.ensemble import EnsembleStrategy as EnsembleStrategy
from trader.strategy.llm.strategy import LlmStrategy as LlmStrategy
from trader.strategy.simple_rsi import SimpleRSIStrategy as SimpleRSIStrategy
from trader.system import AutonomousTradingSystem as AutonomousTradingSystem

__version__: str
