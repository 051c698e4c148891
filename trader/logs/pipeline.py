"""The way of a record: two bounded queues, each with a thread that listens to it, and five sinks behind them.

Who logs pays for a queue's put and no more: text is made by the listeners. A stalled disk, terminal or journald
stalls one listener, fills one queue, and costs log records, not trading. Console and journal have a queue of
their own, the files have the other, so that neither waits for what ails the other. The last fifth of a queue is
kept for warnings, errors and what happens to orders and positions. What was dropped is counted, and
reported once there is room again.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from trader.logs.events import TRADES, Event, Words
from trader.logs.files import DailyFile, SizedFile
from trader.logs.formatting import HumanFormatter, JsonFormatter, plain_value
from trader.logs.journal import SOCKET, JournalHandler, stderr_is_journal
from trader.logs.records import are_plain, found_caller
from trader.logs.sinks import Console, Sink

#: records that wait in one queue
CAPACITY: Final = 8192
#: where records below WARNING are no longer taken, but for trade events
CROWDED: Final = CAPACITY * 4 // 5
#: records that a listener takes at once
BATCH: Final = 256
#: how long close waits for what is still queued [s]
PATIENCE_S: Final = 3.0
#: losses are reported no more often than this at first, and ever more rarely while they go on [s]
REPORT_EVERY_S: Final = 10.0
REPORT_AT_LEAST_S: Final = 600.0

_MB: Final = 1_000_000
#: sizes at which files are rotated [bytes]
FILE_BYTES = 50 * _MB
ERROR_FILE_BYTES = 10 * _MB
_END: Final = None
#: libraries that log what only their authors want to read
_QUIET = ("numba", "asyncio", "ccxt", "urllib3", "matplotlib", "apprise", "requests", "markdown")

# the C queue: a put is a tenth of queue.Queue's, and its bound is checked here
_Queue = queue.SimpleQueue[logging.LogRecord | None]


class _Lane:
    """One queue, its listener and the sinks behind it."""

    def __init__(self, name: str, sinks: Sequence[logging.Handler]) -> None:
        self.sinks = sinks
        self.level = logging.NOTSET  #: lowest level that any of them takes
        self.dropped = 0  #: records that did not fit
        self.left = 0  #: records that were still queued when patience ended
        self._records: _Queue = queue.SimpleQueue()
        self._reported = 0
        self._next_report_s = 0.0
        self._pause_s = REPORT_EVERY_S
        self._thread = threading.Thread(target=self._listen, name=name, daemon=True)

    @property
    def lost(self) -> int:
        """Records that did not fit, or that a sink could not write."""
        return self.dropped + self.left + sum(getattr(sink, "failed", 0) for sink in self.sinks)

    @property
    def waiting(self) -> int:
        """Records that are queued."""
        return self._records.qsize()

    def start(self) -> None:
        """Listen."""
        self._thread.start()

    def offer(self, record: logging.LogRecord) -> None:
        """Queue a record, or count it; never waits."""
        waiting = self._records.qsize()
        if waiting < CROWDED or (waiting < CAPACITY and (record.levelno >= logging.WARNING or record.name == TRADES)):
            self._records.put(record)
        else:
            self.dropped += 1

    def end(self) -> None:
        """Let the listener come to an end."""
        self._records.put(_END)

    def wait(self, until_s: float) -> None:
        """Wait for what is queued, and count what is not written by then; a stuck listener ends with the process."""
        self._thread.join(max(0.0, until_s - time.monotonic()))
        if self._thread.is_alive():
            self.left = max(0, self._records.qsize() - 1)
            return
        for sink in self.sinks:
            sink.close()

    def _listen(self) -> None:
        while True:
            batch = self._batch()
            ended = bool(batch) and batch[-1] is _END
            records = [record for record in batch if record is not None]
            if records:
                self._write(records)
            if self._records.empty() and (ended or time.monotonic() >= self._next_report_s):
                self._report_losses()
            if ended:
                return

    def _batch(self) -> list[logging.LogRecord | None]:
        """Return what is queued, once there is something; nothing when losses wait to be told."""
        batch: list[logging.LogRecord | None] = []
        with suppress(queue.Empty):
            batch.append(self._records.get(timeout=self._pause_s if self.lost > self._reported else None))
            while len(batch) < BATCH and batch[-1] is not _END:
                batch.append(self._records.get_nowait())
        return batch

    def _write(self, records: list[logging.LogRecord]) -> None:
        for sink in self.sinks:
            if isinstance(sink, Sink):
                sink.take(records)
                continue
            for record in records:
                if record.levelno >= sink.level:
                    sink.handle(record)

    def _report_losses(self) -> None:
        lost = self.lost - self._reported
        if not lost:
            self._pause_s = REPORT_EVERY_S
            return
        reasons = sorted({text for sink in self.sinks if (text := getattr(sink, "last_error", ""))})
        why = "; ".join(reasons) or "the queue was full"
        text = f"{lost} log records were dropped ({why})"
        record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None)
        record.event, record.fields = Event.LOGS_DROPPED, {"dropped": lost}
        if _current is not None and self in _current.lanes:
            _current.tell(record)
        else:
            self._write([record])
        # a sink that is still broken has just lost the report as well: that one needs no report
        self._reported = self.lost
        self._next_report_s = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, REPORT_AT_LEAST_S)


class _Intake(logging.Handler):
    """Makes records independent of their makers' objects and hands them to the lanes; never waits."""

    def __init__(self, lanes: Sequence[_Lane]) -> None:
        super().__init__()
        self._lanes = lanes

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record; nothing here needs the lock that handlers have."""
        try:
            _settle(record)
        except Exception as error:  # noqa: BLE001 - what can't be told must not stop who wanted to tell it
            record.msg, record.args = f"a log message could not be made: {type(error).__name__}: {error}", None
            record.fields = {}
        for lane in self._lanes:
            if record.levelno >= lane.level:
                lane.offer(record)
        return True


_traces = logging.Formatter()


def _settle(record: logging.LogRecord) -> None:
    """Make text of whatever may change after the call; the rest is the listener's work."""
    kind = type(record.msg)
    if (kind is not str and not issubclass(kind, Words)) or (record.args and not are_plain(_values(record.args))):
        record.msg, record.args = record.getMessage(), None
    fields = record.__dict__.get("fields")
    if fields and not are_plain(fields.values()):
        record.fields = {name: value if are_plain((value,)) else plain_value(value) for name, value in fields.items()}
    if record.exc_info:
        record.exc_text = record.exc_text or _traces.formatException(record.exc_info)
        record.exc_info = None


