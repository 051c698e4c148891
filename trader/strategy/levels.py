"""Stops and targets at a distance that the market itself sets: so many average true ranges from the close."""

from __future__ import annotations

import numpy as np

from trader.codes import Direction
from trader.domain.market import FloatArray
from trader.strategy.indicators import RESOLUTION_FRAC, nans


def levels(
    close: FloatArray, atr: FloatArray, direction: np.ndarray, stop_atrs: float | None, target_atrs: float | None
) -> tuple[FloatArray, FloatArray]:
    """Return stop and target for each bar that opens something; NaN (the configured default) elsewhere.

    A level that would be below zero is NaN too, and so is one that is as good as the price itself.

    Parameters
    ----------
    close : ndarray of float64, shape (bars,)
        Closing prices [quote per base].
    atr : ndarray of float64, shape (bars,)
        Average true ranges [quote per base].
    direction : ndarray of int8, shape (bars,)
        Codes of `Direction`.
    stop_atrs, target_atrs : float or None
        Distances [average true ranges]; None: the configured default.

    Returns
    -------
    stop, target : ndarray of float64, shape (bars,)
        Prices [quote per base].
    """
    opens = (direction == Direction.LONG) | (direction == Direction.SHORT)
    if not opens.any():
        return nans(len(close)), nans(len(close))
    step = np.where(opens & (atr > RESOLUTION_FRAC * close), atr, np.nan)
    step[direction == Direction.SHORT] *= -1
    return _level(close, step, -1, stop_atrs), _level(close, step, 1, target_atrs)


def _level(close: FloatArray, step: FloatArray, sign: int, atrs: float | None) -> FloatArray:
    if atrs is None:
        return nans(len(close))
    level = close + sign * atrs * step
    level[level <= 0] = np.nan
    return level
