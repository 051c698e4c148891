"""Market views: everything that a strategy which is asked about all symbols at once may know, at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from trader.domain.instrument import Instrument
from trader.domain.market import Candles


@dataclass(frozen=True, slots=True)
class PositionView:
    """An open position and the plan that will close it."""

    quantity: float  #: signed: > 0 long, < 0 short [base]
    entry_price: float
    entry_ns: int  #: market time [ns UTC]
    unrealised_pnl: float  #: before the fees of closing [quote]
    stop_price: float  #: NaN: none
    target_price: float  #: NaN: none
    expires_ns: int  #: market time [ns UTC]; 0: never
    rules: tuple[str, ...] = ()  #: invalidations, as `trader.domain.invalidation` writes them


@dataclass(frozen=True, slots=True)
class SymbolView:
    """One symbol: its candles, its position, what has happened in it lately."""

    instrument: Instrument
    candles: Candles  #: closed ones of the market's timeframe, the newest last
    position: PositionView | None
    order_in_flight: bool
    last_close_ns: int  #: when its last position was closed, market time [ns UTC]; 0: never
    fee_rate_frac: float
    slippage_frac: float

    @property
    def symbol(self) -> str:
        """As in BTC/USDT."""
        return self.instrument.symbol


@dataclass(frozen=True, slots=True)
class AccountView:
    """The account that all symbols trade on [quote]."""

    quote: str
    equity: float
    cash: float
    gross_exposure: float
    day_pnl: float  #: equity since the UTC day's first
    drawdown_frac: float  #: 0..1
    open_positions: int
    max_open_positions: int
    day_entries: int  #: on this UTC day
    halted: bool  #: entries are refused at the moment


@dataclass(frozen=True, slots=True)
class MarketView:
    """What is known at one moment of market time; the same view is always the same question."""

    time_ns: int  #: market time [ns UTC]
    timeframe: str  #: of the candles
    allow_short: bool
    account: AccountView
    symbols: tuple[SymbolView, ...]  #: by slot
    entries_ns: tuple[int, ...] = ()  #: when this strategy opened positions within the last day [ns UTC], ascending
