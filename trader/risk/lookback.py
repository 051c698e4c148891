"""What risk knows of the candles before the first one that it sees: gauges of rules, and closes for correlations.

Both are given the same candles live and in a backtest, and both are warmed up with the same number of them, so that
they know the same. After a restart the gauges are in the ledger, and the closes are read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from trader.config.sections import Config
from trader.core.invalidations import take_history
from trader.core.records import CANDLE, MAX_GAUGES, new_slots
from trader.core.rulebook import gauges_needed, rules_of, write_gauges
from trader.domain.invalidation import Gauge, parse
from trader.domain.market import Candles
from trader.errors import ConfigError
from trader.units import timeframe_ns

Records = npt.NDArray[np.void]

#: returns the last candles of a slot before the first one that is processed: slot, how many at most
HistoryOf = Callable[[int, int], Candles]

#: periods after which an average has mostly forgotten with what it began
_PERIODS = 4

#: candles that are read for warming up at most
_MOST_BARS = 20_000


def gauges_of(config: Config, strategies: Iterable[Gauge]) -> tuple[Gauge, ...]:
    """Return the gauges that a configuration needs: those of its own rules, then those of its strategies.

    Raises
    ------
    ConfigError
        When there are more than a slot has room for.
    """
    own = (parse(text).gauge for text in config.exits.invalidations)
    every = tuple(dict.fromkeys([*(gauge for gauge in own if gauge is not None), *strategies]))
    if len(every) > MAX_GAUGES:
        named = ", ".join(map(str, every))
        raise ConfigError(f"invalidations look at {len(every)} indicators, {named}; there is room for {MAX_GAUGES}")
    return every


def warming_bars(config: Config, gauges: Sequence[Gauge]) -> int:
    """Return how many candles before the first one are needed, at most."""
    bar_ns = timeframe_ns(config.market.timeframe)
    bars = [(_PERIODS * one.period + 1) * max(one.frame_ns // bar_ns, 1) for one in gauges]
    return max([correlation_bars(config) + 1, *(min(count, _MOST_BARS) for count in bars)])


def correlation_bars(config: Config) -> int:
    """Return how many returns a correlation is over; 0: nobody asks for one."""
    return 0 if config.risk.max_correlated_exposure_frac is None else config.risk.correlation_window_bars


def keep_gauges(slots: Records, gauges: Sequence[Gauge], bars: int, history_of: HistoryOf) -> None:
    """Give every slot its gauges; those that it has go on, new ones look at the candles before.

    Parameters
    ----------
    slots : ndarray of SLOT, shape (n_symbols,)
        Restored, when there was something to restore.
    gauges : sequence of Gauge
        From `gauges_of`; those that rules of open positions look at are kept as well.
    bars : int
        From `warming_bars`.
    history_of : callable
        The candles before.
    """
    for index in range(len(slots)):
        slot = slots[index]
        fresh = write_gauges(slot, gauges_needed(gauges, rules_of(slot)))
        if fresh:
            _warm(slot, fresh, history_of(index, bars))


def _warm(slot: np.void, fresh: Sequence[Gauge], candles: Candles) -> None:
    scratch = new_slots(1)
    write_gauges(scratch[0], fresh)
    close_ns = candles.open_ns + timeframe_ns(candles.timeframe)
    take_history(scratch[0], np.ascontiguousarray(close_ns), candles.close.copy())
    known = {gauge: at for at, gauge in enumerate(fresh)}
    every = zip(slot["gauge_frame_ns"].tolist(), slot["gauge_period"].tolist(), strict=True)
    for at, (frame_ns, period) in enumerate(every):
        source = known.get(Gauge(frame_ns, period)) if at < slot["gauges"] else None
        if source is not None:
            for field in ("gauge_count", "gauge_close", "gauge_up", "gauge_down"):
                slot[field][at] = scratch[0][field][source]
    if len(candles):
        slot["watched_close"] = scratch[0]["watched_close"]


def closes_as_rows(slot: int, candles: Candles) -> Records:
    """Return candles of one symbol as records of CANDLE."""
    rows = np.zeros(len(candles), CANDLE)
    rows["slot"] = slot
    for name in ("open_ns", "open", "high", "low", "close", "volume"):
        rows[name] = getattr(candles, name)
    rows["close_ns"] = rows["open_ns"] + timeframe_ns(candles.timeframe)
    return rows
