"""Taking back orders that nobody looks after any more.

Run by a short-lived process when the engine is given up or the service has died. It takes the engine's lock first:
orders of an engine that lives are that engine's business. What is in flight to reduce risk stays.
"""

from __future__ import annotations

import os
from decimal import Decimal
from typing import Any

from trader.ledger.reader import LedgerReader
from trader.process.lock import LockFile
from trader.state.paths import InstancePaths


def cancel_entries(paths: InstancePaths) -> dict[str, Any]:
    """Cancel every order in flight that would open risk, in the ledger and at the paper venue.

    Needs no configuration, which may be what is broken: the ledger knows what it was begun with.

    Returns
    -------
    dict
        `canceled`: one text for each order.

    Raises
    ------
    AlreadyRunning
        When an engine lives.
    LedgerError
        When the ledger can't be read or written.
    """
    lock = LockFile(paths.engine_lock, "engine")
    lock.take()
    try:
        return {"canceled": _cancel(paths) if paths.ledger.exists() else []}
    finally:
        lock.release()


def _cancel(paths: InstancePaths) -> list[str]:
    # the kernels are used as they are, and nothing is worth compiling for a single call
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    from trader.core.records import new_desk, new_slots
    from trader.execution.paper import PaperVenue
    from trader.execution.router import OrderRouter
    from trader.ledger.journal import Ledger

    with LedgerReader(paths.ledger) as reader:
        meta = reader.meta()
        stored = reader.query("SELECT symbol, strategy, pending_strategy FROM slots")
        if meta["mode"] != "paper" or not any(not order.reduce_only for order in reader.orders(live=True)):
            return []
    symbols = tuple(row[0] for row in stored)
    names = tuple(sorted({name for row in stored for name in row[1:] if name is not None}))
    desk, slots = new_desk(), new_slots(len(symbols))
    with Ledger.open(
        paths.ledger,
        instance=meta["instance"],
        quote=meta["quote"],
        initial_capital=Decimal(meta["initial_capital"]),
    ) as ledger:
        restored = ledger.restore(desk, slots, symbols, names)
        venue = PaperVenue(ledger, restored.open_orders)
        router = OrderRouter(
            ledger, ledger.books, venue, desk, slots, symbols, (), meta["instance"], restored.open_orders
        )
        withdrawn = [order for slot in range(len(symbols)) if (order := router.withdraw_entry(slot)) is not None]
        ledger.save_state(desk, slots, restored.cursor_ns)
        ledger.commit()
    return [f"{order.client_order_id} {order.side.name.lower()} {order.symbol}" for order in withdrawn]
