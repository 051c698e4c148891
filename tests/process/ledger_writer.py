"""A process that plays a market into a ledger until it is done or killed: `ledger_writer LEDGER LAST_MINUTE`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.paper_desk import MINUTE_NS, START_NS, PaperDesk

if __name__ == "__main__":
    desk = PaperDesk.open(Path(sys.argv[1]))
    done = max(0, (desk.restored.cursor_ns - START_NS) // MINUTE_NS - 1)
    print("playing", flush=True)
    for minute in range(done + 1, int(sys.argv[2]) + 1):
        desk.step(minute)
        desk.ledger.commit()
    desk.close()
