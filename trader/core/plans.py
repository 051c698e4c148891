"""Exit plans: attached to a position when it opens, looked at inside every candle."""

from __future__ import annotations

import math

from trader.core.compiling import inline_kernel, kernel
from trader.core.constants import (
    REASON_NONE,
    REASON_STOP,
    REASON_STOP_GAP,
    REASON_TARGET,
    REASON_TARGET_GAP,
    REASON_TRAILING,
)
from trader.core.invalidations import drop_rules
from trader.core.rounding import from_steps, steps_down, steps_up


@kernel
def stop_on_grid(price, sign, tick_size, entry_price):
    """Round a stop towards the entry, which loses less, but never onto it.

    Where that leaves no distance (a price of few ticks), it is rounded away from the entry. The lowest
    level is one tick: a long position of one tick then has no stop that can be reached.
    """
    ticks = steps_up(price, tick_size) if sign > 0 else steps_down(price, tick_size)
    if sign * (entry_price - from_steps(ticks, tick_size)) <= 0.0 < sign * (entry_price - price):
        ticks -= sign
    return from_steps(max(ticks, 1), tick_size)


@kernel
def target_on_grid(price, sign, tick_size, entry_price):
    """Round a target towards the entry, which is reached sooner, but never onto it."""
    ticks = steps_down(price, tick_size) if sign > 0 else steps_up(price, tick_size)
    if sign * (from_steps(ticks, tick_size) - entry_price) <= 0.0 < sign * (price - entry_price):
        ticks += sign
    return from_steps(max(ticks, 1), tick_size)


@kernel
def default_stop(price, sign, limits):
    """Return where the configuration puts a stop for a position from `price` on."""
    return price * (1.0 - sign * limits["stop_loss_frac"])


@inline_kernel
def level_beyond(price, sign, tick_size):
    """Round a level at or beyond the entry to a tick, away from the entry: it is reached when it is passed."""
    ticks = steps_up(price, tick_size) if sign > 0 else steps_down(price, tick_size)
    return from_steps(max(ticks, 1), tick_size)


@inline_kernel
def level_by_range(slot, sign, best):
    """Return the trailing stop that the average true range asks for below (above) the best price; NaN: none."""
    distance = slot["trailing_stop_atr"] * slot["atr"]
    if math.isnan(distance):
        return distance
    tick = slot["tick_size"]
    return stop_on_grid(best - sign * max(distance, tick), sign, tick, best)


@kernel
def set_plan(slot, limits, stop_price, target_price):
    """Give an open position its plan: what the entry brought, the configured default for what it left NaN."""
    entry = slot["entry_price"]
    tick = slot["tick_size"]
    sign = 1 if slot["quantity"] > 0.0 else -1
    if math.isnan(stop_price):
        stop_price = default_stop(entry, sign, limits)
    if math.isnan(target_price):
        target_price = entry * (1.0 + sign * limits["take_profit_frac"])
    slot["stop_price"] = stop_on_grid(stop_price, sign, tick, entry) if stop_price > 0.0 else math.nan
    slot["target_price"] = target_on_grid(target_price, sign, tick, entry) if target_price > 0.0 else math.nan
    slot["trailing_stop_frac"] = limits["trailing_stop_frac"]
    slot["trailing_stop_atr"] = limits["trailing_stop_atr"]
    slot["trailing_price"] = level_by_range(slot, sign, entry)
    after = limits["break_even_after_frac"]
    slot["break_even_price"] = math.nan
    slot["break_even_stop"] = math.nan
    if not math.isnan(after):
        slot["break_even_price"] = level_beyond(entry * (1.0 + sign * after), sign, tick)
        slot["break_even_stop"] = level_beyond(entry * (1.0 + sign * limits["break_even_lock_frac"]), sign, tick)
    hold_ns = limits["max_hold_ns"]
    slot["expires_ns"] = slot["entry_ns"] + hold_ns if hold_ns > 0 else 0


@kernel
def clear_plan(slot):
    """Take the plan from a position that is closed."""
    slot["stop_price"] = math.nan
    slot["target_price"] = math.nan
    slot["trailing_stop_frac"] = math.nan
    slot["trailing_stop_atr"] = math.nan
    slot["trailing_price"] = math.nan
    slot["break_even_price"] = math.nan
    slot["break_even_stop"] = math.nan
    slot["best_price"] = math.nan
    slot["expires_ns"] = 0
    drop_rules(slot)


