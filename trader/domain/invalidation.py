"""Invalidations: rules that say when the reason for a position is gone, in words that a machine can check.

    close below 61500 on 4h          a candle of 4h closed below 61500
    close above 1.25                 the same above, and of the market's own candles
    RSI(14) above 75 on 1h           the RSI when a candle of 1h closed; RSI alone is RSI(14)
    age over 12h                     the position is older

They travel with a signal or stand in the configuration, belong to the position once it is open, and are enforced by the
trading core, whatever has become of the strategy that made them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from trader.codes import RuleKind
from trader.units import timeframe_ns

RSI_PERIOD = 14

_PRICE_KINDS = {"below": RuleKind.CLOSE_BELOW, "above": RuleKind.CLOSE_ABOVE}
_RSI_KINDS = {"below": RuleKind.RSI_BELOW, "above": RuleKind.RSI_ABOVE}
_WORDS = {
    RuleKind.CLOSE_BELOW: "below",
    RuleKind.CLOSE_ABOVE: "above",
    RuleKind.RSI_BELOW: "below",
    RuleKind.RSI_ABOVE: "above",
}
_RSI = (RuleKind.RSI_BELOW, RuleKind.RSI_ABOVE)
_UNITS = (("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_NS_PER_S = 1_000_000_000
_SEPARATOR = "; "

_RSI_WORD = re.compile(r"rsi(?:\(([0-9]+)\))?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Gauge:
    """An RSI over closes of a timeframe: what rules may look at is kept from before the first of them exists."""

    frame_ns: int  #: [ns]; 0: the market's own candles
    period: int = RSI_PERIOD  #: closes, 2 to 500

    def __post_init__(self) -> None:
        _check_frame(self.frame_ns)
        _check_period(self.period)

    @classmethod
    def of(cls, timeframe: str, period: int = RSI_PERIOD) -> Gauge:
        """Return the gauge over a timeframe, as in 1h; "": the market's own candles."""
        return cls(timeframe_ns(timeframe) if timeframe else 0, period)

    def __str__(self) -> str:
        return f"RSI({self.period}){_on(self.frame_ns)}"


@dataclass(frozen=True, slots=True)
class Invalidation:
    """One rule; when it comes true its position is closed at the next price.

    Parameters
    ----------
    kind : RuleKind
        What it looks at.
    level : float
        Price [quote per base] or RSI that is compared with, strictly; NaN for AGE_OVER.
    frame_ns : int
        Length of the candles at whose closes it looks [ns], 0: the market's own; of AGE_OVER the age.
    period : int
        Of the RSI; 0 for the others.

    Raises
    ------
    ValueError
        When a value is none that such a rule can have.
    """

    kind: RuleKind
    level: float = math.nan
    frame_ns: int = 0
    period: int = 0

    def __post_init__(self) -> None:
        _check_frame(self.frame_ns)
        if self.kind not in (*_WORDS, RuleKind.AGE_OVER):
            raise ValueError(f"{self.kind!r} is no kind of rule")
        if self.kind is RuleKind.AGE_OVER:
            if self.frame_ns <= 0:
                raise ValueError("an age must be above 0")
        elif self.kind in _RSI:
            _check_period(self.period)
            if not 0 < self.level < 100:
                raise ValueError(f"an RSI is compared with a number between 0 and 100, was {self.level:g}")
        elif not (0 < self.level < math.inf):
            raise ValueError(f"a price must be a finite number above 0, was {self.level:g}")

    @property
    def gauge(self) -> Gauge | None:
        """The indicator that it looks at; None: none."""
        return Gauge(self.frame_ns, self.period) if self.kind in _RSI else None

    def fits(self, bar_ns: int) -> bool:
        """Return whether its candles can be made of candles of this length; an age fits any."""
        return self.kind is RuleKind.AGE_OVER or self.frame_ns % bar_ns == 0

    def __str__(self) -> str:
        if self.kind is RuleKind.AGE_OVER:
            return f"age over {span(self.frame_ns)}"
        what = f"RSI({self.period})" if self.kind in _RSI else "close"
        return f"{what} {_WORDS[self.kind]} {_number(self.level)}{_on(self.frame_ns)}"


