"""The venue's time: the wall's, or the time of the candles that it plays."""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path

MINUTE_MS = 60_000
_WORD = struct.Struct("<q")


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
        A file in which the time is kept for other processes, see `SharedTime`.

    """

    def __init__(self, *, wall: bool = False, offset_ms: int = 0, share: Path | None = None) -> None:
        self.wall = wall
        self.offset_ms = offset_ms
        self._market_ms = 0
        self._shared = _shared_word(share) if share is not None else None

    def now_ms(self) -> int:
        """Return the venue's time [ms since the epoch]."""
        now_ms = time.time_ns() // 1_000_000 if self.wall else self._market_ms
        return now_ms + self.offset_ms

    def market(self, now_ms: int) -> None:
        """Move the candles' time, and tell it to other processes."""
        self._market_ms = now_ms
        if self._shared is not None:
            self._shared[:8] = _WORD.pack(now_ms)


class SharedTime:
    """The venue's time as another process sees it, which a service under test may take for the time of day.

    Between two steps of the market the machine's clock goes on, so that time never stands still for long; it is held
    back before the next minute, so that time never runs ahead of the market.
    """

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._word = mmap.mmap(file.fileno(), 8)
        self._seen_ms = 0
        self._since_s = time.monotonic()

    def now_ns(self) -> int:
        """Return the venue's time [ns since the epoch]."""
        (market_ms,) = _WORD.unpack(self._word[:8])
        if market_ms != self._seen_ms:
            self._seen_ms, self._since_s = market_ms, time.monotonic()
        passed_ms = int((time.monotonic() - self._since_s) * 1000)
        return (market_ms + min(passed_ms, MINUTE_MS - 1)) * 1_000_000


def _shared_word(path: Path) -> mmap.mmap:
    path.write_bytes(bytes(8))
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 8)
