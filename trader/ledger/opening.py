"""Opening: how a ledger is begun, connected to, and told from another account's."""

from __future__ import annotations

import os
import secrets
import sqlite3
import string
from collections.abc import Mapping
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
    fresh = clear_fresh(path)
    connection = connect(fresh)
    try:
        schema.create(connection)
        _write_first_rows(connection, begun_as, initial_capital)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    move_into_place(fresh, path)


def clear_fresh(path: Path) -> Path:
    """Return where a ledger is written before it is moved to its place; whatever was left there is gone."""
    fresh = path.with_name(path.name + ".new")
    for leftover in (fresh, disk.wal_path(fresh), disk.shm_path(fresh)):
        leftover.unlink(missing_ok=True)
    return fresh


def move_into_place(fresh: Path, path: Path) -> None:
    """Give a ledger that is complete its name, over a kill of the machine."""
    # what an empty log, or one that was written back whole, has left behind belongs to no ledger
    for leftover in (disk.wal_path(path), disk.shm_path(path)):
        leftover.unlink(missing_ok=True)
    _sync(fresh, os.O_RDONLY)
    fresh.rename(path)
    _sync(path.parent, os.O_RDONLY | os.O_DIRECTORY)


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


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_another_account(stored: Mapping[str, str], path: Path, begun_as: Mapping[str, str]) -> None:
    """Raise ConfigError when a ledger, by what it says of itself, belongs to another account."""
    for key, wanted in begun_as.items():
        if stored.get(key) != wanted:
            raise ConfigError(
                f"{path} was begun with {key} {stored.get(key)}, and the configuration says {wanted}: "
                "put it back, or begin anew with another data_dir"
            )
