"""The strategy interface, and the one place that asks a strategy and judges its answer."""

from __future__ import annotations

import contextlib
import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from trader.codes import Direction
from trader.core.records import MAX_SIGNAL_RULES
from trader.domain.invalidation import Gauge, Invalidation
from trader.domain.market import Candles
from trader.domain.signal import Signal, Signals
from trader.errors import StrategyError
from trader.strategy.timeframes import Longer, bars_per_candle, lengthen
from trader.units import timeframe_ns

FIELDS = ("direction", "confidence", "stop_price", "target_price", "value")
_COLUMNS = attrgetter(*FIELDS)

_BY_CODE = {int(direction): direction for direction in Direction}
_OPENING = (int(Direction.LONG), int(Direction.SHORT))


class Strategy(ABC):
    """Turns closed candles of one symbol into one opinion per candle.

    A strategy keeps nothing between two calls: the same candles give the same signals, so live,
    replay and backtest agree, and a restart loses nothing.

    Parameters
    ----------
    symbol : str, optional
        The one symbol it is for; None: every symbol it is configured for.
    timeframe : str, optional
        The timeframe it needs; None: whatever the market has.
    """

    #: what an owner reads in decisions and positions
    name: str = "strategy"

    #: candles it gets at most, the newest last: its answer must not need more
    lookback_bars: int = 250

    #: candles it needs before its answer means anything
    warmup_bars: int = 0

    #: longer timeframes it looks at as well, and how many of their candles it needs, as in {"1h": 60}
    timeframes: Mapping[str, int] = MappingProxyType({})

    #: indicators that its invalidations look at: they are kept from before the first of those exists
    gauges: tuple[Gauge, ...] = ()

    #: the arguments that it was built with, by name: what it takes to build it again elsewhere
    built_with: Mapping[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = _remembering(cls.__init__)  # type: ignore[method-assign]

    def __init__(self, symbol: str | None = None, timeframe: str | None = None) -> None:
        if "built_with" not in vars(self):  # of a subclass that has no constructor of its own
            self.built_with = {"symbol": symbol, "timeframe": timeframe}
        self.symbol = symbol
        self.timeframe = timeframe

    def bind(self, timeframe: str) -> None:
        """Learn the market's timeframe, before the first question: the lookback grows to what `timeframes` need.

        Parameters
        ----------
        timeframe : str
            Of all candles that it will get.

        Raises
        ------
        ValueError
            When one of `timeframes` is no multiple of it.
        """
        self.timeframe = timeframe
        for longer, candles in self.timeframes.items():
            # one more: a window can begin in the middle of a candle
            self.lookback_bars = max(self.lookback_bars, (candles + 1) * bars_per_candle(timeframe, longer))

    def longer(self, candles: Candles, timeframe: str) -> Longer:
        """Return the closed candles of one of `timeframes`, made of the ones that `signals` got.

        Parameters
        ----------
        candles : Candles
            What `signals` was given.
        timeframe : str
            One of `timeframes`: only for those does the lookback reach back far enough.

        Returns
        -------
        Longer
            `Longer.candles`, and `Longer.at_bars` to bring what is computed from them back to each bar.

        Raises
        ------
        StrategyError
            When the timeframe was not declared.
        """
        if timeframe not in self.timeframes:
            raise StrategyError(f"looks at {timeframe} candles, but its timeframes are {dict(self.timeframes)}")
        return lengthen(candles, timeframe)

    @abstractmethod
    def signals(self, candles: Candles) -> Signals:
        """Return one opinion per candle; opinion i uses candles 0 to i only.

        Parameters
        ----------
        candles : Candles
            At most `lookback_bars` when it is asked live, any number in a backtest; read only.

        Returns
        -------
        Signals
            Arrays of the candles' length.
        """

    def note(self, candles: Candles, i: int) -> str:  # noqa: ARG002 - the default has nothing to say
        """Return why candle i got its opinion, in a few words for people; asked about LONG and SHORT only.

        Parameters
        ----------
        candles : Candles
            The same that `signals` got.
        i : int
            Index of the candle, negative from the end.
        """
        return ""


# what an instance was built with is noted by the constructor of its own class, before those it derives from
def _remembering(init: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(init)
    more = [one.name for one in signature.parameters.values() if one.kind is inspect.Parameter.VAR_KEYWORD]

    @functools.wraps(init)
    def remember(self: Strategy, *args: Any, **kwargs: Any) -> None:
        if "built_with" not in vars(self):
            with contextlib.suppress(TypeError):  # `init` is about to say what is wrong with its arguments
                given = list(signature.bind(self, *args, **kwargs).arguments.items())[1:]
                named = {name: value for name, value in given if name not in more}
                self.built_with = named | {
                    name: value for one in more for name, value in dict(given).get(one, {}).items()
                }
        init(self, *args, **kwargs)

    return remember


def last_signal(strategy: Strategy, name: str, candles: Candles, time_ns: int) -> Signal:
    """Ask a strategy, and return its opinion on the last candle.

    Parameters
    ----------
    strategy : Strategy
        Who is asked.
    name : str
        The name it is configured under.
    candles : Candles
        At least one; cut to the strategy's lookback by the caller.
    time_ns : int
        Close of the last candle [ns UTC].

    Returns
    -------
    Signal
        With finite confidence in 0..1 and prices that are positive or NaN.

    Raises
    ------
    StrategyError
        When the strategy raises, or answers with something that is no opinion. Whatever goes wrong
        in a strategy is the strategy's problem, not its caller's.
    """
    bars = len(candles)
    try:
        signals = strategy.signals(candles)
        columns = _columns(signals, bars)
        code, *numbers = [column.item(-1) for column in columns]
        confidence, stop, target, value = map(float, numbers)
        fault = _fault(code, confidence, stop, target)
        if fault:
            raise StrategyError(fault)
        direction = _BY_CODE[code]
        note = str(strategy.note(candles, -1)) if code in _OPENING else ""
        rules = rules_at(strategy, candles, signals, bars - 1) if signals.invalidations else ()
    except StrategyError as error:
        raise StrategyError(f"{name}: {candles.symbol}: {error}") from error
    except Exception as error:
        raise StrategyError(f"{name}: {candles.symbol}: raised {type(error).__name__}: {error}") from error
    price = candles.close.item(-1)
    return Signal(name, candles.symbol, time_ns, price, direction, confidence, stop, target, value, note, rules)


def all_signals(strategy: Strategy, name: str, candles: Candles) -> Signals:
    """Ask a strategy about a whole history, and return its opinion on each candle.

    Parameters
    ----------
    strategy : Strategy
        Who is asked.
    name : str
        The name it is configured under.
    candles : Candles
        Any number.

    Returns
    -------
    Signals
        Of the right shapes; `faults` says which bars hold nonsense.

    Raises
    ------
    StrategyError
        When the strategy raises, or answers with arrays of another shape.
    """
    try:
        signals = strategy.signals(candles)
        _columns(signals, len(candles))
    except StrategyError as error:
        raise StrategyError(f"{name}: {candles.symbol}: {error}") from error
    except Exception as error:
        raise StrategyError(f"{name}: {candles.symbol}: raised {type(error).__name__}: {error}") from error
    return signals


def faults(signals: Signals) -> npt.NDArray[np.bool_]:
    """Return at which bars an answer is no opinion: those for which `last_signal` raises.

    Parameters
    ----------
    signals : Signals
        A strategy's answer about any number of bars.

    Returns
    -------
    ndarray of bool, shape (bars,)
        True where direction, confidence, stop or target can not be.
    """
    good = np.isin(signals.direction, list(_BY_CODE))
    good &= (signals.confidence >= 0) & (signals.confidence <= 1)  # NaN is neither
    for prices in (signals.stop_price, signals.target_price):
        good &= ~((prices <= 0) | (prices == np.inf))
    return ~good


def rules_at(strategy: Strategy, candles: Candles, signals: Signals, bar: int) -> tuple[Invalidation, ...]:
    """Return the invalidations that an opinion brings.

    Parameters
    ----------
    strategy : Strategy
        Whose opinion it is: its rules may look at its own gauges only.
    candles : Candles
        What it was asked about.
    signals : Signals
        Its answer.
    bar : int
        Index of the candle, from 0.

    Raises
    ------
    StrategyError
        When they are none, too many, or look at what nobody keeps.
    """
    rules = tuple(signals.invalidations.get(bar, ()))
    if len(rules) > MAX_SIGNAL_RULES:
        raise StrategyError(f"brings {len(rules)} invalidations, and may bring {MAX_SIGNAL_RULES}")
    bar_ns = timeframe_ns(candles.timeframe)
    for rule in rules:
        if not isinstance(rule, Invalidation):
            raise StrategyError(f"invalidation {rule!r} is none")
        if not rule.fits(bar_ns):
            raise StrategyError(f"invalidation {str(rule)!r}: its timeframe is no multiple of {candles.timeframe}")
        if rule.gauge is not None and rule.gauge not in strategy.gauges:
            known = ", ".join(map(str, strategy.gauges)) or "none"
            raise StrategyError(f"invalidation {str(rule)!r} looks at {rule.gauge}, and its gauges are {known}")
    return rules


# the columns, once each is known to be an array with one value per bar
def _columns(signals: Signals, bars: int) -> tuple[npt.NDArray[np.generic], ...]:
    columns: tuple[npt.NDArray[np.generic], ...] = _COLUMNS(signals)
    shape = (bars,)
    for column in columns:
        if getattr(column, "shape", None) != shape:
            field = FIELDS[[one is column for one in columns].index(True)]
            raise StrategyError(f"{field} has shape {np.shape(column)}, must be an array of ({bars},)")
    return columns


def _fault(code: object, confidence: float, stop: float, target: float) -> str:
    if code not in _BY_CODE:
        return f"direction {code} is none of {sorted(_BY_CODE)}"
    if not 0 <= confidence <= 1:  # NaN fails this too
        return f"confidence {confidence} is not in 0..1"
    for field, price in (("stop_price", stop), ("target_price", target)):
        if price <= 0 or price == np.inf:
            return f"{field} {price} is neither positive nor NaN"
    return ""
