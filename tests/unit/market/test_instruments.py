"""Steps are inferred from prices as people would, and the configuration has the last word."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import numpy as np
import pytest

from tests.unit.market.candle_files import rising
from trader.config.sections import InstrumentConfig
from trader.errors import ConfigError
from trader.market.candles_file import read_candle_file
from trader.market.instruments import decimals_used, infer_lot_size, infer_tick_size, instrument_for, refuse_strangers


@pytest.mark.parametrize(
    ("prices", "decimals"),
    [
        ([100.0, 200.0], 0),
        ([0.5, 100.0], 1),
        ([42_397.23, 42_409.9], 2),
        ([0.08978, 0.09], 5),
        ([0.00001234, 0.00001], 8),
        ([0.1 + 0.2, 0.7 + 0.1], 1),  # 0.30000000000000004 and 0.7999999999999999: sums of floats
        ([1 / 3], None),
    ],
)
def test_decimals_used_is_what_people_would_write(prices, decimals):
    """The finest price decides; the noise of float arithmetic does not."""
    assert decimals_used(np.array(prices)) == decimals


def test_tick_size_of_endless_decimals_is_six_digits():
    """An index or an average has no tick: 33.3333... gets 0.0001."""
    candles = dataclasses.replace(rising(1), open=np.array([100 / 3]))
    assert infer_tick_size(candles) == Decimal("0.0001")


@pytest.mark.parametrize(
    ("price", "lot"),
    [
        (42_397.23, "0.00001"),  # worth 0.42
        (100_000.0, "0.000001"),  # 0.1
        (99_999.9, "0.00001"),  # 1.0
        (150.0, "0.001"),
        (1.0, "0.1"),
        (0.6168, "1"),
        (0.08978, "10"),  # 0.9
        (0.00001234, "10000"),  # 0.12
        (9e-09, "100000000"),  # 0.9
    ],
)
def test_lot_size_is_worth_a_tenth_to_one(price, lot):
    """Fine enough for small accounts, at any price, and never written with an exponent."""
    assert str(infer_lot_size(price)) == lot
    assert Decimal("0.1") <= Decimal(repr(price)) * Decimal(lot) < 1


def test_instrument_configured_values_win():
    """What is given is taken exactly; the rest is inferred."""
    given = {"BTC/USDT": InstrumentConfig(tick_size=0.1, min_notional=10)}
    got = instrument_for("BTC/USDT", Decimal("0.01"), 42_000.0, given)
    assert (got.base, got.quote) == ("BTC", "USDT")
    assert (got.tick_size, got.lot_size) == (Decimal("0.1"), Decimal("0.00001"))
    assert (got.min_quantity, got.min_notional) == (Decimal("0.00001"), Decimal(10))
    assert instrument_for("X/USDT:USDT", Decimal(1), 5.0, {}).quote == "USDT"
    assert instrument_for("X/USDT", Decimal(1), 5.0, {}).min_notional == 5


def test_instrument_steps_for_an_untraded_symbol_are_refused():
    """A typing error must not silently leave a symbol with other steps."""
    config = {"BTC/USTD": InstrumentConfig(tick_size=0.1), "QQQ": InstrumentConfig(tick_size=0.1)}
    with pytest.raises(ConfigError) as caught:
        refuse_strangers(("BTC/USDT", "ETH/USDT"), config)
    first, second = str(caught.value).splitlines()
    assert first == "market.instruments.BTC/USTD: not in market.symbols; did you mean BTC/USDT?"
    assert second == "market.instruments.QQQ: not in market.symbols; traded are BTC/USDT, ETH/USDT"


@pytest.mark.data
@pytest.mark.parametrize(
    ("symbol", "tick", "lot"),
    [
        ("BTC", "0.01", "0.00001"),
        ("ETH", "0.01", "0.0001"),
        ("SOL", "0.01", "0.001"),
        ("DOGE", "0.00001", "10"),
        ("XRP", "0.0001", "1"),
        ("LINK", "0.001", "0.01"),
    ],
)
def test_real_prices_give_binances_ticks(real_candles, symbol, tick, lot):
    """The ticks that Binance really has for these pairs (LINK's was 0.001 at the start of 2024)."""
    path = real_candles / "genetrader-binance-2024" / f"{symbol}_USDT-5m.feather"
    candles = read_candle_file(path, f"{symbol}/USDT", "5m")
    assert str(infer_tick_size(candles)) == tick
    assert str(infer_lot_size(float(candles.open[0]))) == lot
