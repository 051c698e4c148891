"""Fills: what an execution does to the position, the cash and the results."""

from __future__ import annotations

import math

from trader.core.accounting import mark_account
from trader.core.compiling import kernel
from trader.core.constants import EVENT_ENTRY_FILLED, EVENT_EXIT_FILLED
from trader.core.inflight import consume
from trader.core.invalidations import add_default_rules
from trader.core.plans import clear_plan, set_plan
from trader.core.reporting import report
from trader.core.rounding import from_steps, steps_near


@kernel
def snapped(quantity, lot_size):
    """Return a quantity without the noise of adding floats: a whole number of lots where it nearly is one."""
    lots = steps_near(quantity, lot_size)
    exact = from_steps(lots, lot_size)
    return exact if abs(quantity - exact) <= 1e-6 * lot_size else quantity


@kernel
def describe(event, slot, order, quantity, fee):
    """Add to a fill's event what all fills have."""
    event["order"] = order
    event["ticks"] = steps_near(event["price"], slot["tick_size"])
    event["quantity"] = quantity
    event["fee"] = fee
    event["position_id"] = slot["position_id"]


@kernel
def settle_result(account, slot, noise, time_ns):
    """Count a round trip that has ended; a result that is only the noise of adding floats is no win and no loss."""
    result = slot["position_pnl"]
    account["open_positions"] -= 1
    account["round_trips"] += 1
    if result > noise:
        account["wins"] += 1
        account["loss_streak"] = 0
    elif result < -noise:
        account["losses"] += 1
        account["loss_streak"] += 1
        account["last_loss_ns"] = time_ns
    slot["last_close_ns"] = time_ns
    slot["quantity"] = 0.0
    slot["entry_price"] = 0.0
    slot["entry_ns"] = 0
    slot["entry_fees"] = 0.0
    slot["strategy"] = -1
    clear_plan(slot)


@kernel
def reduce_position(account, slot, index, quantity, price, fee, time_ns, reason, order, events, n):
    """Close `quantity` of a position; reports EXIT_FILLED with the result net of both fees."""
    held = slot["quantity"]
    sign = 1 if held > 0.0 else -1
    entry_fees = slot["entry_fees"] * (quantity / abs(held))
    pnl = sign * quantity * (price - slot["entry_price"]) - fee - entry_fees
    account["cash"] += sign * quantity * price - fee
    account["fees_paid"] += fee
    account["realised_pnl"] += pnl
    account["day_realised_pnl"] += pnl
    slot["position_pnl"] += pnl
    slot["entry_fees"] -= entry_fees
    lots = steps_near(quantity, slot["lot_size"])
    event = report(events, n, EVENT_EXIT_FILLED, index, -sign, lots, price, reason, time_ns)
    describe(event, slot, order, quantity, fee)
    event["pnl"] = pnl
    left = snapped(held - sign * quantity, slot["lot_size"])
    slot["quantity"] = left
    if left == 0.0:
        settle_result(account, slot, 1e-12 * quantity * price, time_ns)
    return n + 1


@kernel
def open_position(account, slot, price, time_ns, strategy):
    """Begin a position: everything about it that its first fill decides."""
    account["open_positions"] += 1
    account["day_trades"] += 1
    slot["position_id"] = account["round_trips"] + account["open_positions"]
    slot["entry_price"] = price
    slot["entry_ns"] = time_ns
    slot["entry_fees"] = 0.0
    slot["position_pnl"] = 0.0
    slot["strategy"] = strategy
    slot["best_price"] = price


