"""Parameters of strategies: out of a configuration file, so each is checked, and named when it is wrong."""

from __future__ import annotations

from typing import Any


def whole(name: str, value: Any, low: int, high: int) -> int:
    """Return a whole number.

    Parameters
    ----------
    name : str
        What the parameter is called.
    value : object
        As it came.
    low, high : int
        Smallest and largest that it may be.

    Raises
    ------
    ValueError
        Saying what it must be and what it was.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, was {value!r}")
    return value


def number(name: str, value: Any, low: float, high: float) -> float:
    """Return a number.

    Parameters
    ----------
    name : str
        What the parameter is called.
    value : object
        As it came; a whole number is fine.
    low, high : float
        Smallest and largest that it may be.

    Raises
    ------
    ValueError
        Saying what it must be and what it was.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name} must be a number from {low:g} to {high:g}, was {value!r}")
    return float(value)


def number_or_none(name: str, value: Any, low: float, high: float) -> float | None:
    """Return a number, or None where None was given; see `number`."""
    return None if value is None else number(name, value, low, high)


def flag(name: str, value: Any) -> bool:
    """Return true or false.

    Parameters
    ----------
    name : str
        What the parameter is called.
    value : object
        As it came.

    Raises
    ------
    ValueError
        When it is neither.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, was {value!r}")  # noqa: TRY004 - one kind for all parameters
    return value
