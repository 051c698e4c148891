"""What the plain model knows of the past: RSIs over closes of timeframes, rules that look at them, correlations.

Written from the rules' description, with every close kept and everything computed anew whenever it is asked.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

WEEK_S = 7 * 86_400
MONDAY_S = 4 * 86_400


@dataclass
class Rule:
    """One invalidation: kind as in `close below`, `RSI above` or `age over`; times in seconds."""

    kind: str
    level: float = 0.0
    frame_s: int = 0
    period: int = 0


@dataclass
class Past:
    """Closes of one symbol with the second that each happened at."""

    closes: list[tuple[int, float]] = field(default_factory=list)

    def frames(self, frame_s: int) -> list[tuple[int, float, int]]:
        """Return what is known to have closed: (its end, its close, when that was known), oldest first.

        A frame is known to have closed when its last candle comes, or else the first one behind its end.
        """
        if not frame_s:
            return [(second, close, second) for second, close in self.closes]
        shift = MONDAY_S if frame_s % WEEK_S == 0 else 0
        found: dict[int, tuple[float, int]] = {}
        last: tuple[int, float] | None = None
        for second, close in self.closes:
            end = -((shift - second) // frame_s) * frame_s + shift
            if last is not None and last[0] != end and last[0] not in found:
                found[last[0]] = (last[1], second)
            if second == end:
                found[end] = (close, second)
            last = (end, close)
        return [(end, close, known) for end, (close, known) in sorted(found.items())]

    def rsi(self, frame_s: int, period: int, known_by: int, ended_by: int) -> Fraction | None:
        """Return Wilder's RSI over the closes up to a frame's end; None: too few, or no move."""
        closes = [Fraction(c) for end, c, known in self.frames(frame_s) if known <= known_by and end <= ended_by]
        moves = [after - before for before, after in pairwise(closes)]
        if len(moves) < period:
            return None
        up = sum((max(move, Fraction(0)) for move in moves[:period]), Fraction(0)) / period
        down = sum((max(-move, Fraction(0)) for move in moves[:period]), Fraction(0)) / period
        for move in moves[period:]:
            up = (up * (period - 1) + max(move, Fraction(0))) / period
            down = (down * (period - 1) + max(-move, Fraction(0))) / period
            up, down = (x.limit_denominator(10**24) for x in (up, down))
        return 100 * up / (up + down) if up + down else None

    def broken(self, rules: list[Rule], now_s: int, entered_s: int) -> int:
        """Return the number of the first rule that a frame makes true which is known to have closed now; 0: none.

        Frames that ended unseen come first; one that ended before the position began says nothing.
        """
        for earlier in (True, False):
            for number, rule in enumerate(rules, 1):
                if rule.kind.startswith("age"):
                    continue
                for end, close, known in self.frames(rule.frame_s):
                    due = known == now_s and (end < now_s) == earlier and not (earlier and end <= entered_s)
                    if due and self._holds(rule, end, close, now_s):
                        return number
        return 0

    def _holds(self, rule: Rule, end: int, close: float, now_s: int) -> bool:
        seen = Fraction(close) if rule.kind.startswith("close") else self.rsi(rule.frame_s, rule.period, now_s, end)
        if seen is None:
            return False
        return seen < Fraction(rule.level) if rule.kind.endswith("below") else seen > Fraction(rule.level)


def correlation(one: Past, other: Past, bar_s: int, window: int) -> float | None:
    """Return Pearson's correlation of the returns of the last candles; None when fewer than half are known.

    The last ones are those up to the newest that either has: which of the two is asked about makes no difference.
    """
    known = dict(one.closes), dict(other.closes)
    last_s = max(second for closes in known for second in closes)
    pairs = []
    for back in range(window):
        now, before = last_s - back * bar_s, last_s - (back + 1) * bar_s
        if all(now in closes and before in closes for closes in known):
            pairs.append([closes[now] / closes[before] - 1.0 for closes in known])
    if 2 * len(pairs) < window or len(pairs) < 2:
        return None
    try:
        return statistics.correlation(*zip(*pairs, strict=True))
    except statistics.StatisticsError:
        return None
