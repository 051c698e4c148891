"""The dashboard's token: shown to whoever may read the data folder, renewed on request."""

from __future__ import annotations

from argparse import Namespace

from trader.cli.output import emit
from trader.cli.place import config_path, instance_paths
from trader.errors import EXIT_OK, ConfigError, UsageError


def token(arguments: Namespace) -> int:
    """Show the token that the dashboard's commands need, or put a new one in its place."""
    from trader.config.loading import load
    from trader.config.owner_token import ensure_token, renew_token, token_file

    configured = load(config_path(arguments)).dashboard.token
    paths = instance_paths(arguments)
    path = token_file(paths.data_dir)
    if configured is not None:
        place = configured.model_dump(exclude_none=True)
        kind, name = next(iter(place.items()))
        raise UsageError(f"dashboard.token is configured as {{{kind}: {name}}}: the token is kept there, not by trader")
    if not paths.data_dir.is_dir():
        raise ConfigError(f"there is no data folder {paths.data_dir} yet: it begins when the service first runs")
    found = renew_token(path) if arguments.new else ensure_token(path)
    emit({"token": found.reveal(), "file": str(path)}, found.reveal(), as_json=arguments.json)
    return EXIT_OK
