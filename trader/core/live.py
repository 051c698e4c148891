"""What trading on an exchange asks of the core beside the rest: the stop in force, and quantities that just go."""

from __future__ import annotations

import math

from trader.core.accounting import mark_account
from trader.core.compiling import kernel
from trader.core.constants import REASON_TRAILING
from trader.core.fills import settle_result, snapped
from trader.core.plans import stop_in_force
from trader.core.records import new_desk, new_slots
from trader.errors import KernelError


@kernel
def stop_now(slots, index):
    """Return where a position's stop stands now [quote per base], NaN without one, and whether it trails (1 or 0).

    Parameters
    ----------
    slots : ndarray of SLOT, shape (n_symbols,)
        The symbols.
    index : int
        Slot of the symbol; a flat one has none.
    """
    slot = slots[index]
    if slot["quantity"] == 0.0:
        return math.nan, 0
    stop, reason, _ = stop_in_force(slot, 1 if slot["quantity"] > 0.0 else -1)
    return stop, 1 if reason == REASON_TRAILING else 0


@kernel
def write_off(desk, slots, index, quantity, time_ns):
    """Take a part of a position away for nothing: dust that can't be sold, or what the venue no longer holds.

    What was paid for it is realised as a loss, entry fee included. The position ends when nothing is left.

    Parameters
    ----------
    desk : ndarray of DESK, shape (1,)
        The account.
    slots : ndarray of SLOT, shape (n_symbols,)
        The symbols.
    index : int
        Slot of the symbol; a flat one is left alone.
    quantity : float
        How much [base], > 0; more than is held counts as all of it.
    time_ns : int
        When [ns UTC].
    """
    slot = slots[index]
    account = desk[0]["account"]
    held = slot["quantity"]
    if held != 0.0 and quantity > 0.0:
        gone = min(quantity, abs(held))
        sign = 1 if held > 0.0 else -1
        entry_fees = slot["entry_fees"] * (gone / abs(held))
        lost = sign * gone * slot["entry_price"] + entry_fees
        account["realised_pnl"] -= lost
        account["day_realised_pnl"] -= lost
        slot["position_pnl"] -= lost
        slot["entry_fees"] -= entry_fees
        left = snapped(held - sign * gone, slot["lot_size"])
        slot["quantity"] = left
        if left == 0.0:
            settle_result(account, slot, 1e-12 * abs(lost), time_ns)
        mark_account(account, slots)


def warm_up_live() -> None:
    """Compile what is here, and check it against results worked out by hand.

    Raises
    ------
    KernelError
        When a number is not what it must be.
    """
    desk, slots = new_desk(), new_slots(1)
    slots["lot_size"], slots["tick_size"], slots["mark_price"] = 0.001, 0.01, 100.0
    slots["quantity"], slots["entry_price"], slots["entry_fees"], slots["stop_price"] = 2.0, 90.0, 0.5, 88.0
    desk["account"]["open_positions"] = 1
    stop, trails = stop_now(slots, 0)
    write_off(desk, slots, 0, 0.5, 1)  # 0.5 x 90 and a quarter of the fee are lost
    write_off(desk, slots, 0, 9.0, 2)  # the rest: 1.5 x 90 and the rest of the fee
    account = desk["account"][0]
    found = (stop, trails, account["realised_pnl"], account["losses"], account["open_positions"], slots["quantity"][0])
    if found != (88.0, 0, -180.5, 1, 0, 0.0):
        raise KernelError(f"kernels of live trading: expected 88, 0, -180.5, 1, 0, 0, found {found}")
