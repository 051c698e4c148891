"""The configuration's sections as frozen models; each section is read by one package.

The models are the only list of keys: defaults, documentation and the editor's JSON schema are
generated from them. The metadata `reload` says what a change of a key needs: `hot` is applied between
two cycles, `engine`, `monitor` or `dashboard` restarts that worker, `service` is refused on reload.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic.config import JsonDict

from trader.clock import parse_utc
from trader.domain.invalidation import parse
from trader.units import timeframe_ns

HOT: JsonDict = {"reload": "hot"}
ENGINE: JsonDict = {"reload": "engine"}
MONITOR: JsonDict = {"reload": "monitor"}
DASHBOARD: JsonDict = {"reload": "dashboard"}
SERVICE: JsonDict = {"reload": "service"}

Fraction = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
OptionalFraction = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None
Seconds = Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Usd = Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]


class Section(BaseModel):
    """What all sections share: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _boolean_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        # pydantic would read `max_daily_trades: yes` as 1
        if isinstance(value, bool) and info.field_name and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError(f"must not be {str(value).lower()}")
        return value


class InstrumentConfig(Section):
    """Steps of one symbol; what is not given is inferred from its candles."""

    tick_size: Annotated[float, Field(gt=0)] | None = Field(None, description="Smallest price step [quote per base].")
    lot_size: Annotated[float, Field(gt=0)] | None = Field(None, description="Smallest quantity step [base].")
    min_quantity: Amount | None = Field(None, description="Smallest order [base].")
    min_notional: Amount | None = Field(None, description="Smallest order [quote].")


class MarketConfig(Section):
    """Section `market`: where candles come from; read by `trader.market`."""

    source: Literal["simulated", "replay", "exchange"] = Field(
        "simulated",
        description="simulated: a seeded market, no network. replay: candle files. exchange: a venue.",
        json_schema_extra=SERVICE,
    )
    symbols: tuple[str, ...] = Field(
        ("BTC/USDT", "ETH/USDT", "SOL/USDT"),
        min_length=1,
        description="Symbols to trade, as BASE/QUOTE.",
        json_schema_extra=ENGINE,
    )
    timeframe: str = Field("1m", description="Length of a candle: 1m, 5m, 1h, 1d ...", json_schema_extra=ENGINE)
    speed: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] = Field(
        60.0,
        description="simulated, replay: market seconds per second; 0: as fast as the engine takes them.",
        json_schema_extra=ENGINE,
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        7, description="simulated: the same seed gives the same candles.", json_schema_extra=SERVICE
    )
    candles: str | None = Field(
        None,
        description="replay: folder of BTC_USDT-5m.feather files (freqtrade's layout) or CSV files.",
        json_schema_extra=SERVICE,
    )
    since: str | None = Field(None, description="replay: first candle, UTC.", json_schema_extra=SERVICE)
    until: str | None = Field(None, description="replay: end, UTC, exclusive.", json_schema_extra=SERVICE)
    exchange: str = Field("binance", description="exchange: a ccxt id.", json_schema_extra=SERVICE)
    exchange_config: dict[str, Any] = Field(
        default_factory=dict,
        description="exchange: passed to the ccxt constructor as it is (urls, options, ...).",
        json_schema_extra=SERVICE,
    )
    stream: bool = Field(
        default=True,
        description="exchange: websockets where the venue has them, REST otherwise.",
        json_schema_extra=ENGINE,
    )
    sandbox: bool = Field(
        default=False,
        description="exchange: the venue's sandbox, refused where it has none that is known to be safe.",
        json_schema_extra=SERVICE,
    )
    max_clock_skew_seconds: Seconds = Field(
        5.0,
        description="exchange: how far this machine's clock may be off the venue's before entries are refused.",
        json_schema_extra=HOT,
    )
    stale_after_seconds: Seconds | None = Field(
        None,
        description="Market seconds without a new price after which entries are refused; null: three candles.",
        json_schema_extra=HOT,
    )
    instruments: dict[str, InstrumentConfig] = Field(
        default_factory=dict,
        description="simulated, replay: tick, lot and minima by symbol, where they are not to be inferred.",
        json_schema_extra=ENGINE,
    )

    @field_validator("timeframe")
    @classmethod
    def _timeframe_is_known(cls, value: str) -> str:
        timeframe_ns(value)
        return value

    @field_validator("since", "until")
    @classmethod
    def _bounds_are_times(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                parse_utc(value)
            except ValueError:
                raise ValueError(f"{value!r} is no time: write 2024-01-03 or 2024-01-03T12:05:00Z") from None
        return value

    @field_validator("symbols")
    @classmethod
    def _symbols_are_pairs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in value:
            base, slash, rest = symbol.partition("/")
            if not (slash and base and rest) or symbol != symbol.strip():
                raise ValueError(f"{symbol!r} is no symbol: write BASE/QUOTE, as in BTC/USDT")
        twice = sorted({symbol for symbol in value if value.count(symbol) > 1})
        if twice:
            raise ValueError(f"listed twice: {', '.join(twice)}")
        return value


class StrategyConfig(Section):
    """One entry of the list `strategies`; read by `trader.strategy`."""

    use: str = Field(
        "simple_rsi", description="A registered name, package.module:Class, or file.py:Class beside this file."
    )
    symbols: tuple[str, ...] | None = Field(None, description="Symbols it is asked for; null: all of market.symbols.")
    params: dict[str, Any] = Field(default_factory=dict, description="Arguments of the strategy.")


class EngineConfig(Section):
    """Section `engine`: the cycle; read by `trader.engine`."""

    loop_interval_seconds: Seconds = Field(
        180.0, description="Market seconds between two decision cycles.", json_schema_extra=HOT
    )
    exit_interval_seconds: Seconds = Field(
        1.0, description="Seconds between two looks at exits when no market event comes.", json_schema_extra=HOT
    )
    enable_trading: bool = Field(
        default=False, description="false: paper. true: real orders.", json_schema_extra=SERVICE
    )
    max_new_positions_per_cycle: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="Entries that one cycle may order.", json_schema_extra=HOT
    )


