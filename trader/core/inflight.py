"""Orders in flight: at most one per symbol, a market order for the next price.

An order that opens or adds sets capital aside until it is filled; one that only reduces sets
none aside. That is also how the two are told apart later: an order with nothing reserved can
never open a position, whatever has become of the one it was meant to close.
"""

from __future__ import annotations

import math

from trader.core.compiling import kernel
from trader.core.constants import REASON_NONE
from trader.core.invalidations import drop_rules
from trader.core.rounding import from_steps, steps_near


@kernel
def release(account, slot):
    """Forget the order in flight, whatever became of it."""
    if slot["pending_lots"] != 0:
        account["pending_orders"] -= 1
    slot["pending_lots"] = 0
    slot["pending_quantity"] = 0.0
    slot["pending_order"] = 0
    slot["pending_reason"] = REASON_NONE
    slot["pending_strategy"] = -1
    slot["pending_stop_price"] = math.nan
    slot["pending_target_price"] = math.nan
    slot["reserved"] = 0.0
    if slot["quantity"] == 0.0:
        drop_rules(slot)


@kernel
def consume(account, slot, lots):
    """Take filled lots off the order in flight; it is gone when none are left."""
    ordered = slot["pending_lots"]
    left = abs(ordered) - lots
    if left <= 0:
        release(account, slot)
        return
    sign = 1 if ordered > 0 else -1
    slot["reserved"] *= left / abs(ordered)
    slot["pending_lots"] = sign * left
    slot["pending_quantity"] = from_steps(sign * left, slot["lot_size"])


@kernel
def entry_cost(slot, quantity, price):
    """Return the capital that a market order of `quantity` at `price` may need [quote]: slippage and fee included."""
    return quantity * price * (1.0 + slot["slippage_frac"]) * (1.0 + slot["fee_rate_frac"])


@kernel
def set_in_flight(account, slot, lots, order_id, reason, strategy, stop_price, target_price):
    """Put an order in flight; see `place`."""
    release(account, slot)
    if lots == 0:
        return
    quantity = from_steps(lots, slot["lot_size"])
    slot["pending_lots"] = lots
    slot["pending_quantity"] = quantity
    slot["pending_order"] = order_id
    slot["pending_reason"] = reason
    slot["pending_strategy"] = strategy
    slot["pending_stop_price"] = stop_price
    slot["pending_target_price"] = target_price
    if slot["quantity"] * lots >= 0.0 and math.isfinite(slot["mark_price"]):
        slot["reserved"] = entry_cost(slot, abs(quantity), slot["mark_price"])
    account["pending_orders"] += 1


@kernel
def request_close(account, slot, reason):
    """Put an order for the whole position in flight; the shell gives it an id."""
    lots = -steps_near(slot["quantity"], slot["lot_size"])
    set_in_flight(account, slot, lots, 0, reason, slot["strategy"], math.nan, math.nan)
    return lots


@kernel
def place(desk, slots, index, lots, order_id, reason, strategy, stop_price, target_price):
    """Put a market order in flight; it replaces one that is there.

    When it opens or adds, its cost at the last price is reserved, slippage and fee included. Without a last price
    nothing can be reserved, and such an order is rejected instead of filled.

    Parameters
    ----------
    desk : ndarray of DESK, shape (1,)
        The account.
    slots : ndarray of SLOT, shape (n_symbols,)
        The symbols.
    index : int
        Slot of the symbol.
    lots : int
        Signed number of lots, buy > 0; 0 only takes back what is in flight.
    order_id : int
        The ledger's id; comes back in the events.
    reason : int
        `codes.Reason`.
    strategy : int
        Index of the strategy; -1: none.
    stop_price : float
        Of the exit plan that an entry brings [quote per base]; NaN: the default, from the fill price on.
    target_price : float
        The same.
    """
    set_in_flight(desk[0]["account"], slots[index], lots, order_id, reason, strategy, stop_price, target_price)


@kernel
def cancel(desk, slots, index):
    """Take back the order in flight of a symbol, if there is one, with what it reserved."""
    release(desk[0]["account"], slots[index])
