"""Moments of history at which nothing can happen, passed without asking every rule about each of them.

Most candles reach no level, close no day and bring no opinion that counts. For those, `on_candles` and the cycle
after it only move marks and counters. What is quiet is decided by the rules' own kernels (`usable`, `calm_band`,
`judge`), and with a margin where a rule compares fractions: in doubt a moment is played in full. The account's
numbers stay in locals meanwhile.
"""

from __future__ import annotations

import math

from trader.core.accounting import value_account
from trader.core.compiling import inline_kernel
from trader.core.constants import (
    DECIDED_HOLD,
    DECIDED_NO_NEW_CANDLE,
    DECIDED_NOTHING_TO_EXIT,
    HALT_DAILY_LOSS,
    HALT_DRAWDOWN,
    NS_PER_DAY,
)
from trader.core.invalidations import watching
from trader.core.matching import usable
from trader.core.plans import average_range, calm_band, follow_best, moves
from trader.core.selection import cycle_after, judge

#: keeps every comparison with a loss limit clear of rounding: closer than this to the limit is not quiet
MARGIN = 1e-9


@inline_kernel
def daily_floor(account, limits):
    """Return an equity above which today's loss can't halt entries anew, whatever rounding does."""
    if account["halt_mask"] & HALT_DAILY_LOSS:
        return -math.inf
    return account["day_start_equity"] * (1.0 - limits["max_daily_loss_frac"] + MARGIN)


@inline_kernel
def drawdown_factor(account, limits):
    """Return the part of the peak above which the drawdown can't halt entries anew, whatever rounding does."""
    if account["halt_mask"] & HALT_DRAWDOWN:
        return -math.inf
    return 1.0 - limits["max_drawdown_frac"] + MARGIN


@inline_kernel
def next_expiry(slots):
    """Return when the first position has been held for as long as its plan allows [ns UTC]."""
    first = 9223372036854775807
    for i in range(slots.shape[0]):
        expires_ns = slots[i]["expires_ns"]
        if slots[i]["quantity"] != 0.0 and 0 < expires_ns < first:
            first = expires_ns
    return first


@inline_kernel
def take_bands(slots, bands):
    """Write down between which prices each symbol is calm."""
    for i in range(slots.shape[0]):
        bands[i, 0], bands[i, 1] = calm_band(slots[i])


@inline_kernel
def calm(slots, rows, first, end, bands):
    """Return whether all candles of a moment are usable and reach no level."""
    previous = -1
    for row in range(first, end):
        candle = rows[row]
        if not usable(candle, slots, previous):
            return False
        previous = candle["slot"]
        if not (candle["low"] > bands[previous, 0] and candle["high"] < bands[previous, 1]):
            return False
    return True


@inline_kernel
def see(rows, first, end, seen):
    """Take the candles of a moment as the newest of their symbols."""
    for row in range(first, end):
        seen[rows[row]["slot"]] = row


@inline_kernel
def idle(slots, opinions, judged, seen):
    """Return whether a cycle would neither close nor check anything."""
    for strategy in range(judged.shape[0]):
        for index in range(judged.shape[1]):
            row = seen[index]
            if row > judged[strategy, index] and opinions.asked[strategy, index] != 0:
                direction = opinions.direction[strategy, row]
                if direction != 0:
                    outcome, _ = judge(slots, index, strategy, direction)
                    if outcome != DECIDED_NOTHING_TO_EXIT:
                        return False
    return True


@inline_kernel
def count_idle(opinions, judged, seen, decided):
    """Count a cycle's opinions, none of which does anything; return how many there were."""
    opinions_asked = 0
    for strategy in range(judged.shape[0]):
        for index in range(judged.shape[1]):
            row = seen[index]
            if row > judged[strategy, index] and opinions.asked[strategy, index] != 0:
                judged[strategy, index] = row
                opinions_asked += 1
                held_back = opinions.direction[strategy, row] == 0
                decided[strategy, DECIDED_HOLD if held_back else DECIDED_NOTHING_TO_EXIT] += 1
    if opinions_asked == 0:
        decided[judged.shape[0], DECIDED_NO_NEW_CANDLE] += 1
    return opinions_asked


@inline_kernel
def take_askers(opinions, silences):
    """Write down how many strategies are asked about each symbol."""
    for index in range(silences.shape[0]):
        askers = 0
        for strategy in range(opinions.asked.shape[0]):
            askers += opinions.asked[strategy, index] != 0
        silences[index, 1] = askers


@inline_kernel
def silent(directions, rows, first, end, silences):
    """Return whether strategies are asked about candles of a moment, and none has an opinion on any of them."""
    askers = 0
    for row in range(first, end):
        for strategy in range(directions.shape[0]):
            if directions[strategy, row] != 0:
                return False
        askers += silences[rows[row]["slot"], 1]
    return askers > 0


@inline_kernel
def pass_over(rows, first, end, judged, silences):
    """Take the candles of a silent moment as judged; they are counted later, all at once."""
    for row in range(first, end):
        index = rows[row]["slot"]
        silences[index, 0] += 1
        for strategy in range(judged.shape[0]):
            judged[strategy, index] = row


