"""The wheel and the sdist of this checkout, built once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: what a fresh checkout has; nothing that builds and tests have left behind
SOURCES = ("trader", "bin", "docs", "etc", "systemd", "tests")
LEAVINGS = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc", "*.pyc", "*.egg-info", ".*")


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with both, built of a copy of the checkout as `make package` does."""
    tree, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        shutil.copytree(ROOT / name, tree / name, ignore=LEAVINGS)
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy2(path, tree / path.name)
    uv = Path(sys.executable).with_name("uv")
    build = ["build", "--quiet", "--no-build-isolation", "--offline", "--python", sys.executable]
    subprocess.run([uv, *build, "--out-dir", out, "."], cwd=tree, check=True, capture_output=True, timeout=250)
    return out


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    """Return the wheel."""
    (found,) = dist.glob("*.whl")
    return found
