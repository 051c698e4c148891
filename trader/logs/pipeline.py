"""The way of a record: a bounded queue, one listener thread, five sinks.

Who logs pays for a queue's put and no more: a stalled disk, terminal or journald stalls the
listener, fills the queue, and costs log records, not trading. The last fifth of the queue is kept for
warnings and errors. What was dropped is counted, and reported once there is room again.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import sys
import threading
import time
from logging.handlers import QueueHandler
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from trader.logs.events import TRADES, Event
from trader.logs.files import DailyFile, SizedFile
from trader.logs.formatting import HumanFormatter, JsonFormatter
from trader.logs.journal import SOCKET, JournalHandler, stderr_is_journal

CAPACITY: Final = 8192
#: where records below WARNING are no longer taken
CROWDED: Final = CAPACITY * 4 // 5
#: how long close waits for what is still queued [s]
PATIENCE_S: Final = 3.0
#: losses are reported no more often than this [s]
REPORT_EVERY_S: Final = 10.0

_MB: Final = 1_000_000
_END: Final = None
#: libraries that log what only their authors want to read
_QUIET = ("numba", "asyncio", "ccxt", "urllib3", "matplotlib")

# the C queue: a put is a tenth of queue.Queue's, and its bound is checked here
_Queue = queue.SimpleQueue[logging.LogRecord | None]


class _Intake(QueueHandler):
    """Puts records into the queue without ever waiting; counts what does not fit."""

    def __init__(self, records: _Queue) -> None:
        super().__init__(records)
        self.dropped = 0
        self._records = records
        self._formatter = logging.Formatter()

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Make a record independent of its caller's objects; its traceback stays apart from its message."""
        record.msg, record.args = record.getMessage(), None
        if record.exc_info and not record.exc_text:
            record.exc_text = self._formatter.formatException(record.exc_info)
        record.exc_info = None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue a record, or count it."""
        waiting = self._records.qsize()
        if waiting >= CAPACITY or (waiting >= CROWDED and record.levelno < logging.WARNING):
            self.dropped += 1
        else:
            self._records.put(record)


class _Console(logging.StreamHandler):  # type: ignore[type-arg]
    """stderr; a closed one is counted, not reported on itself."""

    failed = 0
    last_error = ""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's name
        """Count a record that could not be written."""
        self.failed += 1
        self.last_error = f"console: {sys.exc_info()[1]}"


class LogPipeline:
    """The logging of one process, as `setup_logging` started it; close it to flush it.

    Parameters
    ----------
    sinks : list of Handler
        Where records go; written to by the listener thread only.
    console : Handler
        The one among them whose level follows the configuration.
    """

    def __init__(self, sinks: list[logging.Handler], console: logging.Handler) -> None:
        self._sinks = sinks
        self._console = console
        self._records: _Queue = queue.SimpleQueue()
        self._intake = _Intake(self._records)
        self._reported = 0
        self._next_report_s = 0.0
        self._closed = False
        self._listener = threading.Thread(target=self._listen, name="logs", daemon=True)

    @property
    def dropped(self) -> int:
        """Records that were lost: the queue was full, or a sink could not be written."""
        return self._intake.dropped + sum(getattr(sink, "failed", 0) for sink in self._sinks)

    def set_level(self, level: str) -> None:
        """Set the lowest level of the console, or of the journal in its place."""
        self._console.setLevel(level)
        # without files nobody would read what is below the console's level
        logging.getLogger("trader").setLevel(logging.DEBUG if len(self._sinks) > 1 else level)

    def start(self) -> None:
        """Become the process' logging."""
        root = logging.getLogger()
        root.setLevel(logging.INFO)
        root.addHandler(self._intake)
        # facts that no sink shows cost time at every call
        logging.logThreads = logging.logMultiprocessing = logging.logProcesses = False
        for name in _QUIET:
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.captureWarnings(capture=True)
        self._listener.start()
        atexit.register(self.close)

    def close(self) -> None:
        """Write what is queued, and stop; waits no longer than `PATIENCE_S`."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        logging.captureWarnings(capture=False)
        logging.getLogger().removeHandler(self._intake)
        self._records.put(_END)
        self._listener.join(PATIENCE_S)
        # a listener that is stuck in a sink is a daemon: it ends with the process
        if not self._listener.is_alive():
            for sink in self._sinks:
                sink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self) -> None:
        while (record := self._records.get()) is not _END:
            self._write(record)
            if self._records.empty() and time.monotonic() >= self._next_report_s:
                self._report_losses()
        self._report_losses()

    def _write(self, record: logging.LogRecord) -> None:
        for sink in self._sinks:
            if record.levelno >= sink.level:
                sink.handle(record)

    def _report_losses(self) -> None:
        lost = self.dropped - self._reported
        if not lost:
            return
        reasons = sorted({text for sink in self._sinks if (text := getattr(sink, "last_error", ""))})
        why = "; ".join(reasons) or "the queue was full"
        record = logging.LogRecord(
            __name__, logging.WARNING, __file__, 0, f"{lost} log records were dropped ({why})", None, None
        )
        record.event, record.fields = Event.LOGS_DROPPED, {"dropped": lost}
        self._write(record)
        # a sink that is still broken has just lost the report as well: that one needs no report
        self._reported = self.dropped
        self._next_report_s = time.monotonic() + REPORT_EVERY_S


_current: LogPipeline | None = None


def setup_logging(role: str, log_dir: Path | str | None, level: str = "INFO", run_id: str = "") -> LogPipeline:
    """Start the logging of this process; a second call replaces the first.

    Sinks: the console (human; journald's native protocol where stderr is the journal),
    `trading_system.log` (all, 50 MB x 10), `errors.log` (errors, 10 MB x 5), `trades.log` (trade events, by UTC
    day, 30 days) and `structured.jsonl` (all, as JSON, 50 MB x 5). Several processes share the files.

    Parameters
    ----------
    role : str
        Name of the process: supervisor, engine, ...
    log_dir : path or None
        Folder of the files, made if it is not there; None: no files. A folder that can not be written
        costs the files and a warning, nothing else.
    level : str
        Lowest level on the console or in the journal.
    run_id : str
        Name of the service's run.

    Returns
    -------
    LogPipeline
        To be closed at the end.
    """
    global _current  # noqa: PLW0603 - logging is one per process
    if _current is not None:
        _current.close()
    console = _console(role, run_id)
    problem = None
    files: list[logging.Handler] = []
    if log_dir is not None:
        try:
            files = _files(Path(log_dir), role, run_id)
        except OSError as error:
            problem = f"no log files in {log_dir}: {error.strerror}"
    _current = LogPipeline([console, *files], console)
    _current.set_level(level)
    _current.start()
    if problem:
        logging.getLogger(__name__).warning("%s", problem)
    return _current


def setup_comprehensive_logging(log_dir: Path | str = "logs", level: str = "INFO") -> LogPipeline:
    """Start the five log handlers in a program of one's own: notebook, script, test.

    Parameters
    ----------
    log_dir : path
        Folder of the files, made if it is not there.
    level : str
        Lowest level on the console.

    Returns
    -------
    LogPipeline
        To be closed at the end.
    """
    return setup_logging("main", log_dir, level)


def set_level(level: str) -> None:
    """Set the lowest level of this process' console, or of the journal in its place."""
    if _current is not None:
        _current.set_level(level)


def dropped_records() -> int:
    """Return how many records this process has lost so far."""
    return _current.dropped if _current is not None else 0


def _console(role: str, run_id: str) -> logging.Handler:
    if stderr_is_journal() and SOCKET.exists():
        return JournalHandler(role, run_id)
    console = _Console(sys.stderr)
    terminal = sys.stderr.isatty()
    colour = terminal and "NO_COLOR" not in os.environ
    console.setFormatter(HumanFormatter(role, colour=colour, date=not terminal))
    return console


def _files(folder: Path, role: str, run_id: str) -> list[logging.Handler]:
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(13, "the folder can not be written")
    everything = SizedFile(folder / "trading_system.log", logging.DEBUG, max_bytes=50 * _MB, backups=10)
    errors = SizedFile(folder / "errors.log", logging.ERROR, max_bytes=10 * _MB, backups=5)
    trades = DailyFile(folder / "trades.log", logging.DEBUG, days=30)
    trades.addFilter(logging.Filter(TRADES))
    structured = SizedFile(folder / "structured.jsonl", logging.DEBUG, max_bytes=50 * _MB, backups=5)
    human = HumanFormatter(role)
    for handler in (everything, errors, trades):
        handler.setFormatter(human)
    structured.setFormatter(JsonFormatter(role, run_id))
    return [everything, errors, trades, structured]
