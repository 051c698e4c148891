"""Kernels compiled by short-lived processes, side by side.

A process that has compiled keeps the compiler's memory, some 150 MiB, for as long as it lives, and one core compiles
for more than ten seconds. So the engine never compiles: it has others fill the folder, and loads.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

POLL_S = 0.02

log = logging.getLogger(__name__)


def compile_kernels(module: str, shares: int, is_asked_to_end: Callable[[], bool]) -> bool:
    """Have a module fill the folder that numba was pointed to, and wait for it.

    Parameters
    ----------
    module : str
        Run as `python -m MODULE SHARE PID`: compiles its share, and dies with process PID, which is ours.
    shares : int
        How many processes share the work.
    is_asked_to_end : callable
        Asked all the time; true ends the work at once.

    Returns
    -------
    bool
        Whether everyone did what was asked; what is missing is compiled by whoever needs it.
    """
    command = [sys.executable, *(["-B"] if sys.dont_write_bytecode else []), "-m", module]
    children: list[subprocess.Popen[bytes]] = []
    try:
        for share in range(shares):
            ours = [*command, str(share), str(os.getpid())]
            children.append(subprocess.Popen(ours, stdin=subprocess.DEVNULL))
        done = all([_wait(child, is_asked_to_end) for child in children])  # noqa: C419 - everyone is waited for
    except OSError as error:
        log.warning("no process to compile in: %s", error)
        done = False
    finally:
        for child in children:
            with suppress(ProcessLookupError):
                child.kill()
            child.wait()
    return done


def _wait(child: subprocess.Popen[bytes], is_asked_to_end: Callable[[], bool]) -> bool:
    while True:
        with suppress(subprocess.TimeoutExpired):
            exit_code = child.wait(POLL_S)
            if exit_code:
                log.warning("a process that compiles kernels ended with %d", exit_code)
            return exit_code == 0
        if is_asked_to_end():
            return False
