"""Layouts of the trading core's record arrays, shared by kernels, shared memory and readers.

Every field has eight bytes, so that a record can travel as whole words. Prices are quote per
base unit, quantities base units, amounts of money quote currency, times ns since the Unix epoch
in UTC market time; fields that differ say so. Changing a layout changes `SCHEMA_HASH`, and a
reader refuses a segment with another hash.
"""

from __future__ import annotations

import hashlib

import numpy as np

from trader.codes import N_LIMITS

#: invalidation rules that a position has room for, and how many of them the configuration and a signal may bring
MAX_RULES = 8
MAX_DEFAULT_RULES = MAX_SIGNAL_RULES = MAX_RULES // 2

#: indicators over candles of a timeframe that are kept for the rules of one symbol
MAX_GAUGES = 4

#: the one account that all symbols trade on
ACCOUNT = np.dtype(
    [
        ("cash", "f8"),
        ("equity", "f8"),  # cash + sum of quantity x mark
        ("gross_exposure", "f8"),  # sum of abs(quantity x mark)
        ("unrealised_pnl", "f8"),  # before the fees of closing
        ("realised_pnl", "f8"),  # of all closed quantity, net of fees
        ("fees_paid", "f8"),
        ("initial_capital", "f8"),
        ("peak_equity", "f8"),
        ("drawdown_frac", "f8"),  # 1 - equity / peak_equity
        ("max_drawdown_frac", "f8"),  # the worst drawdown_frac so far
        ("day", "i8"),  # UTC day of event_ns, days since the epoch
        ("day_start_equity", "f8"),  # first equity of that day
        ("day_realised_pnl", "f8"),
        ("day_trades", "i8"),  # entries filled on that day
        ("open_positions", "i8"),
        ("pending_orders", "i8"),
        ("round_trips", "i8"),  # closed positions
        ("wins", "i8"),  # round trips with a net result > 0
        ("losses", "i8"),
        ("loss_streak", "i8"),  # consecutive losing round trips
        ("halt_mask", "i8"),  # codes.Halt
        ("last_loss_ns", "i8"),
        ("event_ns", "i8"),  # the last market event that was processed
        ("event_count", "i8"),
        ("cycles", "i8"),  # decision cycles run (loops)
        ("cycle_ns", "i8"),  # market time of the last one
        ("decisions", "i8"),  # opinions asked of strategies
        ("updated_ns", "i8"),  # CLOCK_BOOTTIME of the last publication
    ]
)

#: limits in force; arguments of the kernels, never globals
LIMITS = np.dtype(
    [
        ("max_open_positions", "i8"),
        ("min_confidence_threshold", "f8"),
        ("max_daily_loss_frac", "f8"),
        ("max_daily_trades", "i8"),
        ("max_symbol_exposure_frac", "f8"),
        ("max_gross_exposure_frac", "f8"),
        ("max_drawdown_frac", "f8"),
        ("risk_per_trade_frac", "f8"),
        ("leverage", "f8"),
        ("allow_short", "i8"),
        ("stale_mark_ns", "i8"),
        ("cooldown_ns", "i8"),  # per symbol, after a close; 0: none
        ("loss_streak_limit", "i8"),  # 0: none
        ("loss_streak_cooldown_ns", "i8"),
        ("stop_loss_frac", "f8"),  # default exit plan
        ("take_profit_frac", "f8"),  # NaN: no target
        ("trailing_stop_frac", "f8"),  # NaN: no trailing
        ("trailing_stop_atr", "f8"),  # multiples of the average true range; NaN: no such trailing
        ("atr_bars", "i8"),  # candles that the range is averaged over; 0: nobody needs it
        ("break_even_after_frac", "f8"),  # gain from which on the stop moves to the entry; NaN: never
        ("break_even_lock_frac", "f8"),  # how far beyond the entry it moves
        ("max_hold_ns", "i8"),  # 0: no time exit
        ("bar_ns", "i8"),  # length of the market's candles
        ("max_correlated_exposure_frac", "f8"),  # NaN: no such limit
        ("correlation_bars", "i8"),  # returns that a correlation is over
        ("correlation_threshold", "f8"),  # from which on two symbols count as one
        ("rules", "i8"),  # invalidations that every position gets
        ("rule_kind", "i8", (MAX_DEFAULT_RULES,)),  # as in SLOT
        ("rule_frame_ns", "i8", (MAX_DEFAULT_RULES,)),
        ("rule_period", "i8", (MAX_DEFAULT_RULES,)),
        ("rule_level", "f8", (MAX_DEFAULT_RULES,)),
        ("config_epoch", "i8"),
    ]
)

#: what opens the gate for orders that add risk [CLOCK_BOOTTIME ns]
GATE = np.dtype(
    [
        ("now_ns", "i8"),  # CLOCK_BOOTTIME when the two words below were read
        ("lease_until_ns", "i8"),  # by the supervisor
        ("clear_until_ns", "i8"),  # by the monitor: past this, its veto stands
    ]
)

