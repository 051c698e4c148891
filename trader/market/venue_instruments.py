"""Instruments as a venue publishes them: tick, lot and minima from ccxt's markets, exactly."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from trader.domain.instrument import Instrument
from trader.errors import ConfigError
from trader.units import exact

#: ccxt's ways to write a precision
_DECIMAL_PLACES, _SIGNIFICANT_DIGITS, _TICK_SIZE = 2, 3, 4

#: finest step where a venue publishes none
_FINEST = Decimal("1e-8")


def instruments_of(client: Any, symbols: Sequence[str], *, halted: bool = False) -> tuple[Instrument, ...]:
    """Return the instruments of symbols at a venue whose markets are loaded.

    Parameters
    ----------
    client : ccxt exchange
        With its markets loaded.
    symbols : sequence of str
        As in BTC/USDT.
    halted : bool
        Whether a symbol that is not traded now is taken as it is.

    Raises
    ------
    ConfigError
        Naming every symbol that is unknown, delisted or no spot market, with the nearest for an unknown one.
    """
    problems = [problem for symbol in symbols if (problem := _objection(client, symbol, halted))]
    if problems:
        raise ConfigError("\n".join(f"market.symbols: {problem}" for problem in problems))
    return tuple(_instrument(client.markets[symbol], client.precisionMode) for symbol in symbols)


def is_trading(client: Any, symbol: str) -> bool:
    """Tell whether the venue says that a symbol is traded now."""
    market = (client.markets or {}).get(symbol)
    return market is not None and market.get("active") is not False


def _objection(client: Any, symbol: str, halted: bool) -> str | None:  # noqa: FBT001
    market = client.markets.get(symbol)
    venue = client.name or client.id
    if market is None:
        near = difflib.get_close_matches(symbol, list(client.markets), 1)
        return f"{venue} has no {symbol}" + (f"; did you mean {near[0]}?" if near else "")
    if not market.get("spot"):
        return f"{symbol} is a {market.get('type') or 'derivative'} market at {venue}; only spot is traded here"
    if market.get("active") is False and not halted:
        return f"{symbol} is not traded at {venue} any more, or is halted there: take it out of the list"
    return None


def _instrument(market: Mapping[str, Any], mode: int) -> Instrument:
    limits = market.get("limits") or {}
    precision = market.get("precision") or {}
    amount = limits.get("amount") or {}
    lot_size = _step(precision.get("amount"), mode)
    # a market order may have a larger minimum of its own
    least = max(_number(amount.get("min")), _number((limits.get("market") or {}).get("min")), lot_size)
    return Instrument(
        symbol=market["symbol"],
        base=market["base"],
        quote=market["quote"],
        tick_size=_step(precision.get("price"), mode),
        lot_size=lot_size,
        min_quantity=least,
        min_notional=_number((limits.get("cost") or {}).get("min")),
    )


def _step(value: Any, mode: int) -> Decimal:
    if value is None:
        return _FINEST
    number = _number(value)
    if mode == _TICK_SIZE:
        return number if number > 0 else _FINEST
    # decimal places; significant digits depend on the price, and this many decimals are never too coarse
    return Decimal(1).scaleb(-int(number)) if mode == _DECIMAL_PLACES else _FINEST


def _number(value: Any) -> Decimal:
    if value is None:
        return Decimal(0)
    number = value if isinstance(value, Decimal) else exact(value) if isinstance(value, float | str) else Decimal(value)
    return number if number.is_finite() else Decimal(0)
