"""Who may read and who may act."""

from __future__ import annotations

import pytest

from trader.clock import NS_PER_S
from trader.config.secrets import Secret
from trader.dashboard.security import (
    FAILURE_WINDOW_S,
    MOST_FAILURES,
    MOST_SESSIONS,
    SESSION_S,
    Guard,
    host_name,
    is_loopback,
)


class _Clock:
    def __init__(self) -> None:
        self.now_ns = NS_PER_S

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, seconds: float) -> None:
        self.now_ns += int(seconds * NS_PER_S)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True),
        ("0.0.0.0", False), ("10.0.0.1", False), ("evil.example", False), ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)  # fmt: skip
def test_is_loopback_knows_addresses_from_names(host: str, loopback: bool) -> None:
    """Only what can't leave the machine counts."""
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("header", "name"),
    [("localhost:8080", "localhost"), ("[::1]:8080", "::1"), ("Example.COM", "example.com"), ("[", ""), ("", "")],
)
def test_host_name_is_taken_out_of_the_header(header: str, name: str) -> None:
    """Port and brackets are not part of it; nonsense has none."""
    assert host_name(header) == name


@pytest.mark.parametrize(
    ("header", "allowed"),
    [("127.0.0.1:8080", True), ("localhost", True), ("[::1]:1", True), ("rebound.example:8080", False), ("", False)],
)
def test_guard_on_loopback_refuses_names_that_were_pointed_here(header: str, allowed: bool) -> None:
    """DNS rebinding gets nothing."""
    assert Guard("127.0.0.1", None).host_allowed(header) is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True), ("http://localhost:8080", True), ("https://localhost:8080", True),
        ("http://localhost:9999", False), ("http://evil.example", False), ("null", False), ("http://[", False),
    ],
)  # fmt: skip
def test_guard_takes_its_own_origin_only(origin: str | None, allowed: bool) -> None:
    """Another site's page, a sandboxed one and nonsense are refused."""
    assert Guard.origin_allowed(origin, "localhost:8080") is allowed


def test_guard_without_a_token_matches_nothing() -> None:
    """No token configured: no token is right, not even an empty one."""
    guard = Guard("127.0.0.1", None)
    assert not guard.has_token
    assert not guard.token_matches("", "a")
    assert not guard.token_matches("None", "a")


def test_guard_too_many_failures_wait_and_only_there() -> None:
    """Five wrong tokens from one address: that one waits, another doesn't, and time heals."""
    clock = _Clock()
    guard = Guard("127.0.0.1", Secret("right"), clock)
    for _ in range(MOST_FAILURES):
        assert guard.wait_s("a") == 0
        assert not guard.token_matches("wrong", "a")
    assert 0 < guard.wait_s("a") <= FAILURE_WINDOW_S
    assert guard.wait_s("b") == 0
    clock.advance(FAILURE_WINDOW_S)
    assert guard.wait_s("a") == 0
    assert guard.token_matches("right", "a")


def test_guard_session_ends_in_time_or_by_sign_out() -> None:
    """A session is worth twelve hours, or until its owner ends it; made-up keys are worth nothing."""
    clock = _Clock()
    guard = Guard("127.0.0.1", Secret("right"), clock)
    first, second = guard.new_session(), guard.new_session()
    assert first != second
    assert guard.session_valid(first)
    guard.end_session(first)
    assert not guard.session_valid(first)
    assert guard.session_valid(second)
    clock.advance(SESSION_S)
    assert not guard.session_valid(second)
    assert not guard.session_valid("made up")
    assert not guard.session_valid(None)


def test_guard_sessions_are_bounded() -> None:
    """The oldest gives way."""
    guard = Guard("127.0.0.1", Secret("right"))
    keys = [guard.new_session() for _ in range(MOST_SESSIONS + 1)]
    assert not guard.session_valid(keys[0])
    assert guard.session_valid(keys[1])
    assert guard.session_valid(keys[-1])


def test_guard_beyond_loopback_closes_reading() -> None:
    """An address that others reach needs the token for reading, too."""
    assert Guard("127.0.0.1", None).open_to_read
    assert not Guard("0.0.0.0", Secret("right")).open_to_read
