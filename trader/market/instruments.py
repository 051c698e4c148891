"""Instruments of markets that publish none: steps inferred from prices, unless configured."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from trader.config.sections import InstrumentConfig
from trader.domain.instrument import Instrument
from trader.domain.market import Candles, FloatArray
from trader.errors import ConfigError
from trader.units import exact

#: smallest order where nothing is configured [quote]; what large venues ask for
MIN_NOTIONAL = Decimal(5)

#: no venue quotes finer than this
MOST_DECIMALS = 12

#: a price this close to a decimal (relative) is that decimal: floats that were summed or averaged
_NOISE_FRAC = 1e-12

#: nor in smaller steps than this (relative): so fine a step is not told from noise any more
_FINEST_FRAC = 1e-10

#: significant digits of a price whose decimals tell nothing
_DIGITS = 6


def decimals_used(prices: FloatArray) -> int | None:
    """Return the fewest decimals that write every price, None when there are too many.

    Parameters
    ----------
    prices : ndarray of float64
        Prices, > 0 [quote per base].
    """
    rest = np.unique(prices)
    for decimals in range(MOST_DECIMALS + 1):
        if rest[-1] * _FINEST_FRAC > 10.0**-decimals:
            return None
        rest = rest[np.abs(np.round(rest, decimals) - rest) > rest * _NOISE_FRAC]
        if not len(rest):
            return decimals
    return None


def infer_tick_size(candles: Candles) -> Decimal:
    """Return the price step that all prices of these candles are multiples of.

    Prices with more decimals than any venue has (indices, averages) get six significant digits.

    Parameters
    ----------
    candles : Candles
        At least one.
    """
    decimals = decimals_used(np.concatenate((candles.open, candles.high, candles.low, candles.close)))
    if decimals is None:
        return significant_step(float(candles.open[0]))
    return _power_of_ten(-decimals)


def significant_step(price: float) -> Decimal:
    """Return the power of ten that gives a price six significant digits."""
    return _power_of_ten(exact(float(price)).adjusted() + 1 - _DIGITS)


def infer_lot_size(price: float) -> Decimal:
    """Return the power of ten [base] that is worth 0.1 to 1 quote at a price."""
    return _power_of_ten(-exact(float(price)).adjusted() - 1)


# 10 and not 1E+1: steps are shown to people
def _power_of_ten(exponent: int) -> Decimal:
    return Decimal(10**exponent) if exponent > 0 else Decimal(1).scaleb(exponent)


def instrument_for(
    symbol: str, tick_size: Decimal, first_price: float, configured: Mapping[str, InstrumentConfig]
) -> Instrument:
    """Return the instrument of a symbol: what is configured, and what its prices tell for the rest.

    Parameters
    ----------
    symbol : str
        As in BTC/USDT.
    tick_size : Decimal
        Price step where none is configured.
    first_price : float
        Price that the lot is chosen by [quote per base].
    configured : mapping
        Section `market.instruments`.
    """
    given = configured.get(symbol, InstrumentConfig())
    base, _, quote = symbol.partition("/")
    lot_size = exact(given.lot_size) if given.lot_size is not None else infer_lot_size(first_price)
    return Instrument(
        symbol=symbol,
        base=base,
        quote=quote.partition(":")[0],
        tick_size=exact(given.tick_size) if given.tick_size is not None else tick_size,
        lot_size=lot_size,
        min_quantity=exact(given.min_quantity) if given.min_quantity is not None else lot_size,
        min_notional=exact(given.min_notional) if given.min_notional is not None else MIN_NOTIONAL,
    )


def write_instruments(slots: npt.NDArray[np.void], instruments: Sequence[Instrument]) -> None:
    """Write the steps and minima of each symbol into its slot.

    Parameters
    ----------
    slots : ndarray of SLOT, shape (n_symbols,)
        Their steps and minima are overwritten.
    instruments : sequence of Instrument
        By slot.
    """
    for slot, instrument in zip(slots, instruments, strict=True):
        slot["tick_size"] = float(instrument.tick_size)
        slot["lot_size"] = float(instrument.lot_size)
        slot["min_quantity"] = float(instrument.min_quantity)
        slot["min_notional"] = float(instrument.min_notional)


def refuse_strangers(symbols: Sequence[str], configured: Mapping[str, InstrumentConfig]) -> None:
    """Refuse steps for a symbol that is not traded: a typing error would silently do nothing.

    Raises
    ------
    ConfigError
        Naming every such symbol, with the nearest that is traded.
    """
    problems = []
    for symbol in configured:
        if symbol not in symbols:
            near = difflib.get_close_matches(symbol, symbols, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; traded are {', '.join(symbols)}"
            problems.append(f"market.instruments.{symbol}: not in market.symbols{hint}")
    if problems:
        raise ConfigError("\n".join(problems))
