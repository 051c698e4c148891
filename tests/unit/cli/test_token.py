"""The command that shows the dashboard's token."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trader.cli import main
from trader.config.owner_token import ensure_token, token_file


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Return a data folder of the default configuration."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def _said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 0
    return capsys.readouterr().out.strip()


def test_token_shown_is_the_dashboards(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same that the dashboard will take, made by whoever asks first."""
    shown = _said(capsys, "token", "--data-dir", str(data_dir.parent))
    assert shown == ensure_token(token_file(data_dir)).reveal()
    document = json.loads(_said(capsys, "token", "--data-dir", str(data_dir.parent), "--json"))
    assert document == {"token": shown, "file": str(token_file(data_dir))}


def test_token_new_replaces_it(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A token that was seen by the wrong eyes is worth nothing after this."""
    first = _said(capsys, "token", "--data-dir", str(data_dir.parent))
    assert _said(capsys, "token", "--new", "--data-dir", str(data_dir.parent)) != first


def test_token_kept_elsewhere_is_not_made(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The place is named, and no second token appears."""
    config = data_dir.parent / "trader.yaml"
    config.write_text("dashboard: {token: {env: MY_TOKEN}}\n")
    assert main(["token", "--config", str(config), "--data-dir", str(data_dir.parent)]) == 2
    assert "MY_TOKEN" in capsys.readouterr().err
    assert not token_file(data_dir).exists()


def test_token_without_a_data_folder_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is made where no service ever ran."""
    assert main(["token", "--data-dir", str(tmp_path)]) == 78
    assert "no data folder" in capsys.readouterr().err
