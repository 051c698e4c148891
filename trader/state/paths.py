"""Where an instance keeps its files: one value that every process and command agrees on.

`locate` is for the service, which makes the folders (`make_folders`); `find` is for the commands, which follow
the link `run` in the data folder to wherever the service put its runtime folder.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trader.errors import StateError

SHM = Path("/dev/shm")  # noqa: S108 - a tmpfs is what shared memory wants; the folder in it is checked


class LoggingSection(Protocol):
    """The part of section `logging` that says where files go."""

    @property
    def dir(self) -> str:
        """Folder of the log files."""


class LocatedConfig(Protocol):
    """The part of the configuration that says where files go."""

    @property
    def data_dir(self) -> str:
        """Folder of the ledger."""

    @property
    def logging(self) -> LoggingSection:
        """Section `logging`."""


@dataclass(frozen=True, slots=True)
class InstancePaths:
    """Folders and files of one instance.

    The data folder outlives everything; the runtime folder (on a tmpfs) lives as long as the
    service and is found through the link `run` in the data folder.
    """

    data_dir: Path
    runtime_dir: Path
    log_dir: Path

    @property
    def ledger(self) -> Path:
        """The ledger, written by the engine only."""
        return self.data_dir / "ledger.db"

    @property
    def metrics(self) -> Path:
        """Performance history, written by the monitor only."""
        return self.data_dir / "metrics.db"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.data_dir / "supervisor.lock"

    @property
    def engine_lock(self) -> Path:
        """Held by the engine for as long as it lives, however it was started."""
        return self.data_dir / "engine.lock"

    @property
    def runtime_link(self) -> Path:
        """Leads commands from the data folder to the runtime folder."""
        return self.data_dir / "run"

    @property
    def control_socket(self) -> Path:
        """Where the supervisor takes commands."""
        return self.runtime_dir / "control.sock"

    def segment(self, role: str, generation: int) -> Path:
        """Return the shared-memory file of one incarnation of a process."""
        return self.runtime_dir / f"seg-{role}-{generation}.shm"


def base_dir(given: Path | None = None) -> Path:
    """Return the folder that `data_dir` is relative to.

    What was given (--data-dir), else $TRADER_DATA_DIR, else systemd's $STATE_DIRECTORY, else the current folder.
    """
    if given is not None:
        return given.absolute()
    named = _environment("TRADER_DATA_DIR") or _environment("STATE_DIRECTORY")
    return Path(named).absolute() if named else Path.cwd()


def locate(base: Path | None, config: LocatedConfig) -> InstancePaths:
    """Return where the service with this configuration keeps its files; makes nothing.

    Parameters
    ----------
    base : Path or None
        What --data-dir named; None: see `base_dir`.
    config : LocatedConfig
        The configuration.

    Returns
    -------
    InstancePaths
        With systemd, the runtime and log folders are those that systemd made.
    """
    data_dir = base_dir(base) / config.data_dir
    return InstancePaths(data_dir, runtime_dir(data_dir), _log_dir(data_dir, config.logging.dir))


def find(base: Path | None = None, config: LocatedConfig | None = None) -> InstancePaths:
    """Return where an instance that may be running keeps its files.

    Parameters
    ----------
    base : Path or None
        What --data-dir named: the data folder itself, or the folder that it is in; None: see `base_dir`.
    config : LocatedConfig, optional
        The configuration, when the command has one.

    Returns
    -------
    InstancePaths
        The runtime folder is where the data folder's link `run` leads, when there is one.

    Raises
    ------
    StateError
        When this user may not look into the data folder.
    """
    start = base_dir(base)
    try:
        # a link: the folder /run, below a current folder of /, is not ours
        own = (start / "ledger.db").exists() or (start / "run").is_symlink()
        data_dir = start if own else start / (config.data_dir if config else "data")
        link = data_dir / "run"
        runtime = data_dir / link.readlink() if link.is_symlink() else runtime_dir(data_dir)
    except PermissionError as error:
        raise StateError(
            f"{error.filename}: user {os.geteuid()} may not look there; ask as root or as the service's user"
        ) from error
    return InstancePaths(data_dir, runtime, _log_dir(data_dir, config.logging.dir if config else "logs"))


def runtime_dir(data_dir: Path) -> Path:
    """Return the runtime folder of a data folder: systemd's, else one on the tmpfs that the name is tied to."""
    given = _environment("RUNTIME_DIRECTORY")
    if given:
        return Path(given)
    digest = hashlib.sha256(os.fsencode(os.path.realpath(data_dir))).hexdigest()[:12]
    return SHM / f"trader-{os.geteuid()}-{digest}"


def make_folders(paths: InstancePaths) -> None:
    """Make the data and runtime folders and the link between them.

    Parameters
    ----------
    paths : InstancePaths
        From `locate`.

    Raises
    ------
    StateError
        When a folder can't be made, or the runtime folder is somebody else's.
    """
    try:
        paths.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(f"{paths.data_dir}: the data folder can not be made: {error.strerror}") from error
    _make_runtime_dir(paths.runtime_dir)
    _link(paths.runtime_link, paths.runtime_dir)


def remove_runtime(paths: InstancePaths) -> None:
    """Remove the link, and the runtime folder when it is empty and ours to remove (systemd removes its own)."""
    if paths.runtime_link.is_symlink() and paths.runtime_link.readlink() == paths.runtime_dir:
        paths.runtime_link.unlink(missing_ok=True)
    if not _environment("RUNTIME_DIRECTORY"):
        try:
            paths.runtime_dir.rmdir()
        except OSError:
            return


def _environment(name: str) -> str | None:
    # systemd gives several folders as one text with colons; ours is the first
    return os.environ.get(name, "").split(":")[0] or None


def _log_dir(data_dir: Path, configured: str) -> Path:
    given = _environment("LOGS_DIRECTORY")
    return Path(given) if given else data_dir / configured


def _make_runtime_dir(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = os.lstat(folder)
    except OSError as error:
        raise StateError(
            f"{folder}: the runtime folder can not be made: {error.strerror}; $RUNTIME_DIRECTORY can name another"
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        raise StateError(f"{folder}: is no folder but a link or a file; remove it, nothing of ours makes one")
    if status.st_uid != os.geteuid():
        raise StateError(f"{folder}: belongs to user {status.st_uid}, expected user {os.geteuid()}")
    if status.st_mode & 0o022:
        raise StateError(f"{folder}: has mode {stat.S_IMODE(status.st_mode):04o}, others could write; expected 0700")


def _link(link: Path, target: Path) -> None:
    # renamed into place: a command never finds the data folder without its link
    fresh = link.with_name(f".run-{os.getpid()}")
    try:
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target)
        fresh.replace(link)
    except OSError as error:
        raise StateError(f"{link}: the link to the runtime folder can not be made: {error.strerror}") from error
