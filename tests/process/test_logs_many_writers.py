"""Four processes write one set of log files through rotation: nothing is lost, every line is whole."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

WRITERS = "ABCD"


def written(folder: Path, each: int, file_bytes: int, timeout_s: float) -> None:
    """Let four processes write, and check every file."""
    folder.mkdir()
    command = [sys.executable, "-m", "tests.process.log_writer", str(folder)]
    started = time.monotonic()
    writers = [
        subprocess.Popen(
            [*command, name, str(each), str(file_bytes)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        for name in WRITERS
    ]
    assert [int(writer.communicate(timeout=timeout_s)[0]) for writer in writers] == [0] * 4
    took_s = time.monotonic() - started
    numbers: dict[str, list[int]] = {name: [] for name in WRITERS}
    rotated = sorted(folder.glob("structured.jsonl.*"), key=lambda path: -int(path.suffix[1:]))
    for path in (*rotated, folder / "structured.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            fields = json.loads(line)["fields"]
            numbers[fields["writer"]].append(fields["number"])
    # several may hold the old file while it is rotated: what they write is in it, only the order of files is theirs
    assert {name: sorted(found) for name, found in numbers.items()} == {name: list(range(each)) for name in WRITERS}
    lines = sum(path.read_bytes().count(b"\n") for path in folder.glob("trading_system.log*"))
    assert lines == 4 * each
    sizes = [path.stat().st_size for path in rotated]
    assert sizes
    # whoever rotates may lose the processor in between, and the others write on
    assert all(file_bytes * 0.98 <= size <= file_bytes * 1.02 + 4 * 65_536 for size in sizes)
    print(f"\n{4 * each:,} records of four processes in {took_s:.1f} s, {len(sizes)} rotations, none lost")


def test_log_files_of_four_processes_lose_nothing(tmp_path: Path) -> None:
    """20,000 records through several rotations."""
    written(tmp_path / "logs", 5_000, 1_000_000, 120)


@pytest.mark.slow
def test_log_files_of_four_processes_with_400000_records_lose_nothing(tmp_path: Path) -> None:
    """The sizes of the service, and as many records as rotate them."""
    written(tmp_path / "logs", 100_000, 50_000_000, 600)
