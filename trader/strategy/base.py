"""The strategy interface, and the one place that asks a strategy and judges its answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from operator import attrgetter

import numpy as np

from trader.codes import Direction
from trader.domain.market import Candles
from trader.domain.signal import Signal, Signals
from trader.errors import StrategyError

_FIELDS = ("direction", "confidence", "stop_price", "target_price", "value")
_COLUMNS = attrgetter(*_FIELDS)

_DIRECTIONS = frozenset(int(direction) for direction in Direction)


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

    def __init__(self, symbol: str | None = None, timeframe: str | None = None) -> None:
        self.symbol = symbol
        self.timeframe = timeframe

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
        """Return why candle i got its opinion, in a few words for people; not asked about HOLD.

        Parameters
        ----------
        candles : Candles
            The same that `signals` got.
        i : int
            Index of the candle, negative from the end.
        """
        return ""


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
    try:
        signals = strategy.signals(candles)
        direction, confidence, stop, target, value = _last(signals, len(candles))
        note = strategy.note(candles, -1) if direction != Direction.HOLD else ""
    except StrategyError as error:
        raise StrategyError(f"{name}: {candles.symbol}: {error}") from error
    except Exception as error:
        raise StrategyError(f"{name}: {candles.symbol}: raised {type(error).__name__}: {error}") from error
    fault = _fault(direction, confidence, stop, target)
    if fault:
        raise StrategyError(f"{name}: {candles.symbol}: {fault}")
    price = float(candles.close[-1])
    what = Direction(direction)
    return Signal(name, candles.symbol, time_ns, price, what, confidence, stop, target, value, str(note))


# direction, confidence, stop, target and reading of the last candle
def _last(signals: Signals, bars: int) -> tuple[int, float, float, float, float]:
    columns = _COLUMNS(signals)
    for field, column in zip(_FIELDS, columns, strict=True):
        if getattr(column, "shape", None) != (bars,):
            raise StrategyError(f"{field} has shape {np.shape(column)}, must be an array of ({bars},)")
    direction, *numbers = [column.item(-1) for column in columns]
    confidence, stop, target, value = map(float, numbers)
    return int(direction), confidence, stop, target, value


def _fault(direction: int, confidence: float, stop: float, target: float) -> str:
    if direction not in _DIRECTIONS:
        return f"direction {direction} is none of {sorted(_DIRECTIONS)}"
    if not 0 <= confidence <= 1:  # NaN fails this too
        return f"confidence {confidence} is not in 0..1"
    for field, price in (("stop_price", stop), ("target_price", target)):
        if price <= 0 or price == np.inf:
            return f"{field} {price} is neither positive nor NaN"
    return ""
