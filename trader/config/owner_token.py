"""The dashboard's own token: made once, kept in the data folder for nobody but the service's user and root.

Whoever configures `dashboard.token` keeps the token elsewhere, and this file is not made.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from trader.config.secrets import Secret
from trader.config.sections import SecretConfig
from trader.errors import ConfigError

FILE_NAME = "dashboard.token"
_BYTES = 24
_KEY = "dashboard.token"


def token_file(data_dir: Path) -> Path:
    """Return where an instance keeps its token."""
    return data_dir / FILE_NAME


def read_token(path: Path) -> Secret:
    """Return the token in a file.

    Raises
    ------
    ConfigError
        When there is none, or it lies open to other users.
    """
    from trader.config.secrets import resolve

    return resolve(SecretConfig(file=str(path)), _KEY)


def ensure_token(path: Path) -> Secret:
    """Return the token in a file, made first when there is none.

    Parameters
    ----------
    path : Path
        See `token_file`.

    Returns
    -------
    Secret
        The same for everybody who asks, whoever was first.

    Raises
    ------
    ConfigError
        When the file can be neither read nor made.
    """
    if not path.exists():
        _write(path, replace=False)
    return read_token(path)


def renew_token(path: Path) -> Secret:
    """Put a new token in place of the one in a file; who signed in with the old one has to sign in again.

    Raises
    ------
    ConfigError
        When the file can't be written.
    """
    _write(path, replace=True)
    return read_token(path)


def _write(path: Path, *, replace: bool) -> None:
    # made under another name and moved into place: nobody ever reads half a token, and of two makers one wins
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(_BYTES) + "\n")
            _own_like_folder(fresh, path.parent)
            if replace:
                fresh.replace(path)
            else:
                _link(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{_KEY}: {path} can not be made: {error.strerror}; set {_KEY} to a token kept elsewhere"
        ) from error


def _own_like_folder(path: Path, folder: Path) -> None:
    """Give the file to whom the data folder belongs: root may renew the token of a service's user."""
    owner = folder.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.chown(path, owner.st_uid, owner.st_gid)


def _link(fresh: Path, path: Path) -> None:
    try:
        os.link(fresh, path)
    except FileExistsError:
        return  # another was faster: theirs counts
