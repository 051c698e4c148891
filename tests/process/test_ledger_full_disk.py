"""A disk that is really full: a small tmpfs in a mount namespace of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = 'mount -t tmpfs -o size=24m tmpfs "$1" && exec "$2" -m tests.process.ledger_full_disk "$1"'


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Run the story once, in a mount namespace of its own, and return what it saw."""
    folder = tmp_path_factory.mktemp("small-disk")
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh", str(folder), sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_full_disk_exits_are_still_written_on_the_reserve(seen):
    """The first commit that doesn't fit is written after all, at the price of the reserve, and says so."""
    assert seen["reserve_at_start"] >= 4 << 20
    assert not seen["strained_at_start"]
    assert seen["committed_on_reserve"]
    assert not seen["reserve_after_strain"]


def test_full_disk_without_reserve_keeps_the_work(seen):
    """What can't be written is kept, and what was written before stays whole and consistent."""
    assert not seen["committed_when_full"]
    assert seen["kept"] > 20
    assert seen["clean_when_full"]


def test_full_disk_freed_writes_everything_and_sets_the_reserve_aside_again(seen):
    """With space again the kept work is written, the reserve comes back by itself, and all of it agrees."""
    assert seen["committed_after"]
    assert not seen["strained_after"]
    assert seen["reserve_after"]
    assert seen["clean_after"]


def test_full_disk_freed_is_noticed_by_whoever_only_waits(seen):
    """A commit with nothing to write sets the reserve aside again, too, or a waiting replay would wait for ever."""
    assert not seen["strained_after_waiting"]
