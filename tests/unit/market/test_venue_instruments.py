"""Instruments from ccxt's markets: exact steps, the larger minimum, and every symbol that can't be, by name."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace

import pytest

from trader.errors import ConfigError
from trader.market.venue_instruments import instruments_of, is_trading


def listed(symbol, **values):
    """Return a market as ccxt describes it."""
    base, _, quote = symbol.partition("/")
    return {
        "symbol": symbol,
        "base": base,
        "quote": quote,
        "spot": True,
        "type": "spot",
        "active": True,
        "precision": {"amount": 1e-05, "price": 0.01},
        "limits": {"amount": {"min": 1e-05}, "cost": {"min": 5.0}},
    } | values


def venue(*markets, mode=4):
    """Return a client whose markets are loaded."""
    return SimpleNamespace(id="x", name="X", precisionMode=mode, markets={one["symbol"]: one for one in markets})


def test_instrument_has_the_venues_steps_exactly():
    """1e-05 is 0.00001, and not what binary makes of it."""
    (found,) = instruments_of(venue(listed("BTC/USDT")), ["BTC/USDT"])
    assert (found.tick_size, found.lot_size) == (Decimal("0.01"), Decimal("0.00001"))
    assert (found.min_quantity, found.min_notional) == (Decimal("0.00001"), Decimal(5))
    assert (found.base, found.quote) == ("BTC", "USDT")


def test_instrument_of_a_venue_with_decimal_places_has_steps():
    """Some venues publish how many decimals, not the step."""
    (found,) = instruments_of(venue(listed("A/B", precision={"amount": 3, "price": 2}), mode=2), ["A/B"])
    assert (found.tick_size, found.lot_size) == (Decimal("0.01"), Decimal("0.001"))


def test_instrument_takes_the_larger_minimum_of_market_orders():
    """A market order may have a larger one of its own."""
    limits = {"amount": {"min": 0.001}, "market": {"min": 0.01}, "cost": {"min": None}}
    (found,) = instruments_of(venue(listed("A/B", limits=limits)), ["A/B"])
    assert (found.min_quantity, found.min_notional) == (Decimal("0.01"), Decimal(0))


def test_instrument_without_published_steps_gets_the_finest():
    """Nothing is guessed to be coarse; None and NaN are nothing."""
    (found,) = instruments_of(venue(listed("A/B", precision={}, limits={})), ["A/B"])
    assert (found.tick_size, found.lot_size) == (Decimal("1e-8"), Decimal("1e-8"))


def test_every_symbol_that_can_not_be_traded_is_named():
    """Unknown with the nearest, delisted, and no spot market, in one message."""
    client = venue(
        listed("BTC/USDT"), listed("LUNA/USDT", active=False), listed("BTC/USDT:USDT", spot=False, type="swap")
    )
    with pytest.raises(ConfigError) as caught:
        instruments_of(client, ["BTC/USDC", "LUNA/USDT", "BTC/USDT:USDT", "BTC/USDT"])
    unknown, delisted, swap = str(caught.value).splitlines()
    assert "X has no BTC/USDC; did you mean BTC/USDT?" in unknown
    assert "LUNA/USDT is not traded at X any more" in delisted
    assert "BTC/USDT:USDT is a swap market" in swap


def test_halted_symbol_is_taken_by_an_engine_that_comes_back():
    """Its position has to be looked after."""
    client = venue(listed("LUNA/USDT", active=False))
    assert instruments_of(client, ["LUNA/USDT"], halted=True)[0].symbol == "LUNA/USDT"
    assert not is_trading(client, "LUNA/USDT")
