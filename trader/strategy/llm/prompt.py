"""The question: a market view as messages; a pure function, so that the same view is the same bytes.

Only numbers and the configured symbols go in: no names from third parties, no news, and nothing that a model has
written before. What a model could take for an order is not in it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any

import numpy as np

from trader.clock import NS_PER_S, format_utc
from trader.domain.market import Candles
from trader.domain.view import AccountView, MarketView, PositionView, SymbolView
from trader.strategy.indicators import ATR, EMA, RSI
from trader.strategy.llm.schema import RULES_TEXT, reply_schema
from trader.strategy.llm.vocabulary import ACTION_TEXT, METRIC_TEXT, SHOWN_CLOSES, Action, Metric, rule_timeframes
from trader.strategy.timeframes import lengthen
from trader.units import plain, timeframe_ns

Messages = list[dict[str, str]]

#: candles of the longest timeframe that a view should have
LONG_CANDLES = 100

#: how each kind of number is written: decimals (None: the instrument's own), and how it is rounded
_FORMATS: Mapping[str, tuple[int | None, str]] = {
    "price": (None, ROUND_HALF_EVEN),
    "quantity": (None, ROUND_FLOOR),
    "amount": (2, ROUND_FLOOR),  # what is told to be there must be there
    "frac": (4, ROUND_HALF_EVEN),
    "index": (1, ROUND_HALF_EVEN),
    "ratio": (2, ROUND_HALF_EVEN),
}

_UNIT_OF = {
    Metric.CLOSE: "price",
    Metric.RSI: "index",
    Metric.EMA_20: "price",
    Metric.EMA_50: "price",
    Metric.ATR: "price",
    Metric.VOLUME_RATIO: "ratio",
}


def messages(view: MarketView) -> Messages:
    """Return the question about a view.

    Parameters
    ----------
    view : MarketView
        What is known.

    Returns
    -------
    list of dict
        A system and a user message, as chat completions take them.
    """
    return [
        {"role": "system", "content": _system(view)},
        {"role": "user", "content": json.dumps(snapshot(view), indent=1)},
    ]


def snapshot(view: MarketView) -> dict[str, Any]:
    """Return a view as the document that the model is shown: every number is a text or a count."""
    return {
        "time": format_utc(view.time_ns, "seconds"),
        "account": _account(view.account),
        "symbols": [_symbol(view, one) for one in view.symbols],
    }


def number(kind: str, value: float, step: Decimal | None = None) -> str | None:
    """Return a number as the model is shown it; None where there is none.

    Parameters
    ----------
    kind : str
        A row of the table of formats.
    value : float
        Any.
    step : Decimal, optional
        Tick or lot, for prices and quantities.
    """
    if not math.isfinite(value):
        return None
    digits, rounding = _FORMATS[kind]
    grain = step if digits is None and step is not None else Decimal(1).scaleb(-(digits or 8))
    whole = (Decimal(repr(float(value))) / grain).to_integral_value(rounding=rounding)
    return plain(whole * grain)


def _system(view: MarketView) -> str:
    frames = rule_timeframes(view.timeframe)
    symbols = [one.symbol for one in view.symbols]
    actions = [action for action in Action if view.allow_short or action is not Action.OPEN_SHORT]
    action_lines = "\n".join(f"- {action}: {ACTION_TEXT[action]}" for action in actions)
    metric_lines = "\n".join(f"- {metric}: {METRIC_TEXT[metric]}" for metric in Metric)
    schema = json.dumps(reply_schema(symbols, frames, allow_short=view.allow_short), separators=(",", ":"))
    return f"""\
You propose trades on {len(symbols)} crypto markets, quoted in {view.account.quote}. Code checks every proposal \
against hard limits, computes the size, and runs the exit plan by itself, tick by tick, without asking you again.

For each of {", ".join(symbols)} choose one action:
{action_lines}
Fees and slippage are paid on both sides: most of the time hold is right.

An open needs its whole exit plan: stop_price on the losing side, target_price on the winning side, max_hold_minutes, \
and risk_frac, the fraction of equity lost when the stop is hit. You name no quantity and no leverage. For close and \
hold these are null and invalidations is empty.
invalidations say when the idea is gone: {RULES_TEXT} They are judged on closed candles only, and must not be true \
already.
Timeframes: {", ".join(frames)}.

