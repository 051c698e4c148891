"""What never reaches a log: secrets, and characters that could forge an entry."""

from __future__ import annotations

import re
import threading
from typing import Final

HIDDEN: Final = "***"
#: shorter values would hide half of every text
MIN_SECRET_CHARS = 6

_NAME = (
    r"[\w-]*(?:api[_-]?key|private[_-]?key|secret|token|passw(?:or)?d|passphrase|signature|authorization|cookie)[\w-]*"
)
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
#: name=value; name: "value"; and a bare value after a colon only when it is long, so that prose stays readable
_ASSIGNED = re.compile(
    rf"(?P<name>\b{_NAME}[\"']?\s*)"
    rf"(?:(?P<equals>=\s*)(?P<open>[\"']?)(?:Bearer\s+)?[^\s\"'&,;}}]+"
    rf"|(?P<colon>:\s*)(?:Bearer\s+\S+|(?P<quote>[\"'])[^\"']*(?P=quote)|[^\s\"',;}}]{{16,}}))",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\bBearer\s+[\w.~+/=-]{8,}", re.IGNORECASE)
_USERINFO = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^\s/@]+@", re.IGNORECASE)
_HINT = re.compile(r"key|secret|token|passw|passphrase|signature|authorization|cookie|bearer|://", re.IGNORECASE)

#: C0 and C1 controls, DEL, line separators and what turns the direction of writing
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_KNOWN_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_lock = threading.Lock()
_secrets: tuple[str, ...] = ()


def hide(secret: str) -> None:
    """Replace a text by *** wherever it would be logged in this process from now on."""
    global _secrets  # noqa: PLW0603 - one list per process, as logging itself
    if len(secret) >= MIN_SECRET_CHARS:
        with _lock:
            # the longest first: one secret may be part of another
            _secrets = tuple(sorted({*_secrets, secret}, key=len, reverse=True))


def redact(text: str) -> str:
    """Return a text without anything that is, or is named like, a secret."""
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, HIDDEN)
    if not _HINT.search(text):
        return text
    text = _ASSIGNED.sub(_assigned, text)
    text = _BEARER.sub(f"Bearer {HIDDEN}", text)
    return _USERINFO.sub(rf"\g<scheme>{HIDDEN}@", text)


def is_secret_name(name: str) -> bool:
    """Tell whether a field of this name must not be shown."""
    return _SECRET_NAME.fullmatch(name) is not None


def one_line(text: str) -> str:
    """Return a text that can not end its line, colour a terminal or turn the direction of writing."""
    return _CONTROL.sub(_escape, text)


def _assigned(match: re.Match[str]) -> str:
    return f"{match['name']}{match['equals'] or match['colon']}{HIDDEN}"


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _KNOWN_ESCAPES.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
