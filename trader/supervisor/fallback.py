"""What the service falls back on: the last configuration that held, and how the last run ended.

Two files in the data folder. `running` is there from the moment the service may trade until it has stopped
in order: found at a start, it says that the last run was cut off. `last-good.yaml` holds the bytes of
the last configuration that the service ran on for a whole probation.

A half-edited file must not keep the trader from positions that a crash has left open. So an invalid
configuration ends a start with exit code 78, except after a run that was cut off: then the service starts
on last-good.yaml, opens nothing, and says so everywhere.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trader.config.loading import parse_config, read
from trader.config.sections import Config
from trader.errors import ConfigError
from trader.state.paths import base_dir

_DATA_DIR = re.compile(r"^data_dir:[ \t]*([^#\n]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Source:
    """A configuration and where it is from."""

    config: Config
    path: Path | None  #: the file that was read; None: the built-in defaults
    content: bytes | None = None  #: its bytes
    reduce_only: str | None = None  #: why nothing may be opened: what is wrong with the file that was meant


class Keepsake:
    """The two files.

    Parameters
    ----------
    data_dir : Path
        The data folder; may not exist yet.
    """

    def __init__(self, data_dir: Path) -> None:
        self.last_good = data_dir / "last-good.yaml"
        self._running = data_dir / "running"

    @property
    def is_unclean(self) -> bool:
        """Whether the last run was cut off."""
        return self._running.exists()

    def begin(self) -> None:
        """Note, on disk, that the service may trade from now on; an empty file, so that a full disk has room for it.

        Raises
        ------
        OSError
            When it can't be noted.
        """
        if not self._running.exists():
            os.close(os.open(self._running, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            _sync_folder(self._running.parent)

    def end(self) -> None:
        """Note that the service has stopped in order."""
        self._running.unlink(missing_ok=True)

    def keep(self, content: bytes) -> None:
        """Keep the bytes of a configuration that has held."""
        with suppress(OSError):
            if self.last_good.read_bytes() == content:
                return
        _write(self.last_good, content)

    def recall(self, error: ConfigError, folder: Path | None = None) -> Source:
        """Return the last configuration that held, in place of one that is not valid.

        Parameters
        ----------
        error : ConfigError
            What is wrong with the one that was meant.
        folder : Path, optional
            Of the one that was meant: where the owner's own strategies are.

        Raises
        ------
        ConfigError
            The same, when the last run ended in order or there is nothing to fall back on.
        """
        if not self.is_unclean:
            raise error
        try:
            content = read(self.last_good)
            return Source(parse_config(content, str(self.last_good), folder), self.last_good, content, str(error))
        except ConfigError:
            raise error from None


def choose(path: Path | None, base: Path | None) -> Source:
    """Return the configuration to start on.

    Parameters
    ----------
    path : Path or None
        The configuration file; None: the built-in defaults.
    base : Path or None
        What --data-dir named.

    Raises
    ------
    ConfigError
        When the file is not valid, and the rule above does not apply.
    """
    if path is None:
        return Source(Config(), None)
    content = b""
    try:
        content = read(path)
        return Source(parse_config(content, str(path)), path, content)
    except ConfigError as error:
        return Keepsake(base_dir(base) / _data_dir_in(content)).recall(error, path.absolute().parent)


def _data_dir_in(content: bytes) -> str:
    """Return the data folder that a file names which can't be read as a whole."""
    found = _DATA_DIR.search(content.decode("utf-8", "replace"))
    return found[1].strip().strip("\"'") if found else Config().data_dir


def _write(path: Path, content: bytes) -> None:
    """Write a file so that after a power cut it is the old one or the new one, and whole."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
