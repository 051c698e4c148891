"""The trading core's entry points: what the engine, the paper venue and the backtest call.

One dispatch does everything that an event needs. The pieces live beside this module, by what
they are about: `accounting`, `inflight`, `fills`, `plans`, `matching`, `checks`; compiled
loops call those directly.
"""

from __future__ import annotations

from trader.core.accounting import enforce_loss_limits, loss_limit_reached, mark_account, roll_day
from trader.core.checks import check_entry
from trader.core.compiling import kernel, number
from trader.core.constants import NS_PER_DAY, REASON_INVALIDATED, REASON_NONE, REASON_TIME
from trader.core.fills import apply_fill, attach_plan
from trader.core.inflight import cancel, place
from trader.core.invalidations import too_old, watch, watches
from trader.core.matching import ask_for_exit, exit_inside, fill_in_flight, usable
from trader.core.plans import average_range, find_exit, follow_best
from trader.core.reporting import has_room

__all__ = ["apply_fill", "attach_plan", "cancel", "check_entry", "on_candles", "on_time", "place"]


@kernel
def ask_invalidated(desk, slots, index, rule, price, time_ns, events, n):
    """Ask for the end of a position of which a rule came true, and say which one."""
    asked = ask_for_exit(desk, slots[index], index, number(REASON_INVALIDATED), price, time_ns, events, n)
    if asked > n:
        events[n]["rule"] = rule
    return asked


@kernel
def request_time_exits(desk, slots, time_ns, events, n):
    """Ask for the end of every position that has been held for as long as its plan or a rule allows."""
    for index in range(slots.shape[0]):
        slot = slots[index]
        if slot["quantity"] == 0.0:
            continue
        if 0 < slot["expires_ns"] <= time_ns:
            n = ask_for_exit(desk, slot, index, number(REASON_TIME), slot["mark_price"], time_ns, events, n)
        if slot["rules"] != 0:
            rule = too_old(slot, time_ns)
            if rule != 0:
                n = ask_invalidated(desk, slots, index, rule, slot["mark_price"], time_ns, events, n)
    return n


@kernel
def end_event(desk, slots, time_ns, events, n):
    """Do what every event ends with: value, roll the day, enforce loss limits, ask for time exits."""
    account = desk[0]["account"]
    mark_account(account, slots)
    if time_ns >= (account["day"] + 1) * NS_PER_DAY:
        n = roll_day(account, time_ns, events, n)
    if loss_limit_reached(account, desk[0]["limits"]):
        n = enforce_loss_limits(account, desk[0]["limits"], time_ns, events, n)
    if account["open_positions"] != 0:
        n = request_time_exits(desk, slots, time_ns, events, n)
    return n


@kernel
def play_candles(desk, slots, candles, first, end, match, events, n):
    """Process the rows from `first` to before `end`, which closed at one moment; see `on_candles`."""
    account = desk[0]["account"]
    if match != 0 and account["pending_orders"] > 0:
        n = fill_in_flight(desk, slots, candles, first, end, events, n)
    bars = desk[0]["limits"]["atr_bars"]
    previous = number(-1)
    time_ns = number(0)
    for i in range(first, end):
        candle = candles[i]
        if not usable(candle, slots, previous):
            continue
        previous = candle["slot"]
        slot = slots[previous]
        if slot["quantity"] != 0.0:
            reason, price, slips, at_open = find_exit(slot, candle)
            if reason != REASON_NONE:
                n = exit_inside(desk, slots, previous, candle, match, reason, price, slips, at_open, events, n)
        broken = watch(slot, candle["close"], candle["close_ns"]) if watches(slot) else 0
        if bars > 0:
            average_range(slot, candle, bars)
        if slot["quantity"] != 0.0:
            follow_best(slot, candle)
        slot["mark_price"] = candle["close"]
        slot["mark_ns"] = candle["close_ns"]
        slot["candle_ns"] = candle["close_ns"]
        time_ns = max(time_ns, candle["close_ns"])
        if broken != 0:
            n = ask_invalidated(desk, slots, previous, broken, candle["close"], candle["close_ns"], events, n)
    if previous < 0:
        return n
    account["event_ns"] = max(account["event_ns"], time_ns)
    account["event_count"] += 1
    return end_event(desk, slots, time_ns, events, n)


@kernel
def on_candles(desk, slots, candles, match, events):
    """Process candles that closed at one moment: fills, exits, marks, day, loss limits, time exits.

    In this order: orders in flight fill at the opens (what reduces first); positions whose plan says so end inside
    the candle, those that were just opened too; everything is marked at the closes; those of which an invalidation
    rule came true at the close are asked to end at the next open; the UTC day of the close
    begins if it is a new one; loss limits halt entries; what was held too long is asked to end at the next open.

    Parameters
    ----------
    desk : ndarray of DESK, shape (1,)
        The account and the limits in force.
    slots : ndarray of SLOT, shape (n_symbols,)
        The symbols.
    candles : ndarray of CANDLE
        At most one per symbol, ascending by slot. A row that is impossible, out of order or not newer than the
        symbol's last one is as if it were not there.
    match : int
        1: fill here (paper, backtest). 0: a venue fills; exits are asked for by events instead.
    events : ndarray of CORE_EVENT
        Room as `records.new_events` makes it.

    Returns
    -------
    int
        How many events were written; -1 when `events` is too small: nothing has changed then.
    """
    if not has_room(events, slots):
        return -1
    return play_candles(desk, slots, candles, number(0), candles.shape[0], match, events, number(0))


@kernel
def on_time(desk, slots, now_ns, events):
    """Process a moment without candles: day, loss limits, time exits.

    Parameters
    ----------
    desk : ndarray of DESK, shape (1,)
        The account and the limits in force.
    slots : ndarray of SLOT, shape (n_symbols,)
        The symbols.
    now_ns : int
        Market time [ns UTC].
    events : ndarray of CORE_EVENT
        Room as `records.new_events` makes it.

    Returns
    -------
    int
        How many events were written; -1 when `events` is too small: nothing has changed then.
    """
    if not has_room(events, slots):
        return -1
    return end_event(desk, slots, now_ns, events, number(0))
