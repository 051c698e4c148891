"""What is done about orders when no engine looks after them any more: entries in flight are taken back."""

from __future__ import annotations

import asyncio
import logging

from trader.clock import NS_PER_S, boottime_ns
from trader.config.sections import Config
from trader.errors import TraderError
from trader.state.paths import InstancePaths
from trader.supervisor.errand import Errand
from trader.supervisor.notify import Notifier

CANCEL_ENTRIES = "trader.engine.last_resort:cancel_entries"
TIMEOUT_S = 20.0
EXTEND_S = 30.0

log = logging.getLogger(__name__)


async def take_back_entries(paths: InstancePaths, config: Config, notifier: Notifier) -> None:
    """Let a short-lived process cancel what is in flight to open risk.

    Parameters
    ----------
    paths : InstancePaths
        Of the instance.
    config : Config
        Tells where orders are: at an exchange, or on paper.
    notifier : Notifier
        Pinged meanwhile.
    """
    notifier.extend_timeout(EXTEND_S)
    errand = Errand("the last resort", CANCEL_ENTRIES, paths, config)
    deadline_ns = boottime_ns() + int(TIMEOUT_S * NS_PER_S)
    while not errand.is_done:
        await asyncio.sleep(0.05)
        notifier.watchdog()
        if boottime_ns() > deadline_ns:
            errand.kill()
    try:
        canceled = errand.result()["canceled"]
    except TraderError as error:
        log.error("entries in flight could not be canceled: %s", error)
    else:
        log.warning("entries in flight canceled: %s", "; ".join(canceled) or "there were none")
