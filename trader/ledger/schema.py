"""The ledger's tables, as this trader writes them; what older files lack stands in `trader.ledger.layouts`.

Amounts of money are exact decimals as text. Floats that must come back bit by bit stand in columns of
type ANY: SQLite would store a REAL without a fraction as an integer and lose the sign of -0.0.
Wall-clock times stand in columns named `recorded_ns` only, so two replays differ in nothing else.
"""

from __future__ import annotations

import sqlite3

#: in the file's header: says that it is a ledger of ours
APPLICATION_ID = 0x74724C67

#: the format: grows by one whenever a table below changes, and `trader.ledger.layouts` learns what the old one lacked
VERSION = 2

#: fields of `trader.core.records.ACCOUNT` that are kept; `updated_ns` is a boot time and means nothing later
ACCOUNT_FIELDS = (
    "cash",
    "equity",
    "gross_exposure",
    "unrealised_pnl",
    "realised_pnl",
    "fees_paid",
    "initial_capital",
    "peak_equity",
    "drawdown_frac",
    "max_drawdown_frac",
    "day",
    "day_start_equity",
    "day_realised_pnl",
    "day_trades",
    "open_positions",
    "pending_orders",
    "round_trips",
    "wins",
    "losses",
    "loss_streak",
    "halt_mask",
    "last_loss_ns",
    "event_ns",
    "event_count",
    "cycles",
    "cycle_ns",
    "decisions",
)

#: fields of `trader.core.records.SLOT` that are kept; strategies are kept by name
SLOT_FIELDS = (
    "mark_price",
    "mark_ns",
    "candle_ns",
    "blocked",
    "close_price",
    "range_mean",
    "range_count",
    "atr",
    "quantity",
    "entry_price",
    "entry_ns",
    "entry_fees",
    "position_pnl",
    "position_id",
    "last_close_ns",
    "stop_price",
    "target_price",
    "trailing_stop_frac",
    "trailing_stop_atr",
    "trailing_price",
    "break_even_price",
    "break_even_stop",
    "best_price",
    "expires_ns",
    "watched_close",
    "pending_lots",
    "pending_quantity",
    "pending_order",
    "pending_reason",
    "pending_stop_price",
    "pending_target_price",
    "reserved",
)

#: fields of SLOT that come from the configuration and the instrument each time
SLOT_FIELDS_CONFIGURED = ("tick_size", "lot_size", "min_quantity", "min_notional", "fee_rate_frac", "slippage_frac")

#: fields of SLOT that say how symbols moved together when somebody last asked: computed anew for each check
SLOT_FIELDS_COMPUTED = ("correlation",)

#: fields of SLOT that are kept as one text each: the rules as an owner reads them, the gauges' states as JSON
SLOT_FIELDS_RULES = ("rules", "rule_kind", "rule_frame_ns", "rule_period", "rule_level")
SLOT_FIELDS_GAUGES = (
    "gauges",
    "gauge_frame_ns",
    "gauge_period",
    "gauge_count",
    "gauge_close",
    "gauge_up",
    "gauge_down",
)

#: fields of SLOT that are indices into the configured strategies, kept as names
SLOT_FIELDS_STRATEGY = ("strategy", "pending_strategy")

