"""The account: what it is worth, the UTC day, and the loss limits that halt entries."""

from __future__ import annotations

import math

from trader.core.compiling import inline_kernel, kernel
from trader.core.constants import (
    EVENT_DAY_ROLLED,
    EVENT_HALTED,
    EVENT_RESUMED,
    HALT_DAILY_LOSS,
    HALT_DRAWDOWN,
    NS_PER_DAY,
)
from trader.core.reporting import report


@inline_kernel
def value_account(account, slots):
    """Value cash and positions at their marks: equity, gross exposure, unrealised result.

    Summed anew each time, over every slot: a running sum would drift, and equity has to equal
    cash plus positions to the last bit in what readers see.
    """
    equity = account["cash"]
    gross = 0.0
    unrealised = 0.0
    for i in range(slots.shape[0]):
        quantity = slots[i]["quantity"]
        if quantity != 0.0:
            mark = slots[i]["mark_price"]
            entry = slots[i]["entry_price"]
            if math.isnan(mark):  # a position that was adopted before its first candle
                mark = entry
            worth = quantity * mark
            equity += worth
            gross += abs(worth)
            unrealised += quantity * (mark - entry)
    account["equity"] = equity
    account["gross_exposure"] = gross
    account["unrealised_pnl"] = unrealised


@inline_kernel
def track_peak(account):
    """Follow equity with its peak and the drawdown from it."""
    equity = account["equity"]
    if equity >= account["peak_equity"]:
        account["peak_equity"] = equity
        account["drawdown_frac"] = 0.0
    elif account["peak_equity"] > 0.0:
        drawdown = 1.0 - equity / account["peak_equity"]
        account["drawdown_frac"] = drawdown
        if drawdown > account["max_drawdown_frac"]:
            account["max_drawdown_frac"] = drawdown


@inline_kernel
def mark_account(account, slots):
    """Value the account and follow its peak."""
    value_account(account, slots)
    track_peak(account)


@inline_kernel
def reserved_by_others(slots, own):
    """Return what entries in flight have set aside [quote], those of slot `own` left out; -1: of all."""
    total = 0.0
    for i in range(slots.shape[0]):
        if i != own:
            total += slots[i]["reserved"]
    return total


@inline_kernel
def loss_today_frac(account):
    """Return what the account has lost since the UTC day began, as a fraction of what it began with."""
    start = account["day_start_equity"]
    if start > 0.0:
        return 1.0 - account["equity"] / start
    return 0.0


@kernel
def roll_day(account, time_ns, events, n):
    """Begin a new UTC day when `time_ns` is in one; the daily halt ends with its day.

    A time before the day that runs changes nothing: a clock that steps back must not give a day twice.

    Reports DAY_ROLLED (lots: the new day, price: its first equity, pnl: realised on the day that
    ended) and RESUMED.
    """
    day = time_ns // NS_PER_DAY
    if day <= account["day"]:
        return n
    ended = report(events, n, EVENT_DAY_ROLLED, -1, 0, day, account["equity"], 0, time_ns)
    ended["pnl"] = account["day_realised_pnl"]
    n += 1
    account["day"] = day
    account["day_start_equity"] = account["equity"]
    account["day_realised_pnl"] = 0.0
    account["day_trades"] = 0
    if account["halt_mask"] & HALT_DAILY_LOSS:
        account["halt_mask"] &= ~HALT_DAILY_LOSS
        report(events, n, EVENT_RESUMED, -1, 0, 0, account["equity"], HALT_DAILY_LOSS, time_ns)
        n += 1
    return n


@kernel
def halt(account, bit, time_ns, events, n):
    """Halt entries for one cause; reported when it was not halted for that cause already."""
    if account["halt_mask"] & bit:
        return n
    account["halt_mask"] |= bit
    report(events, n, EVENT_HALTED, -1, 0, 0, account["equity"], bit, time_ns)
    return n + 1


@inline_kernel
def loss_limit_reached(account, limits):
    """Return whether today's loss or the drawdown has reached its limit."""
    lost = loss_today_frac(account) >= limits["max_daily_loss_frac"]
    return lost or account["drawdown_frac"] >= limits["max_drawdown_frac"]


@kernel
def enforce_loss_limits(account, limits, time_ns, events, n):
    """Halt entries when today's loss or the drawdown has reached its limit."""
    if loss_today_frac(account) >= limits["max_daily_loss_frac"]:
        n = halt(account, HALT_DAILY_LOSS, time_ns, events, n)
    if account["drawdown_frac"] >= limits["max_drawdown_frac"]:
        n = halt(account, HALT_DRAWDOWN, time_ns, events, n)
    return n
