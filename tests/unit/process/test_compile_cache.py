"""Where compiled kernels are kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import trader
from trader.process import compile_cache
from trader.process.compile_cache import (
    KEEP_UNUSED_S,
    SEAL,
    distrust,
    fingerprint,
    open_kernel_cache,
    remove_unsealed,
    seal,
    use_compile_cache,
    wipe,
)

KEY = f"{fingerprint()}-engine"


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
    folder = open_kernel_cache(tmp_path / "data").folder
    assert folder == tmp_path / "cache" / "kernels" / KEY
    assert os.environ["NUMBA_CACHE_DIR"] == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_cache_folder_that_others_can_write_is_not_used(tmp_path, monkeypatch):
    """A cached kernel is code: the next candidate is taken."""
    open_folder = tmp_path / "cache" / "kernels"
    open_folder.mkdir(parents=True)
    open_folder.chmod(0o777)
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    assert open_kernel_cache(tmp_path / "data").folder == tmp_path / "home" / "trader" / "kernels" / KEY


def test_cache_without_a_home_goes_into_the_data_folder(tmp_path, monkeypatch):
    """A file where the home's cache should be."""
    (tmp_path / "home").write_text("")
    (tmp_path / "data").mkdir()
    assert open_kernel_cache(tmp_path / "data").folder == tmp_path / "data" / "cache" / "kernels" / KEY


def test_cache_nowhere_writable_is_a_temporary_one(tmp_path, monkeypatch):
    """The engine then compiles at every start, and never beside its own source, where nothing is keyed by the code."""
    (tmp_path / "home").write_text("")
    (tmp_path / "data").write_text("")
    cache = open_kernel_cache(tmp_path / "data")
    assert (cache.kept, cache.warm) == (False, False)
    assert os.environ["NUMBA_CACHE_DIR"] == str(cache.folder)
    monkeypatch.setattr(compile_cache.tempfile, "tempdir", str(tmp_path / "data"))
    assert open_kernel_cache(tmp_path / "data") is None


def test_cache_old_versions_are_removed_and_recent_ones_kept(tmp_path):
    """Nobody has used it for a month."""
    base = tmp_path / "home" / "trader" / "kernels"
    for name, age_s in (("old", KEEP_UNUSED_S + 60), ("recent", KEEP_UNUSED_S - 3600)):
        (base / name).mkdir(parents=True)
        when = compile_cache.time.time() - age_s
        os.utime(base / name, (when, when))
    (base / "old.lock").write_text("")
    folder = open_kernel_cache(tmp_path / "data").folder
    assert {path.name for path in base.iterdir()} == {"recent", folder.name, f"{folder.name}.lock"}


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
    """`open_kernel_cache` leaves nothing that was not sealed for numba to load."""
    folder = open_kernel_cache(tmp_path / "data").folder
    (folder / "planted.nbc").write_bytes(b"code")
    (folder / "on_candles.nbi.tmp.0a1b").write_bytes(b"of whoever was killed")
    assert open_kernel_cache(tmp_path / "data").folder == folder
    assert [path.name for path in folder.iterdir()] == []


def test_cache_is_warm_once_its_kernels_are_sealed_and_until_one_is_missing(tmp_path):
    """A file more is removed and costs nothing; a file less has to be compiled."""
    cache = open_kernel_cache(tmp_path / "data")
    assert not cache.warm
    for name in ("one.nbi", "one.1.nbc"):
        (cache.folder / name).write_bytes(name.encode())
    seal()
    assert open_kernel_cache(tmp_path / "data").warm
    (cache.folder / "more.nbi").write_bytes(b"not sealed")
    assert open_kernel_cache(tmp_path / "data").warm
    (cache.folder / "one.1.nbc").write_bytes(b"spoiled")
    assert not open_kernel_cache(tmp_path / "data").warm


def test_cache_of_one_kind_is_not_that_of_another(tmp_path):
    """What a backtest compiles is not removed by an engine as something that it has not sealed."""
    engine = open_kernel_cache(tmp_path / "data")
    (engine.folder / "one.nbi").write_bytes(b"x")
    seal()
    history = open_kernel_cache(tmp_path / "data", "history")
    (history.folder / "two.nbi").write_bytes(b"y")
    seal()
    assert engine.folder != history.folder
    assert open_kernel_cache(tmp_path / "data").warm
    assert open_kernel_cache(tmp_path / "data", "history").warm


FILL = """
import sys
from pathlib import Path
from trader.process.compile_cache import open_kernel_cache, seal
cache = open_kernel_cache(Path("data"))
print(cache.warm, flush=True)
sys.stdin.readline()
(cache.folder / "one.nbi").write_bytes(b"x")
seal()
print("sealed", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def filler(tmp_path):
    """Start another process that fills the folder, until it is told to seal it."""
    command = [sys.executable, "-c", FILL]
    environment = {**os.environ, "PYTHONPATH": str(Path(trader.__file__).parents[1])}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "False\n"
    yield process
    process.kill()
    process.communicate()


def test_cache_of_history_is_a_folder_to_be_sealed_or_none(tmp_path):
    """Where nothing is kept there is nothing to seal."""
    folder = use_compile_cache(tmp_path / "data")
    assert folder.name == KEY.replace("engine", "history")
    shutil.rmtree(tmp_path / "home")
    (tmp_path / "home").write_text("")
    (tmp_path / "data").write_text("")
    assert use_compile_cache(tmp_path / "data") is None


def test_cache_that_another_process_fills_is_waited_for(tmp_path, filler):
    """Nothing of it is removed meanwhile, and it is warm afterwards."""
    asked = []

    def let_it_end():
        asked.append(len(asked))
        if len(asked) == 3:
            filler.stdin.write("\n")
            filler.stdin.flush()
            assert filler.stdout.readline() == "sealed\n"
        return False

    assert open_kernel_cache(tmp_path / "data", is_asked_to_end=let_it_end).warm
    assert len(asked) >= 3


def test_cache_that_another_process_fills_is_left_to_it_by_who_can_not_wait(tmp_path, filler):
    """A folder of its own instead, for as long as it lives."""
    cache = open_kernel_cache(tmp_path / "data")
    assert (cache.kept, cache.warm) == (False, False)
    assert open_kernel_cache(tmp_path / "data", is_asked_to_end=lambda: True).kept is False


def test_cache_whose_filler_was_killed_is_free(tmp_path, filler):
    """What it left unsealed is removed."""
    filler.kill()
    filler.wait()
    assert open_kernel_cache(tmp_path / "data").kept


def test_distrusted_cache_is_removed_once(tmp_path):
    """Wrong kernels that were sealed go; wrong ones that were just compiled are not the cache's fault."""
    folder = open_kernel_cache(tmp_path / "data").folder
    assert distrust() is False
    (folder / "one.nbi").write_bytes(b"x")
    seal()
    assert distrust() is True
    assert list(folder.iterdir()) == []
    assert distrust() is False
