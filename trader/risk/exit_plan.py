"""Limits and exit plans: from the configuration's words to the record that kernels read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from trader.clock import NS_PER_S
from trader.config.sections import Config
from trader.core.rulebook import write_rules
from trader.domain.invalidation import parse
from trader.units import BPS, timeframe_ns

#: how many candles may be missing before a last price is stale, where the configuration does not say
STALE_CANDLES = 3


def stale_mark_ns(config: Config) -> int:
    """Return the age from which the last price is too old to enter on [ns]."""
    seconds = config.market.stale_after_seconds
    if seconds is None:
        return STALE_CANDLES * timeframe_ns(config.market.timeframe)
    return round(seconds * NS_PER_S)


def limit_values(config: Config, epoch: int) -> dict[str, float | int]:
    """Return every field of a LIMITS record by name, but for the rules.

    Parameters
    ----------
    config : Config
        Sections `risk` and `exits` say what is allowed, `market` how old a price may be.
    epoch : int
        Number of the configuration that these limits come from.

    Returns
    -------
    dict
        Value by field name; NaN: no such exit, 0 in a duration: none.
    """
    risk, exits = config.risk, config.exits
    return {
        "max_open_positions": risk.max_open_positions,
        "min_confidence_threshold": risk.min_confidence_threshold,
        "max_daily_loss_frac": risk.max_daily_loss_frac,
        "max_daily_trades": risk.max_daily_trades,
        "max_symbol_exposure_frac": risk.max_symbol_exposure_frac,
        "max_gross_exposure_frac": risk.max_gross_exposure_frac,
        "max_drawdown_frac": risk.max_drawdown_frac,
        "risk_per_trade_frac": risk.risk_per_trade_frac,
        "leverage": risk.leverage,
        "allow_short": int(risk.allow_short),
        "stale_mark_ns": stale_mark_ns(config),
        "cooldown_ns": _ns(risk.cooldown_seconds),
        "loss_streak_limit": risk.loss_streak_limit or 0,
        "loss_streak_cooldown_ns": _ns(risk.loss_streak_cooldown_seconds),
        "stop_loss_frac": exits.stop_loss_frac,
        "take_profit_frac": _or_nan(exits.take_profit_frac),
        "trailing_stop_frac": _or_nan(exits.trailing_stop_frac),
        "trailing_stop_atr": _or_nan(exits.trailing_stop_atr),
        "atr_bars": 0 if exits.trailing_stop_atr is None else exits.atr_bars,
        "break_even_after_frac": _or_nan(exits.break_even_after_frac),
        "break_even_lock_frac": exits.break_even_lock_frac,
        "max_hold_ns": _ns(exits.max_hold_seconds),
        "bar_ns": timeframe_ns(config.market.timeframe),
        "max_correlated_exposure_frac": _or_nan(risk.max_correlated_exposure_frac),
        "correlation_bars": risk.correlation_window_bars,
        "correlation_threshold": risk.correlation_threshold,
        "config_epoch": epoch,
    }


def write_limits(desk: npt.NDArray[np.void], config: Config, epoch: int) -> None:
    """Put the limits of a configuration in force on a desk, all of them between two kernel calls.

    Parameters
    ----------
    desk : ndarray of DESK, shape (1,)
        Its limits are overwritten.
    config : Config
        The configuration.
    epoch : int
        Its number.
    """
    limits: Any = desk["limits"]
    for name, value in limit_values(config, epoch).items():
        limits[name] = value
    write_rules(limits[0], [parse(text) for text in config.exits.invalidations])


def write_costs(slots: npt.NDArray[np.void], config: Config) -> None:
    """Put the paper venue's fee and slippage on every slot.

    Parameters
    ----------
    slots : ndarray of SLOT
        Their costs are overwritten.
    config : Config
        Section `execution` has the costs.
    """
    slots["fee_rate_frac"] = config.execution.fee_rate_frac
    slots["slippage_frac"] = config.execution.slippage_bps * BPS


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _ns(seconds: float | None) -> int:
    return round((seconds or 0.0) * NS_PER_S)
