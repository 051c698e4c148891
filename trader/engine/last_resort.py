"""Taking back orders that nobody looks after any more.

Run by a short-lived process when the engine is given up or the service has died. It takes the engine's lock first:
orders of an engine that lives are that engine's business. What is in flight to reduce risk stays.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from trader.config.sections import Config
from trader.domain.order import Order, OrderState
from trader.errors import ConfigError, TraderError
from trader.ledger.reader import LedgerReader
from trader.process.lock import LockFile
from trader.state.paths import InstancePaths

#: how long the venue has for all of it [s]
VENUE_S = 20.0


def cancel_entries(paths: InstancePaths, config: Config | None = None) -> dict[str, Any]:
    """Cancel every order in flight that would open risk: in the ledger and at the paper venue, or at the exchange.

    On paper it needs no configuration, which may be what is broken: the ledger knows what it was begun with. An
    exchange is reached by the configuration's keys; the ledger is left as it is then, and the next start finds out what
    became of each order. Stops stay where they are.

    Parameters
    ----------
    paths : InstancePaths
        Files of the instance.
    config : Config, optional
        The configuration in force; needed for an exchange.

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
    ConfigError
        When orders are in flight at an exchange, and there are no keys to reach it.
    """
    lock = LockFile(paths.engine_lock, "engine")
    lock.take()
    try:
        if not paths.ledger.exists():
            return {"canceled": []}
        with LedgerReader(paths.ledger) as reader:
            live = reader.meta()["mode"] == "live"
            entries = [order for order in reader.orders(live=True) if not order.reduce_only]
        if live:
            return {"canceled": asyncio.run(_cancel_at_venue(config, entries)) if entries else []}
        return {"canceled": _cancel(paths)}
    finally:
        lock.release()


async def _cancel_at_venue(config: Config | None, entries: Sequence[Order]) -> list[str]:
    from trader.config.secrets import resolve_credentials
    from trader.execution.capabilities import capabilities_of
    from trader.market.factory import make_connection

    names = ", ".join(order.client_order_id for order in entries)
    credentials = resolve_credentials(config.credentials) if config is not None else None
    connection = make_connection(config, credentials) if config is not None and credentials is not None else None
    if config is None or connection is None:
        raise ConfigError(f"there are no keys to cancel {names} at the exchange: look there yourself")
    capabilities = capabilities_of(config.market.exchange)
    told = []
    try:
        async with asyncio.timeout(VENUE_S):
            await connection.call("load_markets", deadline_s=VENUE_S)
            for order in entries:
                # one by one: what was canceled before a timeout is told as well
                told.append(await _cancel_one(connection, order, capabilities.lookup_param))  # noqa: PERF401
    except TimeoutError:
        told.append(f"no answer within {VENUE_S:g} s, look at the exchange yourself: {names}")
    except Exception as error:  # whatever it is, an owner has to look
        raise TraderError(f"{names}: {type(error).__name__}: {error}") from error
    finally:
        await connection.close()
    return told


async def _cancel_one(connection: Any, order: Order, param: str | None) -> str:
    text = f"{order.client_order_id} {order.side.name.lower()} {order.symbol}"
    if order.state is OrderState.INTENDED:
        return f"{text} (it was never sent)"
    if order.venue_order_id is None and param is None:
        return f"{text}: the exchange has not told its number, look there yourself"
    params = {} if order.venue_order_id is not None else {str(param): order.client_order_id}
    try:
        await connection.call("cancel_order", order.venue_order_id, order.symbol, deadline_s=VENUE_S, **params)
    except Exception as error:  # noqa: BLE001 - the next order has its own chance
        if type(error).__name__ == "OrderNotFound":
            return f"{text} (it was over)"
        return f"{text}: not confirmed, look at the exchange yourself: {type(error).__name__}"
    return text


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
