"""Seals: checksums that find what SQLite's own integrity check can't see.

SQLite notices a damaged page by its structure; a flipped bit inside an amount still reads as a
number. So each row that money depends on carries a checksum, decisions carry one for each block of
`DECISIONS_PER_BLOCK`, and the cursor row counts what must be there.
"""

from __future__ import annotations

import marshal
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

DECISIONS_PER_BLOCK = 4096

# Version 2 of the format: no references, so equal rows give equal bytes in every Python.
_FORMAT = 2


def seal(row: Sequence[Any], start: int = 0) -> int:
    """Return the checksum of one row (ints, floats, text, None), going on from `start`."""
    return zlib.crc32(marshal.dumps(tuple(row), _FORMAT), start)


def sealed(row: Sequence[Any], recorded_ns: int | None = None) -> tuple[Any, ...]:
    """Return a row ready to be written: its columns, the wall clock where the table has one, its seal."""
    clean = tuple(none_if_nan(value) for value in row)
    stamp = () if recorded_ns is None else (recorded_ns,)
    return (*clean, *stamp, seal(clean))


def none_if_nan(value: Any) -> Any:
    """Return None for NaN, which SQLite stores as NULL anyway, and everything else as it is."""
    return None if value != value else value  # noqa: PLR0124 - only NaN differs from itself


def broken_rows(connection: sqlite3.Connection, table: str, columns: Sequence[str]) -> list[str]:
    """Return the keys of a table's rows whose seal doesn't fit; the columns are those that the file has."""
    rows = connection.execute(f"SELECT crc, {', '.join(columns)} FROM main.{table}")  # noqa: S608 - our own names
    return [str(row[1]) for row in rows if seal(row[1:]) != row[0]]


def count_problems(connection: sqlite3.Connection, columns: Sequence[str]) -> list[str]:
    """Return the tables that hold another number of rows than the cursor row, with these columns, says."""
    row = connection.execute(f"SELECT {', '.join(columns[2:])} FROM main.cursor").fetchone()  # noqa: S608
    if row is None:
        return ["the cursor row is missing"]
    problems = []
    for table, expected in zip(columns[2:], row, strict=True):
        found = connection.execute(f"SELECT count(*) FROM main.{table}").fetchone()[0]  # noqa: S608 - our own names
        if found != expected:
            problems.append(f"{table} holds {found} rows where {expected} were written")
    return problems


def extend_blocks(blocks: dict[int, tuple[int, int]], rows: Iterable[tuple[Any, ...]]) -> None:
    """Go on with the seals of the blocks that some decisions belong to.

    Parameters
    ----------
    blocks : dict
        Block number to (rows in it, seal so far); changed in place.
    rows : iterable
        Rows as they are written, ascending by decision id.
    """
    for block, members in groupby(rows, lambda row: row[0] // DECISIONS_PER_BLOCK):
        count, value = blocks.get(block, (0, 0))
        parts = [marshal.dumps(row, _FORMAT) for row in members]
        blocks[block] = (count + len(parts), zlib.crc32(b"".join(parts), value))


def broken_decision_blocks(connection: sqlite3.Connection, columns: Sequence[str]) -> list[str]:
    """Return the blocks of decisions, with these columns, whose seal doesn't fit, as ranges of decision ids."""
    found: dict[int, tuple[int, int]] = {}
    query = f"SELECT {', '.join(columns)} FROM main.decisions ORDER BY decision_id"  # noqa: S608 - our own names
    extend_blocks(found, connection.execute(query))
    stored = {row[0]: (row[1], row[2]) for row in connection.execute("SELECT block, count, seal FROM decision_seals")}
    return [
        f"{block * DECISIONS_PER_BLOCK}..{(block + 1) * DECISIONS_PER_BLOCK - 1}"
        for block in sorted(found.keys() | stored.keys())
        if found.get(block) != stored.get(block)
    ]
