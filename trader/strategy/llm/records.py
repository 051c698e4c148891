"""Decision records: one JSON object a line, a file a UTC day, on disk before anybody acts on it; never changed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trader.clock import format_utc
from trader.errors import StrategyError


class RecordsUnwritable(StrategyError):
    """A decision can not be recorded; what is not recorded is not acted on."""


class RecordsDamaged(StrategyError):
    """A line of the decision records can not be read."""


class Records:
    """The records of one instance.

    Parameters
    ----------
    folder : Path
        Where the files are; made with the first record.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def append(self, record: dict[str, Any]) -> None:
        """Write a record down; it is on disk when this returns.

        Raises
        ------
        RecordsUnwritable
            When it is not.
        """
        path = self.folder / f"{format_utc(int(record['market_ns']))[:10]}.jsonl"
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    line = b"\n" + line  # a crash has cut the line before
                _write_all(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if not size:
                _sync_folder(self.folder)
        except OSError as error:
            raise RecordsUnwritable(f"{path}: {error.strerror}; the decision is not acted on") from error

    def read(self, since_day: str = "", until_day: str = "") -> Iterator[dict[str, Any]]:
        """Yield the records, oldest first; a line that a crash has cut is left out.

        Parameters
        ----------
        since_day : str
            First day, as in 2024-11-03; "": all.
        until_day : str
            Last day; "": all.

        Raises
        ------
        RecordsDamaged
            Naming file and line of what can't be read and was not cut by a crash.
        """
        for path in sorted(self.folder.glob("????-??-??.jsonl")):
            if path.stem < since_day or (until_day and path.stem > until_day):
                continue
            yield from _read_file(path)


def _read_file(path: Path) -> Iterator[dict[str, Any]]:
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            record = json.loads(line)
            if not isinstance(record, dict) or "decision_id" not in record:
                raise ValueError("is no decision")
        except ValueError as error:
            # what a crash has cut is followed by a line of its own, or by nothing
            if _was_cut(line):
                continue
            raise RecordsDamaged(f"{path}:{number}: {error}") from None
        yield record


def _was_cut(line: bytes) -> bool:
    return line.startswith(b'{"decision_id"')


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