@inline_kernel
def closer(one, other, sign):
    """Return the stop that is nearer to the price, of two that may be NaN."""
    if math.isnan(one) or sign * (other - one) > 0.0:
        return other
    return one


@inline_kernel
def trailing_level(slot, sign):
    """Return the trailing stop by the best price known so far; NaN: none."""
    best = slot["best_price"]
    level = best * (1.0 - sign * slot["trailing_stop_frac"])
    if math.isnan(level):
        return slot["trailing_price"]
    return closer(slot["trailing_price"], stop_on_grid(level, sign, slot["tick_size"], best), sign)


@inline_kernel
def stop_in_force(slot, sign):
    """Return the stop that counts now, and the reasons of an exit there: by a gap and by a touch."""
    stop = slot["stop_price"]
    trailing = trailing_level(slot, sign)
    if not math.isnan(trailing) and (math.isnan(stop) or sign * (trailing - stop) > 0.0):
        return trailing, REASON_TRAILING, REASON_TRAILING
    return stop, REASON_STOP_GAP, REASON_STOP


@inline_kernel
def find_exit(slot, candle):
    """Return why and at which price a position ends inside a candle: (reason, price, pays slippage, at the open).

    Reason 0: it doesn't. The order in which levels are tried is the convention: nobody knows the way
    that prices went inside a candle, so the stop is assumed to come first.
    """
    sign = 1 if slot["quantity"] > 0.0 else -1
    opened = candle["open"]
    stop, gap_reason, touch_reason = stop_in_force(slot, sign)
    worst = candle["low"] if sign > 0 else candle["high"]
    best = candle["high"] if sign > 0 else candle["low"]
    if sign * (opened - stop) <= 0.0:  # false for NaN
        return gap_reason, opened, True, True
    if sign * (worst - stop) <= 0.0:
        return touch_reason, stop, True, False
    target = slot["target_price"]
    if sign * (opened - target) >= 0.0:
        return REASON_TARGET_GAP, opened, False, True
    if sign * (best - target) >= 0.0:
        return REASON_TARGET, target, False, False
    return REASON_NONE, 0.0, False, False


@inline_kernel
def calm_band(slot):
    """Return the prices between which a candle ends nothing: `find_exit` finds none while low and high stay inside."""
    held = slot["quantity"]
    if held == 0.0:
        return -math.inf, math.inf
    sign = 1 if held > 0.0 else -1
    stop, _, _ = stop_in_force(slot, sign)
    target = slot["target_price"]
    lower = stop if sign > 0 else target
    upper = target if sign > 0 else stop
    return -math.inf if math.isnan(lower) else lower, math.inf if math.isnan(upper) else upper


@inline_kernel
def moves(slot):
    """Return whether a position's stop can still move."""
    levels = math.isnan(slot["trailing_stop_frac"]) and math.isnan(slot["trailing_stop_atr"])
    return not (levels and math.isnan(slot["break_even_price"]))


@inline_kernel
def average_range(slot, candle, bars):
    """Take a candle into the average true range: a mean of the first `bars`, then Wilder's smoothing."""
    last = slot["close_price"]
    high = candle["high"]
    low = candle["low"]
    slot["close_price"] = candle["close"]
    if not math.isnan(last):
        high = max(high, last)
        low = min(low, last)
    count = min(slot["range_count"] + 1, bars)
    slot["range_count"] = count
    slot["range_mean"] += (high - low - slot["range_mean"]) / count
    slot["atr"] = slot["range_mean"] if count == bars else math.nan


@inline_kernel
def follow_best(slot, candle):
    """Let the stops that follow the best price do so, after a candle has passed."""
    sign = 1 if slot["quantity"] > 0.0 else -1
    if sign > 0:
        slot["best_price"] = max(slot["best_price"], candle["high"])
    else:
        slot["best_price"] = min(slot["best_price"], candle["low"])
    best = slot["best_price"]
    if not math.isnan(slot["trailing_stop_atr"]):
        slot["trailing_price"] = closer(slot["trailing_price"], level_by_range(slot, sign, best), sign)
    if sign * (best - slot["break_even_price"]) >= 0.0:  # false for NaN
        slot["stop_price"] = closer(slot["stop_price"], slot["break_even_stop"], sign)
        slot["break_even_price"] = math.nan
