"""Prices to ticks, quantities to lots and back: where floats meet the venue's steps.

A float that stands for a whole number of steps is rarely one: 100.05 / 0.01 is a hair more than
10005. Each rounding here forgives an error far below a step and far above a float's own, so that
a price on the grid stays where it is.
"""

from __future__ import annotations

import math

from trader.core.compiling import inline_kernel


@inline_kernel
def forgiven(count):
    """Return the error that is taken for noise in a count of steps."""
    return 1e-9 + abs(count) * 1e-14


@inline_kernel
def steps_down(value, step):
    """Return the largest number of steps that is not above `value`."""
    count = value / step
    return math.floor(count + forgiven(count))


@inline_kernel
def steps_up(value, step):
    """Return the smallest number of steps that is not below `value`."""
    count = value / step
    return math.ceil(count - forgiven(count))


@inline_kernel
def steps_near(value, step):
    """Return the number of steps nearest to `value`."""
    return math.floor(value / step + 0.5)


@inline_kernel
def from_steps(count, step):
    """Return the value of a number of steps: the float nearest to the exact decimal.

    `count * step` inherits the error of `step` (3 * 0.1 is not 0.3). For a step that is one part of
    a whole, as nearly all are, a division by that whole is correctly rounded instead, and
    equals the float of the exact decimal that the ledger keeps.
    """
    if step < 1.0:
        parts = math.floor(1.0 / step + 0.5)
        if abs(parts * step - 1.0) < 1e-14:
            return count / parts
    return count * step


@inline_kernel
def countable(value, step):
    """Return whether a value, finite and above 0, is a number of steps that a float still counts."""
    return value > 0.0 and value < 9007199254740992.0 * step and value < math.inf


@inline_kernel
def price_against(price, side, slippage_frac, tick_size):
    """Return the ticks that a market order gets: slippage against it, rounded against it, at least 1."""
    if side > 0:
        return max(steps_up(price * (1.0 + slippage_frac), tick_size), 1)
    return max(steps_down(price * (1.0 - slippage_frac), tick_size), 1)
