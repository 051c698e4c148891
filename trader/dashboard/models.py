"""The documents that the REST interface answers; the OpenAPI document is made of these models.

What can't be known is null. `_frac` is 0..1, `_s` seconds, `_ms` milliseconds since the Unix epoch; amounts are in
quote currency. `tests/loopback` holds every answer against its model.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Frac = Annotated[float, Field(description="A fraction, 0..1 unless it can be negative.")]
Ms = Annotated[int, Field(description="Milliseconds since the Unix epoch, UTC.")]
Time = Annotated[str, Field(description="ISO 8601 in UTC with a Z.")]
Exact = Annotated[str, Field(description="An exact decimal number.")]


class Document(BaseModel):
    """Whatever is answered: no member beside those named."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Problem(Document):
    """What is wrong with a request."""

    code: str
    """One stable word."""
    message: str
    """For people."""


class ErrorDocument(Document):
    """Every error is answered like this."""

    error: Problem


class Reason(Document):
    """Why something is as it is."""

    code: str
    text: str


class ServiceView(Document):
    """What the supervisor says of the service."""

    running: bool
    state: str
    mode: Literal["paper", "live"]
    instance: str
    quote: str
    version: str
    pid: int | None
    started: Time | None
    uptime_s: float | None
    epoch: int | None
    """Number of the configuration in force."""
    reloads: int
    reload_rejected: int


class MarketView(Document):
    """Where market time stands, and how fresh the data is."""

    source: str
    timeframe: str
    speed: float | None
    """Market seconds per second; null: as fast as it goes."""
    symbols: int
    names: list[str]
    strategies: list[str]
    time: Time | None
    time_ms: Ms | None
    data_age_s: float | None
    stale: bool
    next_decision_s: float | None


class EntriesView(Document):
    """Whether new positions are allowed, and every reason why not."""

    open: bool
    paused: bool
    reasons: list[Reason]
    lease_s: float | None
    """How long the supervisor's lease still lasts; negative: it ran out."""
    clear_s: float | None
    """The same of the monitor's clearance."""


class AccountView(Document):
    """The account's figures."""

    equity: float
    initial_capital: float
    total_pnl: float
    total_pnl_frac: Frac | None
    daily_pnl: float
    daily_pnl_frac: Frac | None
    day_start_equity: float
    max_drawdown_frac: Frac
    win_frac: Frac | None
    cycles: int
    decisions: int
    halt_mask: int
    cash: float
    gross_exposure: float
    unrealised_pnl: float
    realised_pnl: float
    fees_paid: float
    peak_equity: float
    drawdown_frac: Frac
    open_positions: int
    pending_orders: int
    round_trips: int
    wins: int
    losses: int
    loss_streak: int
    day_trades: int


class LimitView(Document):
    """One risk limit: used of allowed."""

    name: str
    label: str
    used: float
    allowed: float
    kind: Literal["count", "frac"]
    note: str


class PendingView(Document):
    """An order in flight."""

    side: Literal["buy", "sell"]
    quantity: float
    order: int


class PositionView(Document):
    """One position with its exit plan."""

    symbol: str
    side: Literal["none", "long", "short"]
    strategy: str | None
    quantity: float
    entry_price: float | None
    entry_time: Time | None
    entry_ms: Ms | None
    age_s: float | None
    mark_price: float | None
    notional: float | None
    unrealised_pnl: float | None
    unrealised_frac: Frac | None
    stop_price: float | None
    effective_stop_price: float | None
    """The stop that is hit first: the plan's or the trailing one."""
    stop_kind: Literal["stop", "trailing"] | None
    target_price: float | None
    trailing_price: float | None
    to_stop_frac: Frac | None
    to_target_frac: Frac | None
    expires: Time | None
    expires_in_s: float | None
    rules: list[str]
    """What closes it when it comes true, whatever its strategy says."""
    tick_size: float
    lot_size: float
    pending: PendingView | None
    blocked: bool


class WorkerView(Document):
    """One process."""

    role: str
    state: str
    pid: int
    generation: int
    restarts: int
    exit_code: int
    up_s: float | None
    beat_age_s: float | None
    loop_lag_s: float | None
    rss_bytes: int | None
    log_dropped: int | None


class StrategyView(Document):
    """How a strategy is doing."""

    name: str
    state: Literal["active", "failing", "disabled"]
    asked: int | None
    failures: int | None
    failures_in_row: int | None
    last_failure: Time | None


