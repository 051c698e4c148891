"""The log is read from its end, page by page, over rotation, and whatever has become of its lines."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from trader.dashboard import log_lines
from trader.dashboard.log_lines import FILE_NAME, read_lines
from trader.dashboard.queries import LogsQuery


def _line(number: int, level: str = "INFO", role: str = "engine", size: int = 0) -> str:
    return json.dumps({
        "time": f"2025-01-02T09:00:00.{number:06d}Z", "level": level, "role": role, "pid": 7, "run_id": "r",
        "logger": "trader.engine", "message": f"line {number} " + "x" * size,
    }) + "\n"  # fmt: skip


def _numbers(entries: list[dict[str, object]]) -> list[int]:
    return [int(str(entry["message"]).split()[1]) for entry in entries]


def _all_pages(folder: Path, **wanted: object) -> list[int]:
    found, before = [], None
    for _ in range(10_000):
        lines, before = read_lines(folder, LogsQuery.model_validate({**wanted, "before": before}))
        found += _numbers(lines)
        if before is None:
            return found
    raise AssertionError("the pages do not end")


@given(
    sizes=st.lists(st.integers(0, 400), min_size=0, max_size=60), limit=st.integers(1, 9), block=st.integers(16, 700)
)
def test_read_lines_pages_are_the_whole_log(tmp_path_factory: object, sizes: list[int], limit: int, block: int) -> None:
    """Every line once, newest first, whatever the lines' lengths and the blocks that are read."""
    folder: Path = tmp_path_factory.mktemp("log")  # type: ignore[attr-defined]
    (folder / FILE_NAME).write_text("".join(_line(number, size=size) for number, size in enumerate(sizes)))
    before, log_lines._BLOCK_BYTES = log_lines._BLOCK_BYTES, block
    try:
        assert _all_pages(folder, limit=limit) == list(range(len(sizes)))[::-1]
    finally:
        log_lines._BLOCK_BYTES = before


def test_read_lines_goes_on_in_older_files(tmp_path: Path) -> None:
    """Rotation is no end."""
    (tmp_path / f"{FILE_NAME}.2").write_text(_line(1) + _line(2))
    (tmp_path / f"{FILE_NAME}.1").write_text(_line(3))
    (tmp_path / FILE_NAME).write_text(_line(4) + _line(5))
    assert _all_pages(tmp_path, limit=2) == [5, 4, 3, 2, 1]


def test_read_lines_filters_by_level_role_and_words(tmp_path: Path) -> None:
    """Only what was asked for."""
    lines = _line(1) + _line(2, "ERROR") + _line(3, "WARNING", "monitor") + _line(4, "DEBUG")
    (tmp_path / FILE_NAME).write_text(lines)
    assert _all_pages(tmp_path, level="WARNING") == [3, 2]
    assert _all_pages(tmp_path, role="monitor") == [3]
    assert _all_pages(tmp_path, contains="LINE 4") == [4]


def test_read_lines_leaves_out_what_is_no_line(tmp_path: Path) -> None:
    """Torn, not JSON, not ours: left out; a log that is not there is empty."""
    assert read_lines(tmp_path, LogsQuery()) == ([], None)
    junk = b'{"time": 5}\n[1, 2]\nnonsense \xff\n' + _line(1).encode() + b'{"time":"2025-'
    (tmp_path / FILE_NAME).write_bytes(junk)
    assert _all_pages(tmp_path) == [1]


def test_read_lines_of_a_page_whose_file_is_gone_is_the_end(tmp_path: Path) -> None:
    """The page after it would begin nowhere."""
    (tmp_path / FILE_NAME).write_text(_line(1))
    assert read_lines(tmp_path, LogsQuery(before="123456789-50")) == ([], None)
