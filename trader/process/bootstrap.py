"""The first code of a worker process: guards first, then its surroundings, then its service.

Imports here are light: what a role needs is imported by the role's own module, by name, after the guards.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import importlib
import logging
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from trader.errors import EXIT_GAVE_UP, WorkerError
from trader.process.channel import Channel, NeedsTime
from trader.process.context import WorkerContext

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_MDWE = 65
_MDWE_REFUSE_EXEC_GAIN, _MDWE_NO_INHERIT = 1, 2
#: roles that compile nothing; what they are made to write must never be executed
COMPILE_NOTHING = ("monitor", "dashboard")
#: the supervisor decides when a worker ends; a Ctrl-C reaches the whole foreground group
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
#: one worker, one core: thread pools would only fight each other and the loop
THREAD_LIMITS = ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
#: when memory is short the kernel takes the dashboard first, then the monitor, and last who looks after positions
OOM_SCORES = {"dashboard": 800, "monitor": 500}

log = logging.getLogger(__name__)


def main(entry: str, context: WorkerContext, line: socket.socket) -> None:
    """Run a worker; the target of the spawned process.

    Parameters
    ----------
    entry : str
        The service, as package.module:Class.
    context : WorkerContext
        What it starts from.
    line : socket.socket
        Our end of the line to the supervisor.
    """
    guard_against_orphanage(context.supervisor_pid)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED)  # blocked by the supervisor around the spawn
    faulthandler.enable(all_threads=True)  # SIGABRT: every thread's traceback, then death
    name_process(f"trader-{context.role}")
    offer_to_the_oom_killer(OOM_SCORES.get(context.role, 0))
    if context.role in COMPILE_NOTHING:
        forbid_new_code(children=True)
    sys.exit(_run(entry, context, line))


def guard_against_orphanage(supervisor_pid: int) -> None:
    """Die with the supervisor, whatever kills it, and at once when it is already gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise WorkerError(f"prctl(PR_SET_PDEATHSIG) failed with errno {ctypes.get_errno()}")
    if os.getppid() != supervisor_pid:  # it died before the line above
        os._exit(EXIT_GAVE_UP)


def name_process(name: str) -> None:
    """Set the name that ps and top show."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def offer_to_the_oom_killer(score: int) -> None:
    """Raise our place on the kernel's list of victims; lowering it would take privileges, and is not tried."""
    path = Path("/proc/self/oom_score_adj")
    with suppress(OSError, ValueError):
        if score > int(path.read_text(encoding="ascii")):
            path.write_text(str(score), encoding="ascii")


def forbid_new_code(*, children: bool) -> bool:
    """Let no memory of this process become executable that was writable, where the kernel can see to that.

    Parameters
    ----------
    children : bool
        Whether that is to hold for child processes as well (Linux 6.3); without them: Linux 6.6.

    Returns
    -------
    bool
        Whether it is in force.
    """
    flags = _MDWE_REFUSE_EXEC_GAIN | (0 if children else _MDWE_NO_INHERIT)
    failed: int = ctypes.CDLL(None).prctl(_PR_SET_MDWE, flags, 0, 0, 0)
    return not failed


def prepare_environment() -> None:
    """Set what libraries read at import, and take away what is the supervisor's alone."""
    for name in THREAD_LIMITS:
        os.environ[name] = "1"
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)


def prepare_package(entry: str, data_dir: Path, line: socket.socket) -> None:
    """Call `prepare` of the package that a service is in, when it has one, before anything heavy is imported.

    Parameters
    ----------
    entry : str
        The service, as package.module:Class.
    data_dir : Path
        The data folder; the first argument.
    line : socket.socket
        Whatever the supervisor says before the worker is up is a stop, or that it is gone; the second argument is a
        function that tells whether it has, the third one asks the supervisor for more time [s].
    """
    package = importlib.import_module(entry.partition(":")[0].rpartition(".")[0])
    if (prepare := getattr(package, "prepare", None)) is not None:
        channel = Channel(line)
        prepare(
            data_dir,
            lambda: bool(select.select([line], [], [], 0)[0]),
            lambda seconds: channel.send(NeedsTime(seconds)),
        )


def load_entry(entry: str) -> type:
    """Return the class that package.module:Class names.

    Raises
    ------
    WorkerError
        When there is no such class.
    """
    module_name, _, class_name = entry.partition(":")
    found = getattr(importlib.import_module(module_name), class_name, None)
    if not isinstance(found, type):
        raise WorkerError(f"{entry} names no class")
    return found


def _run(entry: str, context: WorkerContext, line: socket.socket) -> int:
    from trader.logs import dropped_records, setup_logging
    from trader.process.worker import run_worker

    logs = setup_logging(context.role, context.paths.log_dir, context.config.logging.level, context.run_id)
    prepare_environment()
    try:
        prepare_package(entry, context.paths.data_dir, line)
        worker = run_worker(
            lambda: load_entry(entry),
            context,
            Channel(line),
            log_dropped=dropped_records,
            set_log_level=logs.set_level,
        )
        return asyncio.run(worker)
    finally:
        logs.close()
