"""Checks before anything starts, in a child process: the service refuses what it could not run on."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from trader.config.sections import Config
from trader.errors import EXIT_OK, MarketDataError, TraderError
from trader.process import preflight
from trader.process.channel import Channel, ChannelClosed, Failed
from trader.supervisor.child import spawn
from trader.supervisor.signals import Signals

REPLAY_CHECK = "trader.market.replay:preflight"
_POLL_S = 0.1


class PreflightFailed(TraderError):
    """A check before the start said no."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def check_replay(config: Config, signals: Signals, entry: str = REPLAY_CHECK) -> None:
    """Read every candle once; a signal to stop ends the check.

    Raises
    ------
    PreflightFailed
        With the exit code and the words of whoever refused.
    MarketDataError
        When the check itself died.
    """
    ours, theirs = Channel.pair()
    try:
        process = spawn(preflight.main, (entry, config, os.getpid(), theirs.socket), "preflight")
        theirs.close()
        while process.exitcode is None:
            if signals.stops:
                os.kill(process.pid, signal.SIGKILL)
            process.join(_POLL_S)
        exit_code = process.exitcode
        process.close()
        if exit_code == EXIT_OK or signals.stops:
            return
        with suppress(ChannelClosed):
            message = ours.receive()
            if isinstance(message, Failed):
                raise PreflightFailed(message.message, message.exit_code)
    finally:
        ours.close()
    raise MarketDataError(f"the check of the candles died (exit code {exit_code})")
