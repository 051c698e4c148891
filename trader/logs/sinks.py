"""Where records end: what all sinks share, and the console."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence


class Sink(logging.Handler):
    """Takes records by the batch, in the listener's thread; counts what it can't write, and never raises."""

    def __init__(self, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.failed = 0  #: records that could not be written
        self.last_error = ""

    def take(self, records: Sequence[logging.LogRecord]) -> None:
        """Write those of the records that are this sink's business, in their order."""
        for record in self.wanted(records):
            self.emit(record)

    def wanted(self, records: Sequence[logging.LogRecord]) -> list[logging.LogRecord]:
        """Return the records that pass level and filters."""
        level = self.level
        return [record for record in records if record.levelno >= level and self.filter(record)]

    def lose(self, count: int, name: str, error: BaseException | str) -> None:
        """Count records that could not be written, and remember why."""
        self.failed += count
        self.last_error = f"{name}: {getattr(error, 'strerror', None) or error}"


class Console(Sink):
    """stderr; one write per batch."""

    def take(self, records: Sequence[logging.LogRecord]) -> None:
        """Write records; a closed stream is counted, not reported on itself."""
        wanted = self.wanted(records)
        if not wanted:
            return
        try:
            # looked up each time: tests and notebooks replace it
            stream = sys.stderr
            stream.write("".join(f"{self.format(record)}\n" for record in wanted))
            stream.flush()
        except Exception as error:  # noqa: BLE001 - logging must not stop trading, whatever breaks
            self.lose(len(wanted), "console", error)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self.take([record])
