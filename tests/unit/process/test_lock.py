"""One holder per data folder."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from trader.errors import AlreadyRunning, TraderError
from trader.process.lock import LockFile


def test_lock_second_holder_is_refused_with_the_first_ones_number(tmp_path):
    """The message names the file and the process."""
    first = LockFile(tmp_path / "lock", "trader")
    first.take()
    with pytest.raises(AlreadyRunning, match=rf"another trader \(process {os.getpid()}\) holds .*/lock"):
        LockFile(tmp_path / "lock", "trader").take()
    first.release()
    second = LockFile(tmp_path / "lock", "trader")
    second.take()
    second.release()


def test_lock_dies_with_its_holder(tmp_path):
    """No stale lock after SIGKILL, although the file is still there."""
    code = (
        "import os, sys; from pathlib import Path; from trader.process.lock import LockFile;"
        "LockFile(Path(sys.argv[1]), 'trader').take(); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "lock")], check=False).returncode == -9
    assert (tmp_path / "lock").exists()
    lock = LockFile(tmp_path / "lock", "trader")
    lock.take()
    lock.release()


def test_lock_planted_link_is_not_followed(tmp_path):
    """A link in the place of the lock is an error, and its target is not touched."""
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "lock").symlink_to(target)
    with pytest.raises(TraderError, match="can not be opened"):
        LockFile(tmp_path / "lock", "trader").take()
    assert target.read_text() == "precious"
