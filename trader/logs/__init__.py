"""Logging: the handlers of every process, the events they carry, and what never reaches them."""

from trader.logs.events import Event, log_decision, log_event, log_trade_event
from trader.logs.pipeline import LogPipeline, dropped_records, set_level, setup_comprehensive_logging, setup_logging
from trader.logs.redaction import hide

__all__ = [
    "Event",
    "LogPipeline",
    "dropped_records",
    "hide",
    "log_decision",
    "log_event",
    "log_trade_event",
    "set_level",
    "setup_comprehensive_logging",
    "setup_logging",
]
