"""A check that runs in a process of its own before the service starts anything.

Validating years of candles needs libraries that the supervisor shall not carry; a child carries them and
is gone again.
"""

from __future__ import annotations

import importlib
import signal
import socket
import sys

from trader.config.sections import Config
from trader.errors import EXIT_OK, TraderError
from trader.process import bootstrap
from trader.process.channel import Channel, Failed


def main(entry: str, config: Config, supervisor_pid: int, line: socket.socket) -> None:
    """Call package.module:function with the configuration and report a refusal; the target of the process."""
    bootstrap.guard_against_orphanage(supervisor_pid)
    for number in bootstrap.IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, bootstrap.IGNORED)
    module_name, _, function_name = entry.partition(":")
    try:
        getattr(importlib.import_module(module_name), function_name)(config)
    except TraderError as error:
        Channel(line).send(Failed(error.exit_code, str(error)))
        sys.exit(error.exit_code)
    sys.exit(EXIT_OK)
