"""Configurations made from another one: single values put in by their dotted key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from trader.config import checks
from trader.config.problems import describe, dotted, unknown_key
from trader.config.sections import Config
from trader.errors import ConfigError

Key = tuple[str | int, ...]


def key_of(text: str) -> Key:
    """Return a dotted key as a path: strategies.0.params.period."""
    return tuple(int(part) if part.isdigit() else part for part in text.split("."))


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """Return a configuration with other values under some keys, valid as a whole.

    Parameters
    ----------
    config : Config
        Where the other values come from.
    values : mapping of str to object
        New values by dotted key; `strategies.0.params.period` reaches into lists and free sections.

    Raises
    ------
    ConfigError
        Naming each key that does not exist, and each value that is not allowed.
    """
    # a section that no key reaches into stays the valid model that it is, and is not looked at again
    data: dict[str, Any] = {name: getattr(config, name) for name in type(config).model_fields}
    keys = [key_of(text) for text in values]
    data |= config.model_dump(include={str(key[0]) for key in keys})
    for key, value in zip(keys, values.values(), strict=True):
        _put(data, key, value)
    try:
        made = Config.model_validate(data)
    except ValidationError as error:
        lines = [f"{dotted(one['loc'])}: {describe(one)}" for one in error.errors(include_url=False)]
        raise ConfigError("\n".join(lines)) from None
    found = checks.findings(made)
    if found:
        raise ConfigError("\n".join(f"{dotted(one.path)}: {one.text}" for one in found))
    return made


def _put(data: Any, key: Key, value: Any) -> None:
    place = data
    for depth, part in enumerate(key[:-1]):
        place = _inside(place, part, key, key[: depth + 1])
    last = key[-1]
    if isinstance(place, dict):
        # sections name their keys; those below params, exchange_config and instruments are free
        if last not in place and not _is_free(key):
            raise ConfigError(f"{dotted(key)}: {unknown_key(key)}")
        place[last] = value
    elif isinstance(place, list | tuple) and isinstance(last, int) and last < len(place):
        raise ConfigError(f"{dotted(key)}: put in the keys of an entry, as in {dotted(key)}.use")
    else:
        raise ConfigError(f"{dotted(key)}: there is no such key")


def _inside(place: Any, part: str | int, key: Key, reached: Key) -> Any:
    if isinstance(place, dict):
        if part not in place:
            if _is_free(key):
                place[part] = {}
            else:
                raise ConfigError(f"{dotted(key)}: {dotted(reached)}: {unknown_key(reached)}")
        return place[part]
    if isinstance(place, list | tuple):
        if not isinstance(part, int) or part >= len(place):
            raise ConfigError(f"{dotted(key)}: {dotted(reached)}: the list has entries 0 to {len(place) - 1}")
        return place[part]
    raise ConfigError(f"{dotted(key)}: there is nothing below {dotted(reached[:-1])}")


def _is_free(key: Key) -> bool:
    in_params = len(key) > 2 and key[0] == "strategies" and key[2] == "params"
    return in_params or key[:2] in (("market", "exchange_config"), ("market", "instruments"))