class RiskConfig(Section):
    """Section `risk`: what no order may break; read by `trader.risk`."""

    max_open_positions: Annotated[int, Field(ge=1, le=10_000)] = Field(
        5, description="Open positions, orders in flight included.", json_schema_extra=HOT
    )
    min_confidence_threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = Field(
        0.7, description="Smallest confidence of an entry signal, 0..1.", json_schema_extra=HOT
    )
    max_daily_loss_frac: Fraction = Field(
        0.05, description="Loss of equity since the UTC day's start that stops entries, 0..1.", json_schema_extra=HOT
    )
    max_daily_trades: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        20, description="Entries per UTC day.", json_schema_extra=HOT
    )
    max_symbol_exposure_frac: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = Field(
        0.20, description="Exposure in one symbol as a fraction of equity.", json_schema_extra=HOT
    )
    max_gross_exposure_frac: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = Field(
        1.0, description="Exposure in all symbols as a fraction of equity.", json_schema_extra=HOT
    )
    max_drawdown_frac: Fraction = Field(
        0.20, description="Drawdown from peak equity that stops entries, 0..1.", json_schema_extra=HOT
    )
    risk_per_trade_frac: Fraction = Field(
        0.01, description="Equity lost when a position's stop is hit, 0..1.", json_schema_extra=HOT
    )
    leverage: Annotated[float, Field(ge=1, le=10, allow_inf_nan=False)] = Field(
        1.0,
        description="How often equity may be employed; above 1 max_gross_exposure_frac has to allow it too.",
        json_schema_extra=HOT,
    )
    cooldown_seconds: Seconds | None = Field(
        None,
        description="Market seconds without an entry in a symbol after its position was closed; null: none.",
        json_schema_extra=HOT,
    )
    loss_streak_limit: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None,
        description="Losing round trips in a row after which entries cool down; null: none.",
        json_schema_extra=HOT,
    )
    loss_streak_cooldown_seconds: Seconds = Field(
        3600.0, description="Market seconds that this lasts, from the last loss on.", json_schema_extra=HOT
    )
    allow_short: bool = Field(default=False, description="Short positions.", json_schema_extra=HOT)
    max_correlated_exposure_frac: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = Field(
        None,
        description="Exposure in symbols that move together, as a fraction of equity; null: no such limit. What moves "
        "against a short counts as moving with it; what too few candles are known of counts in full.",
        json_schema_extra=HOT,
    )
    correlation_window_bars: Annotated[int, Field(ge=10, le=5000)] = Field(
        100, description="Candles over whose returns two symbols are compared.", json_schema_extra=HOT
    )
    correlation_threshold: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        0.7, description="Correlation from which on two symbols move together, 0..1.", json_schema_extra=HOT
    )


def _says_a_rule(text: str) -> str:
    parse(text)
    return text


