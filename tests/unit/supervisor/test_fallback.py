"""What the service falls back on, and when."""

from __future__ import annotations

import pytest

from trader.config.problems import ConfigErrors
from trader.errors import ConfigError
from trader.supervisor.fallback import Keepsake, choose

GOOD = b"risk: {max_open_positions: 4}\n"
BAD = b"data_dir: kept  # ours\nrisk: {max_open_positions: many}\n"


def make(tmp_path, content, *, unclean, last_good=GOOD):
    """Write a configuration, and a data folder with what the last run left."""
    keepsake = Keepsake(tmp_path / "kept")
    keepsake.last_good.parent.mkdir()
    if last_good is not None:
        keepsake.keep(last_good)
    if unclean:
        keepsake.begin()
    path = tmp_path / "trader.yaml"
    path.write_bytes(content)
    return path


def test_choose_valid_file_is_taken_whatever_the_last_run_left(tmp_path):
    """The last good one is a fall-back only."""
    path = make(tmp_path, b"data_dir: kept\n", unclean=True)
    source = choose(path, tmp_path)
    assert (source.path, source.reduce_only, source.config.risk.max_open_positions) == (path, None, 5)


def test_choose_invalid_file_after_a_clean_stop_is_refused(tmp_path):
    """Exit 78, with the problem's line."""
    with pytest.raises(ConfigErrors, match=r"trader\.yaml:2"):
        choose(make(tmp_path, BAD, unclean=False), tmp_path)


def test_choose_invalid_file_after_a_crash_falls_back_to_reduce_only(tmp_path):
    """The last good configuration, and what is wrong with the one that was meant."""
    source = choose(make(tmp_path, BAD, unclean=True), tmp_path)
    assert source.config.risk.max_open_positions == 4
    assert source.path == tmp_path / "kept" / "last-good.yaml"
    assert "trader.yaml:2: risk.max_open_positions" in source.reduce_only


@pytest.mark.parametrize("content", [b"data_dir: 'kept'\nrisk: [\n", b"data_dir: kept\n\xff\n"])
def test_choose_unreadable_text_still_finds_its_data_folder(tmp_path, content):
    """Broken YAML and broken UTF-8: the folder is where the file says."""
    assert choose(make(tmp_path, content, unclean=True), tmp_path).reduce_only


@pytest.mark.parametrize("last_good", [None, b"", b"risk: [", BAD])
def test_choose_without_a_usable_last_good_names_the_file_that_was_meant(tmp_path, last_good):
    """There is nothing to fall back on."""
    with pytest.raises(ConfigError, match=r"trader\.yaml:2"):
        choose(make(tmp_path, BAD, unclean=True, last_good=last_good), tmp_path)


def test_keepsake_end_makes_the_next_start_a_clean_one(tmp_path):
    """And it may be called when nothing was begun."""
    keepsake = Keepsake(tmp_path)
    keepsake.end()
    keepsake.begin()
    assert keepsake.is_unclean
    keepsake.end()
    assert not keepsake.is_unclean


def test_keepsake_keep_replaces_whole_and_leaves_equal_bytes_alone(tmp_path):
    """Nothing is written when nothing has changed; nothing is left beside it."""
    keepsake = Keepsake(tmp_path)
    keepsake.keep(GOOD)
    inode = keepsake.last_good.stat().st_ino
    keepsake.keep(GOOD)
    assert keepsake.last_good.stat().st_ino == inode
    keepsake.keep(BAD)
    assert keepsake.last_good.read_bytes() == BAD
    assert [path.name for path in tmp_path.iterdir()] == ["last-good.yaml"]


def test_keepsake_begins_without_a_write_when_the_last_run_was_cut_off(tmp_path):
    """On a disk that has become full there is nothing to write: the note is there already."""
    keepsake = Keepsake(tmp_path)
    keepsake.begin()
    before = (tmp_path / "running").stat()
    keepsake.begin()
    after = (tmp_path / "running").stat()
    assert (before.st_ino, before.st_mtime_ns, before.st_size) == (after.st_ino, after.st_mtime_ns, after.st_size)
    assert after.st_size == 0
    assert [path.name for path in tmp_path.iterdir()] == ["running"]
