"""The compiled driver over history: plays candles and opinions through the kernels that trade live.

It is the engine's wiring once more (`trader/engine/decision_engine.py`), in compiled code and without a ledger: for
each moment the candles go through `on_candles`, and when a cycle is due what was said of new candles is judged, exits
first, then entries from the most confident one on, each through `check_entry`. No rule lives here.

    tape = Tape(rows, starts)
    log = new_log(tape, len(strategies), len(slots), start_ns, interval_ns)
    while not finished(tape, log):
        n = play(desk, slots, tape, opinions, log, interval_ns, max_new)
        ...  # log.events[:n]; the room is used again by the next call
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trader.codes import N_LIMITS, Decided
from trader.core.checks import check_entry
from trader.core.compiling import inline_kernel, kernel
from trader.core.constants import (
    DECIDED_DENIED,
    DECIDED_EXIT_ORDERED,
    DECIDED_NO_NEW_CANDLE,
    DECIDED_NOT_CHOSEN,
    DECIDED_ORDERED,
    REASON_SIGNAL,
)
from trader.core.correlation import correlate, correlation_matters, keep_closes
from trader.core.glide import glide, glides
from trader.core.inflight import request_close, set_in_flight
from trader.core.invalidations import add_rule
from trader.core.kernels import end_event, play_candles
from trader.core.quiet import pass_quiet
from trader.core.records import CORE_EVENT, EVENTS_EXTRA, EVENTS_PER_SLOT, RULE, new_closes
from trader.core.selection import cycle_after, judge, most_confident

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Records = npt.NDArray[np.void]

#: how many core events one call of `play` has room for, unless told otherwise
EVENTS_ROOM = 65_536

#: how far `play` has come
PROGRESS = np.dtype(
    [
        ("event", "i8"),  # index of the next moment
        ("next_cycle_ns", "i8"),  # when the next decision cycle is due [ns UTC]
        ("kept", "i8"),  # the first row whose close is not yet among `Log.closes`
    ]
)


class Tape(NamedTuple):
    """Candles of all symbols, by moments; arrays must be writable and C-contiguous."""

    rows: Records  #: dtype CANDLE, sorted by close_ns, then slot
    starts: Integers  #: shape (moments + 1,): first row of each moment, and the number of rows


class Opinions(NamedTuple):
    """What strategies say of the rows of a tape, shape (strategies, rows); one column instead stands for all rows.

    Finite confidence in 0..1 and prices above 0 or NaN, as the live engine demands; anything else must have
    been turned to HOLD, and so must the rows of a warm-up.
    """

    direction: npt.NDArray[np.int8]  #: `codes.Direction`; always one column per row
    confidence: Floats
    stop_price: Floats  #: [quote per base]; NaN: the default of LIMITS
    target_price: Floats  #: [quote per base]; NaN: the default of LIMITS
    asked: npt.NDArray[np.uint8]  #: shape (strategies, slots); 1: the strategy is asked about the symbol
    rule_orders: Integers = np.zeros(0, np.int64)  #: rising: the order id (`order_of`) that each rule belongs to
    rules: Records = np.zeros(0, RULE)  #: invalidations that opinions bring


class Log(NamedTuple):
    """What `play` writes, and where it goes on."""

    progress: Records  #: dtype PROGRESS, shape (1,)
    seen: Integers  #: shape (slots,): newest row of each symbol; -1: none
    judged: Integers  #: shape (strategies, slots): newest row that was judged; -1: none
    decided: Integers  #: shape (strategies + 1, codes): opinions by `codes.Decided`; the last line: cycles without any
    denied: Integers  #: shape (slots, N_LIMITS): refused entries by broken limit
    equity: Floats  #: shape (moments,): [quote] after each moment
    events: Records  #: dtype CORE_EVENT
    candidates: Integers  #: scratch, shape (strategies x slots, 2)
    confidences: Floats  #: scratch, shape (strategies x slots,)
    bands: Floats  #: scratch, shape (slots, 2)
    silences: Integers  #: scratch, shape (slots, 2)
    closes: Records  #: dtype CLOSE: what correlations are computed from, brought up to date when a check needs it


def new_log(
    tape: Tape,
    strategies: int,
    slots: int,
    start_ns: int,
    interval_ns: int,
    room: int = EVENTS_ROOM,
    correlation_bars: int = 0,
) -> Log:
    """Return an empty log for a tape.

    Parameters
    ----------
    tape : Tape
        What will be played.
    strategies : int
        How many there are.
    slots : int
        How many symbols there are.
    start_ns : int
        Market time just before the first moment, from which on cycles are due [ns UTC].
    interval_ns : int
        Distance of cycles on their grid [ns].
    room : int
        Core events that one call of `play` can report; at least what one moment can.
    correlation_bars : int
        Returns that a correlation is over.
    """
    progress = np.zeros(1, PROGRESS)
    progress["next_cycle_ns"] = (start_ns // interval_ns + 1) * interval_ns
    pairs = strategies * slots
    return Log(
        progress=progress,
        seen=np.full(slots, -1, np.int64),
        judged=np.full((strategies, slots), -1, np.int64),
        decided=np.zeros((strategies + 1, max(Decided) + 1), np.int64),
        denied=np.zeros((slots, N_LIMITS), np.int64),
        equity=np.zeros(len(tape.starts) - 1),
        events=np.zeros(max(room, slots * EVENTS_PER_SLOT + EVENTS_EXTRA), CORE_EVENT),
        candidates=np.zeros((pairs, 2), np.int64),
        confidences=np.zeros(pairs),
        bands=np.zeros((slots, 2)),
        silences=np.zeros((slots, 2), np.int64),
        closes=new_closes(slots, correlation_bars),
    )


def finished(tape: Tape, log: Log) -> bool:
    """Return whether the whole tape has been played."""
    return int(log.progress["event"][0]) >= len(tape.starts) - 1


def order_of(row: int, strategy: int, strategies: int) -> int:
    """Return the order id that an opinion's order has in the events."""
    return row * strategies + strategy + 1