class CheckView(Document):
    """One health check's last answer."""

    name: str
    level: Literal["ok", "warning", "grave"]
    value: float | None
    bound: float | None
    unit: str
    since: Time | None
    text: str


class ExchangeView(Document):
    """What the engine says of the exchange that it listens to and trades on."""

    live: bool
    connected: bool
    message_age_s: float | None
    reconnects: int
    differences_of_feeds: int
    clock_skew_s: float
    maintenance: bool
    breaker: Literal["closed", "open", "half_open"]
    breaker_opens_in_s: float | None
    errors: int
    errors_in_window: int
    errors_in_row: int
    recoveries: int
    reconciled_age_s: float | None
    reconciliations: int
    differences: int
    blocked: int
    orders_open: int
    orders_unknown: int
    stops_standing: int
    stops_missing: int
    naked_s: float
    naked_longest_s: float


class StatusDocument(Document):
    """The present, in one document."""

    time: Time
    sampled_ms: Ms
    source: Literal["engine", "memory", "ledger", "none"]
    """Where the numbers are from: a running engine, the last seen memory, the ledger, or nowhere."""
    service: ServiceView
    market: MarketView
    entries: EntriesView
    account: AccountView | None
    limits: list[LimitView]
    positions: list[PositionView]
    workers: list[WorkerView]
    strategies: list[StrategyView]
    health: list[CheckView]
    exchange: ExchangeView | None


class Units(Document):
    """Which members of the performance summary have which unit."""

    percent: list[str]
    quote: list[str]


class PerformanceDocument(Document):
    """The summary under its published names; percent where `units` says so."""

    time: Time
    mode: Literal["paper", "live"]
    quote: str
    available: bool
    """Whether there is an account yet; without one the figures are left out."""
    capital: float | None = None
    cash: float | None = None
    initial_capital: float | None = None
    total_pnl: float | None = None
    total_pnl_percent: float | None = None
    daily_pnl: float | None = None
    daily_pnl_percent: float | None = None
    realised_pnl: float | None = None
    unrealised_pnl: float | None = None
    fees_paid: float | None = None
    open_positions: int | None = None
    total_trades: int | None = None
    winning_trades: int | None = None
    losing_trades: int | None = None
    win_rate: float | None = None
    daily_trades: int | None = None
    drawdown: float | None = None
    max_drawdown: float | None = None
    loops: int | None = None
    decisions: int | None = None
    active_strategies: int | None = None
    uptime_s: float | None = None
    units: Units | None = None


class PositionsDocument(Document):
    """The open positions and the entries in flight."""

    positions: list[PositionView]


class OrderView(Document):
    """One order as the ledger has it."""

    id: int
    client_order_id: str
    symbol: str
    side: Literal["buy", "sell"]
    kind: str
    state: str
    quantity: Exact
    filled_quantity: Exact
    reason: str
    strategy: str
    reduce_only: bool
    decision_id: int | None
    created: Time
    created_ms: Ms
    updated: Time
    stop_price: float | None
    target_price: float | None
    note: str


class Paged(Document):
    """A page of a list, newest first."""

    next: str | None
    """Give it as `before` to get the page that follows; null: this is the last one."""


class OrdersDocument(Paged):
    """Orders, newest first."""

    orders: list[OrderView]


class TripView(Document):
    """A position that was opened and closed again."""

    id: str
    position_id: int
    symbol: str
    side: Literal["long", "short"]
    strategy: str
    quantity: float
    entry_price: float
    exit_price: float
    opened: Time
    closed: Time
    closed_ms: Ms
    held_s: float
    reason: str
    note: str | None
    """Which rule of the exit plan came true."""
    entry_reason: str
    fees: float
    pnl: float
    pnl_exact: Exact
    pnl_frac: Frac | None
    decision_id: int | None


class TradesDocument(Paged):
    """Round trips, the last closed first."""

    trades: list[TripView]


class BrokenView(Document):
    """A limit that an entry would have broken, with both numbers."""

    limit: str
    observed: float | None
    bound: float | None


class DecisionView(Document):
    """One opinion of a strategy, and what became of it."""

    id: int
    cycle: int
    time: Time
    time_ms: Ms
    strategy: str
    symbol: str
    price: float | None
    direction: str
    confidence: float | None
    value: float | None
    decided: str
    limits: list[str]
    broken: list[BrokenView]
    order_id: int | None
    why: str
    note: str | None
    """The strategy's own words, where it has some."""


