"""The words that question and answer are made of; prompt, schema and validator take them from here and nowhere else."""

from __future__ import annotations

from enum import StrEnum

#: raised whenever the same view would make another question
PROMPT_VERSION = 1

#: raised whenever an answer has to look different
SCHEMA_VERSION = 1

#: invalidations of one decision, at most
MAX_INVALIDATIONS = 3

#: characters of a justification that are kept
MAX_JUSTIFICATION_CHARS = 400

#: closes of each symbol that the model is shown
SHOWN_CLOSES = 10


class Action(StrEnum):
    """What a model may propose for a symbol; each with what it is told about it."""

    OPEN_LONG = "open_long"
    OPEN_SHORT = "open_short"
    CLOSE = "close"
    HOLD = "hold"


ACTION_TEXT = {
    Action.OPEN_LONG: "open a long position where there is none",
    Action.OPEN_SHORT: "open a short position where there is none",
    Action.CLOSE: "close the open position at the market",
    Action.HOLD: "leave everything as it is",
}

OPENS = frozenset({Action.OPEN_LONG, Action.OPEN_SHORT})


class Metric(StrEnum):
    """What the model is shown of each symbol and timeframe."""

    CLOSE = "close"
    RSI = "rsi"
    EMA_20 = "ema_20"
    EMA_50 = "ema_50"
    ATR = "atr"
    VOLUME_RATIO = "volume_ratio"


METRIC_TEXT = {
    Metric.CLOSE: "close of the last closed candle",
    Metric.RSI: "relative strength index over 14 candles (Wilder), 0 to 100",
    Metric.EMA_20: "exponential moving average of the close over 20 candles",
    Metric.EMA_50: "exponential moving average of the close over 50 candles",
    Metric.ATR: "average true range over 14 candles (Wilder), in price units",
    Metric.VOLUME_RATIO: "volume of the last candle over the mean volume of the 20 before it",
}

#: what an invalidation may look at: what the trading core watches by itself
RULE_METRICS = (Metric.CLOSE, Metric.RSI)


class Op(StrEnum):
    """How an invalidation compares."""

    LT = "lt"
    GT = "gt"


class Hold(StrEnum):
    """Why nothing is done: shown to the owner with each hold, and counted."""

    NONE = ""  #: it is acted upon
    MODEL = "model"  #: the model said hold
    # what came back was no decision
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    HTTP_400 = "http_400"
    HTTP_401 = "http_401"
    HTTP_402 = "http_402"
    HTTP_403 = "http_403"
    HTTP_404 = "http_404"
    HTTP_408 = "http_408"
    HTTP_429 = "http_429"
    HTTP_500 = "http_500"
    HTTP_502 = "http_502"
    HTTP_503 = "http_503"
    HTTP_504 = "http_504"
    HTTP_524 = "http_524"
    HTTP_OTHER = "http_other"
    NOT_JSON = "not_json"
    OVERSIZED = "oversized"
    ERROR_BODY = "error_body"
    NO_CHOICES = "no_choices"
    FINISH_ERROR = "finish_error"
    TRUNCATED = "truncated"
    FINISH_OTHER = "finish_other"
    OTHER_MODEL = "other_model"
    NO_USAGE = "no_usage"
    COST = "cost_above_reservation"
    # it was a reply, and not one of the agreed form
    REPLY_NOT_JSON = "reply_not_json"
    DUPLICATE_KEY = "duplicate_key"
    NOT_FINITE = "not_finite"
    SCHEMA = "schema"
    UNKNOWN_SYMBOL = "unknown_symbol"
    REPEATED_SYMBOL = "repeated_symbol"
    MISSING_SYMBOL = "missing_symbol"
    # it was a decision, and not one to act upon
    LOW_CONFIDENCE = "low_confidence"
    SHORT_NOT_ALLOWED = "short_not_allowed"
    POSITION_OPEN = "position_open"
    ORDER_IN_FLIGHT = "order_in_flight"
    NOTHING_OPEN = "nothing_open"
    MIN_HOLD = "min_hold"
    COOLDOWN = "cooldown"
    ENTRIES_HOUR = "entries_per_hour"
    ENTRIES_DAY = "entries_per_day"
    NO_STOP = "no_stop"
    STOP_SIDE = "stop_side"
    STOP_NEAR = "stop_too_near"
    STOP_FAR = "stop_too_far"
    NO_TARGET = "no_target"
    TARGET_SIDE = "target_side"
    REWARD_RISK = "reward_risk"
    RISK = "risk_frac"
    MAX_HOLD = "max_hold"
    INVALIDATION = "invalidation"
    ALREADY_INVALID = "already_invalid"
    NO_CANDLES = "no_candles"
    STALE = "stale"
    PRICE_MOVED = "price_moved"
    # nobody was asked
    BUDGET_CALLS = "budget_calls"
    BUDGET_USD = "budget_usd"
    BREAKER = "breaker"
    DISABLED = "disabled"
    NO_RECORD = "no_record"
    NO_DISK = "no_disk"


def rule_timeframes(base: str) -> tuple[str, ...]:
    """Return the timeframes that the model is shown and may name, the market's own first.

    Parameters
    ----------
    base : str
        The market's.
    """
    longer = {
        "1m": ("15m", "1h"),
        "3m": ("15m", "1h"),
        "5m": ("30m", "4h"),
        "15m": ("1h", "4h"),
        "30m": ("2h", "8h"),
        "1h": ("4h", "1d"),
    }
    return (base, *longer.get(base, ()))