#: columns of every sealed table in order, without `recorded_ns` and `crc`; the first is the key
SEALED: dict[str, tuple[str, ...]] = {
    "meta": ("key", "value"),
    "names": ("name_id", "name"),
    "orders": (
        "order_id",
        "client_order_id",
        "symbol",
        "side",
        "kind",
        "quantity",
        "filled_quantity",
        "state",
        "reason",
        "strategy",
        "reduce_only",
        "decision_id",
        "created_ns",
        "updated_ns",
        "stop_price",
        "target_price",
        "invalidations",
        "venue_order_id",
        "note",
    ),
    "order_events": ("event_id", "order_id", "event", "state", "time_ns"),
    "fills": (
        "fill_id",
        "trade_id",
        "order_id",
        "symbol",
        "side",
        "price",
        "quantity",
        "fee",
        "fee_currency",
        "time_ns",
        "reason",
    ),
    "positions": (
        "symbol",
        "position_id",
        "entry_order_id",
        "quantity",
        "flow",
        "fees",
        "entered_quantity",
        "entered_notional",
        "exited_notional",
        "entry_ns",
        "strategy",
        "reason",
        "decision_id",
    ),
    "round_trips": (
        "position_id",
        "symbol",
        "side",
        "quantity",
        "entry_price",
        "exit_price",
        "entry_ns",
        "exit_ns",
        "gross_pnl",
        "fees",
        "pnl",
        "strategy",
        "entry_reason",
        "exit_reason",
        "decision_id",
        "entry_order_id",
        "exit_order_id",
        "exit_note",
    ),
    "balances": ("currency", "amount"),
    "paper_balances": ("currency", "amount"),
    "days": ("day", "start_equity", "time_ns"),
    "halts": ("halt_id", "time_ns", "halt", "active", "note"),
    "account": ("id", *ACCOUNT_FIELDS),
    "slots": ("symbol", "strategy", "pending_strategy", "invalidations", "gauges", *SLOT_FIELDS),
    "adjustments": (
        "adjustment_id",
        "time_ns",
        "kind",
        "currency",
        "amount",
        "symbol",
        "position_change",
        "fills",
        "expected",
        "found",
        "note",
        "accepted",
    ),
    "leaving": ("symbol", "reason", "decision_id", "time_ns"),
    "cursor": (
        "id",
        "cursor_ns",
        "orders",
        "order_events",
        "fills",
        "round_trips",
        "decisions",
        "halts",
        "adjustments",
    ),
    "decision_seals": ("block", "count", "seal"),
}

#: columns of `decisions`, which are sealed by the block
DECISION_COLUMNS = (
    "decision_id",
    "cycle",
    "time_ns",
    "strategy_id",
    "symbol_id",
    "candle_ns",
    "price",
    "direction",
    "confidence",
    "value",
    "decided",
    "mask",
    "order_id",
    "detail",
    "note",
)

TABLES = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY, value TEXT NOT NULL, recorded_ns INTEGER, crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE names (name_id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, crc INTEGER NOT NULL) STRICT;
CREATE TABLE orders (
    order_id INTEGER PRIMARY KEY,
    client_order_id TEXT NOT NULL UNIQUE,
    symbol TEXT NOT NULL,
    side INTEGER NOT NULL CHECK (side IN (1, -1)),
    kind TEXT NOT NULL,
    quantity TEXT NOT NULL,
    filled_quantity TEXT NOT NULL,
    state TEXT NOT NULL,
    reason INTEGER NOT NULL,
    strategy TEXT NOT NULL,
    reduce_only INTEGER NOT NULL,
    decision_id INTEGER NOT NULL,
    created_ns INTEGER NOT NULL,
    updated_ns INTEGER NOT NULL,
    stop_price ANY,
    target_price ANY,
    invalidations TEXT NOT NULL,
    venue_order_id TEXT,
    note TEXT NOT NULL,
    recorded_ns INTEGER NOT NULL,
    crc INTEGER NOT NULL
) STRICT;
CREATE INDEX orders_live ON orders (order_id)
    WHERE state NOT IN ('filled', 'canceled', 'rejected', 'expired', 'lost');
