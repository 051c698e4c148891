"""A strategy for days at the fake venue: its module lets the engine that loads it live on the venue's time.

The venue plays a day in minutes. An engine that goes by the machine's clock would find itself hours off, so the process
that loads this takes the time that the venue shares (`VENUE_TIME` names the file) for this machine's clock.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tests.loopback.venue.clock import SharedTime
from trader.codes import Direction
from trader.domain.market import Candles
from trader.domain.signal import Signals
from trader.market.venue_clock import SystemClock
from trader.strategy.base import Strategy
from trader.units import timeframe_ns

if "VENUE_TIME" in os.environ:
    shared = SharedTime(Path(os.environ["VENUE_TIME"]))
    SystemClock.utc_ns = SystemClock.elapsed_ns = lambda _: shared.now_ns()  # type: ignore[method-assign, assignment]


class Swinging(Strategy):
    """Goes in after the first of each eight candles and leaves after the sixth: a function of time alone."""

    name = "swinging"
    lookback_bars = 4

    def signals(self, candles: Candles) -> Signals:
        """Return LONG, FLAT or HOLD per candle, with a stop five in a thousand below."""
        turn = candles.open_ns // timeframe_ns(candles.timeframe) % 8
        direction = np.full(len(candles), int(Direction.HOLD), np.int8)
        direction[turn == 0] = int(Direction.LONG)
        direction[turn == 5] = int(Direction.FLAT)
        nans = np.full(len(candles), np.nan)
        stop = np.where(direction == int(Direction.LONG), candles.close * 0.995, np.nan)
        return Signals(direction, np.ones(len(candles)), stop, nans, nans)
