"""The risk check: every limit that an entry would break, and the size that it may have.

A limit is written as "unless it holds, it is broken", never as "if it is exceeded": a NaN then breaks it.
What is broken goes into a bit mask with the observed value and the bound at the bit's position;
times stand there in seconds. Numbers of limits that hold are left as they were.
"""

from __future__ import annotations

import math

from trader.core.accounting import loss_today_frac, reserved_by_others
from trader.core.compiling import kernel
from trader.core.constants import (
    BIT_CONFIDENCE,
    BIT_COOLDOWN,
    BIT_CORRELATED,
    BIT_DAILY_LOSS,
    BIT_DAILY_TRADES,
    BIT_DRAWDOWN,
    BIT_FREE_CAPITAL,
    BIT_GROSS_EXPOSURE,
    BIT_HALTED,
    BIT_LEASE,
    BIT_LOSS_STREAK,
    BIT_MIN_NOTIONAL,
    BIT_NOT_FINITE,
    BIT_OPEN_POSITIONS,
    BIT_PAUSED,
    BIT_POSITION_OPEN,
    BIT_SHORT_NOT_ALLOWED,
    BIT_STALE_MARK,
    BIT_STOP_SIDE,
    BIT_SYMBOL_BLOCKED,
    BIT_SYMBOL_EXPOSURE,
    BIT_VETO,
    HALT_PAUSED,
    S_PER_NS,
)
from trader.core.correlation import correlated_exposure
from trader.core.inflight import entry_cost
from trader.core.plans import default_stop, stop_on_grid, target_on_grid
from trader.core.rounding import from_steps, steps_down, steps_up


@kernel
def note(verdict, bit, observed, bound):
    """Mark a limit as broken, with both numbers."""
    verdict["mask"] |= 1 << bit
    verdict["observed"][bit] = observed
    verdict["bound"][bit] = bound


@kernel
def check_gate(verdict, account, gate):
    """Check what opens the gate: lease, veto, pause, halts."""
    now_ns = gate["now_ns"]
    if not now_ns < gate["lease_until_ns"]:
        note(verdict, BIT_LEASE, (now_ns - gate["lease_until_ns"]) * S_PER_NS, 0.0)
    if not now_ns < gate["clear_until_ns"]:
        note(verdict, BIT_VETO, (now_ns - gate["clear_until_ns"]) * S_PER_NS, 0.0)
    halts = account["halt_mask"]
    if halts & HALT_PAUSED:
        note(verdict, BIT_PAUSED, 1.0, 0.0)
    if halts & ~HALT_PAUSED:
        note(verdict, BIT_HALTED, float(halts & ~HALT_PAUSED), 0.0)


@kernel
def check_account(verdict, account, limits, request):
    """Check what concerns the account as a whole, whatever the size of the order."""
    if not request["confidence"] >= limits["min_confidence_threshold"]:
        note(verdict, BIT_CONFIDENCE, request["confidence"], limits["min_confidence_threshold"])
    lost = loss_today_frac(account)
    if not lost < limits["max_daily_loss_frac"]:
        note(verdict, BIT_DAILY_LOSS, lost, limits["max_daily_loss_frac"])
    if not account["drawdown_frac"] < limits["max_drawdown_frac"]:
        note(verdict, BIT_DRAWDOWN, account["drawdown_frac"], limits["max_drawdown_frac"])
    streak_limit = limits["loss_streak_limit"]
    if streak_limit > 0 and account["loss_streak"] >= streak_limit:
        since_ns = request["time_ns"] - account["last_loss_ns"]
        if since_ns < limits["loss_streak_cooldown_ns"]:
            note(verdict, BIT_LOSS_STREAK, since_ns * S_PER_NS, limits["loss_streak_cooldown_ns"] * S_PER_NS)


@kernel
def check_counts(verdict, account, limits, slots):
    """Check how many positions and entries there are, those in flight included."""
    entering = 0
    if account["pending_orders"] > 0:
        for i in range(slots.shape[0]):
            if slots[i]["reserved"] > 0.0 and slots[i]["quantity"] == 0.0:
                entering += 1
    positions = account["open_positions"] + entering
    if not positions < limits["max_open_positions"]:
        note(verdict, BIT_OPEN_POSITIONS, float(positions), float(limits["max_open_positions"]))
    entries = account["day_trades"] + entering
    if not entries < limits["max_daily_trades"]:
        note(verdict, BIT_DAILY_TRADES, float(entries), float(limits["max_daily_trades"]))


