"""Quiet moments of one symbol whom one strategy is asked about: `pass_quiet` with everything in locals.

Most backtests and nearly all combinations of a sweep are of this kind. What is quiet is asked of the same rules as in
`trader.core.quiet`, and the same property test holds this against playing every moment.
"""

from __future__ import annotations

from trader.core.accounting import value_account
from trader.core.compiling import inline_kernel
from trader.core.constants import DECIDED_HOLD, DECIDED_NOTHING_TO_EXIT, NS_PER_DAY
from trader.core.invalidations import watches
from trader.core.matching import plausible
from trader.core.plans import average_range, calm_band, follow_best, moves
from trader.core.quiet import daily_floor, drawdown_factor, next_expiry, settle
from trader.core.rounding import countable
from trader.core.selection import cycle_after, judge


@inline_kernel
def glides(slots, tape, opinions):
    """Return whether there is one symbol, with one candle a moment, and one strategy that is asked about it."""
    last = tape.starts.shape[0] - 1
    single = slots.shape[0] == 1 and opinions.direction.shape[0] == 1 and tape.starts[last] == last
    return single and opinions.asked[0, 0] != 0 and slots[0]["tick_size"] > 0.0 and slots[0]["lot_size"] > 0.0


@inline_kernel
def glide(desk, slots, tape, opinions, log, interval_ns, moment):
    """Pass moments until one must be played in full; see `quiet.pass_quiet`."""
    account = desk[0]["account"]
    limits = desk[0]["limits"]
    progress = log.progress[0]
    rows = tape.rows
    said = opinions.direction
    curve = log.equity
    slot = slots[0]
    last = tape.starts.shape[0] - 1
    if account["pending_orders"] != 0 or moment >= last or not account["peak_equity"] > 0.0 or watches(slot):
        return moment, False
    tick = slot["tick_size"]
    lower, upper = calm_band(slot)
    quantity = slot["quantity"]
    held = quantity != 0.0
    moving = held and moves(slot)
    bars = limits["atr_bars"]
    cash = account["cash"]
    equity = account["equity"]
    peak = account["peak_equity"]
    trough = equity
    floor = daily_floor(account, limits)
    factor = drawdown_factor(account, limits)
    safe = max(floor, peak * factor)
    end_ns = min((account["day"] + 1) * NS_PER_DAY, next_expiry(slots))
    next_cycle_ns = progress["next_cycle_ns"]
    cycle_ns = account["cycle_ns"]
    before_ns = slot["candle_ns"]
    judged = log.judged[0, 0]
    begun = moment
    silences = 0
    vain = 0
    marked = False
    while moment < last and equity > safe:
        candle = rows[moment]
        now_ns = candle["close_ns"]
        low = candle["low"]
        high = candle["high"]
        calm = low > lower and high < upper and plausible(candle) and countable(high, tick)
        if not calm or now_ns <= before_ns or now_ns >= end_ns or candle["slot"] != 0:
            break
        due = now_ns >= next_cycle_ns
        direction = said[0, moment]
        if due and direction != 0:
            outcome, _ = judge(slots, 0, 0, direction)
            if outcome != DECIDED_NOTHING_TO_EXIT:
                break
        before_ns = now_ns
        if bars > 0:
            average_range(slot, candle, bars)
        if held:
            follow_best(slot, candle)
            if moving:
                lower, upper = calm_band(slot)
                moving = moves(slot)
            equity = cash + quantity * candle["close"]
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
            judged = moment
            if direction == 0:
                silences += 1
            else:
                vain += 1
        curve[moment] = equity
        moment += 1
    seen = moment if marked else moment - 1
    if seen >= begun:
        log.seen[0] = seen
        slot["mark_price"] = rows[seen]["close"]
        slot["mark_ns"] = before_ns
        slot["candle_ns"] = before_ns
        if held:
            value_account(account, slots)
    if moment > begun:
        settle(account, equity, peak, trough)
        account["event_ns"] = max(account["event_ns"], rows[moment - 1]["close_ns"])
        account["event_count"] += moment - begun
        account["cycles"] += silences + vain
        account["decisions"] += silences + vain
        account["cycle_ns"] = cycle_ns
        progress["next_cycle_ns"] = next_cycle_ns
        log.judged[0, 0] = judged
        log.decided[0, DECIDED_HOLD] += silences
        log.decided[0, DECIDED_NOTHING_TO_EXIT] += vain
    return moment, marked
