"""Kernels are compiled beside the process that needs them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from trader.process import compiling
from trader.process.compiling import compile_kernels

MODULE = "tests.unit.process.some_compiler"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Provide the folder that is filled, and let the module be found."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.setenv("COMPILER", "works")
    return tmp_path


def test_kernels_are_compiled_by_processes_of_their_own_side_by_side(folder):
    """Each share by another process, none of them ours."""
    assert compile_kernels(MODULE, 2, lambda: False) is True
    pids = [int((folder / f"share-{index}").read_text()) for index in range(2)]
    assert len({*pids, compiling.os.getpid()}) == 3


def test_compiling_process_that_fails_is_told_and_no_obstacle(monkeypatch, caplog):
    """Whoever needs the kernels compiles them then."""
    monkeypatch.setenv("COMPILER", "fails")
    with caplog.at_level(logging.WARNING):
        assert compile_kernels(MODULE, 2, lambda: False) is False
    assert "ended with 3" in caplog.text


def test_compiling_processes_end_with_a_stop(folder, monkeypatch):
    """A service that is told to stop does not compile to the end, and leaves nobody behind."""
    monkeypatch.setenv("COMPILER", "hangs")
    shares = [folder / f"share-{index}" for index in range(2)]

    def both_run():
        return all(share.exists() and share.read_text() for share in shares)

    assert compile_kernels(MODULE, 2, both_run) is False
    for share in shares:
        assert not Path(f"/proc/{share.read_text()}").exists()


def test_compiling_without_an_interpreter_to_start_is_no_obstacle(monkeypatch, caplog):
    """A process that can't be started costs its help only."""
    monkeypatch.setattr(compiling.sys, "executable", "/nonexistent/python")
    with caplog.at_level(logging.WARNING):
        assert compile_kernels(MODULE, 2, lambda: False) is False
    assert "no process to compile in" in caplog.text