@kernel
def check_symbol(verdict, slot, limits, request):
    """Check what concerns the symbol, whatever the size of the order."""
    time_ns = request["time_ns"]
    if slot["quantity"] != 0.0 or slot["pending_lots"] != 0:
        held = slot["quantity"] if slot["quantity"] != 0.0 else slot["pending_quantity"]
        note(verdict, BIT_POSITION_OPEN, held, 0.0)
    if slot["blocked"] != 0:
        note(verdict, BIT_SYMBOL_BLOCKED, float(slot["blocked"]), 0.0)
    if request["direction"] < 0 and limits["allow_short"] == 0:
        note(verdict, BIT_SHORT_NOT_ALLOWED, -1.0, 0.0)
    age_ns = time_ns - slot["mark_ns"]
    if not age_ns <= limits["stale_mark_ns"]:
        note(verdict, BIT_STALE_MARK, age_ns * S_PER_NS, limits["stale_mark_ns"] * S_PER_NS)
    since_ns = time_ns - slot["last_close_ns"]
    if limits["cooldown_ns"] > 0 and slot["last_close_ns"] > 0 and since_ns < limits["cooldown_ns"]:
        note(verdict, BIT_COOLDOWN, since_ns * S_PER_NS, limits["cooldown_ns"] * S_PER_NS)


@kernel
def finite_limits(limits):
    """Return whether the sum of all limits that must be numbers is one (a NaN or infinity would show in it)."""
    total = limits["min_confidence_threshold"] + limits["max_daily_loss_frac"] + limits["max_symbol_exposure_frac"]
    total += limits["max_gross_exposure_frac"] + limits["max_drawdown_frac"] + limits["risk_per_trade_frac"]
    possible = not math.isinf(limits["max_correlated_exposure_frac"])  # NaN: no such limit
    return possible and math.isfinite(total + limits["leverage"] + limits["stop_loss_frac"])


@kernel
def finite_account(account):
    """Return whether the numbers of the account that a check uses are finite, and equity is above 0."""
    total = account["cash"] + account["equity"] + account["gross_exposure"]
    total += account["day_start_equity"] + account["drawdown_frac"]
    return math.isfinite(total) and account["equity"] > 0.0


@kernel
def finite_slot(slot):
    """Return whether the numbers of the symbol that a check uses are finite, and those that divide are above 0."""
    total = slot["mark_price"] + slot["quantity"] + slot["reserved"]
    total += slot["fee_rate_frac"] + slot["slippage_frac"] + slot["min_quantity"] + slot["min_notional"]
    steps = slot["lot_size"] > 0.0 and slot["tick_size"] > 0.0
    return math.isfinite(total + slot["lot_size"] + slot["tick_size"]) and steps and slot["mark_price"] > 0.0


@kernel
def finite_request(request):
    """Return whether a request can be counted with; NaN levels stand for the defaults and are allowed."""
    possible = abs(request["direction"]) == 1 and request["quantity"] >= 0.0 and request["price"] > 0.0
    levels = not math.isinf(request["stop_price"]) and not math.isinf(request["target_price"])
    return possible and levels and math.isfinite(request["quantity"] + request["price"] + request["confidence"])


@kernel
def set_levels(verdict, slot, limits, request):
    """Write the stop and target that the position would have if it filled at the request's price."""
    sign = request["direction"]
    price = request["price"]
    stop = request["stop_price"]
    target = request["target_price"]
    if math.isnan(stop):
        stop = default_stop(price, sign, limits)
    if math.isnan(target):
        target = price * (1.0 + sign * limits["take_profit_frac"])
    tick = slot["tick_size"]
    if stop > 0.0 and sign * (price - stop) > 0.0:
        stop = stop_on_grid(stop, sign, tick, price)
    else:
        note(verdict, BIT_STOP_SIDE, stop, price)
    verdict["stop_price"] = stop
    verdict["target_price"] = target_on_grid(target, sign, tick, price) if target > 0.0 else math.nan


