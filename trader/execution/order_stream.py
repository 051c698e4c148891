"""The stream of our orders: only ever a hint to ask about one.

What a websocket says may be doubled, late, out of order or missing. So a message moves no order: it makes the order's
life ask the venue now instead of later.
"""

from __future__ import annotations

import asyncio
import logging
import random

from trader.execution.exchange_venue import ExchangeVenue
from trader.execution.ports import Connection
from trader.logs.redaction import redact

log = logging.getLogger(__name__)

#: pauses between two tries to listen [s]: from, to
PAUSE_S = (1.0, 60.0)
#: longest time without listening anew [s]
LISTEN_S = 3600.0


async def listen(connection: Connection, venue: ExchangeVenue) -> None:
    """Listen until cancelled; a venue without such a stream is asked on a timer instead.

    Parameters
    ----------
    connection : Connection
        The line to the venue.
    venue : ExchangeVenue
        Told which orders were mentioned.
    """
    if connection.stream is None or not connection.has("watchOrders"):
        return
    pause_s = PAUSE_S[0]
    while True:
        try:
            async with asyncio.timeout(LISTEN_S):
                mentioned = await connection.stream.watch_orders()
        except TimeoutError:
            continue
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - orders are asked for on a timer as well
            log.info("the stream of orders broke, again in %.0f s: %s", pause_s, redact(str(error))[:200])
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311
            pause_s = min(2 * pause_s, PAUSE_S[1])
            venue.hint_all()
            continue
        pause_s = PAUSE_S[0]
        for order in mentioned if isinstance(mentioned, list) else ():
            venue.hint(str(order.get("clientOrderId") or ""))
