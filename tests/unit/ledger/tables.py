"""Tools that look into a ledger's file, and that change it behind the journal's back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from trader.ledger import schema, seals
from trader.ledger.disk import shm_path, wal_path


def contents(path: Path) -> dict[str, list[Any]]:
    """Return everything in a ledger but wall-clock stamps."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        tables = {
            table: connection.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1").fetchall()
            for table, columns in schema.SEALED.items()
        }
        columns = ", ".join(schema.DECISION_COLUMNS)
        tables["decisions"] = connection.execute(f"SELECT {columns} FROM decisions ORDER BY 1").fetchall()
    return tables


def tamper(path: Path, table: str, key: Any, **changes: Any) -> None:
    """Change a row and seal it anew: only an audit that understands it can notice."""
    columns = schema.SEALED[table]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        row = connection.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE {columns[0]} = ?", (key,)).fetchone()
        values = {**dict(zip(columns, row, strict=True)), **changes}
        sealed = seals.sealed([values[name] for name in columns])
        assignments = ", ".join(f"{name} = ?" for name in (*columns, "crc"))
        connection.execute(f"UPDATE {table} SET {assignments} WHERE {columns[0]} = ?", (*sealed, key))


def files(path: Path) -> dict[str, bytes]:
    """Return the bytes of a ledger and its write-ahead log, as far as they exist."""
    return {file.name: file.read_bytes() for file in (path, wal_path(path)) if file.exists()}


def side_files(path: Path) -> set[str]:
    """Return the names of everything beside a ledger."""
    return {file.name for file in path.parent.iterdir() if file not in (path, wal_path(path), shm_path(path))}
