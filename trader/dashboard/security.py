"""Who may look and who may act: token, sessions, hosts, origins, headers.

Whoever reaches a loopback address may read; every command needs the token. A page of another site can neither
send a command (SameSite cookie, JSON body, Origin) nor read (Host and Origin are checked, so a name that is
pointed at 127.0.0.1 gets nothing).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import lru_cache
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


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Return whether an address can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _own_names() -> set[str]:
    name = socket.gethostname().lower()
    return {name, name.partition(".")[0], f"{name.partition('.')[0]}.local"}


@lru_cache(maxsize=256)
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
    hosts : iterable of str
        Further names by which this dashboard may be asked: those of a proxy in front of it.
    """

    def __init__(
        self,
        host: str,
        token: Secret | None,
        now_ns: Callable[[], int] = boottime_ns,
        hosts: Iterable[str] = (),
    ) -> None:
        self._host = host
        self._token = token
        self._now_ns = now_ns
        self._loopback = is_loopback(host)
        self._names = {name.lower() for name in (host, *hosts)} | (set() if self._loopback else _own_names())
        self._sessions: OrderedDict[bytes, int] = OrderedDict()
        self._failures: OrderedDict[str, list[int]] = OrderedDict()

    @property
    def has_token(self) -> bool:
        """Whether commands are taken at all."""
        return self._token is not None

    @property
    def open_to_read(self) -> bool:
        """Whether reading needs no token."""
        return self._loopback

    def replace_token(self, token: Secret | None) -> None:
        """Take another token from now on; whoever signed in with the old one has to sign in again."""
        self._token = token
        self._sessions.clear()

    def host_allowed(self, host_header: str) -> bool:
        """Return whether a request is really meant for us; names of others that lead here are not.

        Beyond loopback every address will do, because a name that was pointed here is no address; and this
        machine's own names.
        """
        name = host_name(host_header)
        return name in self._names or is_loopback(name) or (not self._loopback and _is_address(name))

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

    @staticmethod
    def xsrf_of(key: str) -> str:
        """Return what a session's own page sends with each command; it can't be had from the cookie by another."""
        return hashlib.sha256(b"xsrf:" + key.encode("utf-8", "surrogateescape")).hexdigest()

    def xsrf_matches(self, key: str | None, candidate: str | None) -> bool:
        """Return whether a request brings what only the session's own page knows."""
        if key is None or candidate is None:
            return False
        return hmac.compare_digest(self.xsrf_of(key).encode(), candidate.encode("utf-8", "surrogateescape"))

    def end_session(self, key: str | None) -> None:
        """End a session."""
        if key is not None:
            self._sessions.pop(_hashed(key), None)

    def _recent(self, address: str) -> list[int]:
        oldest = self._now_ns() - FAILURE_WINDOW_S * NS_PER_S
        return [moment for moment in self._failures.get(address, ()) if moment > oldest]


def _hashed(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
