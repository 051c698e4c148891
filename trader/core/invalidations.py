"""Invalidation rules: what the core looks at whenever a candle of a rule's timeframe closes.

Longer candles are not built: of one only its close counts, which is the close of the last of the market's candles in
it. When that one is missing, the longer candle has closed as soon as a later one comes. Averages of the RSI are kept
in the slot, as the average true range is: the recursion goes on from candle to candle, over restarts too.
"""

from __future__ import annotations

import math

from trader.core.compiling import inline_kernel, kernel
from trader.core.constants import (
    FIRST_MONDAY_NS,
    NS_PER_WEEK,
    RULE_AGE_OVER,
    RULE_CLOSE_ABOVE,
    RULE_CLOSE_BELOW,
    RULE_RSI_ABOVE,
    RULE_RSI_BELOW,
)
from trader.core.records import MAX_DEFAULT_RULES, MAX_RULES

#: when a frame has ended: with a candle before, or with this one
EARLIER = True
NOW = False


@inline_kernel
def frame_of(close_ns, frame_ns):
    """Return which candle of a timeframe one that closed at `close_ns` belongs to, and whether it is its end."""
    since_ns = close_ns - FIRST_MONDAY_NS if frame_ns % NS_PER_WEEK == 0 else close_ns
    number = since_ns // frame_ns
    ends = number * frame_ns == since_ns
    return number - 1 if ends else number, ends


@inline_kernel
def frame_end(number, frame_ns):
    """Return when a candle of a timeframe ends [ns UTC]."""
    end_ns = (number + 1) * frame_ns
    return end_ns + FIRST_MONDAY_NS if frame_ns % NS_PER_WEEK == 0 else end_ns


@inline_kernel
def frames_closed(before_ns, close_ns, frame_ns):
    """Return what a candle that closes at `close_ns` ends: (an earlier frame's end or 0, whether its own frame).

    An earlier frame, when its last candle never came: it ended with the candle that closed at `before_ns`.
    """
    if frame_ns == 0:
        return 0, True
    number, ends = frame_of(close_ns, frame_ns)
    if before_ns <= 0:
        return 0, ends
    last, ended = frame_of(before_ns, frame_ns)
    if ended or last == number:
        return 0, ends
    return frame_end(last, frame_ns), ends


@kernel
def take_close(slot, gauge, close):
    """Take a close of a gauge's timeframe into its averages: a mean of the first `period` moves, then Wilder's."""
    period = slot["gauge_period"][gauge]
    count = slot["gauge_count"][gauge]
    if count > 0:
        move = close - slot["gauge_close"][gauge]
        weight = 1.0 / min(count, period)
        slot["gauge_up"][gauge] += (max(move, 0.0) - slot["gauge_up"][gauge]) * weight
        slot["gauge_down"][gauge] += (max(-move, 0.0) - slot["gauge_down"][gauge]) * weight
    slot["gauge_close"][gauge] = close
    slot["gauge_count"][gauge] = min(count + 1, period + 1)


@inline_kernel
def relative_strength(slot, frame_ns, period):
    """Return the RSI over closes of a timeframe, 0..100; NaN: too few closes, no move, or not kept here."""
    for gauge in range(slot["gauges"]):
        if slot["gauge_frame_ns"][gauge] == frame_ns and slot["gauge_period"][gauge] == period:
            moved = slot["gauge_up"][gauge] + slot["gauge_down"][gauge]
            if slot["gauge_count"][gauge] > period and moved > 0.0:
                return 100.0 * slot["gauge_up"][gauge] / moved
    return math.nan


@inline_kernel
def came_true(slot, rule, close):
    """Return whether a rule on prices or an RSI holds at a close of its timeframe; NaN holds nothing."""
    kind = slot["rule_kind"][rule]
    level = slot["rule_level"][rule]
    if kind == RULE_CLOSE_BELOW:
        return close < level
    if kind == RULE_CLOSE_ABOVE:
        return close > level
    if kind == RULE_RSI_BELOW:
        return relative_strength(slot, slot["rule_frame_ns"][rule], slot["rule_period"][rule]) < level
    if kind == RULE_RSI_ABOVE:
        return relative_strength(slot, slot["rule_frame_ns"][rule], slot["rule_period"][rule]) > level
    return False


