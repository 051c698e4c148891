"""Where compiled kernels are kept between starts: a private folder keyed by the code itself.

numba keys a cached function by its own source file only, so a changed helper in another file would be
served stale. Here the folder's name is a hash of every source file of the package and of the compiler's
versions: changed code finds an empty folder. (The CPU is part of numba's own key.)
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import trader

#: folders of other versions that nobody has used for this long are removed
KEEP_UNUSED_S = 30 * 86_400.0


def fingerprint() -> str:
    """Return 16 hex digits that change with any source file, or with Python, numba, llvmlite or numpy."""
    digest = hashlib.sha256(platform.python_version().encode())
    for package in ("numba", "llvmlite", "numpy"):
        try:
            digest.update(f"{package}={version(package)}".encode())
        except PackageNotFoundError:
            digest.update(f"{package}=none".encode())
    root = Path(trader.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _candidates(data_dir: Path) -> list[Path]:
    bases = []
    if given := os.environ.get("CACHE_DIRECTORY"):
        bases.append(Path(given.split(":")[0]))
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - Path.home() may raise
    bases.append(Path(home) / "trader")
    bases.append(data_dir / "cache")
    return [base / "kernels" for base in bases]


def _usable(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    # a cached kernel is a pickle: a folder that others can write to is code that others can write
    status = folder.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022 and os.access(folder, os.W_OK)


def use_compile_cache(data_dir: Path) -> Path | None:
    """Choose and make the folder, point numba to it, and return it; None when nothing is writable.

    Must be called before numba is imported. The first usable of $CACHE_DIRECTORY, ~/.cache/trader and
    the data folder.
    """
    key = fingerprint()
    for base in _candidates(data_dir):
        if _usable(base) and _usable(folder := base / key):
            os.utime(folder)
            os.environ["NUMBA_CACHE_DIR"] = str(folder)
            _remove_unused(base, keep=folder)
            return folder
    return None


def wipe(folder: Path) -> None:
    """Empty a cache folder that holds something unreadable; numba fills it again."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _remove_unused(base: Path, keep: Path) -> None:
    oldest = time.time() - KEEP_UNUSED_S
    for folder in base.iterdir():
        if folder != keep and folder.is_dir() and folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)
