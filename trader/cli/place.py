"""Which configuration and which instance a command means."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from trader.cli.output import warn
from trader.errors import ConfigError

if TYPE_CHECKING:
    from trader.config.sections import Config
    from trader.state.paths import InstancePaths

DEFAULT_FILE = Path("etc/trader.yaml")


def config_path(arguments: Namespace) -> Path | None:
    """Return the configuration file: --config, $TRADER_CONFIG, etc/trader.yaml if it is there, or None."""
    given: Path | None = arguments.config
    if given is not None:
        return given
    named = os.environ.get("TRADER_CONFIG")
    if named:
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def instance_paths(arguments: Namespace) -> InstancePaths:
    """Return where the instance keeps its files, running or not.

    A configuration that is broken right now must not keep an owner from closing positions: its data
    folder is then taken to be the default one.
    """
    from trader.state.paths import find

    return find(arguments.data_dir, _config_or_none(arguments))


def _config_or_none(arguments: Namespace) -> Config | None:
    from trader.config.loading import load

    path = config_path(arguments)
    try:
        return load(path)
    except ConfigError:
        warn(f"{path} can not be used (see `trader check`); looking for the data folder without it")
        return None
