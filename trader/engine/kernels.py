"""The engine's kernels: compiled in two shares of about the same work, then loaded and proved.

`python -m trader.engine.kernels SHARE PID` compiles a share. It is run by `trader.process.compiling` while the folder
of kernels is not complete. Both shares write the same folder: numba reads a function's index, adds its own, and writes
it back, so they do that in turn.
"""

from __future__ import annotations

import faulthandler
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trader.errors import StartAgain
from trader.process import bootstrap
from trader.process.code_pages import release_code
from trader.process.compile_cache import distrust, seal

log = logging.getLogger(__name__)


def _compile_play() -> None:
    from trader.core.shares import compile_play

    compile_play()


def _compile_rules() -> None:
    import trader.state.latch  # noqa: F401 - compiled when it is imported
    from trader.core.shares import compile_rules

    compile_rules()


SHARES: tuple[Callable[[], None], ...] = (_compile_play, _compile_rules)


def save_in_turn(folder: Path) -> None:
    """Let this process save what it compiles only while no other one does.

    Parameters
    ----------
    folder : Path
        Where a file to lock can be made.
    """
    from numba.core.caching import IndexDataCacheFile

    descriptor = os.open(folder / ".writing", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    save = IndexDataCacheFile.save

    def save_alone(self: Any, key: Any, data: Any) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            save(self, key, data)
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    IndexDataCacheFile.save = save_alone


def ready_kernels() -> None:
    """Load the kernels and let them prove themselves; wrong ones are removed from their cache, once.

    Raises
    ------
    StartAgain
        When they came out of the cache: it is empty now, and the next start compiles them anew.
    KernelError
        When they have just been compiled.
    """
    from numba.core import event

    from trader.core.warmup import warm_up

    try:
        with event.install_recorder("numba:compile") as seen:
            warm_up()
    except Exception as error:  # what numba makes of a file that it can not read is anyone's guess
        if not distrust():
            raise
        raise StartAgain(f"the cache of kernels was wrong and is removed; they are compiled anew: {error}") from error
    compiled = sum(1 for _, one in seen.buffer if one.is_start)
    if compiled:  # what should have been done beside us: it keeps the compiler's memory in this process
        log.info("%d kernels were compiled in the engine itself", compiled)
    seal()
    release_code("libllvmlite")


def main(arguments: list[str]) -> int:
    """Compile one share."""
    share, parent = int(arguments[0]), int(arguments[1])
    bootstrap.guard_against_orphanage(parent)
    for number in bootstrap.IGNORED:
        signal.signal(number, signal.SIG_IGN)
    faulthandler.enable(all_threads=True)
    bootstrap.name_process("trader-compiler")
    save_in_turn(Path(os.environ["NUMBA_CACHE_DIR"]))
    SHARES[share]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