#: an invalidation in words, see `trader.domain.invalidation`
RuleText = Annotated[str, AfterValidator(_says_a_rule)]


class ExitsConfig(Section):
    """Section `exits`: the plan that each position gets; read by `trader.risk`."""

    stop_loss_frac: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = Field(
        0.02, description="Stop below the entry price, 0..1.", json_schema_extra=HOT
    )
    take_profit_frac: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = Field(
        0.03, description="Target above the entry price; null: none.", json_schema_extra=HOT
    )
    trailing_stop_frac: OptionalFraction = Field(
        None, description="Stop this far below the best price since entry; null: none.", json_schema_extra=HOT
    )
    trailing_stop_atr: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = Field(
        None,
        description="Stop this many average true ranges below the best price; it never steps back. null: none.",
        json_schema_extra=HOT,
    )
    atr_bars: Annotated[int, Field(ge=2, le=1000)] = Field(
        14, description="Candles that the average true range is smoothed over.", json_schema_extra=HOT
    )
    break_even_after_frac: OptionalFraction = Field(
        None, description="Gain from which on the stop stands at the entry price; null: never.", json_schema_extra=HOT
    )
    break_even_lock_frac: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = Field(
        0.0, description="How far beyond the entry price it then stands, for example both fees.", json_schema_extra=HOT
    )
    max_hold_seconds: Seconds | None = Field(
        None, description="Market seconds after which a position is closed; null: never.", json_schema_extra=HOT
    )
    invalidations: Annotated[tuple[RuleText, ...], Field(max_length=4)] = Field(
        (),
        description="Rules that close any position when one comes true, as in `close below 61500 on 4h`, "
        "`RSI above 80 on 1h`, `age over 12h`; at most four.",
        json_schema_extra=HOT,
    )

    @model_validator(mode="after")
    def _moved_stop_behind_the_price(self) -> ExitsConfig:
        after = self.break_even_after_frac
        if after is not None and self.break_even_lock_frac >= after:
            raise ValueError(f"break_even_lock_frac must be below break_even_after_frac, which is {after}")
        return self


class ExecutionConfig(Section):
    """Section `execution`: costs and orders; read by `trader.execution`."""

    fee_rate_frac: Annotated[float, Field(ge=0, lt=0.1, allow_inf_nan=False)] = Field(
        0.001, description="Paper: fee as a fraction of the notional.", json_schema_extra=HOT
    )
    slippage_bps: Annotated[float, Field(ge=0, lt=1000, allow_inf_nan=False)] = Field(
        5.0, description="Paper: slippage of market and stop orders [1e-4].", json_schema_extra=HOT
    )
    protective_stop: bool = Field(
        default=True, description="exchange: a stop order at the venue for each position.", json_schema_extra=HOT
    )
    order_timeout_seconds: Seconds = Field(
        30.0,
        description="exchange: what is left of an order after this long is taken back; an older entry is not sent.",
        json_schema_extra=HOT,
    )
    reconcile_interval_seconds: Seconds = Field(
        300.0,
        description="exchange: between two comparisons of orders, trades and balances with the venue's.",
        json_schema_extra=HOT,
    )


class RecoveryConfig(Section):
    """Section `recovery`: the circuit breaker; read by `trader.recovery`."""

    max_consecutive_errors: Annotated[int, Field(ge=1, le=1000)] = Field(
        5, description="Errors in a row that pause entries.", json_schema_extra=HOT
    )
    error_cooldown_seconds: Seconds = Field(300.0, description="How long they stay paused.", json_schema_extra=HOT)
    error_window_seconds: Seconds = Field(
        3600.0, description="Over which errors per hour are counted.", json_schema_extra=HOT
    )


class MonitorConfig(Section):
    """Section `monitor`; read by `trader.monitor`."""

    snapshot_interval_seconds: Seconds = Field(
        60.0, description="Market seconds between two performance snapshots.", json_schema_extra=HOT
    )
    health_interval_seconds: Seconds = Field(
        300.0, description="Seconds between two rounds of health checks.", json_schema_extra=HOT
    )


