"""journald's native protocol: priorities, fields to search by, and a traceback as one entry.

See https://systemd.io/JOURNAL_NATIVE_PROTOCOL/. Only the fields listed here are sent: a record's
other attributes stay where they are. The socket never blocks: when journald stalls, records
are counted as lost.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import select
import socket
import struct
from pathlib import Path
from typing import Final

from trader.logs.formatting import event_of, exception_of, fields_of, message_of
from trader.logs.sinks import Sink

SOCKET: Final = Path("/run/systemd/journal/socket")
#: how long a stalled journald is waited for [s]; the listener's time, never the engine's
PATIENCE_S = 0.2

_FIELD = re.compile(r"[A-Z][A-Z0-9_]{0,62}")
_F_ADD_SEALS, _ALL_SEALS = 1033, 0x0F  # F_SEAL_SEAL | SHRINK | GROW | WRITE


def stderr_is_journal() -> bool:
    """Tell whether stderr leads into the journal, as systemd says in $JOURNAL_STREAM."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(2)
        return (int(device), int(inode)) == (status.st_dev, status.st_ino)
    except (ValueError, OSError):
        return False


def priority(level: int) -> int:
    """Return the syslog priority of a level."""
    for at_least, number in ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6)):
        if level >= at_least:
            return number
    return 7


def encode(fields: dict[str, str]) -> bytes:
    """Return fields as one message of the native protocol."""
    parts = []
    for name, text in fields.items():
        value = text.encode("utf-8", "backslashreplace")
        if b"\n" in value:
            parts.append(name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n")
        else:
            parts.append(name.encode() + b"=" + value + b"\n")
    return b"".join(parts)


class JournalHandler(Sink):
    """Sends records to journald.

    Parameters
    ----------
    role : str
        Sent as TRADER_ROLE.
    run_id : str
        Sent as RUN_ID.
    path : Path
        journald's socket.
    """

    def __init__(self, role: str, run_id: str, path: Path = SOCKET) -> None:
        super().__init__()
        self._stalled = False  # nothing got through the last time: do not wait again
        self._static = {"SYSLOG_IDENTIFIER": "trader", "TRADER_ROLE": role, "RUN_ID": run_id}
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(0)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; never raises, never waits for long."""
        try:
            self._send(encode(self.fields(record)))
        except Exception as error:  # noqa: BLE001 - logging must not stop trading, whatever breaks
            self._stalled = isinstance(error, BlockingIOError)
            self.lose(1, "journal", error)
        else:
            self._stalled = False

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()

    def fields(self, record: logging.LogRecord) -> dict[str, str]:
        """Return what is sent of a record: an allow-list, and the facts of an event."""
        exception = exception_of(record)
        message = message_of(record)
        found = {
            "MESSAGE": f"{message}\n{exception}" if exception else message,
            "PRIORITY": str(priority(record.levelno)),
            **self._static,
            "LOGGER": record.name,
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": record.funcName or "",
        }
        event = event_of(record)
        if event:
            found["TRADER_EVENT"] = event
        if exception:
            found["EXCEPTION"] = exception
        for name, value in fields_of(record).items():
            field = name.upper()
            if value is not None and field not in found and _FIELD.fullmatch(field):
                found[field] = str(value)
        return found

    def _send(self, message: bytes) -> None:
        try:
            self._socket.sendto(message, self._path)
        except BlockingIOError:
            if self._stalled:
                raise
            # a datagram socket is writable again when the receiver's queue has room
            self._socket.connect(self._path)
            select.select((), (self._socket,), (), PATIENCE_S)
            self._socket.send(message)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            self._send_file(message)

    def _send_file(self, message: bytes) -> None:
        descriptor = os.memfd_create("journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(descriptor, message)
            fcntl.fcntl(descriptor, _F_ADD_SEALS, _ALL_SEALS)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", descriptor))]
            self._socket.sendmsg([b""], rights, 0, self._path)
        finally:
            os.close(descriptor)
