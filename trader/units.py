"""Units: conversions between the exact world (Decimal, ticks, lots) and the float world.

Money is exact at the venue and in the ledger (`Decimal`); kernels and shared arrays hold
float64. Every crossing between the two goes through this module.
"""

from __future__ import annotations

import re
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow

BPS = 1e-4
TIMEFRAME_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

#: arithmetic on money: sums and products keep every digit, and whatever would lose one raises
EXACT = Context(prec=200, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])

_TIMEFRAME = re.compile(r"([1-9][0-9]*)([smhdw])")


def timeframe_ns(timeframe: str) -> int:
    """Return the length of a timeframe such as "5m" or "1h" [ns].

    Parameters
    ----------
    timeframe : str
        A count and a unit: s, m, h, d or w.

    Returns
    -------
    int
        Length [ns], > 0.

    Raises
    ------
    ValueError
        When the text is no timeframe.
    """
    match = _TIMEFRAME.fullmatch(timeframe)
    if match is None:
        raise ValueError(f"{timeframe!r} is no timeframe: a count and one of s, m, h, d, w, as in 5m")
    return int(match[1]) * TIMEFRAME_SECONDS[match[2]] * 1_000_000_000


def exact(value: float | str) -> Decimal:
    """Return the shortest decimal that reads back as this float: 0.1 gives Decimal("0.1")."""
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def plain(value: Decimal) -> str:
    """Return a decimal as text without exponent and without trailing zeros."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def floor_to_step(value: Decimal, step: Decimal) -> Decimal:
    """Return the largest multiple of `step` that is not above `value`."""
    return (value / step).to_integral_value(rounding=ROUND_FLOOR) * step


def round_to_step(value: Decimal, step: Decimal) -> Decimal:
    """Return the multiple of `step` nearest to `value`, ties to the even one."""
    return (value / step).to_integral_value(rounding=ROUND_HALF_EVEN) * step