#: an order request on its way through the check
REQUEST = np.dtype(
    [
        ("slot", "i8"),
        ("direction", "i8"),  # +1 buy, -1 sell
        ("confidence", "f8"),
        ("quantity", "f8"),  # 0: the kernel sizes it
        ("price", "f8"),
        ("stop_price", "f8"),  # NaN: the default of LIMITS
        ("target_price", "f8"),  # NaN: the default of LIMITS
        ("time_ns", "i8"),
    ]
)

#: the check's answer: every broken limit with both numbers
VERDICT = np.dtype(
    [
        ("mask", "i8"),  # codes.Limit; 0: approved
        ("quantity", "f8"),  # checked size, a whole number of lots
        ("lots", "i8"),  # the same in lots
        ("stop_price", "f8"),
        ("target_price", "f8"),
        ("observed", "f8", (N_LIMITS,)),
        ("bound", "f8", (N_LIMITS,)),
    ]
)

#: everything of the account in one record: one argument, one dispatch
DESK = np.dtype(
    [
        ("account", ACCOUNT),
        ("limits", LIMITS),
        ("gate", GATE),
        ("request", REQUEST),
        ("verdict", VERDICT),
    ]
)

#: everything of one symbol: instrument, mark, position, exit plan, order in flight
SLOT = np.dtype(
    [
        # instrument and costs
        ("tick_size", "f8"),
        ("lot_size", "f8"),
        ("min_quantity", "f8"),
        ("min_notional", "f8"),
        ("fee_rate_frac", "f8"),
        ("slippage_frac", "f8"),
        # market
        ("mark_price", "f8"),  # NaN before the first candle
        ("mark_ns", "i8"),
        ("candle_ns", "i8"),  # close of the last candle
        ("blocked", "i8"),  # not 0: entries are blocked by an unexplained difference
        ("close_price", "f8"),  # of the last candle while the range is averaged; NaN: none yet
        ("range_mean", "f8"),  # average true range so far (Wilder)
        ("range_count", "i8"),  # candles in it, at most LIMITS.atr_bars
        ("atr", "f8"),  # the same once it has enough candles; NaN: not yet
        ("correlation", "f8"),  # with the symbol of the last request that asked; NaN: not known
        # indicators that invalidation rules may look at (RSI of Wilder), each over closes of its timeframe
        ("watched_close", "f8"),  # of the last candle while rules or gauges look; NaN: none yet
        ("gauges", "i8"),
        ("gauge_frame_ns", "i8", (MAX_GAUGES,)),  # 0: the market's own candles
        ("gauge_period", "i8", (MAX_GAUGES,)),
        ("gauge_count", "i8", (MAX_GAUGES,)),  # closes so far, at most period + 1
        ("gauge_close", "f8", (MAX_GAUGES,)),  # the last one
        ("gauge_up", "f8", (MAX_GAUGES,)),  # average rise
        ("gauge_down", "f8", (MAX_GAUGES,)),  # average fall
        # position
        ("quantity", "f8"),  # signed: > 0 long, < 0 short, 0 flat
        ("entry_price", "f8"),  # average
        ("entry_ns", "i8"),
        ("entry_fees", "f8"),
        ("position_pnl", "f8"),  # realised so far by partial closes, net of fees
        ("position_id", "i8"),
        ("strategy", "i8"),  # index into the configured strategies; -1: none
        ("last_close_ns", "i8"),
        # exit plan
        ("stop_price", "f8"),  # NaN: none
        ("target_price", "f8"),  # NaN: none
        ("trailing_stop_frac", "f8"),  # NaN: none
        ("trailing_stop_atr", "f8"),  # NaN: none
        ("trailing_price", "f8"),  # where the trailing stop by range stands; it never steps back
        ("break_even_price", "f8"),  # the stop moves when this was reached; NaN: never, or it has
        ("break_even_stop", "f8"),  # where to
        ("best_price", "f8"),  # best price since entry, for the trailing stop
        ("expires_ns", "i8"),  # 0: never
        ("rules", "i8"),  # invalidations of the position, or of the entry in flight
        ("rule_kind", "i8", (MAX_RULES,)),  # codes.RuleKind
        ("rule_frame_ns", "i8", (MAX_RULES,)),  # timeframe, 0: the market's own; of AGE_OVER the age
        ("rule_period", "i8", (MAX_RULES,)),  # of the RSI
        ("rule_level", "f8", (MAX_RULES,)),  # price [quote per base] or RSI
        # order in flight (paper and backtest: a market order for the next price)
        ("pending_lots", "i8"),  # signed; 0: none
        ("pending_quantity", "f8"),  # the same in base units
        ("pending_order", "i8"),  # order id of the ledger
        ("pending_reason", "i8"),  # codes.Reason
        ("pending_strategy", "i8"),
        ("pending_stop_price", "f8"),
        ("pending_target_price", "f8"),
        ("reserved", "f8"),  # quote set aside for an entry in flight
    ]
)

