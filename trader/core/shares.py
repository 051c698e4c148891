"""The work of `warm_up` in two shares, for two processes that fill one cache side by side.

What the one comes to last, the other does first, so that each finds the other's half done.
"""

from __future__ import annotations

import math

import numpy as np

from trader.codes import Direction, Reason
from trader.core.kernels import apply_fill, attach_plan, cancel, on_time, place
from trader.core.live import warm_up_live
from trader.core.records import CANDLE
from trader.core.selection import judge, most_confident
from trader.core.warmup import START_NS, _Scene, warm_up


def compile_play() -> None:
    """Compile what processes candles."""
    _Scene().play(np.zeros(0, CANDLE))


def compile_rules() -> None:
    """Compile everything else, and in the end whatever is left."""
    scene = _Scene()
    on_time(scene.desk, scene.slots, START_NS, scene.events)
    scene.ask(0, 1, 0.8, 9)
    place(scene.desk, scene.slots, 0, 1000, 7, int(Reason.SIGNAL), 0, math.nan, math.nan)
    cancel(scene.desk, scene.slots, 0)
    judge(scene.slots, 0, 0, int(Direction.FLAT))
    most_confident(np.array([0.5, 0.9]), 2)
    fill = (1.0, 100.0, 0.1, START_NS, int(Reason.UNEXPLAINED))
    apply_fill(scene.desk, scene.slots, 1, -1, *fill, scene.events, 0)
    attach_plan(scene.desk, scene.slots, 1, 101.234, math.nan)
    warm_up_live()
    warm_up()
