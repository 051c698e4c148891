"""Which secrets the service started with, known by their digests: a key that was rotated takes a restart.

Workers fetch their secrets when they start. A new key in the same place changes nothing in the configuration, so a
reload does not bring it into force; its owner has to be told.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from pydantic import BaseModel

from trader.config.secrets import resolve
from trader.config.sections import Config, SecretConfig
from trader.errors import ConfigError


class KeyWatch:
    """The digests of all secrets that a configuration names.

    Parameters
    ----------
    config : Config
        What the service starts with.
    """

    def __init__(self, config: Config) -> None:
        self._salt = os.urandom(32)  # a digest says nothing to anyone else
        self._known: dict[str, tuple[SecretConfig, bytes | None]] = {}
        self.take(config)

    def take(self, config: Config) -> None:
        """Take a configuration over: a secret in another place is a new one, and is in use from now on."""
        places = dict(_places(config))
        kept = {key: known for key, known in self._known.items() if key in places and known[0] == places[key]}
        self._known = {key: (place, self._digest(key, place)) for key, place in places.items()} | kept

    def rotated(self) -> list[str]:
        """Return the keys of the configuration whose secret is not the one in use any more.

        One that was not there, or is not there now, is none of them: whoever needs it says so.
        """
        return [
            key
            for key, (place, digest) in self._known.items()
            if digest is not None and (now := self._digest(key, place)) is not None and now != digest
        ]

    def _digest(self, key: str, place: SecretConfig) -> bytes | None:
        try:
            secret = resolve(place, key).reveal()
        except (ConfigError, OSError):
            return None
        return hashlib.blake2b(secret.encode(), key=self._salt).digest()


def _places(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, SecretConfig]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        for index, part in enumerate(value if isinstance(value, tuple) else (value,)):
            key = f"{prefix}{name}" + (f".{index}" if isinstance(value, tuple) else "")
            if isinstance(part, SecretConfig):
                yield key, part
            elif isinstance(part, BaseModel):
                yield from _places(part, f"{key}.")
