"""Writes records through the whole pipeline: folder, name, count, size at which files are rotated."""

from __future__ import annotations

import logging
import sys
import time

from trader.logs import log_event, pipeline, setup_logging


def main(folder: str, name: str, count: int, file_bytes: int) -> None:
    """Write numbered records, and wait whenever a queue is half full: below its bound nothing may be lost."""
    pipeline.FILE_BYTES = file_bytes
    logs = setup_logging(name, folder, "CRITICAL", "run")
    log = logging.getLogger("trader.writer")
    for number in range(count):
        log_event(log, logging.INFO, "test.record", "a record of the usual length", writer=name, number=number)
        if number % 256 == 0:
            while logs.waiting > pipeline.CROWDED // 2:
                time.sleep(0.001)
    while logs.waiting:
        time.sleep(0.001)
    logs.close()
    print(logs.dropped)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
