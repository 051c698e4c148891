"""A process that fills the disk under its ledger: `ledger_full_disk FOLDER`, a small tmpfs of its own.

Prints what it saw as one JSON document.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.paper_desk import PaperDesk
from trader.errors import LedgerUnwritable
from trader.ledger.audit import audit
from trader.state.paths import InstancePaths

QUIET_COMMITS = 200


def fill_disk(filler: Path) -> None:
    """Write until nothing more fits."""
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    os.write(file.fileno(), b"x" * size)


def try_commit(desk: PaperDesk) -> bool:
    """Commit; return whether it could be written."""
    try:
        desk.ledger.commit()
    except LedgerUnwritable:
        return False
    return True


def main(folder: Path) -> dict[str, Any]:
    """Live through a full disk and return what was seen."""
    seen: dict[str, Any] = {}
    paths = InstancePaths(folder, folder, folder)
    reserve, filler = folder / "ledger.reserve", folder / "filler"
    desk = PaperDesk.open(paths.ledger)
    desk.play(range(1, 40))
    seen["reserve_at_start"] = reserve.stat().st_blocks * 512
    seen["strained_at_start"] = desk.ledger.strained
    fill_disk(filler)
    minute = 40
    while not desk.ledger.strained:
        desk.step(minute)
        seen["committed_on_reserve"] = try_commit(desk)
        minute += 1
    seen["reserve_after_strain"] = reserve.exists()
    written = True
    while written:
        fill_disk(filler)
        desk.step(minute)
        written = try_commit(desk)
        minute += 1
    for _ in range(20):
        desk.step(minute)
        minute += 1
        seen["committed_when_full"] = try_commit(desk)
    seen["kept"] = desk.ledger.uncommitted
    seen["clean_when_full"] = audit(paths).is_clean
    filler.unlink()
    seen["committed_after"] = try_commit(desk)
    for _ in range(QUIET_COMMITS):
        desk.step(minute)
        desk.ledger.commit()
        minute += 1
    seen["strained_after"] = desk.ledger.strained
    seen["reserve_after"] = reserve.exists()
    fill_disk(filler)
    while not desk.ledger.strained:
        desk.step(minute)
        try_commit(desk)
        minute += 1
    filler.unlink()
    try_commit(desk)
    desk.ledger.commit()  # nothing to write: an engine that waits for space asks like this
    seen["strained_after_waiting"] = desk.ledger.strained
    desk.close()
    seen["clean_after"] = audit(paths).is_clean
    seen["last_minute"] = minute - 1
    return seen


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