def opinion_of(order: Any, strategies: int) -> tuple[Any, Any]:
    """Return row and strategy of the opinion behind an order id > 0, a number or an array; a plan's exit has id 0."""
    return (order - 1) // strategies, (order - 1) % strategies


@inline_kernel
def at(matrix, strategy, row):
    """Return what stands for a row in a matrix of one column per row, or of one column for all."""
    return matrix[strategy, row if matrix.shape[1] > 1 else 0]


@kernel
def bring_rules(slot, opinions, order):
    """Give an entry in flight the invalidations that its opinion brings."""
    orders = opinions.rule_orders
    low = 0
    high = orders.shape[0]
    while low < high:
        middle = (low + high) // 2
        if orders[middle] < order:
            low = middle + 1
        else:
            high = middle
    while low < orders.shape[0] and orders[low] == order:
        rule = opinions.rules[low]
        add_rule(slot, rule["kind"], rule["frame_ns"], rule["period"], rule["level"])
        low += 1


@kernel
def look_around(desk, slots, tape, log, index):
    """Bring the closes up to date, and say what is correlated with a symbol."""
    newest = log.progress[0]["kept"]
    for i in range(slots.shape[0]):
        newest = max(newest, log.seen[i] + 1)
    keep_closes(log.closes, tape.rows, log.progress[0]["kept"], newest, desk[0]["limits"]["bar_ns"])
    log.progress[0]["kept"] = newest
    correlate(desk, slots, log.closes, index)


@inline_kernel
def enter(desk, slots, tape, opinions, log, strategy, index, now_ns):
    """Check an entry against every limit, and put it in flight or count what it broke."""
    row = log.judged[strategy, index]
    direction = opinions.direction[strategy, row]
    stop_price = at(opinions.stop_price, strategy, row)
    target_price = at(opinions.target_price, strategy, row)
    request = desk[0]["request"]
    request["slot"] = index
    request["direction"] = direction
    request["confidence"] = at(opinions.confidence, strategy, row)
    request["quantity"] = 0.0
    request["price"] = tape.rows[row]["close"]
    request["stop_price"] = stop_price
    request["target_price"] = target_price
    request["time_ns"] = now_ns
    if correlation_matters(desk[0]["account"], desk[0]["limits"]):
        look_around(desk, slots, tape, log, index)
    check_entry(desk, slots)
    verdict = desk[0]["verdict"]
    mask = verdict["mask"]
    if mask == 0:
        lots = direction * verdict["lots"]
        order = row * opinions.direction.shape[0] + strategy + 1
        account = desk[0]["account"]
        set_in_flight(account, slots[index], lots, order, REASON_SIGNAL, strategy, stop_price, target_price)
        if opinions.rules.shape[0] > 0:
            bring_rules(slots[index], opinions, order)
        return True
    bit = 0
    while mask != 0:
        if mask & 1:
            log.denied[index, bit] += 1
        mask >>= 1
        bit += 1
    return False


