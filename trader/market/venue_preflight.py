"""What can be known of a venue before any worker is started: whether it has what is to be traded."""

from __future__ import annotations

import asyncio
import logging

from trader.config.sections import Config
from trader.errors import VenueError
from trader.market.connection import ExchangeConnection

log = logging.getLogger(__name__)

#: a venue that has not answered by then is left to the engine, which waits for it [s]
PATIENCE_S = 15.0


def preflight(config: Config) -> None:
    """Ask the venue for symbols and timeframe; any market but a venue's passes, and so does a venue that is away.

    Parameters
    ----------
    config : Config
        Its section `market` is read.

    Raises
    ------
    ConfigError
        Naming what ccxt or the venue lacks.
    """
    if config.market.source == "exchange":
        asyncio.run(_ask(ExchangeConnection(config.market.model_copy(update={"stream": False}))))


async def _ask(connection: ExchangeConnection) -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            await connection.open()
    except (VenueError, TimeoutError) as error:
        log.warning("the venue could not be asked before the start: %s", error or "no answer in time")
    finally:
        await connection.close()
