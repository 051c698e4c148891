"""Tells when an order request is on its socket; only while a test or a benchmark watches the steps."""

from __future__ import annotations

import asyncio
from typing import Any

from trader.execution import steps
from trader.execution.steps import Step, reached

_STEPS = {"POST": Step.SUBMIT_ON_SOCKET, "DELETE": Step.CANCEL_ON_SOCKET}


def watch_sockets(client: Any) -> None:
    """Let a ccxt client say when the head of an order request has been written.

    Parameters
    ----------
    client : ccxt exchange
        Its session is open; nothing is done to it unless a hook is installed.
    """
    session = getattr(client, "session", None)
    if session is None or not steps.is_watched():
        return
    from aiohttp import TraceConfig

    trace = TraceConfig()
    trace.on_request_headers_sent.append(_written)
    trace.freeze()
    session.trace_configs.append(trace)


async def _written(_session: Any, _context: Any, params: Any) -> None:
    path = params.url.path
    replaces = path.endswith(("cancelReplace", "AmendOrder"))
    step = Step.REPLACE_ON_SOCKET if replaces else _STEPS.get(params.method)
    if step is not None and (replaces or "order" in path):
        # the bytes are written as soon as this returns, before the loop does anything else
        asyncio.get_running_loop().call_soon(reached, step)
