"""Where compiled kernels are kept between starts: a private folder keyed by the code itself.

numba keys a cached function by its own source file only, so a changed helper in another file would be
served stale. Here the folder's name is a hash of every source file of the package and of the compiler's
versions: changed code finds an empty folder. (The CPU is part of numba's own key.)

A kernel is machine code: what a bad disk or a cut-off write made of it would be executed. So the folder is sealed
once its kernels gave the right results, and at the next start a file that is not as it was sealed is removed and
compiled anew. Whoever finds kernels missing holds the folder's lock until it has sealed what it compiled; who comes
meanwhile waits, or works in a folder of its own.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import trader

#: folders of other versions that nobody has used for this long are removed
KEEP_UNUSED_S = 30 * 86_400.0
#: file names, below the folder, and the digests of what is in them
SEAL = "seal.json"
#: how often a folder that somebody else fills is looked at again [s]
WAIT_S = 0.05


@dataclass(frozen=True, slots=True)
class KernelCache:
    """A folder of compiled kernels that numba was pointed to."""

    folder: Path
    warm: bool  #: everything that was once sealed in it is there, as it was sealed
    kept: bool = True  #: it is there at the next start


class _Turn:
    """Whose turn it is to fill a folder: this process's from `take` to `end`, or to its death."""

    def __init__(self) -> None:
        self._descriptor = -1

    def take(self, folder: Path) -> bool:
        """Take the turn without waiting; tell whether it is ours."""
        self.end()
        descriptor = os.open(_lock_of(folder), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def end(self) -> None:
        """Let the next one in."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


_turn = _Turn()


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


def open_kernel_cache(
    data_dir: Path, kind: str = "engine", is_asked_to_end: Callable[[], bool] | None = None
) -> KernelCache | None:
    """Choose and make the folder, remove what is not as it was sealed, and point numba to it.

    Must be called before numba is imported. The first usable of $CACHE_DIRECTORY, ~/.cache/trader and the data
    folder; where nothing is writable, a folder that is gone with this process. A folder that is not warm is ours
    alone until `seal`.

    Parameters
    ----------
    data_dir : Path
        The data folder.
    kind : str
        Which kernels: what one program compiles is not sealed by another.
    is_asked_to_end : callable, optional
        Asked while another process fills the folder, and true ends the wait; None: never wait.

    Returns
    -------
    KernelCache or None
        None when there is not even room for a temporary one.
    """
    key = f"{fingerprint()}-{kind}"
    for base in _candidates(data_dir):
        if _usable(base) and _usable(folder := base / key):
            os.utime(folder)
            _remove_unused(base, keep=folder)
            if _await_turn(folder, is_asked_to_end):
                remove_unsealed(folder)
                if warm := _is_whole(folder):
                    _turn.end()
                os.environ["NUMBA_CACHE_DIR"] = str(folder)
                return KernelCache(folder, warm)
            break
    return _use_temporary_folder()


def use_compile_cache(data_dir: Path) -> Path | None:
    """Point numba to the kernels of programs that play history, and return their folder, to be sealed afterwards.

    Parameters
    ----------
    data_dir : Path
        As for `open_kernel_cache`; None when nothing is kept.
    """
    cache = open_kernel_cache(data_dir, "history")
    return cache.folder if cache is not None and cache.kept else None


def _await_turn(folder: Path, is_asked_to_end: Callable[[], bool] | None) -> bool:
    while not _turn.take(folder):
        if is_asked_to_end is None or is_asked_to_end():
            return False
        time.sleep(WAIT_S)
    return True


def _use_temporary_folder() -> KernelCache | None:
    try:
        folder = Path(tempfile.mkdtemp(prefix="trader-kernels-"))
    except OSError:
        return None
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    return KernelCache(folder, warm=False, kept=False)


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
    _turn.end()


def remove_unsealed(folder: Path) -> int:
    """Remove every file that is not as it was sealed; return how many were."""
    sealed = _sealed(folder)
    bad = [path for name, path in _files(folder) if sealed.get(name) != _digest(path)]
    for path in (*bad, *folder.rglob("*.tmp.*")):  # the latter: of whoever was killed while writing
        with suppress(OSError):
            path.unlink()
    return len(bad)


def _is_whole(folder: Path) -> bool:
    sealed = _sealed(folder)
    return bool(sealed) and all((folder / name).exists() for name in sealed)


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


def distrust() -> bool:
    """Remove kernels that were sealed and are wrong all the same; tell whether another start can go better.

    It can not when the kernels have just been compiled, or were removed by this start already: then it is not the
    cache.
    """
    if not (named := os.environ.get("NUMBA_CACHE_DIR")):
        return False
    folder = Path(named)
    if not _sealed(folder):
        return False
    wipe(folder)
    return True


def wipe(folder: Path) -> None:
    """Empty a cache folder that holds something unreadable; it is filled again."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _remove_unused(base: Path, keep: Path) -> None:
    oldest = time.time() - KEEP_UNUSED_S
    for folder in base.iterdir():
        if folder != keep and folder.is_dir() and folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)
            _lock_of(folder).unlink(missing_ok=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")
