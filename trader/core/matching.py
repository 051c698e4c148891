"""The paper venue's rules: how orders in flight meet the next open, and plans meet a candle."""

from __future__ import annotations

import math

from trader.core.accounting import reserved_by_others, value_account
from trader.core.compiling import inline_kernel, kernel, number
from trader.core.constants import EVENT_EXIT_REQUESTED, EVENT_ORDER_REJECTED
from trader.core.fills import fill
from trader.core.inflight import release, request_close
from trader.core.reporting import report
from trader.core.rounding import countable, from_steps, price_against, steps_near

#: the two kinds of order in flight
REDUCING = False
OPENING = True


@inline_kernel
def plausible(candle):
    """Return whether a row's prices can have been: finite, above 0, open and close between low and high."""
    high = candle["high"]
    low = candle["low"]
    opened = candle["open"]
    closed = candle["close"]
    return low > 0.0 and high < math.inf and low <= opened <= high and low <= closed <= high


@inline_kernel
def usable(candle, slots, previous):
    """Return whether a row is a candle that can have happened, and is next in order.

    Anything else is as if it had not come: no fill, no mark. A slot comes once per event (rows ascend), and a
    candle that was seen before is not seen again, so that a repeated event can not fill twice.
    """
    index = candle["slot"]
    if index <= previous or index >= slots.shape[0]:
        return False
    slot = slots[index]
    tick = slot["tick_size"]
    if candle["close_ns"] <= slot["candle_ns"] or not tick > 0.0 or not slot["lot_size"] > 0.0:
        return False
    high = candle["high"]
    low = candle["low"]
    opened = candle["open"]
    closed = candle["close"]
    # with high and low in order and both finite, open and close between them are finite too
    return countable(high, tick) and low > 0.0 and low <= opened <= high and low <= closed <= high


@kernel
def reject(account, slot, index, side, lots, ticks, time_ns, events, n):
    """Report an order in flight as rejected and forget it."""
    price = from_steps(ticks, slot["tick_size"])
    event = report(events, n, EVENT_ORDER_REJECTED, index, side, lots, price, slot["pending_reason"], time_ns)
    event["order"] = slot["pending_order"]
    event["ticks"] = ticks
    event["quantity"] = from_steps(lots, slot["lot_size"])
    release(account, slot)
    return n + 1


@kernel
def fits_capital(desk, slots, index, lots, price):
    """Return whether an entry can still be paid, leaving what other entries have reserved."""
    account = desk[0]["account"]
    slot = slots[index]
    value_account(account, slots)
    free = account["equity"] * desk[0]["limits"]["leverage"] - account["gross_exposure"]
    free -= reserved_by_others(slots, index)
    cost = from_steps(lots, slot["lot_size"]) * price * (1.0 + slot["fee_rate_frac"])
    return cost <= free + 1e-9 * abs(free)


@kernel
def fill_at_open(desk, slots, index, candle, opening, events, n):
    """Fill a symbol's order in flight at a candle's open, when it is of the kind asked for (OPENING or REDUCING)."""
    slot = slots[index]
    account = desk[0]["account"]
    lots = slot["pending_lots"]
    entry = slot["reserved"] > 0.0
    if lots == 0 or entry != opening:
        return n
    side = 1 if lots > 0 else -1
    lots = abs(lots)
    ticks = price_against(candle["open"], side, slot["slippage_frac"], slot["tick_size"])
    price = from_steps(ticks, slot["tick_size"])
    time_ns = candle["open_ns"]
    if entry:
        if not fits_capital(desk, slots, index, lots, price):
            return reject(account, slot, index, side, lots, ticks, time_ns, events, n)
    else:
        held = -side * steps_near(slot["quantity"], slot["lot_size"])
        if held <= 0:  # what it was to close is gone
            return reject(account, slot, index, side, lots, ticks, time_ns, events, n)
        lots = min(lots, held)
    reason = slot["pending_reason"]
    quantity = from_steps(lots, slot["lot_size"])
    fee = quantity * price * slot["fee_rate_frac"]
    n = fill(desk, slots, index, side, quantity, price, fee, time_ns, reason, events, n)
    release(account, slot)
    return n


@kernel
def fill_in_flight(desk, slots, candles, first, end, events, n):
    """Fill what is in flight at the opens: first what reduces, which frees capital, then what opens."""
    previous = number(-1)
    for i in range(first, end):
        candle = candles[i]
        if usable(candle, slots, previous):
            previous = candle["slot"]
            slots[previous]["mark_price"] = candle["open"]  # capital is counted at the opens
            n = fill_at_open(desk, slots, previous, candle, REDUCING, events, n)
    previous = number(-1)
    for i in range(first, end):
        candle = candles[i]
        if usable(candle, slots, previous):
            previous = candle["slot"]
            n = fill_at_open(desk, slots, previous, candle, OPENING, events, n)
    return n


@kernel
def exit_inside(desk, slots, index, candle, match, reason, price, slips, at_open, events, n):
    """End a position as `find_exit` found for this candle: by a fill, or by a request where a venue fills."""
    slot = slots[index]
    if match == 0:
        return ask_for_exit(desk, slot, index, reason, price, candle["close_ns"], events, n)
    side = -1 if slot["quantity"] > 0.0 else 1
    slippage_frac = slot["slippage_frac"] if slips else 0.0
    ticks = price_against(price, side, slippage_frac, slot["tick_size"])
    price = from_steps(ticks, slot["tick_size"])
    quantity = abs(slot["quantity"])
    fee = quantity * price * slot["fee_rate_frac"]
    time_ns = candle["open_ns"] if at_open else candle["close_ns"]
    return fill(desk, slots, index, side, quantity, price, fee, time_ns, reason, events, n)


@kernel
def ask_for_exit(desk, slot, index, reason, price, time_ns, events, n):
    """Put a close in flight, without an id yet, and say so; nothing when an order is in flight already."""
    if slot["pending_lots"] != 0:
        return n
    lots = request_close(desk[0]["account"], slot, reason)
    side = 1 if lots > 0 else -1
    event = report(events, n, EVENT_EXIT_REQUESTED, index, side, abs(lots), price, reason, time_ns)
    if math.isfinite(price):
        event["ticks"] = steps_near(price, slot["tick_size"])
    event["quantity"] = from_steps(abs(lots), slot["lot_size"])
    event["position_id"] = slot["position_id"]
    return n + 1