#: a closed candle on its way into a kernel
CANDLE = np.dtype(
    [
        ("slot", "i8"),
        ("open_ns", "i8"),
        ("close_ns", "i8"),  # open_ns + timeframe
        ("open", "f8"),
        ("high", "f8"),
        ("low", "f8"),
        ("close", "f8"),
        ("volume", "f8"),
    ]
)

#: one invalidation on its way into a slot
RULE = np.dtype([("kind", "i8"), ("frame_ns", "i8"), ("period", "i8"), ("level", "f8")])

#: a close kept for correlations; its place follows from its time
CLOSE = np.dtype([("close_ns", "i8"), ("close", "f8")])

#: what a kernel says has happened, for the shell to journal
CORE_EVENT = np.dtype(
    [
        ("kind", "i8"),  # codes.CoreEvent
        ("slot", "i8"),  # -1: the account
        ("order", "i8"),  # order id; 0: an exit at the plan's level, which had no order yet
        ("side", "i8"),  # +1 buy, -1 sell
        ("lots", "i8"),
        ("ticks", "i8"),
        ("quantity", "f8"),
        ("price", "f8"),
        ("fee", "f8"),
        ("pnl", "f8"),  # realised by this event, net of all fees of the closed part
        ("reason", "i8"),  # codes.Reason, or codes.Halt for HALTED and RESUMED
        ("rule", "i8"),  # which invalidation came true, from 1 on; 0: none
        ("position_id", "i8"),
        ("time_ns", "i8"),
    ]
)

#: one point of the equity curve
EQUITY_POINT = np.dtype(
    [
        ("time_ns", "i8"),  # market time
        ("equity", "f8"),
        ("cash", "f8"),
        ("gross_exposure", "f8"),
        ("drawdown_frac", "f8"),
        ("realised_pnl", "f8"),
        ("open_positions", "i8"),
        ("round_trips", "i8"),
        ("wins", "i8"),
        ("day_start_equity", "f8"),
        ("day_trades", "i8"),
        ("max_drawdown_frac", "f8"),
        ("cycles", "i8"),
        ("decisions", "i8"),
    ]
)

#: how many events one call of a kernel may report, per symbol and in all
EVENTS_PER_SLOT = 4
EVENTS_EXTRA = 8

_ALL = (ACCOUNT, LIMITS, GATE, REQUEST, VERDICT, DESK, SLOT, CANDLE, RULE, CLOSE, CORE_EVENT, EQUITY_POINT)

#: names the layouts above; a segment written with another hash is not read
SCHEMA_HASH = int.from_bytes(
    hashlib.sha256(repr([dtype.descr for dtype in _ALL]).encode()).digest()[:8], "little", signed=True
)


def new_desk() -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Return an empty desk: shape (1,), dtype `DESK`, with no target and no trailing stop."""
    desk = np.zeros(1, DESK)
    for field in (
        "take_profit_frac",
        "trailing_stop_frac",
        "trailing_stop_atr",
        "break_even_after_frac",
        "max_correlated_exposure_frac",
    ):
        desk["limits"][field] = np.nan
    desk["limits"]["leverage"] = 1.0
    return desk


def new_slots(count: int) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Return flat slots without a mark: shape (count,), dtype `SLOT`."""
    slots = np.zeros(count, SLOT)
    absent = (
        "mark_price",
        "stop_price",
        "target_price",
        "close_price",
        "atr",
        "correlation",
        "watched_close",
        "trailing_stop_frac",
        "trailing_stop_atr",
        "trailing_price",
        "break_even_price",
        "break_even_stop",
        "best_price",
        "pending_stop_price",
        "pending_target_price",
    )
    for field in absent:
        slots[field] = np.nan
    slots["strategy"] = -1
    slots["pending_strategy"] = -1
    return slots


def new_events(slots: int) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Return room for the events of one kernel call over `slots` symbols, dtype `CORE_EVENT`."""
    return np.zeros(slots * EVENTS_PER_SLOT + EVENTS_EXTRA, CORE_EVENT)


def new_closes(slots: int, bars: int) -> np.ndarray[tuple[int, ...], np.dtype[np.void]]:
    """Return room for the closes that correlations over `bars` returns need, dtype `CLOSE`; `bars` may be 0."""
    return np.zeros((slots, bars + 1), CLOSE)


def fund(desk: np.ndarray[tuple[int], np.dtype[np.void]], capital: float) -> None:
    """Give a new desk its cash: equity, peak and the first day's start are that amount too."""
    for field in ("cash", "equity", "initial_capital", "peak_equity", "day_start_equity"):
        desk["account"][field] = capital