@inline_kernel
def ask(desk, slots, opinions, log):
    """Judge what was said of candles that no cycle has judged yet, and close what is to be closed.

    Returns how many candidates for an entry there are, and how many opinions there were.
    """
    account = desk[0]["account"]
    strategies = opinions.direction.shape[0]
    candidates = 0
    opinions_asked = 0
    for strategy in range(strategies):
        for index in range(slots.shape[0]):
            row = log.seen[index]
            if row <= log.judged[strategy, index] or opinions.asked[strategy, index] == 0:
                continue
            log.judged[strategy, index] = row
            opinions_asked += 1
            outcome, reason = judge(slots, index, strategy, opinions.direction[strategy, row])
            if outcome == DECIDED_ORDERED:
                log.candidates[candidates, 0] = strategy
                log.candidates[candidates, 1] = index
                log.confidences[candidates] = at(opinions.confidence, strategy, row)
                candidates += 1
                continue
            if outcome == DECIDED_EXIT_ORDERED:
                request_close(account, slots[index], reason)
                slots[index]["pending_order"] = row * strategies + strategy + 1
            log.decided[strategy, outcome] += 1
    return candidates, opinions_asked


@inline_kernel
def cycle(desk, slots, tape, opinions, log, now_ns, max_new):
    """Run one decision cycle: exits first, then entries from the most confident on until enough are ordered."""
    account = desk[0]["account"]
    account["cycles"] += 1
    account["cycle_ns"] = now_ns
    candidates, opinions_asked = ask(desk, slots, opinions, log)
    account["decisions"] += opinions_asked
    if opinions_asked == 0:
        log.decided[opinions.direction.shape[0], DECIDED_NO_NEW_CANDLE] += 1
    ordered = 0
    for _ in range(candidates):
        chosen = most_confident(log.confidences, candidates)
        if chosen < 0:
            break
        log.confidences[chosen] = -1.0
        strategy = log.candidates[chosen, 0]
        outcome = DECIDED_NOT_CHOSEN
        if ordered < max_new:
            approved = enter(desk, slots, tape, opinions, log, strategy, log.candidates[chosen, 1], now_ns)
            outcome = DECIDED_ORDERED if approved else DECIDED_DENIED
            ordered += approved
        log.decided[strategy, outcome] += 1


@inline_kernel
def play_moment(desk, slots, rows, first, end, marked, events, n):
    """Play the candles of one moment in full; or what is left of it when they are marked already."""
    if not marked:
        return play_candles(desk, slots, rows, first, end, 1, events, n)
    account = desk[0]["account"]
    now_ns = rows[first]["close_ns"]
    account["event_ns"] = max(account["event_ns"], now_ns)
    account["event_count"] += 1
    return end_event(desk, slots, now_ns, events, n)


@inline_kernel
def open_gate(desk):
    """Let the lease and the monitor's clearance stand for the whole of history."""
    gate = desk[0]["gate"]
    gate["now_ns"] = 0
    gate["lease_until_ns"] = 1
    gate["clear_until_ns"] = 1


@kernel
def play(desk, slots, tape, opinions, log, interval_ns, max_new):
    """Play moments until the tape ends or the room for events is used up.

    Parameters
    ----------
    desk : ndarray of DESK, shape (1,)
        The account, funded, with its limits; writable like every array here.
    slots : ndarray of SLOT, shape (n_symbols,)
        The symbols, instruments and costs filled in.
    tape : Tape
        The candles.
    opinions : Opinions
        What the strategies say of them.
    log : Log
        From `new_log`; the same one for every call.
    interval_ns : int
        Distance of decision cycles on their grid, in market time [ns].
    max_new : int
        Entries that one cycle may order.

    Returns
    -------
    int
        How many events stand in `log.events`, all of this call; the next call overwrites them. -1 when the room
        is too small for a single moment.
    """
    open_gate(desk)
    progress = log.progress[0]
    rows = tape.rows
    starts = tape.starts
    events = log.events
    last_start = events.shape[0] - (slots.shape[0] * EVENTS_PER_SLOT + EVENTS_EXTRA)
    if last_start < 0:
        return -1
    n = 0
    single = glides(slots, tape, opinions)
    moment = progress["event"]
    while n <= last_start:
        if single:
            moment, marked = glide(desk, slots, tape, opinions, log, interval_ns, moment)
        else:
            moment, marked = pass_quiet(desk, slots, tape, opinions, log, interval_ns, moment)
        progress["event"] = moment
        if moment >= starts.shape[0] - 1:
            break
        first = starts[moment]
        end = starts[moment + 1]
        n = play_moment(desk, slots, rows, first, end, marked, events, n)
        for row in range(first, end):
            index = rows[row]["slot"]
            if 0 <= index < slots.shape[0] and slots[index]["candle_ns"] == rows[row]["close_ns"]:
                log.seen[index] = row
        now_ns = rows[first]["close_ns"]
        if now_ns >= progress["next_cycle_ns"]:
            progress["next_cycle_ns"] = cycle_after(now_ns, progress["next_cycle_ns"], interval_ns)
            cycle(desk, slots, tape, opinions, log, now_ns, max_new)
        log.equity[moment] = desk[0]["account"]["equity"]
        moment += 1
        progress["event"] = moment
    return n