@kernel
def check_size(verdict, account, limits, slots, request):
    """Size the order when it has no size, and check what depends on the size.

    The risk at the stop decides, cut down to what exposure (in the symbol, in correlated ones, in all) and free
    capital leave. When that is below the smallest order of the venue, the smallest order is what is held against the
    limits: the verdict then names those that leave no room for it.
    """
    slot = slots[request["slot"]]
    price = request["price"]
    equity = account["equity"]
    lot = slot["lot_size"]
    reserved = reserved_by_others(slots, -1) if account["pending_orders"] > 0 else 0.0
    exposure = abs(slot["quantity"]) * slot["mark_price"]
    exposure_bound = limits["max_symbol_exposure_frac"] * equity
    gross = account["gross_exposure"] + reserved
    gross_bound = limits["max_gross_exposure_frac"] * equity
    free = equity * limits["leverage"] - gross
    unit_cost = entry_cost(slot, 1.0, price)
    together_bound = limits["max_correlated_exposure_frac"] * equity
    limited = not math.isnan(together_bound)
    together = exposure
    if limited:
        together += correlated_exposure(slots, request["slot"], request["direction"], limits["correlation_threshold"])

    smallest = max(slot["min_quantity"], slot["min_notional"] / price)
    smallest_lots = max(steps_up(smallest, lot), 1)
    if request["quantity"] > 0.0:
        quantity = request["quantity"]
    else:
        distance = abs(price - verdict["stop_price"])
        room = min(exposure_bound - exposure, gross_bound - gross)
        if limited:
            room = min(room, together_bound - together)
        quantity = min(room / price, free / unit_cost)
        if distance > 0.0:
            quantity = min(quantity, limits["risk_per_trade_frac"] * equity / distance)
    lots = max(steps_down(min(quantity, 9e15 * lot), lot), 0)
    quantity = from_steps(lots, lot)
    verdict["lots"] = lots
    verdict["quantity"] = quantity
    if lots < smallest_lots:
        held_against = from_steps(smallest_lots, lot)
        note(verdict, BIT_MIN_NOTIONAL, quantity * price, held_against * price)
        quantity = held_against

    notional = quantity * price
    forgiven = 1e-9 * equity
    if not exposure + notional <= exposure_bound + forgiven:
        note(verdict, BIT_SYMBOL_EXPOSURE, exposure + notional, exposure_bound)
    if not gross + notional <= gross_bound + forgiven:
        note(verdict, BIT_GROSS_EXPOSURE, gross + notional, gross_bound)
    if limited and not together + notional <= together_bound + forgiven:
        note(verdict, BIT_CORRELATED, together + notional, together_bound)
    cost = quantity * unit_cost
    if not cost <= free + forgiven:
        note(verdict, BIT_FREE_CAPITAL, cost, free)


@kernel
def check_entry(desk, slots):
    """Check the request on the desk against every limit, size it, and leave the verdict on the desk.

    Nothing is skipped because something else is broken already, with two exceptions: when a number is NaN or infinite
    (NOT_FINITE), nothing is computed from numbers; and a request that is to be sized by a stop on the wrong side of
    the price (STOP_SIDE) has no size to check.

    Parameters
    ----------
    desk : ndarray of DESK, shape (1,)
        Account, limits, gate and request; the verdict is written there. A request with quantity 0 is sized,
        one with a quantity is cut down to whole lots and checked as it is.
    slots : ndarray of SLOT, shape (n_symbols,)
        The symbols. Where exposure in correlated symbols is limited, `correlation.correlate` has to come first.
    """
    account = desk[0]["account"]
    limits = desk[0]["limits"]
    request = desk[0]["request"]
    verdict = desk[0]["verdict"]
    verdict["mask"] = 0
    verdict["quantity"] = 0.0
    verdict["lots"] = 0
    verdict["stop_price"] = request["stop_price"]
    verdict["target_price"] = request["target_price"]
    check_gate(verdict, account, desk[0]["gate"])
    check_account(verdict, account, limits, request)
    check_counts(verdict, account, limits, slots)
    if not 0 <= request["slot"] < slots.shape[0]:
        note(verdict, BIT_NOT_FINITE, float(request["slot"]), float(slots.shape[0]))
        return
    slot = slots[request["slot"]]
    check_symbol(verdict, slot, limits, request)
    finite = finite_limits(limits) and finite_account(account)
    if not (finite and finite_slot(slot) and finite_request(request)):
        note(verdict, BIT_NOT_FINITE, request["price"], slot["mark_price"])
        return
    set_levels(verdict, slot, limits, request)
    if verdict["mask"] & (1 << BIT_STOP_SIDE) and request["quantity"] == 0.0:
        return
    check_size(verdict, account, limits, slots, request)
