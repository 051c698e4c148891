"""`trader download` and `trader doctor` on a fake venue: files that are true and complete, and every fault by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from tests.loopback.exchange_stage import FIRST_MS, MINUTE_MS, rows
from tests.loopback.venue import FakeVenue, VenueClock
from trader.cli import main
from trader.clock import format_utc
from trader.market import doctor, download
from trader.market.candles_file import read_candle_file
from trader.market.validation import validate_candles

SECRET = "dGVzdC1zZWNyZXQ="


@pytest.fixture(autouse=True)
def _brisk(monkeypatch):
    """Pauses are shorter here."""
    monkeypatch.setattr(download, "PAUSE_FIRST_S", 0.05)
    monkeypatch.setattr(doctor, "STREAM_S", 0.5)


def configure(folder, venue, **values):
    """Write a configuration that leads to a venue, and return its path."""
    market = {
        "source": "exchange",
        "symbols": ["BTC/USDT"],
        "timeframe": "1m",
        "exchange_config": venue.exchange_config(),
    }
    path = folder / "trader.yaml"
    path.write_text(yaml.safe_dump({**values, "market": market | values.get("market", {})}))
    return path


def since(minute):
    """Return a time of the fake market as text."""
    return format_utc((FIRST_MS + minute * MINUTE_MS) * 1_000_000)


def run_download(folder, venue, capsys, *options):
    """Download into a folder; return the exit code and the document's only file."""
    config = configure(folder, venue)
    code = main(["download", "--config", str(config), "--candles", str(folder / "candles"), "--json", *options])
    return code, json.loads(capsys.readouterr().out)["files"][0]


@pytest.mark.parametrize(
    ("action", "options"),
    [(None, {}), ("garbage_json", {"times": 2}), ("drop_after", {"times": 2}), ("rate_limited", {"retry_after": 0})],
)
def test_download_under_faults_is_whole_and_true(tmp_path, capsys, action, options):
    """An answer that is none is asked for again, and never taken for a hole."""
    given = rows(2600)
    with FakeVenue({"BTC/USDT": given}, history=2590) as venue:
        if action:
            venue.script.add("klines", action, nth=2, **options)
        code, file = run_download(tmp_path, venue, capsys, "--since", since(0))
    assert (code, file["missing"], file["error"]) == (0, 0, None)
    candles = read_candle_file(tmp_path / "candles" / "BTC_USDT-1m.feather", "BTC/USDT", "1m")
    validate_candles("file", candles)
    np.testing.assert_array_equal(candles.close, [one[4] for one in given[: len(candles)]])
    assert len(candles) >= 2588


def test_download_again_asks_only_for_what_is_lacking(tmp_path, capsys):
    """Later, and further back; what is there is not asked for twice."""
    with FakeVenue({"BTC/USDT": rows(3000)}, history=2500) as venue:
        run_download(tmp_path, venue, capsys, "--since", since(1200))
        venue.advance(5)
        before = len(venue.asked("klines"))
        code, file = run_download(tmp_path, venue, capsys, "--since", since(1200))
        assert (code, file["added"]) == (0, 5)
        assert len(venue.asked("klines")) - before <= 2
        code, file = run_download(tmp_path, venue, capsys, "--since", since(0))
        assert (code, file["added"], file["missing"]) == (0, 1200, 0)


def test_download_cut_off_goes_on_where_it_was(tmp_path, capsys, monkeypatch):
    """The venue goes away in the middle: what came is on disk, in front of what was there already."""
    monkeypatch.setattr(download, "TRIES", 2)
    with FakeVenue({"BTC/USDT": rows(3000)}, history=2900) as venue:
        run_download(tmp_path, venue, capsys, "--since", since(2800))
        venue.script.add("klines", "error_5xx", nth=2, times=None, status=503)
        code, file = run_download(tmp_path, venue, capsys, "--since", since(0))
        assert code == 1
        assert "503" in file["error"]
        assert file["added"] == 1000
        venue.script.clear()
        code, file = run_download(tmp_path, venue, capsys, "--since", since(0))
        assert (code, file["missing"]) == (0, 0)


