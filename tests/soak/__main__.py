"""`python -m tests.soak`: see `make soak`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.disks import have_private_mounts
from tests.soak.soak import SET, Soak


def main() -> int:
    """Run a soak and print its report; 0 when nothing differs."""
    parser = argparse.ArgumentParser(prog="tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--candles", type=Path, default=os.environ.get("TRADER_TEST_DATA"))
    arguments = parser.parse_args()
    if arguments.candles is None:
        parser.error("name a folder of real candles by --candles or TRADER_TEST_DATA")
    have_private_mounts()
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:7.0f} s  {text}", flush=True)

    with tempfile.TemporaryDirectory(prefix="trader-soak-") as folder:
        result = Soak(Path(folder), Path(arguments.candles) / SET, arguments.seconds, arguments.seed, say).run()
    print("\n".join(result.lines()))
    if not result.same_fills or result.verify_code != 0:
        print(result.verify)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
