"""Who may look and who may act: token, sessions, hosts, origins, headers.

Whoever reaches a loopback address may read; every command needs the token. A page of another site can neither
send a command (SameSite cookie, JSON body, Origin) nor read (Host and Origin are checked, so a name that is
pointed at 127.0.0.1 gets nothing).
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import urlsplit

from trader.clock import NS_PER_S, boottime_ns
from trader.config.secrets import Secret

COOKIE = "trader_session"
SESSION_S = 12 * 3600
MOST_SESSIONS = 64

#: this many wrong tokens from one address within this time, then it has to wait
MOST_FAILURES = 5
FAILURE_WINDOW_S = 60
MOST_ADDRESSES = 1024

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def is_loopback(host: str) -> bool:
    """Return whether an address can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_name(host_header: str) -> str:
    """Return the name in a Host header, without port and brackets; empty when it is nonsense."""
    try:
        return urlsplit(f"//{host_header}").hostname or ""
    except ValueError:
        return ""


class Guard:
    """Decides who may read and who may act.

    Parameters
    ----------
    host : str
        The address that the dashboard listens on.
    token : Secret or None
        What a command must bring; None: no command is taken.
    now_ns : callable
        A clock that never steps [ns].
    """

    def __init__(self, host: str, token: Secret | None, now_ns: Callable[[], int] = boottime_ns) -> None:
        self._host = host
        self._token = token
        self._now_ns = now_ns
        self._sessions: OrderedDict[bytes, int] = OrderedDict()
        self._failures: OrderedDict[str, list[int]] = OrderedDict()

    @property
    def has_token(self) -> bool:
        """Whether commands are taken at all."""
        return self._token is not None

    @property
    def open_to_read(self) -> bool:
        """Whether reading needs no token."""
        return is_loopback(self._host)

    def host_allowed(self, host_header: str) -> bool:
        """Return whether a request is really meant for us; names of others that lead here are not.

        Beyond loopback the owner's names for this machine are not known, and the token protects.
        """
        if not is_loopback(self._host):
            return True
        name = host_name(host_header)
        return name == self._host or is_loopback(name)

    @staticmethod
    def origin_allowed(origin: str | None, host_header: str) -> bool:
        """Return whether a browser's page may speak to us: only our own, or none (a script)."""
        if origin is None:
            return True
        try:
            return bool(host_header) and urlsplit(origin).netloc.lower() == host_header.lower()
        except ValueError:
            return False

    def wait_s(self, address: str) -> int:
        """Return how long an address has to wait after too many wrong tokens [s]; 0: not at all."""
        recent = self._recent(address)
        if len(recent) < MOST_FAILURES:
            return 0
        return max(1, -(-(recent[0] + FAILURE_WINDOW_S * NS_PER_S - self._now_ns()) // NS_PER_S))

    def token_matches(self, candidate: str, address: str) -> bool:
        """Return whether this is the token; a wrong one counts against the address."""
        if self._token is not None and self._token.matches(candidate):
            self._failures.pop(address, None)
            return True
        self._failures[address] = [*self._recent(address), self._now_ns()][-MOST_FAILURES:]
        self._failures.move_to_end(address)
        while len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)
        return False

    def new_session(self) -> str:
        """Begin a session and return its key, for a cookie; only a hash of it is kept."""
        key = secrets.token_urlsafe(32)
        self._sessions[_hashed(key)] = self._now_ns() + SESSION_S * NS_PER_S
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return key

    def session_valid(self, key: str | None) -> bool:
        """Return whether a cookie's key belongs to a session that goes on."""
        return key is not None and self._sessions.get(_hashed(key), 0) > self._now_ns()

    def end_session(self, key: str | None) -> None:
        """End a session."""
        if key is not None:
            self._sessions.pop(_hashed(key), None)

    def _recent(self, address: str) -> list[int]:
        oldest = self._now_ns() - FAILURE_WINDOW_S * NS_PER_S
        return [moment for moment in self._failures.get(address, ()) if moment > oldest]


def _hashed(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