def test_download_of_a_venue_with_holes_lists_them_and_finds_the_listing(tmp_path, capsys):
    """Nothing is made up, and nothing is asked for page by page where nothing is."""
    whole = rows(60_000)
    with FakeVenue({"BTC/USDT": whole[50_000:52_000] + whole[52_100:]}, history=8_000) as venue:
        code, file = run_download(tmp_path, venue, capsys, "--since", since(0))
        assert len(venue.asked("klines")) < 45
    assert (code, file["first"]) == (0, since(50_000))
    assert file["gaps"] == [{"from": since(52_000), "until": since(52_100)}]
    assert file["missing"] == 100


def test_download_does_not_touch_a_damaged_file(tmp_path, capsys):
    """It names the file and fails."""
    (tmp_path / "candles").mkdir()
    damaged = tmp_path / "candles" / "BTC_USDT-1m.feather"
    damaged.write_bytes(b"no feather")
    with FakeVenue({"BTC/USDT": rows(100)}, history=90) as venue:
        code, file = run_download(tmp_path, venue, capsys, "--since", since(0))
    assert code == 1
    assert "no Feather file" in file["error"]
    assert damaged.read_bytes() == b"no feather"


def examine(folder, capsys, monkeypatch, *, key="test-key", clock=None, config=None, **options):
    """Return the doctor's exit code, its findings by name, and all that it wrote."""
    monkeypatch.setenv("VENUE_KEY", key)
    monkeypatch.setenv("VENUE_SECRET", SECRET)
    with FakeVenue({"BTC/USDT": rows(130)}, history=120, clock=clock or VenueClock(wall=True), **options) as venue:
        values = {
            "engine": {"enable_trading": True},
            "credentials": {"api_key": {"env": "VENUE_KEY"}, "secret": {"env": "VENUE_SECRET"}},
        }
        path = configure(folder, venue, **{**values, **(config or {})})
        code = main(["doctor", "--config", str(path), "--json"])
    said = capsys.readouterr()
    findings = json.loads(said.out)["findings"]
    return code, {one["name"]: (one["level"], one["text"]) for one in findings}, said.out + said.err


def test_doctor_passes_a_venue_that_is_fit(tmp_path, capsys, monkeypatch):
    """Clock, symbols, candles, keys, rights, balance and minima are all looked at, and no secret is shown."""
    code, found, said = examine(tmp_path, capsys, monkeypatch)
    assert code == 0
    looked = {"clock", "symbols", "candles", "stream", "keys", "rights", "withdrawals", "balance", "minima"}
    assert looked <= set(found)
    assert {level for name, (level, _) in found.items() if name != "stream"} == {"ok"}
    assert SECRET not in said
    assert "test-key" not in said


@pytest.mark.parametrize(
    ("options", "name", "words"),
    [
        ({"permissions": frozenset({"read"})}, "rights", "read-only"),
        ({"permissions": frozenset({"read", "trade", "withdraw"})}, "withdrawals", "take that right away"),
        ({"key": "another"}, "keys", "the venue refuses them"),
        ({"clock": VenueClock(wall=True, offset_ms=9_000)}, "clock", "more than market.max_clock_skew_seconds"),
        ({"balances": {"USDT": "10"}}, "minima", "BTC/USDT 5"),
        ({"config": {"market": {"symbols": ["BTC/USDT", "ETH/USDT"]}}}, "symbols", "has no ETH/USDT"),
        ({"config": {"market": {"exchange": "binanse"}}}, "venue", "did you mean binance"),
        ({"config": {"credentials": {}}}, "configuration", "credentials"),
    ],
)
def test_doctor_names_what_stands_in_the_way(tmp_path, capsys, monkeypatch, options, name, words):
    """Exit code 1, and the finding says what to do."""
    code, found, said = examine(tmp_path, capsys, monkeypatch, **options)
    assert code == 1
    level, text = found[name]
    assert level == "failed"
    assert words in text
    assert SECRET not in said
