"""The engine process: market data in, decisions, orders and shared state out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from trader.clock import NS_PER_S, boottime_ns

#: compiles the kernels, a share in each of so many processes
KERNELS, KERNEL_SHARES = "trader.engine.kernels", 2

log = logging.getLogger(__name__)


#: how long compiling may take on the slowest machine that is worth trading on [s]
COMPILE_TIMEOUT_S = 900.0


def prepare(data_dir: Path, is_asked_to_end: Callable[[], bool], ask_for_time: Callable[[float], None]) -> None:
    """Have every kernel compiled before the engine's code is imported, so that this process only loads them.

    Parameters
    ----------
    data_dir : Path
        The data folder.
    is_asked_to_end : callable
        Tells whether the engine was told to stop already: then there is no time to compile.
    ask_for_time : callable
        Tells the supervisor for how long the start goes on [s].
    """
    from trader.process.compile_cache import open_kernel_cache
    from trader.process.compiling import compile_kernels

    cache = open_kernel_cache(data_dir, is_asked_to_end=is_asked_to_end)
    if is_asked_to_end():
        return
    if cache is None or not cache.kept:
        log.warning("no folder for compiled kernels is writable: they are compiled anew at every start")
    if cache is not None and not cache.warm:
        started_ns = boottime_ns()
        ask_for_time(COMPILE_TIMEOUT_S)
        if compile_kernels(KERNELS, KERNEL_SHARES, is_asked_to_end):
            log.info("kernels compiled in %.1f s", (boottime_ns() - started_ns) / NS_PER_S)