@kernel
def increase_position(desk, slot, index, side, quantity, price, fee, time_ns, reason, ours, events, n):
    """Open a position or add to it; reports ENTRY_FILLED.

    The plan follows the average entry price while the entry's own order still fills; what is added
    without an order (adopted from a venue) leaves a plan that exists as it is.
    """
    account = desk[0]["account"]
    held = slot["quantity"]
    opening = held == 0.0
    if opening:
        open_position(account, slot, price, time_ns, slot["pending_strategy"] if ours else -1)
    else:
        total = abs(held) + quantity
        slot["entry_price"] = (slot["entry_price"] * abs(held) + price * quantity) / total
    slot["quantity"] = snapped(held + side * quantity, slot["lot_size"])
    slot["entry_fees"] += fee
    account["cash"] -= side * quantity * price + fee
    account["fees_paid"] += fee
    if ours:
        set_plan(slot, desk[0]["limits"], slot["pending_stop_price"], slot["pending_target_price"])
    elif opening:
        set_plan(slot, desk[0]["limits"], math.nan, math.nan)
    if opening:
        add_default_rules(slot, desk[0]["limits"])
    lots = steps_near(quantity, slot["lot_size"])
    event = report(events, n, EVENT_ENTRY_FILLED, index, side, lots, price, reason, time_ns)
    describe(event, slot, slot["pending_order"] if ours else 0, quantity, fee)
    return n + 1


@kernel
def fill(desk, slots, index, side, quantity, price, fee, time_ns, reason, events, n):
    """Apply one execution without valuing the account afterwards; see `apply_fill`."""
    slot = slots[index]
    account = desk[0]["account"]
    ours = slot["pending_lots"] * side > 0
    order = slot["pending_order"] if ours else 0
    held = slot["quantity"]
    rest = quantity
    if held * side < 0.0:
        closing = min(quantity, abs(held))
        share = fee * (closing / quantity)
        n = reduce_position(account, slot, index, closing, price, share, time_ns, reason, order, events, n)
        rest = snapped(quantity - closing, slot["lot_size"])
        fee -= share
    if rest > 0.0:
        n = increase_position(desk, slot, index, side, rest, price, fee, time_ns, reason, ours, events, n)
    if ours:
        consume(account, slot, steps_near(quantity, slot["lot_size"]))
    return n


@kernel
def apply_fill(desk, slots, index, side, quantity, price, fee, time_ns, reason, events, n):
    """Apply one execution of any kind: open, add, reduce, close, or flip, which is close and open.

    When it is in the direction of the slot's order in flight it belongs to that order, uses up that much of it
    and, when it opens a position, brings the order's plan and strategy.

    Parameters
    ----------
    desk : ndarray of DESK, shape (1,)
        The account.
    slots : ndarray of SLOT, shape (n_symbols,)
        The symbols.
    index : int
        Slot of the symbol.
    side : int
        +1 bought, -1 sold.
    quantity : float
        Executed [base], > 0.
    price : float
        [quote per base], > 0.
    fee : float
        [quote].
    time_ns : int
        Market time [ns UTC].
    reason : int
        `codes.Reason`.
    events : ndarray of CORE_EVENT
        Room for two more events.
    n : int
        How many of them are written.

    Returns
    -------
    int
        How many are written now; -1 when an argument is impossible or the room is too small: nothing has changed then.
    """
    possible = 0 <= index < slots.shape[0] and abs(side) == 1 and math.isfinite(fee) and n + 2 <= events.shape[0]
    possible = possible and math.isfinite(quantity) and quantity > 0.0 and math.isfinite(price) and price > 0.0
    if not possible:
        return -1
    n = fill(desk, slots, index, side, quantity, price, fee, time_ns, reason, events, n)
    mark_account(desk[0]["account"], slots)
    return n


@kernel
def attach_plan(desk, slots, index, stop_price, target_price):
    """Give an open position an exit plan: the configured default for a level that is NaN.

    Parameters
    ----------
    desk : ndarray of DESK, shape (1,)
        Holds the defaults in its limits.
    slots : ndarray of SLOT, shape (n_symbols,)
        The symbols.
    index : int
        Slot of the symbol; a flat one is left alone.
    stop_price : float
        [quote per base]; rounded to a tick towards the entry price.
    target_price : float
        [quote per base]; rounded to a tick towards the entry price.
    """
    slot = slots[index]
    if slot["quantity"] != 0.0:
        set_plan(slot, desk[0]["limits"], stop_price, target_price)
        if math.isnan(slot["best_price"]):
            slot["best_price"] = slot["entry_price"]
        if slot["rules"] == 0:
            add_default_rules(slot, desk[0]["limits"])
