"""Secrets that were rotated under a running service."""

from __future__ import annotations

import pytest

from trader.config.sections import Config
from trader.supervisor.keys import KeyWatch


@pytest.fixture
def folder(tmp_path):
    """Provide a folder with two keys."""
    for name in ("key", "secret"):
        write(tmp_path / name, f"first-{name}")
    return tmp_path


def write(path, text):
    """Write a file that only its owner can read."""
    path.touch(0o600)
    path.write_text(text)


def config(folder, key="key"):
    """Return a configuration that names them."""
    places = {"api_key": {"file": str(folder / key)}, "secret": {"file": str(folder / "secret")}}
    return Config.model_validate({"credentials": places})


def test_key_that_is_as_it_was_is_not_rotated(folder):
    """Written again with the same text, too."""
    watch = KeyWatch(config(folder))
    write(folder / "key", "first-key\n")
    assert watch.rotated() == []


def test_key_with_another_secret_is_rotated_until_it_is_as_before(folder):
    """Only that one."""
    watch = KeyWatch(config(folder))
    write(folder / "secret", "second-secret")
    assert watch.rotated() == ["credentials.secret"]
    write(folder / "secret", "first-secret")
    assert watch.rotated() == []


def test_key_in_another_place_is_in_use_from_then_on(folder):
    """A changed configuration brings it into force, a changed file does not."""
    watch = KeyWatch(config(folder))
    write(folder / "other", "another-key")
    watch.take(config(folder, "other"))
    assert watch.rotated() == []
    write(folder / "other", "yet-another-key")
    write(folder / "secret", "second-secret")
    watch.take(config(folder, "other"))
    assert sorted(watch.rotated()) == ["credentials.api_key", "credentials.secret"]


def test_key_that_is_missing_is_not_called_rotated(folder, monkeypatch):
    """Neither at first nor later: whoever needs it says so."""
    (folder / "key").unlink()
    watch = KeyWatch(config(folder))
    write(folder / "key", "now-it-is-there")
    (folder / "secret").unlink()
    assert watch.rotated() == []


def test_digests_tell_nothing():
    """A watch that is printed or dumped holds no secret."""
    watch = KeyWatch(Config.model_validate({"dashboard": {"token": {"env": "HOME"}}}))
    assert "/root" not in repr(vars(watch))
