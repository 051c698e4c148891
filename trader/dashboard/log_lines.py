"""The newest lines of the structured log, read from its end: however large it is, little of it is looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from trader.dashboard.queries import LEVELS, LogsQuery

FILE_NAME = "structured.jsonl"
_BLOCK_BYTES = 128 * 1024
#: what one request looks through at most [bytes]; the page after it goes on from there
_MOST_BYTES = 8 * 2**20
#: a line longer than this is no line of ours
_LONGEST_LINE = 256 * 1024
_TEXTS = ("time", "level", "role", "logger", "message")


def read_lines(folder: Path, query: LogsQuery) -> tuple[list[dict[str, Any]], str | None]:
    """Return the newest lines that a query asks for, newest first.

    Parameters
    ----------
    folder : Path
        Of the log files.
    query : LogsQuery
        Level, process, text, and where the page before has ended.

    Returns
    -------
    (list of dict, str or None)
        The lines, and where the next page begins.
    """
    found: list[dict[str, Any]] = []
    inode, end = (int(part) for part in query.before.split("-")) if query.before else (0, -1)
    looked, paths = 0, _files(folder, inode)
    for path in paths:
        try:
            file = path.open("rb", buffering=0)
        except OSError:
            continue
        with file:
            status = os.fstat(file.fileno())
            start = min(end, status.st_size) if status.st_ino == inode and end >= 0 else status.st_size
            for offset, line in _backwards(file.fileno(), start):
                looked += len(line) + 1
                if (entry := _entry(line)) is not None and _wanted(entry, query):
                    found.append(entry)
                if len(found) >= query.limit or looked >= _MOST_BYTES:
                    return found, f"{status.st_ino}-{offset}" if offset > 0 or path != paths[-1] else None
    return found, None


def _files(folder: Path, inode: int) -> list[Path]:
    """Return the log's files, newest first, from the one with an inode on; none when that one is gone by now."""
    paths = [folder / FILE_NAME, *(folder / f"{FILE_NAME}.{number}" for number in range(1, 10))]
    there = [(path, path.stat().st_ino) for path in paths if path.is_file()]
    if not inode:
        return [path for path, _ in there]
    return [path for index, (path, _) in enumerate(there) if inode in (found for _, found in there[: index + 1])]


def _backwards(descriptor: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield whole lines before an offset, last first, each with where it begins."""
    rest = b""
    while end > 0:
        size = min(_BLOCK_BYTES, end)
        end -= size
        block = os.pread(descriptor, size, end) + rest
        if end > 0:
            cut = block.find(b"\n")
            if cut < 0:
                rest = block if len(block) < _LONGEST_LINE else b""
                continue
            rest, block, offset = block[: cut + 1], block[cut + 1 :], end + cut + 1
        else:
            rest, offset = b"", 0
        place = offset + len(block)
        for line in reversed(block.splitlines(keepends=True)):
            place -= len(line)
            if line.strip():
                yield place, line.rstrip(b"\n")


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None  # torn by a full disk, or being written
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name), str) for name in _TEXTS):
        return None
    fields, pid = entry.get("fields"), entry.get("pid")
    return {
        **{name: entry[name] for name in _TEXTS},
        "pid": pid if isinstance(pid, int) else 0,
        "event": str(entry["event"]) if entry.get("event") else None,
        "fields": fields if isinstance(fields, dict) else None,
        "exception": str(entry["exception"]) if entry.get("exception") else None,
    }


def _wanted(entry: dict[str, Any], query: LogsQuery) -> bool:
    level = entry["level"]
    if level in LEVELS and LEVELS.index(level) < LEVELS.index(query.level):
        return False
    if query.role is not None and entry["role"] != query.role:
        return False
    text = query.contains
    return text is None or text.casefold() in f"{entry['message']} {entry['logger']} {entry['event']}".casefold()
