"""The venue's time: the wall's, or the time of the candles that it plays."""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path

MINUTE_MS = 60_000
#: sequence, market time [ms], sequence again
_SHARED = struct.Struct("<3q")


class VenueClock:
    """The time that the venue tells and stamps on everything.

    Parameters
    ----------
    wall
        Follow the machine's clock instead of the candles; candles are then moved so that the first one played
        opens at the present minute.
    offset_ms
        How far the venue's clock is ahead of what it follows: the skew that a client has to find.
    share
        A file in which the candles' time is kept for other processes, see `SharedTime`.

    """

    def __init__(self, *, wall: bool = False, offset_ms: int = 0, share: Path | None = None) -> None:
        self.wall = wall
        self.offset_ms = offset_ms
        self._market_ms = 0
        self._shared: SharedTime | None = None
        if share is not None:
            share.write_bytes(bytes(_SHARED.size))
            self._shared = SharedTime(share)

    def now_ms(self) -> int:
        """Return the venue's time [ms since the epoch]."""
        return (time.time_ns() // 1_000_000 if self.wall else self._market_ms) + self.offset_ms

    def market(self, now_ms: int) -> None:
        """Move the candles' time, never back, and tell it to other processes."""
        self._market_ms = max(now_ms, self._market_ms)
        if self._shared is not None:
            self._shared.write(self._market_ms)


class SharedTime:
    """The venue's time as any process sees it, which a service under test may take for the time of day."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SHARED.size)
        self._sequence = 0

    def write(self, market_ms: int) -> None:
        """Set the time; one process does."""
        self._sequence += 1
        self._map[: _SHARED.size] = _SHARED.pack(self._sequence, market_ms, self._sequence)

    def now_ns(self) -> int:
        """Return the venue's time [ns since the epoch]."""
        while True:
            before, market_ms, after = _SHARED.unpack(self._map[: _SHARED.size])
            if before == after:
                return int(market_ms) * 1_000_000
