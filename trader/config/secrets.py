"""Secrets: fetched from where the configuration says, at the moment of use, and never printed."""

from __future__ import annotations

import hmac
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from trader.config.sections import CredentialsConfig, SecretConfig
from trader.errors import ConfigError

MAX_BYTES = 64 * 1024
HIDDEN: Final = "***"


class Secret:
    """A text that shows itself only when asked by name: not in str, repr, format, pickle or comparison."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def matches(self, candidate: str) -> bool:
        """Tell whether a text is this secret, in a time that says nothing about where they differ."""
        return hmac.compare_digest(self._value.encode(), candidate.encode("utf-8", "surrogateescape"))

    def __str__(self) -> str:
        return HIDDEN

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret does not travel: each process resolves its own")


def resolve(config: SecretConfig, key: str, environ: Mapping[str, str] | None = None) -> Secret:
    """Fetch a secret from where the configuration says it is.

    Parameters
    ----------
    config : SecretConfig
        Where it is: environment variable, file or systemd credential.
    key : str
        The configuration key that asks, for messages: "credentials.api_key".
    environ : mapping, optional
        Environment to look into; the process's own by default.

    Returns
    -------
    Secret
        The text without surrounding white space.

    Raises
    ------
    ConfigError
        When it is not there, is empty, or lies open to other users; names the place, never the value.
    """
    environ = os.environ if environ is None else environ
    if config.env is not None:
        value, place = environ.get(config.env), f"environment variable {config.env}"
        if value is None:
            raise ConfigError(f"{key}: {place} is not set")
    elif config.file is not None:
        place = config.file
        value = _read(Path(config.file).expanduser(), key)
    else:
        path = _credential(str(config.credential), key, environ)
        value, place = _read(path, key), str(path)
    value = value.strip()
    if not value:
        raise ConfigError(f"{key}: {place} is empty")
    return Secret(value)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The venue's keys, fetched."""

    api_key: Secret
    secret: Secret
    password: Secret | None = None

    @property
    def values(self) -> tuple[str, ...]:
        """Return the secrets themselves, to be hidden from logs."""
        given = (self.api_key, self.secret, self.password)
        return tuple(one.reveal() for one in given if one is not None)


def resolve_credentials(config: CredentialsConfig, environ: Mapping[str, str] | None = None) -> Credentials | None:
    """Fetch the venue's keys from where the configuration says they are.

    Parameters
    ----------
    config : CredentialsConfig
        Section `credentials`.
    environ : mapping, optional
        Environment to look into; the process's own by default.

    Returns
    -------
    Credentials or None
        None when no key is configured.

    Raises
    ------
    ConfigError
        When one of key and secret is missing, or can not be fetched; names the place, never the value.
    """
    if config.api_key is None and config.secret is None:
        return None
    if config.api_key is None or config.secret is None:
        missing = "api_key" if config.api_key is None else "secret"
        raise ConfigError(f"credentials.{missing}: is missing: a venue's key and its secret belong together")
    password = resolve(config.password, "credentials.password", environ) if config.password else None
    return Credentials(
        resolve(config.api_key, "credentials.api_key", environ),
        resolve(config.secret, "credentials.secret", environ),
        password,
    )


def _credential(name: str, key: str, environ: Mapping[str, str]) -> Path:
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise ConfigError(
            f"{key}: credential {name} needs systemd: CREDENTIALS_DIRECTORY is not set (LoadCredential={name}:PATH)"
        )
    if "/" in name or name in (".", ".."):
        raise ConfigError(f"{key}: {name!r} is no name of a credential")
    return Path(folder) / name


def _read(path: Path, key: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{key}: {path} is no regular file")
            if status.st_mode & stat.S_IROTH:
                raise ConfigError(f"{key}: {path} can be read by every user: chmod 600 {path}")
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{key}: {path} can not be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{key}: {path} is larger than {MAX_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{key}: {path} is not UTF-8 text") from None
