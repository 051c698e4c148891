"""The breaker: a model that fails is left alone, and tried again by a single question."""

from __future__ import annotations

from trader.clock import NS_PER_DAY, NS_PER_S
from trader.codes import Breaker
from trader.strategy.llm.budget import BreakerState
from trader.strategy.llm.vocabulary import Hold

CLOSED = BreakerState(Breaker.CLOSED, 0, 0, "")

#: no further try makes sense before somebody has done something
_UNTIL_RESTART = frozenset({Hold.HTTP_401})
#: no further try makes sense on this UTC day
_UNTIL_TOMORROW = frozenset({Hold.HTTP_402})

_NEVER_NS = 2**62


def allows(state: BreakerState, now_ns: int) -> bool:
    """Return whether the model may be asked at a time of the wall clock [ns UTC]."""
    return state.state is Breaker.CLOSED or now_ns >= state.until_ns


def after_failure(state: BreakerState, reason: Hold, now_ns: int, limit: int, cooldown_s: float) -> BreakerState:
    """Return the breaker after a question that brought no decision.

    Parameters
    ----------
    state : BreakerState
        As it was.
    reason : Hold
        What went wrong.
    now_ns : int
        Wall clock [ns UTC].
    limit : int
        Failures in a row that open it.
    cooldown_s : float
        How long it stays open [s].
    """
    failures = state.failures + 1
    if reason in _UNTIL_RESTART:
        return BreakerState(Breaker.OPEN, failures, _NEVER_NS, reason)
    if reason in _UNTIL_TOMORROW:
        return BreakerState(Breaker.OPEN, failures, (now_ns // NS_PER_DAY + 1) * NS_PER_DAY, reason)
    if failures >= limit:
        return BreakerState(Breaker.OPEN, failures, now_ns + round(cooldown_s * NS_PER_S), reason)
    return BreakerState(Breaker.CLOSED, failures, 0, reason)


def at_start(state: BreakerState) -> BreakerState:
    """Return the breaker as a restarted service finds it: whoever restarts may have mended the key."""
    if state.until_ns == _NEVER_NS:
        return BreakerState(Breaker.HALF_OPEN, state.failures, 0, state.reason)
    return state


def while_trying(state: BreakerState) -> BreakerState:
    """Return the breaker while one question tries whether the model is back."""
    if state.state is Breaker.OPEN:
        return BreakerState(Breaker.HALF_OPEN, state.failures, 0, state.reason)
    return state