def _values(args: Any) -> Any:
    return args.values() if isinstance(args, dict) else args


class LogPipeline:
    """The logging of one process, as `setup_logging` started it; close it to flush it.

    Parameters
    ----------
    console : Handler
        Console or journal, whose level follows the configuration.
    files : sequence of Handler
        The log files.
    """

    def __init__(self, console: logging.Handler, files: Sequence[logging.Handler] = ()) -> None:
        self._console = console
        self._files = files
        shown = _Lane("logs-console", [console])
        kept = _Lane("logs-files", files)
        self.lanes = [shown, kept] if files else [shown]
        self._intake = _Intake(self.lanes)
        self._closed = False
        self._before: tuple[Any, Any] = (None, None)

    @property
    def dropped(self) -> int:
        """Records that were lost: a queue was full, or a sink could not be written."""
        return sum(lane.lost for lane in self.lanes)

    @property
    def waiting(self) -> int:
        """Records in the fullest queue."""
        return max(lane.waiting for lane in self.lanes)

    def set_level(self, level: str) -> None:
        """Set the lowest level of the console, or of the journal in its place."""
        self._console.setLevel(level)
        self.lanes[0].level = self._console.level
        # without files nobody would read what is below the console's level
        logging.getLogger("trader").setLevel(logging.DEBUG if self._files else level)

    def tell(self, record: logging.LogRecord) -> None:
        """Hand a record of the pipeline's own to every lane."""
        for lane in self.lanes:
            lane.offer(record)

    def start(self) -> None:
        """Become the process' logging."""
        root = logging.getLogger()
        root.setLevel(logging.INFO)
        root.addHandler(self._intake)
        # facts that no sink shows cost time at every call, and callers are found in a cheaper way
        logging.logThreads = logging.logMultiprocessing = logging.logProcesses = False
        self._before = (logging._srcfile, logging.getLogRecordFactory())  # noqa: SLF001 - its documented switch
        logging._srcfile = None  # noqa: SLF001
        logging.setLogRecordFactory(found_caller)
        for name in _QUIET:
            logging.getLogger(name).setLevel(logging.CRITICAL if name == "apprise" else logging.WARNING)
        logging.captureWarnings(capture=True)
        for lane in self.lanes:
            lane.start()
        atexit.register(self.close)

    def close(self) -> None:
        """Write what is queued, and stop; waits no longer than `PATIENCE_S`."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        logging.captureWarnings(capture=False)
        logging.getLogger().removeHandler(self._intake)
        logging._srcfile = self._before[0]  # noqa: SLF001 - as it was
        logging.setLogRecordFactory(self._before[1])
        until_s = time.monotonic() + PATIENCE_S
        for lane in self.lanes:
            lane.end()
        for lane in self.lanes:
            lane.wait(until_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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
    _current = LogPipeline(console, files)
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
    console = Console()
    terminal = sys.stderr.isatty()
    colour = terminal and "NO_COLOR" not in os.environ
    console.setFormatter(HumanFormatter(role, colour=colour, date=not terminal))
    return console


def _files(folder: Path, role: str, run_id: str) -> list[logging.Handler]:
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(13, "the folder can not be written")
    everything = SizedFile(folder / "trading_system.log", logging.DEBUG, max_bytes=FILE_BYTES, backups=10)
    errors = SizedFile(folder / "errors.log", logging.ERROR, max_bytes=ERROR_FILE_BYTES, backups=5)
    trades = DailyFile(folder / "trades.log", logging.DEBUG, days=30)
    trades.addFilter(logging.Filter(TRADES))
    structured = SizedFile(folder / "structured.jsonl", logging.DEBUG, max_bytes=FILE_BYTES, backups=5)
    human = HumanFormatter(role)
    for handler in (everything, errors, trades):
        handler.setFormatter(human)
    structured.setFormatter(JsonFormatter(role, run_id))
    return [everything, errors, trades, structured]
