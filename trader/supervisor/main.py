"""The start of the service: signals first, then configuration, lock and folders, then the loop.

Whatever can be refused is refused before the first worker exists, with an exit code that tells systemd
whether another try makes sense.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trader.errors import EXIT_OK, TraderError
from trader.supervisor.signals import Signals

if TYPE_CHECKING:
    from trader.state.paths import InstancePaths
    from trader.supervisor.fallback import Keepsake, Source
    from trader.supervisor.notify import Notifier

log = logging.getLogger(__name__)

#: the workers by role; by name, because the supervisor must not import their code
ENTRIES: Mapping[str, str] = {
    "engine": "trader.engine.worker:EngineService",
    "monitor": "trader.monitor.worker:MonitorService",
    "dashboard": "trader.dashboard.worker:DashboardService",
}


#: how far ahead systemd is asked for patience [s]
EXTEND_S = 30.0


@dataclass(frozen=True, slots=True)
class Start:
    """What the service was asked to run."""

    config_path: Path | None
    base_dir: Path | None
    entries: Mapping[str, str]
    probation_s: float | None
    sockets: tuple[socket.socket, ...]  #: that systemd handed over


def run(
    config_path: Path | None,
    base_dir: Path | None,
    entries: Mapping[str, str] = ENTRIES,
    probation_s: float | None = None,
) -> int:
    """Run the service until it ends.

    Parameters
    ----------
    config_path : Path or None
        The configuration file; None: the built-in defaults.
    base_dir : Path or None
        Folder that `data_dir` is relative to; None: as `trader.state.paths.base_dir` finds it.
    entries : mapping of str to str
        The workers' services, as package.module:Class.
    probation_s : float, optional
        For how long a new configuration can be taken back [s]; None: half a minute.

    Returns
    -------
    int
        What the process exits with.

    Raises
    ------
    TraderError
        When the service does not even begin to start; carries the exit code.
    """
    signals = Signals()
    signals.install()  # before anything else: the default action of SIGHUP would end us while we import
    from trader.process.bootstrap import forbid_new_code
    from trader.supervisor.inherited import take_sockets
    from trader.supervisor.notify import Notifier

    notifier = Notifier()
    sockets = take_sockets()
    forbid_new_code(children=False)  # the engine, a child, compiles its kernels
    try:
        return _run(Start(config_path, base_dir, entries, probation_s, sockets), signals, notifier)
    except TraderError as error:
        notifier.failed(str(error))
        raise
    finally:
        for line in sockets:
            line.close()
        notifier.close()
        signals.restore()


def _run(start: Start, signals: Signals, notifier: Notifier) -> int:
    from trader.process.lock import LockFile
    from trader.state.paths import locate, make_folders, remove_runtime
    from trader.state.segment import clear_segments
    from trader.supervisor.fallback import Keepsake, choose

    source = choose(start.config_path, start.base_dir)
    paths = locate(start.base_dir, source.config)
    os.umask(0o077)
    _make_data_dir(paths)
    lock = LockFile(paths.supervisor_lock, "trader")
    lock.take()
    try:
        keepsake = Keepsake(paths.data_dir)
        source = _checked(source, keepsake, signals, notifier)
        if signals.stops:
            return EXIT_OK
        make_folders(paths)
        clear_segments(paths.runtime_dir)
        try:
            exit_code = _serve(start, source, paths, keepsake, signals, notifier)
        finally:
            clear_segments(paths.runtime_dir)
            remove_runtime(paths)
        if exit_code == EXIT_OK:
            keepsake.end()
        return exit_code
    finally:
        lock.release()


def _checked(source: Source, keepsake: Keepsake, signals: Signals, notifier: Notifier) -> Source:
    """Return a configuration whose strategies and candles exist; the last good one, if that is what it takes."""
    from trader.errors import ConfigError
    from trader.supervisor.preflight import Preflight

    preflight = Preflight(source.config, source.path)
    import trader.supervisor.service  # noqa: F401 - slow, and meanwhile the checks run

    try:
        preflight.wait(lambda: signals.stops > 0, lambda: notifier.extend_timeout(EXTEND_S))
    except ConfigError as error:
        if source.reduce_only is not None:
            raise ConfigError(source.reduce_only) from error
        return _checked(keepsake.recall(error), keepsake, signals, notifier)
    return source


def _serve(
    start: Start,
    source: Source,
    paths: InstancePaths,
    keepsake: Keepsake,
    signals: Signals,
    notifier: Notifier,
) -> int:
    from trader.logs import setup_logging
    from trader.supervisor.reloading import PROBATION_S
    from trader.supervisor.service import Instance, Supervisor

    run_id = os.environ.get("INVOCATION_ID") or secrets.token_hex(16)
    logs = setup_logging("supervisor", paths.log_dir, source.config.logging.level, run_id)
    if source.reduce_only is not None:
        log.critical(
            "REDUCE-ONLY: the last run was cut off and the configuration is not valid, so the last good one is in "
            "force (%s) and nothing is opened; correct the file, then `trader reload`: %s",
            source.path,
            source.reduce_only,
        )
    probation_s = PROBATION_S if start.probation_s is None else start.probation_s
    instance = Instance(
        source, start.config_path, paths, run_id, start.entries, logs.set_level, keepsake, probation_s, start.sockets
    )

    async def supervise() -> int:
        return await Supervisor(instance, signals, notifier).run()

    try:
        return asyncio.run(supervise())
    finally:
        logs.close()


def _make_data_dir(paths: InstancePaths) -> None:
    try:
        paths.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise TraderError(f"{paths.data_dir}: the data folder can not be made: {error.strerror}") from error
