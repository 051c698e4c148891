"""What a sweep tries: keys of the configuration with their values, as grids and at random."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from trader.errors import ConfigError

#: combinations that a sweep has at most; more is a typing error, or a case for --random
MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Axis:
    """One key of the configuration and the values that are tried."""

    key: str  #: dotted
    values: tuple[Any, ...]


def parse_axis(text: str) -> Axis:
    """Return what one `--set` says: KEY=a:b:step (b included), KEY=a,b,c or KEY=value.

    Parameters
    ----------
    text : str
        Values are numbers, true, false, null or words.

    Raises
    ------
    ConfigError
        Saying what can't be read.
    """
    key, equals, values = text.partition("=")
    if not equals or not key.strip() or not values.strip():
        raise ConfigError(
            f"--set {text}: write KEY=from:to:step or KEY=a,b,c, as in exits.stop_loss_frac=0.01:0.03:0.005"
        )
    parts = values.split(":")
    if len(parts) == 3 and all(_is_number(part) for part in parts):
        return Axis(key.strip(), _range(text, *parts))
    if len(parts) > 1 and all(_is_number(part) for part in parts):
        raise ConfigError(f"--set {text}: a range has three parts, from:to:step")
    return Axis(key.strip(), tuple(_value(part.strip()) for part in values.split(",")))


# decimals, so that 0.1:0.3:0.1 has its 0.3, and whole numbers stay whole
def _range(text: str, first: str, last: str, step: str) -> tuple[Any, ...]:
    low, high, by = (Decimal(part.strip()) for part in (first, last, step))
    if by <= 0 or high < low:
        raise ConfigError(f"--set {text}: a range goes up: from <= to, step > 0")
    count = int((high - low) / by) + 1
    if count > MOST:
        raise ConfigError(f"--set {text}: {count} values are more than {MOST}")
    whole = all(part == part.to_integral_value() and "." not in str(part) for part in (low, by))
    values = [low + by * index for index in range(count)]
    return tuple(int(value) if whole else float(value) for value in values)


def _is_number(text: str) -> bool:
    try:
        return Decimal(text.strip()).is_finite()
    except InvalidOperation:
        return False


def _value(text: str) -> Any:
    words = {"true": True, "false": False, "null": None, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return value if math.isfinite(value) else text
    return text


def size_of(axes: Sequence[Axis]) -> int:
    """Return how many combinations a grid has."""
    return math.prod(len(axis.values) for axis in axes)


def combinations(axes: Sequence[Axis], sample: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """Return what is tried: the whole grid, or a sample of it without repetition.

    Parameters
    ----------
    axes : sequence of Axis
        The keys; the last one changes fastest.
    sample : int, optional
        How many to draw at random; the whole grid by default.
    seed : int
        Of the draw.

    Raises
    ------
    ConfigError
        When a key comes twice, or there is too much to try.
    """
    keys = [axis.key for axis in axes]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ConfigError(f"--set: given twice: {', '.join(twice)}")
    count = size_of(axes)
    if sample is not None and sample < count:
        chance = np.random.default_rng(seed)
        # distinct numbers of combinations, without a list of all of them
        numbers = sorted(_distinct(chance, count, sample))
        return [_combination(axes, number) for number in numbers]
    if count > MOST:
        raise ConfigError(
            f"the grid has {count:,} combinations, more than {MOST:,}: make it coarser, or use --random N"
        )
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*(axis.values for axis in axes))]


def _distinct(chance: np.random.Generator, count: int, sample: int) -> set[int]:
    if count <= 10 * sample:
        return set(chance.permutation(count)[:sample].tolist())
    found: set[int] = set()
    while len(found) < sample:
        found.update(int(number) for number in chance.integers(0, min(count, 2**63 - 1), sample - len(found)))
    return found


def _combination(axes: Sequence[Axis], number: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for axis in reversed(axes):
        number, at = divmod(number, len(axis.values))
        values[axis.key] = axis.values[at]
    return {axis.key: values[axis.key] for axis in axes}


def spread(values: Mapping[str, Any]) -> str:
    """Return a combination as text: period=14, stop_loss_frac=0.02."""
    return ", ".join(f"{key.rsplit('.', 1)[-1]}={value}" for key, value in values.items())
