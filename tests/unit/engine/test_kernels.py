"""Kernels in the engine: compiled beside it, loaded, proved, and removed from their cache when they are wrong."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from trader import engine
from trader.core import warmup
from trader.engine import kernels
from trader.engine.kernels import SHARES, save_in_turn
from trader.errors import KernelError, StartAgain
from trader.process import compile_cache


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Point numba to a folder of sealed kernels."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    (tmp_path / "on_candles.nbi").write_bytes(b"sealed")
    compile_cache.seal()
    return tmp_path


def break_kernels(monkeypatch, error):
    """Let the proof of the kernels end with an error."""

    def prove():
        raise error

    monkeypatch.setattr(warmup, "warm_up", prove)


@pytest.mark.parametrize("error", [KernelError("stop's price: 98.03, not 98.02"), EOFError("Ran out of input")])
def test_sealed_kernels_that_are_wrong_are_removed_and_the_next_start_compiles(folder, monkeypatch, error):
    """Once: kernels that are wrong right after they were compiled are not the cache's fault."""
    break_kernels(monkeypatch, error)
    with pytest.raises(StartAgain, match=str(error)):
        kernels.ready_kernels()
    assert list(folder.iterdir()) == []
    with pytest.raises(type(error)):
        kernels.ready_kernels()


def test_kernels_that_prove_themselves_are_sealed(folder, monkeypatch):
    """With what was compiled meanwhile."""
    monkeypatch.setattr(warmup, "warm_up", lambda: None)
    (folder / "place.nbi").write_bytes(b"new")
    kernels.ready_kernels()
    assert compile_cache.remove_unsealed(folder) == 0


def test_saves_of_two_processes_to_one_index_lose_nothing(tmp_path, monkeypatch):
    """An index is read, added to and written back: without a lock one of two would be lost, or get the other's code."""
    from numba.core import caching

    class Index:
        """As numba's own: what is saved goes through a read, a moment, and a write."""

        def save(self, key, _data):
            known = (tmp_path / "index").read_text()
            with suppress(threading.BrokenBarrierError):
                both_have_read.wait(0.5)
            (tmp_path / "index").write_text(known + key)

    (tmp_path / "index").write_text("")
    both_have_read = threading.Barrier(2)
    savers = []
    for _ in range(2):  # each with a lock of its own, as in two processes
        copy = type("Copy", (Index,), {})
        monkeypatch.setattr(caching, "IndexDataCacheFile", copy)
        save_in_turn(tmp_path)
        savers.append(copy())
    threads = [threading.Thread(target=saver.save, args=(key, None)) for saver, key in zip(savers, "ab", strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((tmp_path / "index").read_text()) == ["a", "b"]


def test_shares_are_as_many_as_processes_are_started():
    """A share that nobody compiled would be compiled in the engine."""
    assert len(SHARES) == engine.KERNEL_SHARES
    assert importlib.import_module(engine.KERNELS).SHARES is SHARES


def test_compiling_process_whose_engine_is_gone_compiles_nothing(tmp_path):
    """A number that is not its parent's: nobody waits for what it would compile."""
    command = [sys.executable, "-m", "trader.engine.kernels", "0", "1"]
    done = subprocess.run(command, env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}, check=False)
    assert done.returncode == 70
    assert list(tmp_path.iterdir()) == []
