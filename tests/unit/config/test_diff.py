"""`trader.config.diff`: what a change needs."""

from __future__ import annotations

import pytest

from trader.config.diff import Needs, changes, refused, workers
from trader.config.sections import Config


def changed(**sections):
    """Return the changes from the defaults to the defaults with some sections set."""
    return changes(Config(), Config.model_validate(sections))


def test_changes_equal_configurations_is_empty():
    """Nothing differs, nothing is needed."""
    assert changed() == []


@pytest.mark.parametrize(
    ("sections", "key", "needs"),
    [
        ({"risk": {"max_daily_trades": 3}}, "risk.max_daily_trades", Needs.HOT),
        ({"strategies": [{"use": "other"}]}, "strategies", Needs.HOT),
        ({"market": {"timeframe": "5m"}}, "market.timeframe", Needs.ENGINE),
        ({"dashboard": {"port": 1}}, "dashboard.port", Needs.DASHBOARD),
        ({"dashboard": {"token": {"env": "A"}}}, "dashboard.token", Needs.DASHBOARD),
        ({"data_dir": "d"}, "data_dir", Needs.SERVICE),
        ({"engine": {"enable_trading": True}}, "engine.enable_trading", Needs.SERVICE),
        ({"credentials": {"api_key": {"env": "A"}}}, "credentials.api_key", Needs.SERVICE),
    ],
)
def test_changes_one_key_says_what_it_needs(sections, key, needs):
    """Each key brings its own reload class."""
    (change,) = changed(**sections)
    assert (change.key, change.needs) == (key, needs)


def test_changes_several_keys_are_sorted_out():
    """Refused changes and workers to restart are told apart."""
    found = changed(quote="EUR", dashboard={"port": 1}, market={"speed": 2}, exits={"max_hold_seconds": 60})
    assert [str(change) for change in found] == [
        "quote: USDT -> EUR",
        "market.speed: 60.0 -> 2.0",
        "exits.max_hold_seconds: null -> 60.0",
        "dashboard.port: 8080 -> 1",
    ]
    assert [change.key for change in refused(found)] == ["quote"]
    assert workers(found) == {"engine", "dashboard"}
