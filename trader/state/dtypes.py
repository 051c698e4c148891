"""Records of the shared state that are not part of the trading core (those are in `core.records`).

Every field has eight bytes. Times named (BOOTTIME) are CLOCK_BOOTTIME [ns]: the same for all
processes of one machine, and meaningless on another. Changing a record changes `STATE_HASH`, and a
reader refuses a segment with another hash.
"""

from __future__ import annotations

import hashlib

import numpy as np

#: what each worker says of itself, twice a second, from its own loop
BEAT = np.dtype(
    [
        ("beat_ns", "i8"),  # BOOTTIME
        ("beats", "i8"),
        ("iterations", "i8"),  # the worker's own measure of progress
        ("phase", "i8"),  # where in its iteration it is
        ("loop_lag_ns", "i8"),  # how late its loop woke up
        ("fed_ns", "i8"),  # BOOTTIME of the last market data
        ("market_ns", "i8"),  # market time
        ("config_epoch", "i8"),
        ("rss_bytes", "i8"),
        ("log_dropped", "i8"),
        ("pid", "i8"),
        ("state", "i8"),  # codes.WorkerState
    ]
)

#: what the supervisor says of the service
SERVICE = np.dtype(
    [
        ("state", "i8"),  # codes.ServiceState
        ("started_ns", "i8"),  # UTC
        ("started_boot_ns", "i8"),  # BOOTTIME
        ("config_epoch", "i8"),
        ("reloads", "i8"),
        ("reload_rejected", "i8"),
        ("live", "i8"),  # 0: paper, 1: real orders
        ("pid", "i8"),
        ("updated_ns", "i8"),  # BOOTTIME
    ]
)

#: what the supervisor says of one process; row = codes.Role
WORKER = np.dtype(
    [
        ("role", "i8"),  # codes.Role
        ("pid", "i8"),  # 0: none
        ("generation", "i8"),  # of its segment; 0: never started
        ("state", "i8"),  # codes.WorkerState
        ("restarts", "i8"),
        ("started_ns", "i8"),  # BOOTTIME
        ("exit_code", "i8"),  # of the last incarnation; negative: a signal
        ("next_start_ns", "i8"),  # BOOTTIME, while it waits to be started again
    ]
)

#: what the monitor has found in its last round of checks
HEALTH = np.dtype(
    [
        ("checked_ns", "i8"),  # BOOTTIME
        ("rounds", "i8"),
        ("problems", "i8"),  # mask; the monitor's own
        ("engine_beat_age_ns", "i8"),
        ("data_age_ns", "i8"),
        ("snapshots", "i8"),  # rows written to metrics.db
        ("free_bytes", "i8"),  # in the data folder
        ("drawdown_frac", "f8"),
    ]
)

#: how many strategies the engine tells about
MAX_STRATEGIES = 32

#: what the engine says of one strategy; row = index of the strategy; a row without a name is empty
STRATEGY = np.dtype(
    [
        ("name", "S48"),  # UTF-8
        ("asked", "i8"),  # opinions asked of it since it was built
        ("failures", "i8"),  # answers that were an exception or nonsense
        ("failures_in_row", "i8"),
        ("disabled", "i8"),  # 1: not asked any more until a reload or a restart
        ("failed_ns", "i8"),  # candle of the last failure, market time; 0: none
    ]
)

#: what the engine says of the exchange that it listens to and trades on; all 0 without one
VENUE = np.dtype(
    [
        ("exchange", "i8"),  # 1: candles come from an exchange
        ("live", "i8"),  # 1: real orders
        ("feed_connected", "i8"),  # 1: messages or answers arrive
        ("feed_message_ns", "i8"),  # BOOTTIME of the last one
        ("feed_reconnects", "i8"),
        ("feed_differences", "i8"),  # candles that websocket and REST told differently
        ("clock_skew_ns", "i8"),  # venue's clock less ours
        ("maintenance", "i8"),  # 1: the venue says that it is closed for now
        ("breaker", "i8"),  # codes.Breaker
        ("breaker_until_ns", "i8"),  # BOOTTIME at which an open breaker tries again; 0: it is not open
        ("errors", "i8"),  # since the engine was started
        ("errors_in_window", "i8"),  # within recovery.error_window_seconds
        ("errors_in_row", "i8"),
        ("recoveries", "i8"),  # times that an answer ended a row of errors
        ("reconciled_ns", "i8"),  # BOOTTIME of the last complete reconciliation; 0: none yet
        ("reconciliations", "i8"),
        ("differences", "i8"),  # unexplained and not accepted by the owner
        ("blocked", "i8"),  # symbols in which they block entries
        ("orders_open", "i8"),  # at the venue, protective stops included
        ("orders_unknown", "i8"),  # their answer was lost, they are being looked up
        ("stops_standing", "i8"),  # protective stops at the venue
        ("stops_missing", "i8"),  # positions that have none there now
        ("naked_ns", "i8"),  # how long positions had no stop at the venue, in all
        ("naked_longest_ns", "i8"),  # the longest single time
        ("updated_ns", "i8"),  # BOOTTIME
    ]
)

#: how many health checks the monitor tells about
MAX_CHECKS = 40

#: one health check's last answer; a row without a name is empty
CHECK = np.dtype(
    [
        ("name", "S24"),
        ("level", "i8"),  # codes.Level
        ("value", "f8"),  # NaN: could not be told
        ("bound", "f8"),  # NaN: there is none
        ("unit", "S16"),  # of both
        ("since_ns", "i8"),  # UTC: on this level since then
        ("text", "S296"),  # UTF-8: what it means, and what to do
    ]
)

_ALL = (BEAT, SERVICE, WORKER, HEALTH, STRATEGY, VENUE, CHECK)

#: names the records above
STATE_HASH = int.from_bytes(
    hashlib.sha256(repr([dtype.descr for dtype in _ALL]).encode()).digest()[:8], "little", signed=True
)
