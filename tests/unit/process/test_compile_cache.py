"""Where compiled kernels are kept."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import trader
from trader.process import compile_cache
from trader.process.compile_cache import (
    KEEP_UNUSED_S,
    SEAL,
    fingerprint,
    remove_unsealed,
    seal,
    use_compile_cache,
    wipe,
)


@pytest.fixture(autouse=True)
def own_environment(tmp_path, monkeypatch):
    """No cache of the machine is touched."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    monkeypatch.setenv("NUMBA_CACHE_DIR", "as it was")


def test_fingerprint_changes_with_any_source_file(tmp_path, monkeypatch):
    """A byte more in one file, or a renamed file, is another key."""
    copy = tmp_path / "trader"
    shutil.copytree(Path(trader.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(trader, "__file__", str(copy / "__init__.py"))
    first = fingerprint()
    assert fingerprint() == first
    (copy / "units.py").write_bytes((copy / "units.py").read_bytes() + b"\n")
    second = fingerprint()
    (copy / "units.py").rename(copy / "more_units.py")
    assert len({first, second, fingerprint()}) == 3


def test_cache_systemd_folder_comes_first(tmp_path, monkeypatch):
    """$CACHE_DIRECTORY, private to us, below the fingerprint."""
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    folder = use_compile_cache(tmp_path / "data")
    assert folder == tmp_path / "cache" / "kernels" / fingerprint()
    assert os.environ["NUMBA_CACHE_DIR"] == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_cache_folder_that_others_can_write_is_not_used(tmp_path, monkeypatch):
    """A cached kernel is code: the next candidate is taken."""
    open_folder = tmp_path / "cache" / "kernels"
    open_folder.mkdir(parents=True)
    open_folder.chmod(0o777)
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    assert use_compile_cache(tmp_path / "data") == tmp_path / "home" / "trader" / "kernels" / fingerprint()


def test_cache_without_a_home_goes_into_the_data_folder(tmp_path, monkeypatch):
    """A file where the home's cache should be."""
    (tmp_path / "home").write_text("")
    (tmp_path / "data").mkdir()
    assert use_compile_cache(tmp_path / "data") == tmp_path / "data" / "cache" / "kernels" / fingerprint()


def test_cache_nowhere_writable_gives_none_and_leaves_numba_alone(tmp_path, monkeypatch):
    """The engine then compiles at every start."""
    (tmp_path / "home").write_text("")
    (tmp_path / "data").write_text("")
    assert use_compile_cache(tmp_path / "data") is None
    assert os.environ["NUMBA_CACHE_DIR"] == "as it was"


def test_cache_old_versions_are_removed_and_recent_ones_kept(tmp_path):
    """Nobody has used it for a month."""
    base = tmp_path / "home" / "trader" / "kernels"
    for name, age_s in (("old", KEEP_UNUSED_S + 60), ("recent", KEEP_UNUSED_S - 3600)):
        (base / name).mkdir(parents=True)
        when = compile_cache.time.time() - age_s
        os.utime(base / name, (when, when))
    folder = use_compile_cache(tmp_path / "data")
    assert {path.name for path in base.iterdir()} == {"recent", folder.name}


def test_wipe_leaves_an_empty_private_folder(tmp_path):
    """What was unreadable is gone."""
    (tmp_path / "kernels" / "sub").mkdir(parents=True)
    (tmp_path / "kernels" / "sub" / "broken.nbi").write_bytes(b"\0")
    wipe(tmp_path / "kernels")
    assert list((tmp_path / "kernels").iterdir()) == []
    assert (tmp_path / "kernels").stat().st_mode & 0o777 == 0o700


def sealed_folder(tmp_path):
    """Return a folder with a sealed index and a sealed kernel."""
    folder = tmp_path / "kernels"
    (folder / "core_0a").mkdir(parents=True)
    for name in ("core_0a/on_candles.nbi", "core_0a/on_candles.1.nbc"):
        (folder / name).write_bytes(name.encode() * 100)
    seal(folder)
    return folder


@pytest.mark.parametrize("how", [b"", b"noise" * 77, None])
def test_cache_file_that_is_not_as_it_was_sealed_is_removed(tmp_path, how):
    """Cut short, overwritten, or never sealed: only that file goes."""
    folder = sealed_folder(tmp_path)
    assert remove_unsealed(folder) == 0
    bad = folder / "core_0a" / ("on_candles.1.nbc" if how is not None else "check_entry.1.nbc")
    bad.write_bytes(how if how is not None else b"never sealed")
    assert remove_unsealed(folder) == 1
    assert not bad.exists()
    assert (folder / "core_0a" / "on_candles.nbi").exists()


@pytest.mark.parametrize("how", [None, b"", b"[1, 2]", b"\x00"])
def test_cache_without_its_seal_is_emptied(tmp_path, how):
    """A seal that is missing or no seal vouches for nothing."""
    folder = sealed_folder(tmp_path)
    (folder / SEAL).unlink() if how is None else (folder / SEAL).write_bytes(how)
    assert remove_unsealed(folder) == 2


def test_cache_is_checked_before_it_is_used(tmp_path):
    """`use_compile_cache` leaves nothing that was not sealed for numba to load."""
    folder = use_compile_cache(tmp_path / "data")
    (folder / "planted.nbc").write_bytes(b"code")
    assert use_compile_cache(tmp_path / "data") == folder
    assert not (folder / "planted.nbc").exists()
