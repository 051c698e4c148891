"""Where compiled kernels are kept between starts: a private folder keyed by the code itself.

numba keys a cached function by its own source file only, so a changed helper in another file would be
served stale. Here the folder's name is a hash of every source file of the package and of the compiler's
versions: changed code finds an empty folder. (The CPU is part of numba's own key.)

A kernel is machine code: what a bad disk or a cut-off write made of it would be executed. So the folder is sealed
once its kernels gave the right results, and at the next start a file that is not as it was sealed is removed and
compiled anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import trader

#: folders of other versions that nobody has used for this long are removed
KEEP_UNUSED_S = 30 * 86_400.0
#: file names, below the folder, and the digests of what is in them
SEAL = "seal.json"


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
            remove_unsealed(folder)
            os.environ["NUMBA_CACHE_DIR"] = str(folder)
            _remove_unused(base, keep=folder)
            return folder
    return None


def seal(folder: Path | None = None) -> None:
    """Write down what every file holds, now that the kernels in them have given the right results.

    Parameters
    ----------
    folder : Path, optional
        None: the one that numba was pointed to.
    """
    if folder is None:
        if not (named := os.environ.get("NUMBA_CACHE_DIR")):
            return
        folder = Path(named)
    fresh = folder / f".{SEAL}-{os.getpid()}"
    with suppress(OSError):  # a full disk costs the next start a compilation
        digests = {name: digest for name, path in _files(folder) if (digest := _digest(path)) is not None}
        if digests != _sealed(folder):
            fresh.write_text(json.dumps(digests), encoding="utf-8")
            fresh.replace(folder / SEAL)


def remove_unsealed(folder: Path) -> int:
    """Remove every file that is not as it was sealed; return how many were.

    A file that another engine has just written is only compiled once more.
    """
    sealed = _sealed(folder)
    bad = [path for name, path in _files(folder) if sealed.get(name) != _digest(path)]
    for path in bad:
        with suppress(OSError):
            path.unlink()
    return len(bad)


def _files(folder: Path) -> list[tuple[str, Path]]:
    found = ((str(path.relative_to(folder)), path) for path in folder.rglob("*") if path.suffix in (".nbi", ".nbc"))
    return sorted(found)


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _sealed(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / SEAL).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def wipe(folder: Path) -> None:
    """Empty a cache folder that holds something unreadable; numba fills it again."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _remove_unused(base: Path, keep: Path) -> None:
    oldest = time.time() - KEEP_UNUSED_S
    for folder in base.iterdir():
        if folder != keep and folder.is_dir() and folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)
