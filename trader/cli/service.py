"""`run`, `check` and `schema`: the service itself and its configuration."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from trader.cli.place import config_path
from trader.errors import EXIT_CONFIG, EXIT_OK, TraderError

if TYPE_CHECKING:
    from trader.config.problems import Problem
    from trader.config.sections import Config


def run(arguments: Namespace) -> int:
    """Run the service until it ends."""
    # its first act is to install the signal handlers: nothing slow may be imported before
    from trader.supervisor.main import run as run_service

    return run_service(config_path(arguments), arguments.data_dir)


def check(arguments: Namespace) -> int:
    """Validate the configuration, strategies and the venue's name included; every problem on a line of its own."""
    from trader.cli.output import emit
    from trader.config.loading import load
    from trader.config.problems import ConfigErrors

    path = config_path(arguments)
    try:
        config = load(path)
        problems = (*_strategy_problems(config, path), *_venue_problems(config, path))
    except ConfigErrors as error:
        problems = error.problems
    shown = str(path) if path is not None else "the built-in defaults"
    document = {
        "file": str(path) if path is not None else None,
        "valid": not problems,
        "problems": [{"line": item.line, "key": item.key, "text": item.text} for item in problems],
    }
    if problems and not arguments.json:
        raise ConfigErrors(problems)
    emit(document, f"{shown}: valid", as_json=arguments.json)
    return EXIT_CONFIG if problems else EXIT_OK


def schema(arguments: Namespace) -> int:
    """Print what the models say, for editors or for people."""
    from trader.config.schema import json_schema, markdown

    text = markdown() if arguments.markdown else json.dumps(json_schema(), indent=2) + "\n"
    print(text, end="")
    return EXIT_OK


def _strategy_problems(config: Config, path: Path | None) -> tuple[Problem, ...]:
    from trader.config.loading import located
    from trader.config.problems import Problem
    from trader.strategy.advised import equip
    from trader.strategy.registry import create

    try:
        equip(create(config.strategies, config.market.symbols, config.market.timeframe), config, None)
    except TraderError as error:
        return located(path, str(error)) if path is not None else (Problem("defaults", 1, "strategies", str(error)),)
    return ()


def _venue_problems(config: Config, path: Path | None) -> tuple[Problem, ...]:
    """Return what a client of the venue, made and let go without a request, finds wrong with its section."""
    if config.market.source != "exchange" or path is None:
        return ()
    import asyncio

    from trader.config.loading import located
    from trader.market.connection import FEED_NEEDS, ExchangeConnection

    async def make() -> None:
        connection = ExchangeConnection(config.market)
        try:
            connection.check_capabilities(FEED_NEEDS)
        finally:
            await connection.close()

    try:
        asyncio.run(make())
    except TraderError as error:
        return located(path, str(error))
    return ()
