"""One round trip on the fake venue in a process that is killed on the way; forked from a warm template.

The template (`python -m tests.faults.order_crash`) imports and compiles once, then forks a child for each line on its
standard input: a JSON object with `folder`, `config`, `kill` (how many steps to live; 0: to the end) and `base_ns`. For
each it writes a line with how the child has ended and the step at which it was killed.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import logging
import os
import signal
import ssl
import sys
from pathlib import Path
from typing import Any

from tests.live_rig import MINUTE_NS, LiveRig, Told
from trader.codes import Direction, Halt
from trader.config.sections import Config
from trader.execution import steps

#: longest life of one child [s]
LIMIT_S = 60


def kill_after(count: int, report: Path) -> None:
    """Kill this process when so many steps were reached; 0: never. The steps are written to a file as they come."""
    left = count
    file = report.open("a", buffering=1)

    def hook(step: steps.Step) -> None:
        nonlocal left
        file.write(f"{step.value}\n")
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    steps.install(hook)


async def play(folder: Path, config: Config, base_ns: int) -> None:
    """Buy, hold with a stop at the venue that moves up, sell: from wherever the ledger says that this has come to."""
    Told.says = {base_ns + MINUTE_NS: Direction.LONG, base_ns + 3 * MINUTE_NS: Direction.FLAT}
    rig = LiveRig(folder, config)
    rig.generation = len(list(rig.paths.runtime_dir.glob("seg-engine-*")))
    await rig.start()
    cursor_ns = int(rig.account["event_ns"])
    for minute in range(1, 5):
        time_ns = base_ns + minute * MINUTE_NS
        # nothing halts entries, and the last candle's consequences have come to rest
        await rig.until(lambda: not rig.parts.engine.halts, LIMIT_S)
        await rig.until(rig.is_covered, LIMIT_S)
        if time_ns > cursor_ns:
            high = 104.0 if minute == 2 else 100.05
            rig.feed.put(time_ns, (0, 100.0, high, 99.95, 100.0))
            await rig.until(lambda t=time_ns: int(rig.account["event_ns"]) >= t, LIMIT_S)  # type: ignore[misc]
    await rig.until(rig.is_covered, LIMIT_S)
    await rig.until(lambda: not rig.parts.engine.halts & ~Halt.BREAKER, LIMIT_S)
    await rig.stop()


def _child(job: dict[str, Any]) -> None:
    folder = Path(job["folder"])
    signal.alarm(LIMIT_S)
    kill_after(job["kill"], folder / "steps.txt")
    try:
        asyncio.run(play(folder, Config.model_validate(job["config"]), job["base_ns"]))
    except BaseException as error:  # noqa: BLE001 - whatever it was, the campaign is told
        (folder / "error.txt").write_text(f"{type(error).__name__}: {error}")
        import traceback

        (folder / "trace.txt").write_text(traceback.format_exc())
        os._exit(1)
    os._exit(0)


def fork(job: dict[str, Any]) -> int:
    """Run a job in a child; return its exit status, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            _child(job)
        finally:
            os._exit(2)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def main() -> None:
    """Warm up with one job that is played to its end in a child's stead, then fork for each line."""
    logging.disable(logging.CRITICAL)
    import ccxt.async_support
    import ccxt.pro

    import trader.execution.stops
    import trader.market.connection
    from trader.core.live import warm_up_live
    from trader.core.warmup import warm_up

    assert ccxt.async_support
    assert ccxt.pro
    warm_up()
    warm_up_live()
    # a venue that is busy at the start is asked again soon
    trader.market.connection.OPEN_RETRY_S = 0.05
    # and stops follow without a pause between two moves
    trader.execution.stops.MIN_INTERVAL_S = 0.0
    # reading the system's certificates takes a tenth of a child's life, and nothing here speaks TLS
    ssl.create_default_context = functools.cache(ssl.create_default_context)
    os.environ.setdefault("VENUE_KEY", "")
    gc.collect()
    gc.freeze()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        job = json.loads(line)
        os.environ.update(job["environ"])
        sys.stdout.write(f"{fork(job)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
