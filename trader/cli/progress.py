"""How far long work has come: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time

#: nothing is shown for work that is done sooner [s]
PATIENCE_S = 0.4
#: between two looks of a bar, and two plain lines [s]
_BAR_S, _LINE_S = 0.1, 10.0
_WIDTH = 30


class ProgressLine:
    """Shows a stage and a fraction on stderr; call it, and `close` it."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._started = time.monotonic()
        self._shown_s = 0.0
        self._drawn = False

    def __call__(self, stage: str, done: float) -> None:
        """Show that a fraction (0..1) of a stage is done."""
        elapsed = time.monotonic() - self._started
        pause = _BAR_S if self._terminal else _LINE_S
        if elapsed < PATIENCE_S or elapsed - self._shown_s < pause:
            return
        self._shown_s, self._drawn = elapsed, True
        if self._terminal:
            full = round(done * _WIDTH)
            sys.stderr.write(f"\r\x1b[K{stage:<24.24} [{'#' * full}{'.' * (_WIDTH - full)}] {done:4.0%}")
        else:
            sys.stderr.write(f"{stage}: {done:.0%} after {elapsed:.0f} s\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Take the bar away."""
        if self._drawn and self._terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
