"""Codes that kernels return and the ledger stores, each with the text an owner reads.

Numbers are part of the ledger's format: never renumber, only add.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag


class Direction(IntEnum):
    """What a strategy thinks of a symbol."""

    HOLD = 0  #: no opinion: leave everything as it is
    LONG = 1  #: be long
    SHORT = -1  #: be short
    FLAT = 2  #: hold nothing: close what is open


class Side(IntEnum):
    """Side of an order or a fill."""

    BUY = 1
    SELL = -1


class Limit(IntFlag):
    """Limits that a risk check can find broken; a verdict holds every one of them."""

    CONFIDENCE = 1 << 0
    DAILY_LOSS = 1 << 1
    DAILY_TRADES = 1 << 2
    OPEN_POSITIONS = 1 << 3
    SYMBOL_EXPOSURE = 1 << 4
    DRAWDOWN = 1 << 5
    FREE_CAPITAL = 1 << 6
    MIN_NOTIONAL = 1 << 7
    STALE_MARK = 1 << 8
    LEASE = 1 << 9
    VETO = 1 << 10
    PAUSED = 1 << 11
    HALTED = 1 << 12
    NOT_FINITE = 1 << 13
    GROSS_EXPOSURE = 1 << 14
    COOLDOWN = 1 << 15
    LOSS_STREAK = 1 << 16
    CORRELATED = 1 << 17
    SYMBOL_BLOCKED = 1 << 18
    POSITION_OPEN = 1 << 19
    SHORT_NOT_ALLOWED = 1 << 20
    STOP_SIDE = 1 << 21


#: how many limits a verdict has room for (one observed value and one bound each)
N_LIMITS = 24

LIMIT_TEXT: dict[Limit, str] = {
    Limit.CONFIDENCE: "the signal's confidence is below risk.min_confidence_threshold",
    Limit.DAILY_LOSS: "today's loss reached risk.max_daily_loss_frac",
    Limit.DAILY_TRADES: "today's entries reached risk.max_daily_trades",
    Limit.OPEN_POSITIONS: "open positions reached risk.max_open_positions",
    Limit.SYMBOL_EXPOSURE: "exposure in this symbol would pass risk.max_symbol_exposure_frac",
    Limit.DRAWDOWN: "drawdown from the peak reached risk.max_drawdown_frac",
    Limit.FREE_CAPITAL: "the order needs more than the free capital",
    Limit.MIN_NOTIONAL: "the order is below the smallest size or notional that the venue takes",
    Limit.STALE_MARK: "the last price is too old",
    Limit.LEASE: "the supervisor's trading lease has run out",
    Limit.VETO: "the monitor vetoes entries",
    Limit.PAUSED: "an owner has paused entries",
    Limit.HALTED: "trading is halted",
    Limit.NOT_FINITE: "a number in the check is NaN or infinite",
    Limit.GROSS_EXPOSURE: "gross exposure would pass its limit",
    Limit.COOLDOWN: "the symbol cools down after its last close",
    Limit.LOSS_STREAK: "entries cool down after consecutive losses",
    Limit.CORRELATED: "exposure in correlated symbols would pass its limit",
    Limit.SYMBOL_BLOCKED: "the symbol is blocked until an unexplained difference is resolved",
    Limit.POSITION_OPEN: "a position or an order is already open in this symbol",
    Limit.SHORT_NOT_ALLOWED: "short positions are not allowed here",
    Limit.STOP_SIDE: "the stop is not on the losing side of the price",
}


class Halt(IntFlag):
    """Why entries are halted; exits always go on."""

    PAUSED = 1 << 0  #: by an owner, until resumed
    DAILY_LOSS = 1 << 1  #: until the next UTC day
    DRAWDOWN = 1 << 2  #: until an owner resumes
    LEDGER = 1 << 3  #: the ledger can't be written; clears by itself
    RECONCILE = 1 << 4  #: start-up reconciliation has not finished
    BREAKER = 1 << 5  #: the circuit breaker is open; clears by itself
    FEED = 1 << 6  #: market data is stale; clears by itself


HALT_TEXT: dict[Halt, str] = {
    Halt.PAUSED: "paused by the owner until `trader resume`",
    Halt.DAILY_LOSS: "daily loss limit reached; entries resume on the next UTC day",
    Halt.DRAWDOWN: "drawdown limit reached; entries resume with `trader resume`",
    Halt.LEDGER: "the ledger can not be written; free disk space, entries resume by themselves",
    Halt.RECONCILE: "start-up reconciliation has not finished",
    Halt.BREAKER: "too many errors; entries resume when the circuit breaker closes",
    Halt.FEED: "market data is stale; entries resume with fresh data",
}


class Veto(IntFlag):
    """Why the monitor vetoes entries; each clears by itself when its cause is gone."""

    STATE = 1 << 0  #: account and positions can't be read
    BOOKS = 1 << 1  #: account and positions contradict each other
    ENGINE = 1 << 2  #: the engine is silent
    DISK = 1 << 3  #: the data folder is almost full
    CLOCK = 1 << 4  #: live: our clock and the venue's are too far apart
    RECONCILE = 1 << 5  #: live: nobody has compared with the venue for too long


VETO_TEXT: dict[Veto, str] = {
    Veto.STATE: "account and positions can not be read from shared memory",
    Veto.BOOKS: "equity is not cash and positions together; run `trader verify`",
    Veto.ENGINE: "the engine has been silent for too long",
    Veto.DISK: "the data folder is almost full; free disk space",
    Veto.CLOCK: "the clock is too far from the venue's; look at the time service (timedatectl)",
    Veto.RECONCILE: "nothing was compared with the venue for too long; look at the exchange's errors in the log",
}


class Level(IntEnum):
    """How bad a health check's finding is."""

    OK = 0
    WARNING = 1  #: an owner should look; trading goes on
    GRAVE = 2  #: nothing may be opened until it clears


