"""`trader.logs.redaction`: secrets and forgeries."""

from __future__ import annotations

import pytest

from trader.logs import redaction
from trader.logs.redaction import hide, is_secret_name, one_line, redact


@pytest.mark.parametrize(
    "text",
    [
        "https://x/?apiKey=hunter2xyz&symbol=BTC",
        "secret='hunter2xyz'",
        '{"api_secret": "hunter2xyz"}',
        "Authorization: Bearer hunter2xyz",
        "sent Bearer hunter2xyz to the venue",
        "https://me:hunter2xyz@example.org/",
        "api_key: hunter2xyzhunter2xyz",
        "X-MBX-SIGNATURE=hunter2xyz",
        "password=hunter2xyz",
    ],
)
def test_redact_named_secret_is_hidden(text):
    """Whatever is named like a secret is not shown."""
    assert "hunter2" not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text",
    ["dashboard.token: must be text", "the key BTC/USDT is no text", "https://example.org/path?symbol=BTC", "2 keys"],
)
def test_redact_prose_is_left_alone(text):
    """Messages about secrets stay readable."""
    assert redact(text) == text


def test_hide_known_value_disappears_anywhere(monkeypatch):
    """A resolved secret is hidden even without a name beside it."""
    monkeypatch.setattr(redaction, "_secrets", ())
    hide("correct-horse")
    hide("correct-horse-battery")
    hide("abc")
    assert redact("it was correct-horse-battery, abc") == "it was ***, abc"


def test_one_line_hostile_text_can_not_forge_an_entry():
    """Newlines, colours and direction marks become visible escapes."""
    assert one_line("a\nb\r\x1b[31m\u202e\u2028\x9b") == "a\\nb\\r\\x1b[31m\\u202e\\u2028\\x9b"
    assert one_line("plain ümläut → ok") == "plain ümläut → ok"


@pytest.mark.parametrize(
    ("name", "secret"), [("api_key", True), ("x_token_y", True), ("symbol", False), ("monkey", False)]
)
def test_is_secret_name_knows_its_words(name, secret):
    """Fields are judged by their names."""
    assert is_secret_name(name) is secret