@inline_kernel
def first_true(slot, close, before_ns, close_ns, earlier):
    """Return the first rule that a frame's end makes true, from 1 on; 0: none (EARLIER or NOW)."""
    for rule in range(slot["rules"]):
        if slot["rule_kind"][rule] == RULE_AGE_OVER:
            continue
        end_ns, ends = frames_closed(before_ns, close_ns, slot["rule_frame_ns"][rule])
        # what had ended when the position was opened was known then
        due = end_ns > slot["entry_ns"] if earlier else ends
        if due and came_true(slot, rule, close):
            return rule + 1
    return 0


@kernel
def watch(slot, close, close_ns):
    """Look at a candle's close before it becomes the slot's last: gauges first, then the rules of an open position.

    Returns the first rule that came true, from 1 on; 0: none.
    """
    before = slot["watched_close"]
    before_ns = slot["candle_ns"] if not math.isnan(before) else 0
    held = slot["quantity"] != 0.0
    for gauge in range(slot["gauges"]):
        end_ns, _ = frames_closed(before_ns, close_ns, slot["gauge_frame_ns"][gauge])
        if end_ns != 0:
            take_close(slot, gauge, before)
    found = first_true(slot, before, before_ns, close_ns, EARLIER) if held else 0
    for gauge in range(slot["gauges"]):
        _, ends = frames_closed(before_ns, close_ns, slot["gauge_frame_ns"][gauge])
        if ends:
            take_close(slot, gauge, close)
    slot["watched_close"] = close
    if held and found == 0:
        found = first_true(slot, close, before_ns, close_ns, NOW)
    return found


@kernel
def take_history(slot, close_ns, close):
    """Let the gauges of a slot look at closes that were before the first candle; its own candle stays what it was.

    Parameters
    ----------
    slot : record of SLOT
        Its gauges and `watched_close` go on.
    close_ns : ndarray of int
        Rising times of closes [ns UTC].
    close : ndarray of float
        The closes [quote per base].
    """
    kept_ns = slot["candle_ns"]
    for i in range(close_ns.shape[0]):
        watch(slot, close[i], close_ns[i])
        slot["candle_ns"] = close_ns[i]
    slot["candle_ns"] = kept_ns


@inline_kernel
def watches(slot):
    """Return whether rules or gauges look at the candles of a slot."""
    return slot["rules"] != 0 or slot["gauges"] != 0


@inline_kernel
def watching(slots):
    """Return whether rules or gauges look at any slot."""
    for i in range(slots.shape[0]):
        if watches(slots[i]):
            return True
    return False


@inline_kernel
def too_old(slot, time_ns):
    """Return the first rule on its age that an open position breaks, from 1 on; 0: none."""
    for rule in range(slot["rules"]):
        if slot["rule_kind"][rule] == RULE_AGE_OVER and time_ns - slot["entry_ns"] > slot["rule_frame_ns"][rule]:
            return rule + 1
    return 0


@kernel
def add_rule(slot, kind, frame_ns, period, level):
    """Add a rule where there is room for one."""
    at = slot["rules"]
    if at >= MAX_RULES:
        return
    slot["rule_kind"][at] = kind
    slot["rule_frame_ns"][at] = frame_ns
    slot["rule_period"][at] = period
    slot["rule_level"][at] = level
    slot["rules"] = at + 1


@kernel
def add_default_rules(slot, limits):
    """Add the rules that the configuration gives to every position, behind its own."""
    for rule in range(min(limits["rules"], MAX_DEFAULT_RULES)):
        add_rule(
            slot,
            limits["rule_kind"][rule],
            limits["rule_frame_ns"][rule],
            limits["rule_period"][rule],
            limits["rule_level"][rule],
        )


@kernel
def drop_rules(slot):
    """Take all rules from a slot."""
    if slot["rules"] == 0:
        return
    for rule in range(slot["rules"]):
        slot["rule_kind"][rule] = 0
        slot["rule_frame_ns"][rule] = 0
        slot["rule_period"][rule] = 0
        slot["rule_level"][rule] = 0.0
    slot["rules"] = 0
    if slot["gauges"] == 0:
        slot["watched_close"] = math.nan  # nobody follows it from here on