class Reason(IntEnum):
    """Why a position was opened or closed."""

    NONE = 0
    SIGNAL = 1  #: a strategy's entry signal
    STOP = 2  #: stop price reached inside a candle
    STOP_GAP = 3  #: the candle opened beyond the stop
    TARGET = 4  #: target price reached inside a candle
    TARGET_GAP = 5  #: the candle opened beyond the target
    TRAILING = 6  #: trailing stop reached
    TIME = 7  #: held for max_hold_seconds
    STRATEGY_EXIT = 8  #: a strategy's exit signal
    OWNER_CLOSE = 9  #: `trader close`
    OWNER_FLATTEN = 10  #: `trader flatten`
    INVALIDATED = 11  #: an invalidation rule of the exit plan came true
    REVERSAL = 12  #: an opposite signal
    UNEXPLAINED = 13  #: adopted from the venue by reconciliation


class RuleKind(IntEnum):
    """What an invalidation rule of an exit plan looks at."""

    NONE = 0
    CLOSE_BELOW = 1  #: a candle of its timeframe closed below its level
    CLOSE_ABOVE = 2  #: a candle of its timeframe closed above its level
    RSI_BELOW = 3  #: the RSI was below its level when a candle of its timeframe closed
    RSI_ABOVE = 4  #: the RSI was above its level when a candle of its timeframe closed
    AGE_OVER = 5  #: the position has been held for longer


class CoreEvent(IntEnum):
    """What a kernel says has happened; the shell journals each."""

    NONE = 0
    ENTRY_FILLED = 1
    EXIT_FILLED = 2
    ORDER_REJECTED = 3
    EXIT_REQUESTED = 4
    DAY_ROLLED = 5
    HALTED = 6
    RESUMED = 7


class Decided(IntEnum):
    """What became of a strategy's opinion in one cycle."""

    HOLD = 0  #: the strategy had no opinion
    ORDERED = 1  #: an entry order was sent
    DENIED = 2  #: our risk check refused the entry
    NOT_CHOSEN = 3  #: a better signal took this cycle's entry
    EXIT_ORDERED = 4  #: an exit order was sent
    NOTHING_TO_EXIT = 5  #: told to be flat, and nothing was open
    WARMING_UP = 6  #: the strategy has too few candles yet
    FAILED = 7  #: the strategy raised, or returned nonsense
    NO_NEW_CANDLE = 8  #: nothing new to decide on


class WorkerState(IntEnum):
    """Life of a worker process, as the supervisor sees it."""

    STOPPED = 0
    STARTING = 1
    RECONCILING = 2
    READY = 3
    SUSPECT = 4
    KILLING = 5
    BACKOFF = 6
    FATAL = 7
    FINISHED = 8


class ServiceState(IntEnum):
    """Life of the service, as the supervisor sees it."""

    INIT = 0
    STARTING = 1
    RUNNING = 2
    DEGRADED = 3
    RELOADING = 4
    STOPPING = 5
    STOPPED = 6


class Breaker(IntEnum):
    """The circuit breaker between errors and entries; exits and cancels pass whatever it is."""

    CLOSED = 0  #: entries pass
    OPEN = 1  #: too many errors: no entries until the cooldown is over
    HALF_OPEN = 2  #: the cooldown is over: the next answer closes it, the next error opens it again


class Role(IntEnum):
    """The processes; each writes a segment of its own."""

    SUPERVISOR = 0
    ENGINE = 1
    MONITOR = 2
    DASHBOARD = 3


def limit_names(mask: int) -> list[str]:
    """Return the names of the limits in a mask, lowest bit first, in lower case."""
    return [limit.name.lower() for limit in Limit if mask & limit and limit.name]


def halt_names(mask: int) -> list[str]:
    """Return the names of the halts in a mask, lowest bit first, in lower case."""
    return [halt.name.lower() for halt in Halt if mask & halt and halt.name]


def veto_names(mask: int) -> list[str]:
    """Return the names of the vetoes in a mask, lowest bit first, in lower case."""
    return [veto.name.lower() for veto in Veto if mask & veto and veto.name]
