"""Wheel and sdist hold what they must, and nothing else; the unpacked wheel runs from any folder."""

from __future__ import annotations

import email
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import trader
from tests.packaging.conftest import ROOT


def package_files() -> set[str]:
    """Return every file of the package in the checkout."""
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / "trader").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the wheel was unpacked into."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(unpacked: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the unpacked `trader` in a folder, where no checkout is in sight."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRADER_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "trader", *arguments],
        cwd=cwd,
        env={**kept, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_wheel_holds_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    """Templates, scripts, pictures, types: what is added tomorrow must be in it, too."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == package_files()
    assert {"trader/py.typed", "trader/__init__.pyi", "trader/dashboard/templates/index.html"} <= names


def test_wheel_says_what_it_is(wheel: Path) -> None:
    """Name, version, Python, command, description."""
    with zipfile.ZipFile(wheel) as archive:
        (folder,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = email.message_from_bytes(archive.read(f"{folder}/METADATA"))
        scripts = archive.read(f"{folder}/entry_points.txt").decode()
    assert (metadata["Name"], metadata["Version"]) == ("trader", trader.__version__)
    assert metadata["Requires-Python"] == ">=3.11"
    assert "trader = trader.cli:main" in scripts
    assert metadata.get_payload().startswith("# trader")
    assert "Tag: py3-none-any" in zipfile.ZipFile(wheel).read(f"{folder}/WHEEL").decode()


def test_sdist_holds_what_make_needs(dist: Path) -> None:
    """Package, tests, documents, unit, installer, lock files: an unpacked one is a checkout."""
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert package_files() <= names
    beside = {"Makefile", "setup.py", "pyproject.toml", "requirements.lock", "requirements-dev.lock", "CHANGELOG.md"}
    assert beside | {"etc/trader.yaml", "systemd/install.sh", "systemd/trader.service", "bin/trader"} <= names
    assert {"docs/architecture.md", "docs/dashboard.png", "tests/packaging/test_package.py"} <= names
    assert not [name for name in names if name.endswith((".pyc", ".nbi", ".nbc"))]


def test_unpacked_wheel_runs_from_any_folder(unpacked: Path, tmp_path: Path) -> None:
    """Its own files, the defaults without a file, a page and a schema."""
    where = "import trader, pathlib; print(pathlib.Path(trader.__file__).parents[1])"
    env = {**os.environ, "PYTHONPATH": str(unpacked)}
    line = [sys.executable, "-P", "-c", where]
    said = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == str(unpacked)
    assert run(unpacked, tmp_path, "--version").stdout.strip() == f"trader {trader.__version__}"
    assert json.loads(run(unpacked, tmp_path, "check", "--json").stdout)["valid"] is True
    assert run(unpacked, tmp_path, "schema", "--markdown").stdout == (ROOT / "docs" / "configuration.md").read_text()
    stopped = run(unpacked, tmp_path, "status")
    assert stopped.returncode == 1
    assert "Traceback" not in stopped.stderr
