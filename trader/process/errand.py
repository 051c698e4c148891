"""A short job in a process of its own, which carries libraries that the supervisor shall not, and is gone again."""

from __future__ import annotations

import faulthandler
import importlib
import signal
import socket
import sys
from typing import Any

from trader.errors import EXIT_OK, TraderError
from trader.process import bootstrap
from trader.process.channel import Channel, Failed, Started


def main(entry: str, arguments: tuple[Any, ...], supervisor_pid: int, line: socket.socket) -> None:
    """Call package.module:function and report what it returns, or its refusal; the target of the process."""
    bootstrap.guard_against_orphanage(supervisor_pid)
    for number in bootstrap.IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, bootstrap.IGNORED)
    faulthandler.enable(all_threads=True)
    module_name, _, function_name = entry.partition(":")
    try:
        result = getattr(importlib.import_module(module_name), function_name)(*arguments)
    except TraderError as error:
        Channel(line).send(Failed(error.exit_code, str(error)))
        sys.exit(error.exit_code)
    Channel(line).send(Started(result or {}))
    sys.exit(EXIT_OK)
