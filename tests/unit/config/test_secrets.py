"""`trader.config.secrets`: found where they are, never shown."""

from __future__ import annotations

import pickle

import pytest

from trader.config.secrets import Secret, resolve
from trader.config.sections import SecretConfig
from trader.errors import ConfigError


def test_resolve_each_place_gives_the_stripped_text(tmp_path):
    """Environment, file and credential all work, without the editor's last newline."""
    path = tmp_path / "key"
    path.write_text("s3cret\n")
    path.chmod(0o600)
    environ = {"NAME": "s3cret", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    for config in (SecretConfig(env="NAME"), SecretConfig(file=str(path)), SecretConfig(credential="key")):
        assert resolve(config, "credentials.api_key", environ).reveal() == "s3cret"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (SecretConfig(env="NONE"), "environment variable NONE is not set"),
        (SecretConfig(env="EMPTY"), "environment variable EMPTY is empty"),
        (SecretConfig(file="/nonexistent/key"), "/nonexistent/key can not be read"),
        (SecretConfig(credential="key"), "CREDENTIALS_DIRECTORY is not set"),
    ],
)
def test_resolve_missing_names_key_and_place(config, words):
    """Who reads the message knows what to set."""
    with pytest.raises(ConfigError, match=f"credentials.secret: .*{words}"):
        resolve(config, "credentials.secret", {"EMPTY": " "})


def test_resolve_file_open_to_all_is_refused_without_its_text(tmp_path):
    """A key that everyone can read is no key."""
    path = tmp_path / "key"
    path.write_text("hunter2")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600") as caught:
        resolve(SecretConfig(file=str(path)), "dashboard.token", {})
    assert "hunter2" not in str(caught.value)


def test_resolve_credential_name_stays_in_its_folder(tmp_path):
    """A credential's name is no path."""
    with pytest.raises(ConfigError, match="no name of a credential"):
        resolve(SecretConfig(credential="../key"), "k", {"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_secret_never_shows_itself():
    """No way of printing or sending gives it away."""
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]} {vars(type(secret))}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_secret_matches_only_itself():
    """Comparison works on any text, also on what is no UTF-8."""
    assert Secret("a").matches("a")
    assert not Secret("a").matches("b")
    assert not Secret("a").matches("\udcff")
