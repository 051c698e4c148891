"""An ensemble: several strategies vote, each with its weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from trader.codes import Direction
from trader.core.records import MAX_SIGNAL_RULES
from trader.domain.invalidation import Invalidation
from trader.domain.market import Candles, FloatArray
from trader.domain.signal import Signals
from trader.errors import ConfigError
from trader.strategy.base import Strategy, all_signals, faults
from trader.strategy.indicators import BoolArray
from trader.strategy.parameters import number

#: two of these three have to agree, unless somebody says otherwise
DEFAULT_MEMBERS = (
    {"use": "ema_trend", "params": {"fresh_bars": 12}},
    {"use": "bollinger_breakout"},
    {"use": "donchian_atr"},
)

#: weights are summed up in floats
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Member:
    """One voter."""

    strategy: Strategy
    weight: float


class EnsembleStrategy(Strategy):
    """Opens what enough of its members want to open.

    Each candle every member votes with its weight; a member without an opinion counts in the total. LONG when
    the members for it have at least `quorum` of all weight, and more than those against it (SHORT and FLAT); the
    other way round for SHORT. FLAT when those who say FLAT, or FLAT and SHORT together, have the quorum. The confidence
    is the mean confidence of the members that agree, times the weight that is not against it. The stop is
    the nearest one of theirs, and so is the target. Where a member answers nonsense, so does the ensemble.

    Parameters
    ----------
    symbol : str, optional
        The one symbol it is for; None: every symbol it is configured for.
    timeframe : str, optional
        The timeframe it needs; None: whatever the market has.
    members : list of dict, optional
        Each with `use`, and if wanted `params` and `weight` (above 0, 1 by default); None: ema_trend,
        bollinger_breakout and donchian_atr.
    quorum : float
        Part of all weight that must agree, 0.01 to 1.

    Raises
    ------
    ConfigError
        When a member can not be built; names each one.
    ValueError
        When a parameter is out of its range.
    """

    name = "ensemble"

    def __init__(
        self,
        symbol: str | None = None,
        timeframe: str | None = None,
        members: Sequence[Mapping[str, Any]] | None = None,
        quorum: float = 0.5,
    ) -> None:
        super().__init__(symbol, timeframe)
        self.quorum = number("quorum", quorum, 0.01, 1)
        self.members = _members(DEFAULT_MEMBERS if members is None else members)
        self._take_needs()

    def bind(self, timeframe: str) -> None:
        """Tell the members, and take over what they need."""
        super().bind(timeframe)
        for member in self.members:
            if member.strategy.timeframe not in (None, timeframe):
                raise ValueError(f"{member.strategy.name} needs {member.strategy.timeframe} candles, not {timeframe}")
            member.strategy.bind(timeframe)
        self._take_needs()

    def signals(self, candles: Candles) -> Signals:
        """Return one opinion per candle."""
        votes = [all_signals(member.strategy, member.strategy.name, candles) for member in self.members]
        wrong = reduce(np.logical_or, map(faults, votes))
        weights = np.array([member.weight for member in self.members])
        weights /= weights.sum()
        directions = np.array([vote.direction for vote in votes])
        for_long, for_short, for_flat = (
            weights @ (directions == code) for code in (Direction.LONG, Direction.SHORT, Direction.FLAT)
        )
        enough = self.quorum - _ROUNDING
        long = (for_long >= enough) & (for_long > for_short + for_flat + _ROUNDING)
        short = (for_short >= enough) & (for_short > for_long + for_flat + _ROUNDING)
        flat = (for_flat + for_short >= enough) & ~short & ~long & (for_flat + for_short > for_long + _ROUNDING)
        direction = np.zeros(len(candles), np.int8)
        direction[long], direction[short], direction[flat] = Direction.LONG, Direction.SHORT, Direction.FLAT
        opens = long | short
        agree = (directions == direction) & opens
        confidence = np.where(opens, self._confidence(votes, weights, agree), flat)
        confidence = np.where(opens, confidence * (1 - np.where(long, for_short, for_long) - for_flat), confidence)
        nearest = (np.fmax, np.fmin)
        stop = _nearest([vote.stop_price for vote in votes], agree, long, nearest)
        target = _nearest([vote.target_price for vote in votes], agree, short, nearest)
        confidence = np.where(wrong, np.nan, np.clip(confidence, 0.0, 1.0))
        rules = _merged([vote.invalidations for vote in votes], agree)
        return Signals(direction, confidence, stop, target, for_long - for_short, rules)

    def note(self, candles: Candles, i: int) -> str:
        """Return what each member says."""
        said = (Direction(int(member.strategy.signals(candles).direction[i])).name.lower() for member in self.members)
        return ", ".join(f"{member.strategy.name} {word}" for member, word in zip(self.members, said, strict=True))

    # mean confidence of those who agree
    def _confidence(self, votes: Sequence[Signals], weights: FloatArray, agree: BoolArray) -> FloatArray:
        confidences = np.array([vote.confidence for vote in votes])
        total = weights @ (confidences * agree)
        mean: FloatArray = total / np.maximum(weights @ agree, _ROUNDING)
        return mean

    def _take_needs(self) -> None:
        strategies = [member.strategy for member in self.members]
        self.gauges = tuple(dict.fromkeys(gauge for one in strategies for gauge in one.gauges))
        self.lookback_bars = max(one.lookback_bars for one in strategies)
        self.warmup_bars = max(one.warmup_bars for one in strategies)


# the highest stop below a long, the lowest above a short; for targets the other way round
def _nearest(prices: Sequence[FloatArray], agree: BoolArray, highest: BoolArray, choose: tuple[Any, Any]) -> FloatArray:
    theirs = [np.where(agrees, price, np.nan) for agrees, price in zip(agree, prices, strict=True)]
    largest, smallest = (reduce(one, theirs) for one in choose)
    return np.where(highest, largest, smallest)


# what would make an opinion pointless for the members who share it, the first ones where there are too many
def _merged(
    theirs: Sequence[Mapping[int, tuple[Invalidation, ...]]], agree: BoolArray
) -> dict[int, tuple[Invalidation, ...]]:
    merged: dict[int, dict[Invalidation, None]] = {}
    for rules, agrees in zip(theirs, agree, strict=True):
        for bar, found in rules.items():
            if 0 <= bar < len(agrees) and agrees[bar]:
                merged.setdefault(bar, {}).update(dict.fromkeys(found))
    return {bar: tuple(found)[:MAX_SIGNAL_RULES] for bar, found in merged.items()}


def _members(given: Sequence[Mapping[str, Any]]) -> tuple[Member, ...]:
    from trader.strategy.registry import build  # the registry names this class

    if not isinstance(given, list | tuple) or not given:
        raise ValueError(f"members must be a list of at least one strategy, was {given!r}")
    members: list[Member] = []
    problems: list[str] = []
    for i, entry in enumerate(given):
        try:
            _refuse_unknown(entry)
            weight = number("weight", entry.get("weight", 1.0), 1e-9, 1e9)
            members.append(Member(build(entry["use"], dict(entry.get("params") or {})), weight))
        except ConfigError as error:
            problems += [f"members.{i}.{line}" for line in str(error).splitlines()]
        except ValueError as error:
            problems.append(f"members.{i}: {error}")
    if problems:
        raise ConfigError("\n".join(problems))
    return tuple(members)


def _refuse_unknown(entry: Any) -> None:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("use"), str):
        raise ValueError(f"must be as in {{use: ema_trend, weight: 2}}, was {entry!r}")  # noqa: TRY004 - see parameters
    unknown = sorted(set(map(str, entry)) - {"use", "params", "weight"})
    if unknown:
        raise ValueError(f"knows use, params and weight, not {', '.join(unknown)}")
    if not isinstance(entry.get("params") or {}, Mapping):
        raise ValueError(f"params must be keys and values, was {entry['params']!r}")  # noqa: TRY004 - the same