What you are shown of each timeframe; all series run from the oldest to the newest:
{metric_lines}

Answer with one JSON object of this JSON schema and nothing else: no text around it, no code fence.
{schema}"""


def _account(account: AccountView) -> dict[str, Any]:
    return {
        "quote": account.quote,
        "equity": number("amount", account.equity),
        "cash": number("amount", account.cash),
        "gross_exposure": number("amount", account.gross_exposure),
        "profit_today": number("amount", account.day_pnl),
        "drawdown_frac": number("frac", account.drawdown_frac),
        "open_positions": account.open_positions,
        "max_open_positions": account.max_open_positions,
        "entries_today": account.day_entries,
        "entries_halted": account.halted,
    }


def _symbol(view: MarketView, one: SymbolView) -> dict[str, Any]:
    tick = one.instrument.tick_size
    shown: dict[str, Any] = {
        "symbol": one.symbol,
        "fee_rate_frac": plain(Decimal(repr(one.fee_rate_frac))),
        "position": _position(view, one, one.position) if one.position else None,
        "order_in_flight": one.order_in_flight,
        f"closes_{view.timeframe}": [number("price", value, tick) for value in one.candles.close[-SHOWN_CLOSES:]],
    }
    for timeframe in rule_timeframes(view.timeframe):
        readings = metrics(one.candles, timeframe)
        shown[timeframe] = {metric: number(_UNIT_OF[metric], readings[metric], tick) for metric in Metric}
    return shown


def _position(view: MarketView, one: SymbolView, position: PositionView) -> dict[str, Any]:
    tick, lot = one.instrument.tick_size, one.instrument.lot_size
    minutes = (view.time_ns - position.entry_ns) // (60 * NS_PER_S)
    return {
        "side": "long" if position.quantity > 0 else "short",
        "quantity": number("quantity", abs(position.quantity), lot),
        "entry_price": number("price", position.entry_price, tick),
        "age_minutes": int(minutes),
        "unrealised_profit": number("amount", position.unrealised_pnl),
        "stop_price": number("price", position.stop_price, tick),
        "target_price": number("price", position.target_price, tick),
        "closes_at": format_utc(position.expires_ns, "seconds") if position.expires_ns else None,
        "invalidations": list(position.rules),
    }


# -- metrics -----------------------------------------------------------------------------------


def metrics(candles: Candles, timeframe: str) -> dict[Metric, float]:
    """Return the last reading of every metric on a timeframe; NaN where there are too few closed candles.

    Parameters
    ----------
    candles : Candles
        Of the market's own timeframe.
    timeframe : str
        The market's own, or a multiple of it.
    """
    longer = candles
    if len(candles) and timeframe_ns(timeframe) != timeframe_ns(candles.timeframe):
        longer = lengthen(candles, timeframe).candles
    return {metric: _last(longer, compute) for metric, compute in _COMPUTED.items()}


def _last(candles: Candles, compute: Callable[[Candles], Any]) -> float:
    if not len(candles):
        return math.nan
    return float(compute(candles)[-1])


def _volume_ratio(candles: Candles) -> Any:
    if len(candles) < 21:
        return [math.nan]
    mean = float(np.mean(candles.volume[-21:-1]))
    return [candles.volume[-1] / mean if mean > 0 else math.nan]


def _needs(bars: int, compute: Callable[[Candles], Any]) -> Callable[[Candles], Any]:
    return lambda candles: compute(candles) if len(candles) >= bars else [math.nan]


_COMPUTED: Mapping[Metric, Callable[[Candles], Any]] = {
    Metric.CLOSE: lambda candles: candles.close,
    Metric.RSI: _needs(15, lambda candles: RSI(candles.close, 14)),
    Metric.EMA_20: _needs(20, lambda candles: EMA(candles.close, 20)),
    Metric.EMA_50: _needs(50, lambda candles: EMA(candles.close, 50)),
    Metric.ATR: _needs(15, lambda candles: ATR(candles.high, candles.low, candles.close, 14)),
    Metric.VOLUME_RATIO: _volume_ratio,
}
