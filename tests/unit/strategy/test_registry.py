"""The registry builds what is configured, and names what is wrong with it."""

from __future__ import annotations

import pytest

from trader.config.sections import StrategyConfig
from trader.errors import ConfigError, StrategyError
from trader.strategy.registry import REGISTERED, create, load_class
from trader.strategy.simple_rsi import SimpleRSIStrategy

SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
MINE = "tests.unit.strategy.strategies"


def made(*configs, timeframe="5m"):
    """Create strategies from plain values."""
    return create([StrategyConfig(**config) for config in configs], SYMBOLS, timeframe)


def test_create_default_is_simple_rsi_for_all_symbols():
    """Without any word in the file."""
    (bound,) = made({})
    assert isinstance(bound.strategy, SimpleRSIStrategy)
    assert (bound.name, bound.slots) == ("simple_rsi", (0, 1, 2))


def test_create_passes_parameters_and_symbols():
    """Slots come in the market's order, whatever the order in the list."""
    (bound,) = made({"use": "simple_rsi", "params": {"period": 7, "oversold": 20}, "symbols": ["SOL/USDT", "BTC/USDT"]})
    assert (bound.strategy.period, bound.strategy.oversold) == (7, 20)
    assert bound.slots == (0, 2)


def test_create_strategy_for_one_symbol_is_asked_for_that_one():
    """A strategy may know its symbol by itself."""
    (bound,) = made({"params": {"symbol": "ETH/USDT", "timeframe": "5m"}})
    assert bound.slots == (1,)


def test_create_the_same_strategy_twice_gets_two_names():
    """Positions must say which of the two opened them."""
    bound = made({}, {"use": f"{MINE}:Always"}, {"params": {"period": 7}}, {"params": {"period": 21}})
    assert [one.name for one in bound] == ["simple_rsi", "always", "simple_rsi-2", "simple_rsi-3"]


@pytest.mark.parametrize("name", sorted(REGISTERED))
def test_every_registered_name_can_be_built(name):
    """The table names classes that are there."""
    (bound,) = made({"use": name})
    assert 0 <= bound.strategy.warmup_bars <= bound.strategy.lookback_bars
    assert load_class(name).name == name


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"use": "simple_rsy"}, "strategies.0.use: there is no strategy 'simple_rsy'; did you mean simple_rsi?"),
        ({"use": "zzz"}, "strategies.0.use: there is no strategy 'zzz'; there are simple_rsi"),
        ({"use": "no_such.module:Thing"}, "strategies.0.use: there is no module no_such.module"),
        ({"use": "tests.unit.strategy.nothing:Thing"}, "use: there is no module tests.unit.strategy.nothing"),
        ({"use": f"{MINE}:Alway"}, f"use: {MINE} has no class 'Alway'; did you mean Always?"),
        ({"use": f"{MINE}:NoStrategy"}, "NoStrategy is no class derived from trader.strategy.base.Strategy"),
        ({"use": f"{MINE}:Unfinished"}, "Unfinished lacks signals"),
        ({"use": f"{MINE}:"}, "there is no strategy"),
        ({"params": {"periods": 3}}, "strategies.0.params.periods: unknown; did you mean period?"),
        ({"params": {"period": 1}}, "strategies.0.params: period must be a whole number from 2 to 1000, was 1"),
        ({"symbols": ["BTC/USD"]}, "strategies.0.symbols: BTC/USD is not in market.symbols; did you mean BTC/USDT?"),
        ({"params": {"symbol": "ADA/USDT"}}, "strategies.0.params.symbol: ADA/USDT is not in market.symbols"),
        (
            {"params": {"symbol": "SOL/USDT"}, "symbols": ["BTC/USDT"]},
            "params.symbol: SOL/USDT is not among the strategy's symbols",
        ),
        ({"params": {"timeframe": "1h"}}, "strategies.0.params.timeframe: 1h, but market.timeframe is 5m"),
    ],
)
def test_create_configured_wrongly_is_refused(config, message):
    """The key, what is wrong, and the nearest that there is."""
    with pytest.raises(ConfigError) as caught:
        made(config)
    assert message in str(caught.value)


def test_create_reports_every_entry_at_once():
    """One run shows all that is to mend."""
    with pytest.raises(ConfigError) as caught:
        made({"use": "nope"}, {}, {"params": {"perod": 1, "oversod": 2}})
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "strategies.0.use",
        "strategies.2.params.perod",
        "strategies.2.params.oversod",
    ]


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ("tests.unit.strategy.broken_module:X", "raised RuntimeError when it was imported: broken on purpose"),
        ("tests.unit.strategy.missing_library:X", "can not be imported: No module named 'a_library_that_nobody_has'"),
        (f"{MINE}:Careless", "raised RuntimeError when it was built: no model file"),
        (f"{MINE}:Blind", "lookback_bars must be a whole number above 0, was 0"),
    ],
)
def test_create_strategy_that_breaks_says_whose_fault_it_is(use, message):
    """Code that raises is not the configuration's mistake."""
    with pytest.raises(StrategyError, match=message):
        made({"use": use})