CREATE INDEX orders_symbol ON orders (symbol, order_id);
CREATE INDEX orders_venue ON orders (venue_order_id) WHERE venue_order_id IS NOT NULL;
CREATE TABLE order_events (
    event_id INTEGER PRIMARY KEY,
    order_id INTEGER NOT NULL REFERENCES orders,
    event TEXT NOT NULL,
    state TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    crc INTEGER NOT NULL
) STRICT;
CREATE INDEX order_events_order ON order_events (order_id, event_id);
CREATE TABLE fills (
    fill_id INTEGER PRIMARY KEY,
    trade_id TEXT NOT NULL UNIQUE,
    order_id INTEGER NOT NULL REFERENCES orders,
    symbol TEXT NOT NULL,
    side INTEGER NOT NULL CHECK (side IN (1, -1)),
    price TEXT NOT NULL,
    quantity TEXT NOT NULL,
    fee TEXT NOT NULL,
    fee_currency TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    reason INTEGER NOT NULL,
    recorded_ns INTEGER NOT NULL,
    crc INTEGER NOT NULL
) STRICT;
CREATE INDEX fills_order ON fills (order_id);
CREATE TABLE positions (
    symbol TEXT PRIMARY KEY,
    position_id INTEGER NOT NULL UNIQUE,
    entry_order_id INTEGER NOT NULL REFERENCES orders,
    quantity TEXT NOT NULL,
    flow TEXT NOT NULL,
    fees TEXT NOT NULL,
    entered_quantity TEXT NOT NULL,
    entered_notional TEXT NOT NULL,
    exited_notional TEXT NOT NULL,
    entry_ns INTEGER NOT NULL,
    strategy TEXT NOT NULL,
    reason INTEGER NOT NULL,
    decision_id INTEGER NOT NULL,
    crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE round_trips (
    position_id INTEGER PRIMARY KEY,
    symbol TEXT NOT NULL,
    side INTEGER NOT NULL CHECK (side IN (1, -1)),
    quantity TEXT NOT NULL,
    entry_price TEXT NOT NULL,
    exit_price TEXT NOT NULL,
    entry_ns INTEGER NOT NULL,
    exit_ns INTEGER NOT NULL,
    gross_pnl TEXT NOT NULL,
    fees TEXT NOT NULL,
    pnl TEXT NOT NULL,
    strategy TEXT NOT NULL,
    entry_reason INTEGER NOT NULL,
    exit_reason INTEGER NOT NULL,
    decision_id INTEGER NOT NULL,
    entry_order_id INTEGER NOT NULL REFERENCES orders,
    exit_order_id INTEGER NOT NULL REFERENCES orders,
    exit_note TEXT NOT NULL,
    crc INTEGER NOT NULL
) STRICT;
CREATE INDEX round_trips_symbol ON round_trips (symbol, position_id);
CREATE TABLE balances (currency TEXT PRIMARY KEY, amount TEXT NOT NULL, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE paper_balances (
    currency TEXT PRIMARY KEY, amount TEXT NOT NULL, crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE days (
    day INTEGER PRIMARY KEY, start_equity ANY NOT NULL, time_ns INTEGER NOT NULL, crc INTEGER NOT NULL
) STRICT;
CREATE TABLE halts (
    halt_id INTEGER PRIMARY KEY,
    time_ns INTEGER NOT NULL,
    halt INTEGER NOT NULL,
    active INTEGER NOT NULL CHECK (active IN (0, 1)),
    note TEXT NOT NULL,
    recorded_ns INTEGER NOT NULL,
    crc INTEGER NOT NULL
) STRICT;
CREATE TABLE adjustments (
    adjustment_id INTEGER PRIMARY KEY,
    time_ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    currency TEXT NOT NULL,
    amount TEXT NOT NULL,
    symbol TEXT NOT NULL,
    position_change TEXT NOT NULL,
    fills INTEGER NOT NULL,
    expected TEXT NOT NULL,
    found TEXT NOT NULL,
    note TEXT NOT NULL,
    accepted INTEGER NOT NULL CHECK (accepted IN (0, 1)),
    recorded_ns INTEGER NOT NULL,
    crc INTEGER NOT NULL
) STRICT;
CREATE TABLE leaving (
    symbol TEXT PRIMARY KEY,
    reason INTEGER NOT NULL,
    decision_id INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,
    crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE account (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    cash ANY, equity ANY, gross_exposure ANY, unrealised_pnl ANY, realised_pnl ANY, fees_paid ANY,
    initial_capital ANY, peak_equity ANY, drawdown_frac ANY, max_drawdown_frac ANY, day INTEGER,
    day_start_equity ANY, day_realised_pnl ANY, day_trades INTEGER, open_positions INTEGER,
    pending_orders INTEGER, round_trips INTEGER, wins INTEGER, losses INTEGER, loss_streak INTEGER,
    halt_mask INTEGER, last_loss_ns INTEGER, event_ns INTEGER, event_count INTEGER, cycles INTEGER,
    cycle_ns INTEGER, decisions INTEGER,
    crc INTEGER NOT NULL
) STRICT;
CREATE TABLE slots (
    symbol TEXT PRIMARY KEY,
    strategy TEXT, pending_strategy TEXT, invalidations TEXT NOT NULL, gauges TEXT NOT NULL,
    mark_price ANY, mark_ns INTEGER, candle_ns INTEGER, blocked INTEGER, close_price ANY, range_mean ANY,
    range_count INTEGER, atr ANY, quantity ANY, entry_price ANY,
    entry_ns INTEGER, entry_fees ANY, position_pnl ANY, position_id INTEGER, last_close_ns INTEGER,
    stop_price ANY, target_price ANY, trailing_stop_frac ANY, trailing_stop_atr ANY, trailing_price ANY,
    break_even_price ANY, break_even_stop ANY, best_price ANY, expires_ns INTEGER,
    watched_close ANY,
    pending_lots INTEGER, pending_quantity ANY, pending_order INTEGER, pending_reason INTEGER,
    pending_stop_price ANY, pending_target_price ANY, reserved ANY,
    crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE cursor (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    cursor_ns INTEGER NOT NULL,
    orders INTEGER NOT NULL,
    order_events INTEGER NOT NULL,
    fills INTEGER NOT NULL,
    round_trips INTEGER NOT NULL,
    decisions INTEGER NOT NULL,
    halts INTEGER NOT NULL,
    adjustments INTEGER NOT NULL,
    crc INTEGER NOT NULL
) STRICT;
CREATE TABLE decisions (
    decision_id INTEGER PRIMARY KEY,
    cycle INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,
    strategy_id INTEGER NOT NULL,
    symbol_id INTEGER NOT NULL,
    candle_ns INTEGER NOT NULL,
    price REAL,
    direction INTEGER NOT NULL,
    confidence REAL,
    value REAL,
    decided INTEGER NOT NULL,
    mask INTEGER NOT NULL,
    order_id INTEGER NOT NULL,
    detail TEXT,
    note TEXT
) STRICT;
CREATE TABLE decision_seals (
    block INTEGER PRIMARY KEY, count INTEGER NOT NULL, seal INTEGER NOT NULL, crc INTEGER NOT NULL
) STRICT;
"""


def create(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty file, in one transaction, and say what it is.

    Parameters
    ----------
    connection : sqlite3.Connection
        Open for writing, in autocommit mode.
    """
    stamps = f"PRAGMA application_id={APPLICATION_ID};PRAGMA user_version={VERSION};"
    connection.executescript(f"BEGIN IMMEDIATE;{TABLES}{stamps}COMMIT;")


def upsert(table: str, *, recorded: bool = False) -> str:
    """Return the statement that writes one sealed row, replacing the one with the same key."""
    columns = SEALED[table]
    every = (*columns, *(("recorded_ns",) if recorded else ()), "crc")
    changes = ", ".join(f"{name} = excluded.{name}" for name in (*columns[1:], "crc"))
    marks = ", ".join("?" * len(every))
    return (
        f"INSERT INTO {table} ({', '.join(every)}) VALUES ({marks}) "  # noqa: S608 - names are our own
        f"ON CONFLICT ({columns[0]}) DO UPDATE SET {changes}"
    )


def insert_decisions() -> str:
    """Return the statement that writes one decision."""
    marks = ", ".join("?" * len(DECISION_COLUMNS))
    return f"INSERT INTO decisions ({', '.join(DECISION_COLUMNS)}) VALUES ({marks})"  # noqa: S608 - our own names