class SecretConfig(Section):
    """Where a secret is: never in the file itself."""

    env: str | None = Field(None, min_length=1, description="Name of an environment variable.")
    file: str | None = Field(None, min_length=1, description="Path of a file that holds it.")
    credential: str | None = Field(None, min_length=1, description="Name of a systemd credential.")

    @model_validator(mode="before")
    @classmethod
    def _not_in_the_file(cls, value: object) -> object:
        if value is not None and not isinstance(value, dict | SecretConfig):
            raise ValueError(
                "a secret must not stand in the file: write {env: NAME}, {file: PATH} or {credential: NAME}"
            )
        return value

    @model_validator(mode="after")
    def _exactly_one_place(self) -> SecretConfig:
        if sum(place is not None for place in (self.env, self.file, self.credential)) != 1:
            raise ValueError("name exactly one of env, file, credential")
        return self


class DashboardConfig(Section):
    """Section `dashboard`; read by `trader.dashboard`."""

    enable: bool = Field(default=True, description="Serve the dashboard.", json_schema_extra=SERVICE)
    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address to listen on; anything but loopback needs a token.",
        json_schema_extra=DASHBOARD,
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8080, description="Port to listen on; 0: any free one.", json_schema_extra=DASHBOARD
    )
    token: SecretConfig | None = Field(
        None,
        description="What a POST must bring; {env: NAME}, {file: PATH} or {credential: NAME}. "
        "Default: one that is made at the first start, shown by `trader token`.",
        json_schema_extra=DASHBOARD,
    )
    hosts: tuple[str, ...] = Field(
        (),
        description="Further names that requests may ask for, as those of a proxy in front of the dashboard.",
        json_schema_extra=DASHBOARD,
    )

    @model_validator(mode="after")
    def _token_beyond_loopback(self) -> DashboardConfig:
        loopback = self.host in ("localhost", "::1") or self.host.startswith("127.")
        if self.enable and not loopback and self.token is None:
            raise ValueError(f"host {self.host} can be reached from other machines: set a token, or use 127.0.0.1")
        return self


class LoggingConfig(Section):
    """Section `logging`; read by `trader.logs`."""

    dir: str = Field(
        "logs", description="Folder of the log files, relative to the data folder.", json_schema_extra=SERVICE
    )
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Lowest level on the console and in the journal.", json_schema_extra=HOT
    )


class CredentialsConfig(Section):
    """Section `credentials`: the venue's keys; read by `trader.execution`."""

    api_key: SecretConfig | None = Field(None, description="API key.", json_schema_extra=SERVICE)
    secret: SecretConfig | None = Field(None, description="API secret.", json_schema_extra=SERVICE)
    password: SecretConfig | None = Field(
        None, description="API passphrase, where the venue has one.", json_schema_extra=SERVICE
    )


