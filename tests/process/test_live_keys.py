"""Real orders with keys that can't be right: `trader run` says so once, exits 78, and sends nothing."""

from __future__ import annotations

import pytest

from tests.acceptance.service import Service
from tests.loopback.venue import FakeVenue, VenueClock

KEY, SECRET = "k3y-for-this-test-alone", "s3cret-for-this-test-alone"
FIRST_MS = 1_700_000_000_000


def candles(count=200):
    """Return candles whose price stands still."""
    return [(FIRST_MS + i * 60_000, 100.0, 100.1, 99.9, 100.0, 5.0) for i in range(count)]


class KeyedService(Service):
    """A service whose keys come from its environment, as systemd would hand them over."""

    keys: tuple[str | None, str | None] = (KEY, SECRET)

    def environment(self):
        """Return the usual environment with the keys in it, as far as there are any."""
        named = {name: value for name, value in zip(("VENUE_KEY", "VENUE_SECRET"), self.keys, strict=True) if value}
        usual = {name: value for name, value in super().environment().items() if not name.startswith("VENUE_")}
        return {**usual, **named}


def settings(venue, **sections):
    """Return a configuration that would trade with real orders."""
    return {
        "market": {
            "source": "exchange",
            "exchange": venue.dialect.name,
            "symbols": ["BTC/USDT"],
            "timeframe": "1m",
            "exchange_config": venue.exchange_config(),
        },
        "engine": {"enable_trading": True},
        "dashboard": {"enable": False},
        "credentials": {"api_key": {"env": "VENUE_KEY"}, "secret": {"env": "VENUE_SECRET"}},
        **sections,
    }


def refused(folder, *, keys=(KEY, SECRET), sections=None, **options):
    """Run the service on a venue to its end; return exit code, what it said, and the venue's requests."""
    given = {"keys": (KEY, SECRET), "clock": VenueClock(wall=True), "history": 150, **options}
    with FakeVenue({"BTC/USDT": candles()}, **given) as venue:
        service = KeyedService(folder, settings(venue, **(sections or {})))
        service.keys = keys
        exit_code = service.run(240.0)
        assert venue.submissions == {}
        operations = [request["operation"] for request in venue.requests]
    logs = "".join(path.read_text(errors="replace") for path in folder.rglob("*.log*") if path.is_file())
    return exit_code, service.text(), logs, operations


@pytest.mark.parametrize(
    ("case", "words"),
    [
        pytest.param(
            {"keys": (KEY, "an0ther-secret-than-the-venue-has")}, "the venue refuses them", marks=pytest.mark.slow
        ),
        ({"keys": ("an0ther-key-than-the-venue-has", SECRET)}, "the venue refuses them"),
        pytest.param(
            {"permissions": frozenset({"read"})}, "read-only: allow them spot trading", marks=pytest.mark.slow
        ),
        ({"permissions": frozenset({"read", "trade", "withdraw"})}, "may move money out of the account"),
        ({"keys": (None, None)}, "environment variable VENUE_KEY is not set"),
        pytest.param({"keys": (KEY, None)}, "environment variable VENUE_SECRET is not set", marks=pytest.mark.slow),
        ({"sections": {"credentials": {}}}, "real orders need credentials.api_key and credentials.secret"),
    ],
    ids=["secret", "key", "read-only", "withdraw", "unset", "half", "none"],
)
def test_run_with_keys_that_can_not_trade_is_refused_once_and_sends_nothing(tmp_path, case, words):
    """Exit 78, one message that says what to do, no secret in output or logs, no order and no ledger."""
    exit_code, said, logs, operations = refused(tmp_path, **case)
    assert exit_code == 78, said[-3000:]
    concluded = [line for line in said.splitlines() if words in line and " engine     " not in line]
    assert len(concluded) == 1, said  # beside the engine's own word, where it was the engine that found it
    assert not {"submit", "cancel"} & set(operations)
    assert not (tmp_path / "data" / "ledger.db").exists()
    for secret in (KEY, SECRET, *(value for value in case.get("keys", ()) if value)):
        assert secret not in said
        assert secret not in logs
    assert "Traceback" not in said
