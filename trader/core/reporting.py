"""What kernels tell the shell: one record per thing that has happened, written in order."""

from __future__ import annotations

from trader.core.compiling import inline_kernel, kernel
from trader.core.records import EVENTS_EXTRA, EVENTS_PER_SLOT


@inline_kernel
def has_room(events, slots):
    """Return whether `events` holds the most that one call over `slots` can report."""
    return events.shape[0] >= slots.shape[0] * EVENTS_PER_SLOT + EVENTS_EXTRA


@kernel
def report(events, n, kind, slot, side, lots, price, reason, time_ns):
    """Write event `n` with no order, fee or result, and return the record to add those to."""
    event = events[n]
    event["kind"] = kind
    event["slot"] = slot
    event["order"] = 0
    event["side"] = side
    event["lots"] = lots
    event["ticks"] = 0
    event["quantity"] = 0.0
    event["price"] = price
    event["fee"] = 0.0
    event["pnl"] = 0.0
    event["reason"] = reason
    event["rule"] = 0
    event["position_id"] = 0
    event["time_ns"] = time_ns
    return event
