"""What becomes of opinions in a cycle: which ones close, which ones may open, and which of those is next.

The live engine and the compiled driver over history both ask here, so that they choose alike.
"""

from __future__ import annotations

from trader.core.compiling import inline_kernel, kernel
from trader.core.constants import (
    DECIDED_EXIT_ORDERED,
    DECIDED_HOLD,
    DECIDED_NOTHING_TO_EXIT,
    DECIDED_ORDERED,
    DIRECTION_FLAT,
    DIRECTION_HOLD,
    REASON_REVERSAL,
    REASON_STRATEGY_EXIT,
)


@kernel
def judge(slots, index, strategy, direction):
    """Return what an opinion asks for, and why it would close.

    FLAT closes, and so does the opposite of what is held; a position belongs to the strategy that opened it, an
    adopted one (-1) to all of them.

    Parameters
    ----------
    slots : ndarray of SLOT, shape (n_symbols,)
        The symbols.
    index : int
        Slot of the symbol.
    strategy : int
        Index of the strategy whose opinion it is.
    direction : int
        `codes.Direction`.

    Returns
    -------
    tuple of int
        `codes.Decided`: HOLD, EXIT_ORDERED (to be closed), NOTHING_TO_EXIT or ORDERED (to be checked by risk and
        opened); and the `codes.Reason` of a close.
    """
    if direction == DIRECTION_HOLD:
        return DECIDED_HOLD, 0
    slot = slots[index]
    held = slot["quantity"]
    if direction != DIRECTION_FLAT and held * direction >= 0.0:
        return DECIDED_ORDERED, 0
    owner = slot["strategy"]
    leaving = held * slot["pending_lots"] < 0.0  # an exit is on its way
    if held == 0.0 or leaving or (owner not in (-1, strategy)):
        return DECIDED_NOTHING_TO_EXIT, 0
    return DECIDED_EXIT_ORDERED, REASON_STRATEGY_EXIT if direction == DIRECTION_FLAT else REASON_REVERSAL


@kernel
def most_confident(confidences, count):
    """Return the candidate that is next: the most confident one, of equals the first; -1 when none is left.

    Parameters
    ----------
    confidences : ndarray of float
        Of the candidates in the order of asking; below 0 for those that had their turn.
    count : int
        How many there are.
    """
    chosen = -1
    best = -1.0
    for i in range(count):
        if confidences[i] > best:
            best = confidences[i]
            chosen = i
    return chosen


@inline_kernel
def cycle_after(now_ns, due_ns, interval_ns):
    """Return when the cycle after `now_ns` is due, on the grid of whole intervals since the Unix epoch.

    `due_ns` is the one that was due: nearly always the next one is one interval later, without a division.
    """
    following_ns = due_ns + interval_ns
    if now_ns < following_ns:
        return following_ns
    return (now_ns // interval_ns + 1) * interval_ns