@inline_kernel
def count_silences(opinions, silences, decided):
    """Count the opinions of silent moments; return how many there were."""
    opinions_asked = 0
    for index in range(silences.shape[0]):
        for strategy in range(opinions.asked.shape[0]):
            if opinions.asked[strategy, index] != 0:
                decided[strategy, DECIDED_HOLD] += silences[index, 0]
                opinions_asked += silences[index, 0]
        silences[index, 0] = 0
    return opinions_asked


@inline_kernel
def all_judged(opinions, judged, seen):
    """Return whether the newest candle of every symbol has been judged by everyone who is asked about it."""
    for strategy in range(judged.shape[0]):
        for index in range(judged.shape[1]):
            if seen[index] > judged[strategy, index] and opinions.asked[strategy, index] != 0:
                return False
    return True


@inline_kernel
def mark(slots, rows, first, end, bands, seen, bars):
    """Mark the symbols of a moment at their closes; stops that follow do."""
    for row in range(first, end):
        candle = rows[row]
        index = candle["slot"]
        seen[index] = row
        slot = slots[index]
        slot["mark_price"] = candle["close"]
        slot["mark_ns"] = candle["close_ns"]
        slot["candle_ns"] = candle["close_ns"]
        if bars > 0:
            average_range(slot, candle, bars)
        if slot["quantity"] != 0.0:
            moving = moves(slot)
            follow_best(slot, candle)
            if moving:
                bands[index, 0], bands[index, 1] = calm_band(slot)


@inline_kernel
def settle(account, equity, peak, trough):
    """Write down equity's way through quiet moments: its peak, the drawdown now and the worst one."""
    account["peak_equity"] = peak
    account["drawdown_frac"] = 1.0 - equity / peak if equity < peak else 0.0
    if trough < peak:
        account["max_drawdown_frac"] = max(account["max_drawdown_frac"], 1.0 - trough / peak)


@inline_kernel
def pass_quiet(desk, slots, tape, opinions, log, interval_ns, moment):
    """Pass moments until one must be played in full, and leave everything as if each had been played.

    Returns that moment, and whether its candles are marked already, so that only its end is left to be played.
    """
    account = desk[0]["account"]
    limits = desk[0]["limits"]
    progress = log.progress[0]
    last = tape.starts.shape[0] - 1
    if account["pending_orders"] != 0 or moment >= last or not account["peak_equity"] > 0.0:
        return moment, False
    if watching(slots):  # candles that rules look at are played in full
        return moment, False
    rows = tape.rows
    starts = tape.starts
    seen = log.seen
    judged = log.judged
    bands = log.bands
    curve = log.equity
    directions = opinions.direction
    silences = log.silences
    take_bands(slots, bands)
    take_askers(opinions, silences)
    next_cycle_ns = progress["next_cycle_ns"]
    end_ns = min((account["day"] + 1) * NS_PER_DAY, next_expiry(slots))
    exposed = account["open_positions"] != 0
    equity = account["equity"]
    peak = account["peak_equity"]
    trough = equity
    floor = daily_floor(account, limits)
    factor = drawdown_factor(account, limits)
    safe = max(floor, peak * factor)
    bars = limits["atr_bars"]
    begun = moment
    marked = False
    cycle_ns = account["cycle_ns"]
    cycles = 0
    decisions = 0
    level = all_judged(opinions, judged, seen)
    first = starts[moment]
    while moment < last:
        end = starts[moment + 1]
        now_ns = rows[first]["close_ns"]
        if equity <= safe or now_ns >= end_ns:
            break
        due = now_ns >= next_cycle_ns
        if end - first == 1:  # said so that the compiler sees no loops
            peaceful = calm(slots, rows, first, first + 1, bands)
            still = peaceful and level and silent(directions, rows, first, first + 1, silences)
        else:
            peaceful = calm(slots, rows, first, end, bands)
            still = peaceful and level and silent(directions, rows, first, end, silences)
        if not peaceful:
            break
        if due and not still:
            see(rows, first, end, seen)
            if not idle(slots, opinions, judged, seen):
                break
        if end - first == 1:
            mark(slots, rows, first, first + 1, bands, seen, bars)
        else:
            mark(slots, rows, first, end, bands, seen, bars)
        if exposed:
            value_account(account, slots)
            equity = account["equity"]
            if equity >= peak:
                settle(account, equity, peak, trough)
                peak = equity
                trough = equity
                safe = max(floor, peak * factor)
            else:
                trough = min(trough, equity)
                if equity <= safe:
                    marked = True
                    break
        if due:
            next_cycle_ns = cycle_after(now_ns, next_cycle_ns, interval_ns)
            cycle_ns = now_ns
            cycles += 1
            if still:
                pass_over(rows, first, end, judged, silences)
            else:
                decisions += count_idle(opinions, judged, seen, log.decided)
        level = due
        curve[moment] = equity
        moment += 1
        first = end
    if moment > begun:
        settle(account, equity, peak, trough)
        account["event_ns"] = max(account["event_ns"], rows[starts[moment] - 1]["close_ns"])
        account["event_count"] += moment - begun
        account["cycles"] += cycles
        account["cycle_ns"] = cycle_ns
        account["decisions"] += decisions + count_silences(opinions, silences, log.decided)
        progress["next_cycle_ns"] = next_cycle_ns
    return moment, marked
