"""What systemd is told, so that no text can cost a watchdog ping and no full socket can block the loop.

sdnotify's own sender blocks when systemd is slow and loses a whole datagram over one character that is
not latin-1; here the socket does not wait, texts are made ASCII, and a ping always travels alone.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from sdnotify import SystemdNotifier

#: never handed on: a worker that could ping would hide a hung supervisor
OURS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Speaks to systemd when systemd listens, and is silent otherwise."""

    def __init__(self) -> None:
        self.failures = 0  #: datagrams that systemd did not take
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        pid = os.environ.get("WATCHDOG_PID", "")
        usec = os.environ.get("WATCHDOG_USEC", "")
        ours = not pid or pid == str(os.getpid())
        self.watchdog_s = int(usec) / 1e6 if usec.isdigit() and ours else 0.0  #: 0: no watchdog
        self._sender: SystemdNotifier | None = None
        self._status = ""
        self._connect()
        for name in OURS:
            os.environ.pop(name, None)

    @property
    def listening(self) -> bool:
        """Whether the service was started by systemd with Type=notify."""
        return bool(self._address)

    def ready(self) -> None:
        """Say that the service is up, or that a reload has ended."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Say that a reload has begun; systemd 253 and later wants the time with it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Say that the service is ending."""
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        """Say that the supervisor's loop turns."""
        if self.watchdog_s:
            self._send("WATCHDOG=1")

    def trigger_watchdog(self) -> None:
        """Say that the supervisor found itself in contradiction: systemd does what it does about one that hangs."""
        if self.watchdog_s:
            self._send("WATCHDOG=trigger")

    def extend_timeout(self, seconds: float) -> None:
        """Ask for more time to start or to stop; to be repeated before it runs out."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows, when it differs from the last one."""
        line = " ".join(text.split()).encode("ascii", "replace").decode()[:300]
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def failed(self, text: str, errno: int = 0) -> None:
        """Say why the service ends."""
        self.status(text)
        if errno:
            self._send(f"ERRNO={errno}")

    def close(self) -> None:
        """Close the socket."""
        self._drop()
        self._address = ""

    def _drop(self) -> None:
        if self._sender is not None:
            self._sender.socket.close()
        self._sender = None

    def _connect(self) -> None:
        # looked for first, because SystemdNotifier loses its socket unclosed when it can not connect
        if not self._address or not (self._address.startswith("@") or Path(self._address).exists()):
            return
        before = os.environ.get("NOTIFY_SOCKET")
        os.environ["NOTIFY_SOCKET"] = self._address
        try:
            self._sender = SystemdNotifier(debug=True)
            self._sender.socket.settimeout(0)
        except OSError:
            self._sender = None
        finally:
            if before is None:
                del os.environ["NOTIFY_SOCKET"]

    def _send(self, text: str) -> None:
        if not self._address:
            return
        if self._sender is None:  # systemd re-creates its socket when it re-executes itself
            self._connect()
        try:
            if self._sender is None:
                raise OSError
            self._sender.notify(text)
        except BlockingIOError:
            self.failures += 1
        except OSError:
            self.failures += 1
            self._drop()