def parse(text: str) -> Invalidation:
    """Return the rule that a text says.

    Parameters
    ----------
    text : str
        As in `close below 61500 on 4h`, `RSI above 75 on 1h` or `age over 12h`; without `on` the market's own candles.

    Raises
    ------
    ValueError
        Naming the word that is wrong, and what should stand there.
    """
    words = text.split()
    if not words:
        raise ValueError("an invalidation must not be empty: write close below 61500 on 4h")
    rsi = _RSI_WORD.fullmatch(words[0])
    if rsi is not None:
        period = int(rsi[1]) if rsi[1] else RSI_PERIOD
        kind, level, frame_ns = _comparison(text, words, _RSI_KINDS)
        return _rule(text, kind, level, frame_ns, period)
    if words[0].lower() == "close":
        kind, level, frame_ns = _comparison(text, words, _PRICE_KINDS)
        return _rule(text, kind, level, frame_ns, 0)
    if words[0].lower() == "age":
        _expect(text, words, 1, ("over",))
        frame_ns = _timeframe(text, words, 2, "an age, as in 12h")
        _refuse_more(text, words, 3)
        return Invalidation(RuleKind.AGE_OVER, frame_ns=frame_ns)
    raise ValueError(f"{text!r}: {words[0]!r} is nothing that can be watched: close, RSI, RSI(14) or age")


def join(rules: Iterable[Invalidation]) -> str:
    """Return rules as one text that `split` reads back, to the last bit; "" for none."""
    return _SEPARATOR.join(map(str, rules))


def split(text: str) -> tuple[Invalidation, ...]:
    """Return the rules that `join` made a text of."""
    return tuple(parse(one) for one in text.split(_SEPARATOR)) if text else ()


def span(length_ns: int) -> str:
    """Return a length as a count and the longest unit that leaves no rest: 14400 s are 4h."""
    seconds, rest = divmod(length_ns, _NS_PER_S)
    if rest or seconds <= 0:
        raise ValueError(f"{length_ns} ns is no whole number of seconds above 0")
    unit, size = next((unit, size) for unit, size in _UNITS if seconds % size == 0)
    return f"{seconds // size}{unit}"


def _comparison(text: str, words: list[str], kinds: dict[str, RuleKind]) -> tuple[RuleKind, float, int]:
    kind = kinds[_expect(text, words, 1, tuple(kinds))]
    level = _level(text, words)
    if len(words) == 3:
        return kind, level, 0
    _expect(text, words, 3, ("on",))
    frame_ns = _timeframe(text, words, 4, "a timeframe, as in 4h")
    _refuse_more(text, words, 5)
    return kind, level, frame_ns


def _rule(text: str, kind: RuleKind, level: float, frame_ns: int, period: int) -> Invalidation:
    try:
        return Invalidation(kind, level, frame_ns, period)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None


def _expect(text: str, words: list[str], at: int, allowed: tuple[str, ...]) -> str:
    wanted = " or ".join(allowed)
    if len(words) <= at:
        raise ValueError(f"{text!r}: {wanted} is missing after {words[-1]!r}")
    word = words[at].lower()
    if word not in allowed:
        raise ValueError(f"{text!r}: {words[at]!r} should be {wanted}")
    return word


def _level(text: str, words: list[str]) -> float:
    if len(words) <= 2:
        raise ValueError(f"{text!r}: a number is missing after {words[-1]!r}")
    if _NUMBER.fullmatch(words[2]) is None:
        raise ValueError(f"{text!r}: {words[2]!r} is no number: write it as in 61500 or 0.25")
    return float(words[2])


def _timeframe(text: str, words: list[str], at: int, wanted: str) -> int:
    if len(words) <= at:
        raise ValueError(f"{text!r}: {wanted} is missing after {words[-1]!r}")
    try:
        frame_ns = timeframe_ns(words[at])
        _check_frame(frame_ns)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    return frame_ns


def _refuse_more(text: str, words: list[str], count: int) -> None:
    if len(words) > count:
        raise ValueError(f"{text!r}: nothing may follow {words[count - 1]!r}, found {words[count]!r}")


def _check_frame(frame_ns: int) -> None:
    if not 0 <= frame_ns <= 3660 * 86_400 * _NS_PER_S or frame_ns % _NS_PER_S:
        raise ValueError(f"a length must be whole seconds up to ten years, was {frame_ns} ns")


def _check_period(period: int) -> None:
    if not 2 <= period <= 500:
        raise ValueError(f"the period of an RSI must be from 2 to 500, was {period}")


def _on(frame_ns: int) -> str:
    return f" on {span(frame_ns)}" if frame_ns else ""


def _number(value: float) -> str:
    text = repr(float(value))
    return text.removesuffix(".0")