class DecisionsDocument(Paged):
    """Decisions, newest first."""

    decisions: list[DecisionView]


Point = Annotated[
    list[float],
    Field(min_length=3, max_length=3, description="Market time [ms], equity, drawdown as a fraction of the peak."),
]


class EquityDocument(Document):
    """The equity curve, thinned to the number of points that was asked for."""

    points: list[Point]


Bar = Annotated[
    list[float],
    Field(
        min_length=6,
        max_length=6,
        description="Open time [ms], open, high, low, close [quote per base], volume [base].",
    ),
]


class MarkView(Document):
    """A round trip, or the open position, to be drawn over candles."""

    side: Literal["long", "short"]
    entry_ms: Ms
    entry_price: float
    exit_ms: Ms | None
    """Null: it is open."""
    exit_price: float | None
    reason: str | None
    pnl: float | None
    stop_price: float | None
    target_price: float | None
    trailing_price: float | None


class CandlesDocument(Document):
    """Candles of one symbol, put together on the server until they are few enough, with what was traded on them."""

    symbol: str
    timeframe: str
    step_s: float
    """Length of each candle here."""
    tick_size: float | None
    first_ms: Ms | None
    """Where the history that can be asked for begins."""
    candles: list[Bar]
    marks: list[MarkView]


class DayProfit(Document):
    """The round trips that were closed on one UTC day."""

    day: str
    pnl: float
    trades: int
    wins: int


class SymbolProfit(Document):
    """The round trips of one symbol."""

    symbol: str
    pnl: float
    trades: int
    wins: int
    fees: float


class ProfitDocument(Document):
    """Realised profit by UTC day and by symbol."""

    days: list[DayProfit]
    symbols: list[SymbolProfit]


class LogLine(Document):
    """One line of the log."""

    time: Time
    level: str
    role: str
    pid: int
    logger: str
    message: str
    event: str | None
    fields: dict[str, Any] | None
    exception: str | None


class LogsDocument(Paged):
    """The newest lines of the log, newest first."""

    lines: list[LogLine]


class WorkersDocument(Document):
    """The processes of the service."""

    workers: list[WorkerView]


class StrategiesDocument(Document):
    """The strategies that are asked."""

    strategies: list[StrategyView]


class HealthChange(Document):
    """A health check that went from one level to another."""

    time: Time
    name: str
    level: str
    text: str


class HealthDocument(Document):
    """The monitor's checks, worst first, and how they changed."""

    health: list[CheckView]
    changes: list[HealthChange]


class ModelDecision(Document):
    """One answer of the language model, and what became of it."""

    id: str
    time: Time | None
    text: str
    cost_usd: Exact | None
    latency_s: float | None
    model: str | None
    message: str | None


class ModelView(Document):
    """The language model's books."""

    calls_today: int
    max_calls_per_day: int
    spent_usd: Exact
    reserved_usd: Exact
    """Held back for questions that are under way or whose price is not known."""
    max_usd_per_day: Exact
    breaker: Literal["closed", "open", "half_open"]
    breaker_until: Time | None
    breaker_reason: str | None
    failures_in_a_row: int
    decisions: list[ModelDecision]


class ModelDocument(Document):
    """Spend, breaker and last answers of the language model; null when it was never asked."""

    llm: ModelView | None


class HealthzDocument(Document):
    """Whether the service does its work, with every reason why not."""

    ok: bool
    problems: list[Reason]
    state: str
    mode: Literal["paper", "live"]
    halts: list[str]
    entries_open: bool
    data_age_s: float | None
    lease_s: float | None
    clear_s: float | None
    breaker: Literal["closed", "open", "half_open"] | None
    """Of an exchange; null without one."""
    checks: list[CheckView]
    """The monitor's checks, worst first."""
    time: Time


class SnapshotDocument(Document):
    """Everything that a page needs to begin."""

    type: Literal["snapshot"]
    status: StatusDocument
    equity: list[Point]
    decisions: list[DecisionView]
    trades: list[TripView]


class SessionDocument(Document):
    """Whether this browser is signed in."""

    signed_in: bool
    xsrf: str | None
    """To be sent as `X-XSRF-Token` with each command of this session."""
    has_token: bool
    """Whether commands are taken at all."""


class DoneDocument(Document):
    """The service has done what was asked."""

    ok: Literal[True]
    result: dict[str, Any]
