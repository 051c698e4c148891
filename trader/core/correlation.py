"""Which symbols move together: Pearson's correlation of their returns over the last candles.

Closes are kept in rings, one row per slot; the place of one follows from its time, so a return exists only between two
candles that follow each other and two symbols are compared over the same candles: the last ones up to the newest that
either has, whichever of them is asked about. Both rings hold all of those; they no longer do for a window that ends at
the older one. A check computes the row of the matrix that it needs: only the symbols with exposure beside the one that
is asked about.
"""

from __future__ import annotations

import math

from trader.core.compiling import inline_kernel, kernel, number
from trader.core.matching import plausible


@kernel
def keep_closes(closes, rows, first, end, bar_ns):
    """Put the closes of candles into their rings; older ones than those that are there are left out.

    Parameters
    ----------
    closes : ndarray of CLOSE, shape (n_symbols, bars + 1)
        From `records.new_closes`.
    rows : ndarray of CANDLE
        Candles in the order of their closes.
    first, end : int
        Which of them.
    bar_ns : int
        Length of a candle [ns].
    """
    for i in range(first, end):
        candle = rows[i]
        index = candle["slot"]
        if 0 <= index < closes.shape[0] and plausible(candle):
            place = closes[index, (candle["close_ns"] // bar_ns) % closes.shape[1]]
            if candle["close_ns"] > place["close_ns"]:
                place["close_ns"] = candle["close_ns"]
                place["close"] = candle["close"]


@inline_kernel
def return_at(closes, index, close_ns, bar_ns):
    """Return what a symbol gained in the candle that closed at `close_ns`; NaN when it or the one before is missing."""
    here = closes[index, (close_ns // bar_ns) % closes.shape[1]]
    before_ns = close_ns - bar_ns
    before = closes[index, (before_ns // bar_ns) % closes.shape[1]]
    if here["close_ns"] != close_ns or before["close_ns"] != before_ns:
        return math.nan
    return here["close"] / before["close"] - 1.0


@inline_kernel
def newest_ns(closes, index):
    """Return when the newest candle closed of which a symbol's ring knows [ns UTC]; 0: none."""
    last_ns = number(0)
    for place in range(closes.shape[1]):
        last_ns = max(last_ns, closes[index, place]["close_ns"])
    return last_ns


@inline_kernel
def pearson(closes, one, other, last_ns, bar_ns):
    """Return the correlation of two symbols over the candles up to `last_ns`; NaN when too little is known.

    Known must be at least half of the returns, and both symbols must have moved. No ring may know a newer candle than
    that of `last_ns`: it would have taken the place of one that the window begins with.
    """
    bars = closes.shape[1] - 1
    count = 0
    mean_x = mean_y = square_x = square_y = product = 0.0
    for back in range(bars - 1, -1, -1):
        close_ns = last_ns - back * bar_ns
        x = return_at(closes, one, close_ns, bar_ns)
        y = return_at(closes, other, close_ns, bar_ns)
        if math.isnan(x + y):
            continue
        count += 1
        dx = x - mean_x  # Welford: sums of squares would lose what small returns differ by
        dy = y - mean_y
        mean_x += dx / count
        mean_y += dy / count
        square_x += dx * (x - mean_x)
        square_y += dy * (y - mean_y)
        product += dx * (y - mean_y)
    spread = square_x * square_y
    if 2 * count < bars or not spread > 0.0:
        return math.nan
    return max(-1.0, min(1.0, product / math.sqrt(spread)))


@inline_kernel
def exposed(slot):
    """Return whether a symbol has exposure, or an entry in flight."""
    return slot["quantity"] != 0.0 or slot["reserved"] > 0.0


@inline_kernel
def correlation_matters(account, limits):
    """Return whether a check needs correlations: there is such a limit, and something to be correlated with."""
    some = account["open_positions"] + account["pending_orders"] > 0
    return some and not math.isnan(limits["max_correlated_exposure_frac"])


@kernel
def correlate(desk, slots, closes, index):
    """Write down how every symbol with exposure is correlated with the one that is asked about.

    Parameters
    ----------
    desk : ndarray of DESK, shape (1,)
        Its limits say how long a candle is.
    slots : ndarray of SLOT, shape (n_symbols,)
        `correlation` is written; NaN where too little is known.
    closes : ndarray of CLOSE, shape (n_symbols, bars + 1)
        Up to the last candle.
    index : int
        Slot of the symbol.
    """
    if not 0 <= index < slots.shape[0]:
        return
    bar_ns = desk[0]["limits"]["bar_ns"]
    known = closes.shape[1] > 1 and bar_ns > 0
    own_ns = newest_ns(closes, index) if known else number(0)
    for other in range(slots.shape[0]):
        if other != index and exposed(slots[other]):
            found = math.nan
            if known:
                found = pearson(closes, index, other, max(own_ns, newest_ns(closes, other)), bar_ns)
            slots[other]["correlation"] = found


@inline_kernel
def correlated_exposure(slots, index, direction, threshold):
    """Return the exposure that would move with a position in a symbol [quote], entries in flight included.

    A short counts as what moves against its symbol. Where a correlation isn't known, the exposure counts in full.
    """
    total = 0.0
    for other in range(slots.shape[0]):
        slot = slots[other]
        if other == index or not exposed(slot):
            continue
        quantity = slot["quantity"] if slot["quantity"] != 0.0 else slot["pending_quantity"]
        together = slot["correlation"] if quantity * direction > 0.0 else -slot["correlation"]
        if not together < threshold:  # true for NaN
            total += abs(slot["quantity"]) * slot["mark_price"] + slot["reserved"]
    return total