class LlmConfig(Section):
    """Section `llm`: the model behind the strategy `llm`; read by `trader.strategy.llm`."""

    enabled: bool = Field(
        default=False,
        description="Whether the strategy `llm` may be used: asking a model costs money.",
        json_schema_extra=ENGINE,
    )
    mode: Literal["live", "record", "replay"] = Field(
        "live",
        description="live: ask. record: ask only what the records have no answer to. replay: answer from the "
        "records, no socket is opened.",
        json_schema_extra=ENGINE,
    )
    on_missing_record: Literal["error", "hold"] = Field(
        "error",
        description="replay: what to do about a question that the records have no answer to.",
        json_schema_extra=ENGINE,
    )
    base_url: str = Field(
        "https://openrouter.ai/api/v1",
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$",
        description="OpenRouter, or any server that speaks OpenAI's chat completions (llama.cpp, vLLM).",
        json_schema_extra=ENGINE,
    )
    api_key: SecretConfig | None = Field(
        None,
        description="The key: {env: NAME}, {file: PATH} or {credential: NAME}; null: see api_key_env.",
        json_schema_extra=ENGINE,
    )
    api_key_env: str | None = Field(
        "OPENROUTER_API_KEY",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Environment variable with the key, where api_key is null. A server on loopback needs no key.",
        json_schema_extra=ENGINE,
    )
    model: str = Field(
        "deepseek/deepseek-chat-v3.1",
        pattern=r"^[A-Za-z0-9_./:@-]+$",
        max_length=200,
        description="The model's name at the server. There is no second one: another model is another strategy.",
        json_schema_extra=ENGINE,
    )
    routing: bool = Field(
        default=True,
        description="Send OpenRouter's own fields (provider, reasoning); false for servers that refuse them.",
        json_schema_extra=ENGINE,
    )
    provider_order: tuple[str, ...] = Field(
        (), description="Providers to ask, in this order; no other one then.", json_schema_extra=ENGINE
    )
    quantizations: tuple[str, ...] = Field(
        (), description="Quantizations that may answer, as in fp8.", json_schema_extra=ENGINE
    )
    max_price_prompt_usd_per_mtok: Usd = Field(
        1.0, description="Most that a million prompt tokens may cost [USD]; reserved at this.", json_schema_extra=ENGINE
    )
    max_price_completion_usd_per_mtok: Usd = Field(
        3.0,
        description="Most that a million completion tokens may cost [USD]; reserved at this.",
        json_schema_extra=ENGINE,
    )
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = Field(
        0.0, description="Sampling temperature.", json_schema_extra=ENGINE
    )
    seed: int | None = Field(7, description="Seed for servers that honour one; null: none.", json_schema_extra=ENGINE)
    reasoning_enabled: bool = Field(
        default=False, description="Let the model think aloud first; billed as output.", json_schema_extra=ENGINE
    )
    max_tokens: Annotated[int, Field(ge=64, le=100_000)] = Field(
        2_000, description="Tokens of a reply, at most.", json_schema_extra=ENGINE
    )
    period_s: Seconds = Field(
        150.0,
        description="Market seconds between two questions, on a grid; asked in the cycle that follows.",
        json_schema_extra=ENGINE,
    )
    deadline_s: Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)] = Field(
        60.0, description="For the whole question, retries included [s].", json_schema_extra=ENGINE
    )
    max_retries: Annotated[int, Field(ge=0, le=5)] = Field(
        1, description="Further tries where another one can help.", json_schema_extra=ENGINE
    )
    max_decision_age_s: Seconds | None = Field(
        None,
        description="Market seconds after which a decision that was not yet acted on is dropped; null: twice the "
        "longer of a candle and a cycle.",
        json_schema_extra=ENGINE,
    )
    max_slip_bps: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)] = Field(
        100.0,
        description="A decision is dropped when the price has moved further than this since [1e-4].",
        json_schema_extra=ENGINE,
    )
    min_confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = Field(
        0.6, description="An open with less confidence is a hold; size never follows it.", json_schema_extra=ENGINE
    )
    max_risk_frac: Fraction = Field(
        0.01, description="Equity that a decision may put at risk, at most, 0..1.", json_schema_extra=ENGINE
    )
    min_reward_risk: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = Field(
        1.2, description="Reward over risk after fees and slippage, at least.", json_schema_extra=ENGINE
    )
    min_stop_atr: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = Field(
        0.5, description="Distance of the stop in average true ranges, at least.", json_schema_extra=ENGINE
    )
    max_stop_frac: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = Field(
        0.10, description="Distance of the stop as a fraction of the price, at most.", json_schema_extra=ENGINE
    )
    max_hold_minutes: Annotated[int, Field(ge=1, le=525_600)] = Field(
        10_080, description="Longest holding time that a decision may ask for [min].", json_schema_extra=ENGINE
    )
    min_hold_s: Annotated[float, Field(ge=0, le=31_536_000, allow_inf_nan=False)] = Field(
        300.0,
        description="Market seconds before the model may close what it opened; exit plans wait for nothing.",
        json_schema_extra=ENGINE,
    )
    max_entries_per_hour: Annotated[int, Field(ge=1, le=10_000)] = Field(
        4, description="Entries by the model in an hour, at most.", json_schema_extra=ENGINE
    )
    max_entries_per_day: Annotated[int, Field(ge=1, le=10_000)] = Field(
        10, description="Entries by the model on a UTC day, at most.", json_schema_extra=ENGINE
    )
    cooldown_s: Annotated[float, Field(ge=0, le=31_536_000, allow_inf_nan=False)] = Field(
        900.0, description="Market seconds without an entry in a symbol after its last close.", json_schema_extra=ENGINE
    )
    max_calls_per_day: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        600, description="Calls on a UTC day, retries included.", json_schema_extra=ENGINE
    )
    max_usd_per_day: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] = Field(
        5.0, description="Spent and reserved on a UTC day, at most [USD].", json_schema_extra=ENGINE
    )
    breaker_failures: Annotated[int, Field(ge=1, le=1_000)] = Field(
        3, description="Failures in a row after which the model is left alone.", json_schema_extra=ENGINE
    )
    breaker_cooldown_s: Seconds = Field(
        900.0, description="How long, before one question tries it again [s].", json_schema_extra=ENGINE
    )
    training_cutoff: str | None = Field(
        None,
        description="UTC date up to which the model has read the past: backtests before it are labelled contaminated.",
        json_schema_extra=ENGINE,
    )
    record_path: str = Field(
        "llm",
        min_length=1,
        description="Folder of the decision records, a file a UTC day, relative to the data folder.",
        json_schema_extra=ENGINE,
    )

    @field_validator("training_cutoff")
    @classmethod
    def _cutoff_is_a_time(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                parse_utc(value)
            except ValueError:
                raise ValueError(f"{value!r} is no date: write 2025-01-31") from None
        return value


#: services of apprise whose URL holds no secret, unless a user or a password stands in it
_OPEN_SERVICES = ("json", "jsons", "xml", "xmls", "form", "forms", "ntfy", "ntfys", "dbus", "syslog")


class NotificationsConfig(Section):
    """Section `notifications`; read by `trader.monitor`."""

    urls: tuple[SecretConfig | str, ...] = Field(
        (),
        max_length=20,
        description="Receivers as apprise URLs (Telegram, Discord, Slack, mail, ntfy, webhooks); one with a token "
        "in it as {env: NAME}, {file: PATH} or {credential: NAME}.",
        json_schema_extra=MONITOR,
    )
    events: tuple[
        Literal["halt", "breaker", "restart", "difference", "health", "reload", "service", "daily", "trade"], ...
    ] = Field(
        ("halt", "breaker", "restart", "difference", "health", "reload", "service", "daily"),
        description="What is told; trade: each entry and exit.",
        json_schema_extra=MONITOR,
    )
    group_seconds: Seconds = Field(
        10.0, description="What happens within this time travels as one message.", json_schema_extra=MONITOR
    )
    most_per_hour: Annotated[int, Field(ge=1, le=3600)] = Field(
        20, description="Messages an hour to one receiver; what is more waits and is put together.",
        json_schema_extra=MONITOR,
    )  # fmt: skip
    remind_seconds: Seconds | None = Field(
        21_600.0, description="What lasts is told again after this time; null: once only.", json_schema_extra=MONITOR
    )

    @field_validator("urls")
    @classmethod
    def _no_secret_in_the_file(cls, value: tuple[SecretConfig | str, ...]) -> tuple[SecretConfig | str, ...]:
        for index, place in enumerate(value):
            if not isinstance(place, str):
                continue
            scheme, found, rest = place.partition("://")
            if not (scheme and found and rest):
                raise ValueError(f"entry {index} is no URL: write service://..., as in ntfy://ntfy.sh/my-topic")
            if scheme.lower() not in _OPEN_SERVICES or "@" in rest or "?" in rest:
                raise ValueError(
                    f"entry {index} may hold a token, and a secret must not stand in the file: "
                    "write {env: NAME}, {file: PATH} or {credential: NAME}"
                )
        return value


class Config(Section):
    """The whole configuration: one YAML file."""

    instance: str = Field(
        "main",
        pattern=r"^[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?$",
        description="Name of this instance; part of every client order id.",
        json_schema_extra=SERVICE,
    )
    quote: str = Field(
        "USDT",
        pattern=r"^[A-Z0-9]{2,12}$",
        description="Currency that the account is kept in.",
        json_schema_extra=SERVICE,
    )
    initial_capital: Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)] = Field(
        10_000.0, description="Paper: cash at the very start [quote].", json_schema_extra=SERVICE
    )
    data_dir: str = Field(
        "data",
        min_length=1,
        description="Folder of the ledger, relative to --data-dir or systemd's state folder.",
        json_schema_extra=SERVICE,
    )
    market: MarketConfig = Field(default_factory=MarketConfig)
    strategies: tuple[StrategyConfig, ...] = Field(
        (StrategyConfig(),), min_length=1, description="Strategies, asked in this order.", json_schema_extra=HOT
    )
    engine: EngineConfig = Field(default_factory=EngineConfig)
    risk: RiskConfig = Field(default_factory=RiskConfig)
    exits: ExitsConfig = Field(default_factory=ExitsConfig)
    execution: ExecutionConfig = Field(default_factory=ExecutionConfig)
    recovery: RecoveryConfig = Field(default_factory=RecoveryConfig)
    monitor: MonitorConfig = Field(default_factory=MonitorConfig)
    dashboard: DashboardConfig = Field(default_factory=DashboardConfig)
    logging: LoggingConfig = Field(default_factory=LoggingConfig)
    llm: LlmConfig = Field(default_factory=LlmConfig)
    notifications: NotificationsConfig = Field(default_factory=NotificationsConfig)
    credentials: CredentialsConfig = Field(default_factory=CredentialsConfig)
