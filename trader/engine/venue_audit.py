"""The venue's own books against a ledger of real orders, for `trader verify`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal

from trader.config.sections import Config
from trader.domain.order import OrderState
from trader.errors import ConfigError, TraderError
from trader.ledger.audit import Difference
from trader.ledger.reader import LedgerReader
from trader.state.paths import InstancePaths
from trader.units import plain

#: how often the two are compared before a difference is believed, and the pause between [s]
TRIES, PAUSE_S = 5, 1.0
DEADLINE_S = 15.0


def audit_venue(config: Config, paths: InstancePaths) -> tuple[int, list[Difference]]:
    """Compare orders and balances at the venue with the ledger's.

    Parameters
    ----------
    config : Config
        Names the venue and its keys.
    paths : InstancePaths
        Where the ledger is.

    Returns
    -------
    tuple
        How many things were compared, and what did not agree every time that it was looked at: orders go on meanwhile.

    Raises
    ------
    ConfigError
        When there are no keys, or the venue refuses them.
    TraderError
        When it can't be asked now.
    """
    return asyncio.run(_audit(config, paths))


async def _audit(config: Config, paths: InstancePaths) -> tuple[int, list[Difference]]:
    from trader.config.secrets import resolve_credentials
    from trader.execution.answers import exactly, read_balances, read_order
    from trader.market.connection import explained
    from trader.market.factory import make_connection

    credentials = resolve_credentials(config.credentials)
    connection = make_connection(config, credentials) if credentials is not None else None
    if connection is None:
        raise ConfigError("the venue can not be asked: no credentials")
    exactly(connection.rest)
    count = 0
    found: list[Difference] = []
    try:
        with explained(connection.venue):
            await connection.call("load_markets", deadline_s=DEADLINE_S)
            for attempt in range(TRIES):
                balances = read_balances(await connection.call("fetch_balance", deadline_s=DEADLINE_S))
                if balances is None:
                    raise TraderError(f"{connection.venue}: the answer about balances was garbled")
                rows = [
                    read_order(row, symbol)
                    for symbol in config.market.symbols
                    for row in await connection.call("fetch_open_orders", symbol, deadline_s=DEADLINE_S)
                ]
                standing = {row.client_order_id or row.venue_order_id for row in rows if row is not None}
                count, found = compare(paths, balances, standing)
                if not found or attempt == TRIES - 1:
                    break
                await asyncio.sleep(PAUSE_S)
    finally:
        await connection.close()
    return count, found


def compare(paths: InstancePaths, balances: Mapping[str, Decimal], standing: set[str]) -> tuple[int, list[Difference]]:
    """Return how many things were compared, and what differs.

    Parameters
    ----------
    paths : InstancePaths
        Where the ledger is.
    balances : mapping
        What the venue holds of each currency.
    standing : set of str
        Client order ids that are open there.
    """
    with LedgerReader(paths.ledger) as reader, reader.snapshot():
        meta, ours = reader.meta(), reader.balances()
        live = [order for order in reader.orders(live=True) if order.state is not OrderState.INTENDED]
    found = [
        Difference("venue", f"{name} at the venue", plain(amount), plain(balances.get(name, Decimal(0))))
        for name, amount in sorted(ours.items())
        if balances.get(name, Decimal(0)) != amount
    ]
    expected = {order.client_order_id for order in live}
    found += [
        Difference("venue", f"order {name}", "open at the venue", "not open") for name in sorted(expected - standing)
    ]
    strays = sorted(name for name in standing - expected if meta.get("mark", "\0") in name)
    found += [Difference("venue", f"order {name}", "not open at the venue", "open") for name in strays]
    return len(ours) + len(expected | set(strays)), found
