"""The dashboard's own token: made once, for nobody else, renewed on request."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trader.config.owner_token import ensure_token, read_token, renew_token, token_file
from trader.errors import ConfigError


def test_ensure_token_first_time_makes_one_for_nobody_else(tmp_path: Path) -> None:
    """Long, readable by its owner only, and nothing is left beside it."""
    path = token_file(tmp_path)
    token = ensure_token(path)
    assert len(token.reveal()) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_ensure_token_again_returns_the_same(tmp_path: Path) -> None:
    """A restart asks nobody to sign in with another token."""
    path = token_file(tmp_path)
    assert ensure_token(path).reveal() == ensure_token(path).reveal() == read_token(path).reveal()


def test_ensure_token_by_many_at_once_is_one_token(tmp_path: Path) -> None:
    """Whoever was first has made it; the others read it."""
    path = token_file(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        found = {token.reveal() for token in pool.map(lambda _: ensure_token(path), range(32))}
    assert len(found) == 1


def test_renew_token_is_another_one(tmp_path: Path) -> None:
    """The old one is gone, the file stays closed to others."""
    path = token_file(tmp_path)
    old = ensure_token(path).reveal()
    assert renew_token(path).reveal() != old
    assert path.stat().st_mode & 0o777 == 0o600


def test_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """It protects nothing any more."""
    path = token_file(tmp_path)
    ensure_token(path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        ensure_token(path)


def test_ensure_token_without_a_folder_says_what_to_do(tmp_path: Path) -> None:
    """The folder is named, and the key that avoids the file."""
    with pytest.raises(ConfigError, match=r"dashboard\.token"):
        ensure_token(token_file(tmp_path / "nowhere"))
