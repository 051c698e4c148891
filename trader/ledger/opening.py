"""Opening: how a ledger is begun, connected to, and told from another account's."""

from __future__ import annotations

import os
import secrets
import sqlite3
import string
from decimal import Decimal
from pathlib import Path

from trader.clock import utc_ns
from trader.errors import ConfigError
from trader.ledger import disk, schema, seals
from trader.units import plain

_MARK_LETTERS = 6


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection that writes durably: a commit is on disk when it returns."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_size_limit = 8388608")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def begin(path: Path, begun_as: dict[str, str], initial_capital: Decimal) -> None:
    """Begin a ledger beside its place and move it there whole: a kill leaves either none or a complete one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    for leftover in (fresh, disk.wal_path(fresh), disk.shm_path(fresh)):
        leftover.unlink(missing_ok=True)
    connection = connect(fresh)
    try:
        schema.migrate(connection)
        _write_first_rows(connection, begun_as, initial_capital)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    # what an empty ledger's log may have left behind belongs to no ledger
    for leftover in (disk.wal_path(path), disk.shm_path(path)):
        leftover.unlink(missing_ok=True)
    fresh.rename(path)
    _sync_folder(path.parent)


def _write_first_rows(connection: sqlite3.Connection, begun_as: dict[str, str], initial_capital: Decimal) -> None:
    meta = {**begun_as, "format": str(schema.VERSION)}
    if begun_as["mode"] == "live":
        meta["mark"] = new_mark()
    amount = (begun_as["quote"], plain(initial_capital))
    connection.execute("BEGIN IMMEDIATE")
    for item in meta.items():
        connection.execute(schema.upsert("meta", recorded=True), seals.sealed(item, utc_ns()))
    connection.execute(schema.upsert("balances"), seals.sealed(amount))
    if begun_as["mode"] == "paper":
        connection.execute(schema.upsert("paper_balances"), seals.sealed(amount))
    counts = [0] * len(schema.SEALED["cursor"][2:])
    connection.execute(schema.upsert("cursor"), seals.sealed((1, 0, *counts)))
    connection.execute("COMMIT")


def new_mark() -> str:
    """Return the letters that all client order ids of a ledger carry: 300 million possibilities.

    A new ledger on an old account must not find the old ledger's orders under its own ids.
    """
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(_MARK_LETTERS))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_another_account(connection: sqlite3.Connection, path: Path, begun_as: dict[str, str]) -> None:
    """Close the connection and raise ConfigError when the ledger belongs to another account."""
    stored = dict(connection.execute("SELECT key, value FROM meta"))
    for key, wanted in begun_as.items():
        if stored.get(key) != wanted:
            connection.close()
            raise ConfigError(
                f"{path} was begun with {key} {stored.get(key)}, and the configuration says {wanted}: "
                "put it back, or begin anew with another data_dir"
            )
