"""Layouts: which tables and columns a ledger's file has, for files older than this trader.

Format 1 was written while the tables still grew, so its files come in three shapes; from format 2 on, one number
names one layout. What an older file lacks is given by its default: by views for readers, who may change nothing,
and for good by `trader.ledger.upgrade`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trader.ledger.schema import DECISION_COLUMNS, SEALED, VERSION

Defaults = Mapping[str, Mapping[str, Any]]

#: columns of every table that holds values: the sealed ones, and decisions
COLUMNS: Mapping[str, tuple[str, ...]] = {**SEALED, "decisions": DECISION_COLUMNS}

#: what came with stops that follow the range or move to the entry price
_RANGES: Defaults = {
    "slots": {
        "close_price": None,
        "range_mean": 0.0,
        "range_count": 0,
        "atr": None,
        "trailing_stop_atr": None,
        "trailing_price": None,
        "break_even_price": None,
        "break_even_stop": None,
    }
}

#: what came with invalidation rules and adjustments
_RULES: Defaults = {
    "slots": {"watched_close": None, "invalidations": "", "gauges": ""},
    "orders": {"invalidations": ""},
    "round_trips": {"exit_note": ""},
    "cursor": {"adjustments": 0},
    "decisions": {"note": None},
}
_RULES_TABLES = ("adjustments", "leaving")


@dataclass(frozen=True, slots=True)
class Layout:
    """What a file holds."""

    version: int  #: its format
    lacking: tuple[Defaults, ...] = ()  #: columns that it does not have yet, with what they would hold
    lacking_tables: tuple[str, ...] = ()

    @property
    def is_current(self) -> bool:
        """Whether this trader can write it as it is."""
        return self.version == VERSION

    def columns(self, table: str) -> tuple[str, ...]:
        """Return the columns of a table that the file has, in the order in which its rows were sealed."""
        missing = self.defaults(table)
        return tuple(name for name in COLUMNS[table] if name not in missing)

    def defaults(self, table: str) -> dict[str, Any]:
        """Return the columns of a table that the file lacks, and what they would hold."""
        return {name: value for step in self.lacking for name, value in step.get(table, {}).items()}

    def sealed(self) -> tuple[str, ...]:
        """Return the sealed tables that the file has."""
        return tuple(table for table in SEALED if table not in self.lacking_tables)


#: the layouts of each format, as its files were written
KNOWN: Mapping[int, tuple[Layout, ...]] = {
    1: (Layout(1), Layout(1, (_RULES,), _RULES_TABLES), Layout(1, (_RULES, _RANGES), _RULES_TABLES)),
    2: (Layout(2),),
}


def read_version(connection: sqlite3.Connection) -> int:
    """Return the format that a file says it has."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def find(connection: sqlite3.Connection) -> Layout | None:
    """Return the layout of a file; None when it has none of its format's."""
    candidates = KNOWN.get(read_version(connection), ())
    if len(candidates) == 1:
        return candidates[0]
    stored = {table: _stored_columns(connection, table) for table in COLUMNS}
    return next((layout for layout in candidates if _expected(layout) == stored), None)


def provide_views(connection: sqlite3.Connection, layout: Layout) -> None:
    """Let a reader see an older file as if it had the layout of today; nothing is written to the file."""
    for table in COLUMNS:
        if table in layout.lacking_tables:
            columns = ", ".join(f"NULL AS {name}" for name in (*COLUMNS[table], "recorded_ns", "crc"))
            connection.execute(f"CREATE TEMP VIEW {table} AS SELECT {columns} WHERE 0")
        elif missing := layout.defaults(table):
            added = ", ".join(f"{_literal(value)} AS {name}" for name, value in missing.items())
            connection.execute(f"CREATE TEMP VIEW {table} AS SELECT *, {added} FROM main.{table}")  # noqa: S608


def _stored_columns(connection: sqlite3.Connection, table: str) -> frozenset[str]:
    found = {row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")}
    return frozenset(found & set(COLUMNS[table]))


def _expected(layout: Layout) -> dict[str, frozenset[str]]:
    return {
        table: frozenset() if table in layout.lacking_tables else frozenset(layout.columns(table)) for table in COLUMNS
    }


def _literal(value: Any) -> str:
    return "NULL" if value is None else repr(value)
