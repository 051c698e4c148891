"""The start of the service: signals first, then configuration, lock and folders, then the loop.

Whatever can be refused is refused before the first worker exists, with an exit code that tells systemd
whether another try makes sense.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trader.errors import EXIT_OK, TraderError
from trader.supervisor.signals import Signals

if TYPE_CHECKING:
    from trader.config.sections import Config
    from trader.state.paths import InstancePaths
    from trader.supervisor.notify import Notifier

#: the workers by role; by name, because the supervisor must not import their code
ENTRIES: Mapping[str, str] = {
    "engine": "trader.engine.worker:EngineService",
    "monitor": "trader.monitor.worker:MonitorService",
    "dashboard": "trader.dashboard.worker:DashboardService",
}


def run(config_path: Path | None, base_dir: Path | None, entries: Mapping[str, str] = ENTRIES) -> int:
    """Run the service until it ends.

    Parameters
    ----------
    config_path : Path or None
        The configuration file; None: the built-in defaults.
    base_dir : Path or None
        Folder that `data_dir` is relative to; None: as `trader.state.paths.base_dir` finds it.
    entries : mapping of str to str
        The workers' services, as package.module:Class.

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
    from trader.supervisor.notify import Notifier

    notifier = Notifier()
    try:
        return _run(config_path, base_dir, entries, signals, notifier)
    except TraderError as error:
        notifier.failed(str(error))
        raise
    finally:
        notifier.close()
        signals.restore()


def _run(
    config_path: Path | None, base_dir: Path | None, entries: Mapping[str, str], signals: Signals, notifier: Notifier
) -> int:
    from trader.config.loading import load
    from trader.process.lock import LockFile
    from trader.state.paths import locate, make_folders, remove_runtime
    from trader.state.segment import clear_segments
    from trader.supervisor.preflight import check_replay

    config = load(config_path)
    paths = locate(base_dir, config)
    os.umask(0o077)
    _make_data_dir(paths)
    lock = LockFile(paths.supervisor_lock, "trader")
    lock.take()
    try:
        if config.market.source == "replay":
            check_replay(config, signals)
        if signals.stops:
            return EXIT_OK
        make_folders(paths)
        clear_segments(paths.runtime_dir)
        try:
            return _serve(config, config_path, paths, entries, signals, notifier)
        finally:
            clear_segments(paths.runtime_dir)
            remove_runtime(paths)
    finally:
        lock.release()


def _serve(
    config: Config,
    config_path: Path | None,
    paths: InstancePaths,
    entries: Mapping[str, str],
    signals: Signals,
    notifier: Notifier,
) -> int:
    from trader.logs import setup_logging
    from trader.supervisor.service import Instance, Supervisor

    run_id = os.environ.get("INVOCATION_ID") or secrets.token_hex(16)
    logs = setup_logging("supervisor", paths.log_dir, config.logging.level, run_id)
    instance = Instance(config, config_path, paths, run_id, entries, logs.set_level)

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
