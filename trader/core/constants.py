"""The codes of `trader.codes` as plain integers, as compiled code wants them.

Derived, never typed in twice: a kernel freezes these values when it is compiled, and codes are
never renumbered, so freezing them is safe. Limits of the configuration are no constants.
"""

from __future__ import annotations

from trader.clock import NS_PER_DAY as _NS_PER_DAY
from trader.clock import NS_PER_S as _NS_PER_S
from trader.codes import CoreEvent, Decided, Direction, Halt, Limit, Reason, RuleKind

NS_PER_DAY = int(_NS_PER_DAY)
S_PER_NS = 1.0 / _NS_PER_S

#: weeks begin on Mondays, as they do at exchanges; the epoch was a Thursday
NS_PER_WEEK = 7 * NS_PER_DAY
FIRST_MONDAY_NS = 4 * NS_PER_DAY


def _position(limit: Limit) -> int:
    """Return which bit a limit is: where its two numbers stand in a verdict."""
    return int(limit).bit_length() - 1


BIT_CONFIDENCE = _position(Limit.CONFIDENCE)
BIT_DAILY_LOSS = _position(Limit.DAILY_LOSS)
BIT_DAILY_TRADES = _position(Limit.DAILY_TRADES)
BIT_OPEN_POSITIONS = _position(Limit.OPEN_POSITIONS)
BIT_SYMBOL_EXPOSURE = _position(Limit.SYMBOL_EXPOSURE)
BIT_DRAWDOWN = _position(Limit.DRAWDOWN)
BIT_FREE_CAPITAL = _position(Limit.FREE_CAPITAL)
BIT_MIN_NOTIONAL = _position(Limit.MIN_NOTIONAL)
BIT_STALE_MARK = _position(Limit.STALE_MARK)
BIT_LEASE = _position(Limit.LEASE)
BIT_VETO = _position(Limit.VETO)
BIT_PAUSED = _position(Limit.PAUSED)
BIT_HALTED = _position(Limit.HALTED)
BIT_NOT_FINITE = _position(Limit.NOT_FINITE)
BIT_GROSS_EXPOSURE = _position(Limit.GROSS_EXPOSURE)
BIT_COOLDOWN = _position(Limit.COOLDOWN)
BIT_LOSS_STREAK = _position(Limit.LOSS_STREAK)
BIT_CORRELATED = _position(Limit.CORRELATED)
BIT_SYMBOL_BLOCKED = _position(Limit.SYMBOL_BLOCKED)
BIT_POSITION_OPEN = _position(Limit.POSITION_OPEN)
BIT_SHORT_NOT_ALLOWED = _position(Limit.SHORT_NOT_ALLOWED)
BIT_STOP_SIDE = _position(Limit.STOP_SIDE)

HALT_PAUSED = int(Halt.PAUSED)
HALT_DAILY_LOSS = int(Halt.DAILY_LOSS)
HALT_DRAWDOWN = int(Halt.DRAWDOWN)

REASON_NONE = int(Reason.NONE)
REASON_STOP = int(Reason.STOP)
REASON_STOP_GAP = int(Reason.STOP_GAP)
REASON_TARGET = int(Reason.TARGET)
REASON_TARGET_GAP = int(Reason.TARGET_GAP)
REASON_TRAILING = int(Reason.TRAILING)
REASON_TIME = int(Reason.TIME)
REASON_SIGNAL = int(Reason.SIGNAL)
REASON_STRATEGY_EXIT = int(Reason.STRATEGY_EXIT)
REASON_REVERSAL = int(Reason.REVERSAL)
REASON_INVALIDATED = int(Reason.INVALIDATED)

RULE_CLOSE_BELOW = int(RuleKind.CLOSE_BELOW)
RULE_CLOSE_ABOVE = int(RuleKind.CLOSE_ABOVE)
RULE_RSI_BELOW = int(RuleKind.RSI_BELOW)
RULE_RSI_ABOVE = int(RuleKind.RSI_ABOVE)
RULE_AGE_OVER = int(RuleKind.AGE_OVER)

DIRECTION_HOLD = int(Direction.HOLD)
DIRECTION_FLAT = int(Direction.FLAT)

DECIDED_HOLD = int(Decided.HOLD)
DECIDED_ORDERED = int(Decided.ORDERED)
DECIDED_DENIED = int(Decided.DENIED)
DECIDED_NOT_CHOSEN = int(Decided.NOT_CHOSEN)
DECIDED_EXIT_ORDERED = int(Decided.EXIT_ORDERED)
DECIDED_NOTHING_TO_EXIT = int(Decided.NOTHING_TO_EXIT)
DECIDED_NO_NEW_CANDLE = int(Decided.NO_NEW_CANDLE)

EVENT_ENTRY_FILLED = int(CoreEvent.ENTRY_FILLED)
EVENT_EXIT_FILLED = int(CoreEvent.EXIT_FILLED)
EVENT_ORDER_REJECTED = int(CoreEvent.ORDER_REJECTED)
EVENT_EXIT_REQUESTED = int(CoreEvent.EXIT_REQUESTED)
EVENT_DAY_ROLLED = int(CoreEvent.DAY_ROLLED)
EVENT_HALTED = int(CoreEvent.HALTED)
EVENT_RESUMED = int(CoreEvent.RESUMED)
