"""Upgrade: a ledger of an earlier format, taken over whole.

The new ledger is written beside the old one, proven, and moved into its place; the old file stays beside it under the
name of its format. A kill at any moment leaves the old ledger or the new one in place, never half of either.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from trader.errors import LedgerDamaged, LedgerUnwritable
from trader.ledger import disk, layouts, opening, schema, seals
from trader.ledger.layouts import Layout

log = logging.getLogger(__name__)

#: tables with the time of the wall clock beside their columns
_RECORDED = ("meta", "orders", "fills", "halts", "adjustments")


def upgrade(path: Path) -> Path | None:
    """Bring a ledger up to the format of today.

    Parameters
    ----------
    path : Path
        A ledger that `disk.check` has passed and no one writes.

    Returns
    -------
    Path or None
        Where the old file is kept; None when the format was today's already.

    Raises
    ------
    LedgerDamaged
        When the old ledger isn't whole, or the new one did not come out as the old one was; the old one is in place.
    LedgerUnwritable
        When there is no room for the new one, or somebody reads the old one for too long; the old one is in place.
    """
    with closing(opening.connect(path)) as old:
        layout = layouts.find(old)
        if layout is None or layout.is_current:
            return None
        _refuse_broken_decisions(old, layout, path)
        _empty_log(old, path)
    fresh = opening.clear_fresh(path)
    try:
        _write(path, fresh, layout)
        disk.check(fresh)
    except BaseException:
        opening.clear_fresh(path)
        raise
    kept = _keep(path, layout.version)
    opening.move_into_place(fresh, path)
    log.warning(
        "%s had format %d and now has format %d; the old file is kept as %s until you delete it",
        path, layout.version, schema.VERSION, kept.name,
    )  # fmt: skip
    return kept


def _refuse_broken_decisions(old: sqlite3.Connection, layout: Layout, path: Path) -> None:
    # all rows are sealed anew: damage that nobody has looked for yet would be sealed with them
    broken = seals.broken_decision_blocks(old, layout.columns("decisions"))
    if broken:
        raise LedgerDamaged(f"{path} is damaged: decisions have changed at {', '.join(broken[:5])}; {disk.ADVICE}")


def _empty_log(old: sqlite3.Connection, path: Path) -> None:
    busy = old.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if busy:
        raise LedgerUnwritable(
            f"{path} can not be upgraded while somebody reads it; it is tried again at the next start"
        )


def _write(path: Path, fresh: Path, layout: Layout) -> None:
    with closing(opening.connect(fresh)) as new:
        schema.create(new)
        new.execute("ATTACH DATABASE ? AS old", (str(path),))
        new.execute("PRAGMA main.foreign_keys = OFF")
        new.execute("BEGIN IMMEDIATE")
        for table in layout.sealed():
            _copy_sealed(new, table, layout)
        _copy_decisions(new, layout)
        new.execute("COMMIT")
        new.execute("DETACH DATABASE old")
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _copy_sealed(new: sqlite3.Connection, table: str, layout: Layout) -> None:
    recorded = table in _RECORDED
    had, defaults = layout.columns(table), layout.defaults(table)
    stamp = "recorded_ns" if recorded else "NULL"
    rows = new.execute(f"SELECT {stamp}, {', '.join(had)} FROM old.{table} ORDER BY {had[0]}")  # noqa: S608

    def converted() -> Iterator[tuple[object, ...]]:
        for recorded_ns, *values in rows:
            named = {**defaults, **dict(zip(had, values, strict=True))}
            if table == "meta" and named["key"] == "format":
                named["value"] = str(schema.VERSION)
            row = tuple(named[name] for name in schema.SEALED[table])
            yield (*row, *((recorded_ns,) if recorded else ()), seals.seal(row))

    new.executemany(schema.upsert(table, recorded=recorded), converted())


def _copy_decisions(new: sqlite3.Connection, layout: Layout) -> None:
    had, defaults = layout.columns("decisions"), layout.defaults("decisions")
    columns = ", ".join((*had, *defaults))
    values = ", ".join((*had, *("?" for _ in defaults)))
    new.execute(
        f"INSERT INTO decisions ({columns}) SELECT {values} FROM old.decisions ORDER BY decision_id",  # noqa: S608
        tuple(defaults.values()),
    )
    if not defaults:
        return
    blocks: dict[int, tuple[int, int]] = {}
    every = ", ".join(schema.DECISION_COLUMNS)
    seals.extend_blocks(blocks, new.execute(f"SELECT {every} FROM main.decisions ORDER BY decision_id"))  # noqa: S608
    rows = (seals.sealed((block, *value)) for block, value in sorted(blocks.items()))
    new.executemany(schema.upsert("decision_seals"), rows)


def _keep(path: Path, version: int) -> Path:
    """Give the old file a second name, which stays when the first one goes to the new ledger."""
    number = 1
    while True:
        more = f"-{number}" if number > 1 else ""
        kept = path.with_name(f"{path.stem}.format-{version}{more}{path.suffix}")
        with contextlib.suppress(FileExistsError):
            os.link(path, kept)
            return kept
        if kept.samefile(path):
            return kept  # killed right here the last time
        number += 1
