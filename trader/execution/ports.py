"""Ports: what execution asks of the ledger and the books; the engine hands them in."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Protocol

from trader.codes import Halt, Reason
from trader.domain.adjustment import Adjustment
from trader.domain.fill import Fill
from trader.domain.instrument import Instrument
from trader.domain.order import Order, OrderEvent
from trader.domain.round_trip import RoundTrip


class PaperStore(Protocol):
    """Where the paper venue keeps what it holds."""

    def paper_balances(self) -> dict[str, Decimal]:
        """Return the amount of each currency."""

    def set_paper_balance(self, currency: str, amount: Decimal) -> None:
        """Record the amount of one currency."""


class Journal(Protocol):
    """Where orders and fills are written down before anything else knows them."""

    def next_order_id(self) -> int:
        """Return the next order id."""

    def record_order(self, order: Order) -> None:
        """Record an order that is new."""

    def update_order(self, order: Order, event: OrderEvent | None = None) -> None:
        """Record what has become of an order."""

    def order(self, order_id: int) -> Order | None:
        """Return an order by its id."""

    def record_fill(self, fill: Fill) -> bool:
        """Record a fill once; False when it is known already."""

    def record_round_trip(self, trip: RoundTrip) -> None:
        """Record a position that was closed."""

    def record_day(self, day: int, start_equity: float, time_ns: int) -> None:
        """Record the beginning of a UTC day."""

    def record_halt(self, halt: Halt, *, active: bool, time_ns: int, note: str = "") -> None:
        """Record that entries were halted for a cause, or no longer are."""


class LiveJournal(Journal, Protocol):
    """What trading on an exchange asks of the journal beside that."""

    @property
    def fill_count(self) -> int:
        """How many fills were recorded."""

    def skip_order_ids(self, used: int, beyond: int) -> bool:
        """Go on beyond a number that was used elsewhere, if it was; tell whether it was."""

    def order_by_venue_id(self, symbol: str, venue_order_id: str) -> Order | None:
        """Return the newest order of a symbol that the venue knows by this id."""

    def order_by_client_id(self, client_order_id: str) -> Order | None:
        """Return an order by the id that the venue was given."""

    def last_filled_order(self, symbol: str) -> Order | None:
        """Return the order of a symbol's newest fill; None when there is none."""

    def knows_trade(self, trade_id: str) -> bool:
        """Tell whether a fill with this trade id was recorded."""

    def next_adjustment_id(self) -> int:
        """Return the number of the next adjustment."""

    def record_adjustment(self, adjustment: Adjustment) -> None:
        """Record a change that no fill explains."""

    def adjustments(self, *, waiting: bool = False) -> tuple[Adjustment, ...]:
        """Return all adjustments, or those alone that wait for the owner."""

    def accept_adjustment(self, adjustment: Adjustment) -> None:
        """Record that the owner has accepted an unexplained difference."""

    def leaving(self) -> dict[str, tuple[Reason, int, int]]:
        """Return the symbols whose position is to end: why, the decision that it follows from, since when."""

    def set_leaving(self, symbol: str, why: tuple[Reason, int, int] | None) -> None:
        """Record that a position is to end, or that it has."""


class Connection(Protocol):
    """The line to an exchange; `trader.market.connection` has one."""

    rest: Any  #: the ccxt client
    stream: Any  #: the same with websockets; None: it has none
    instruments: tuple[Instrument, ...]

    @property
    def venue(self) -> str:
        """Name of the exchange."""

    def now_ns(self) -> int:
        """Return the venue's time [ns UTC]."""

    def has(self, capability: str) -> bool:
        """Tell whether the venue itself offers something, by ccxt's name for it."""

    async def call(self, method: str, *args: Any, deadline_s: float, **params: Any) -> Any:
        """Make one request; errors of ccxt pass through, a deadline is ccxt's RequestTimeout."""

    async def measure_clock(self) -> int:
        """Ask the venue for its time, and go by it."""

    async def reload_markets(self) -> Sequence[Instrument]:
        """Ask for the markets' rules anew; return the instruments that have changed."""


class Accounts(Protocol):
    """Exact cash and positions."""

    def balance(self, currency: str) -> Decimal:
        """Return what is held of a currency."""

    def quantity(self, symbol: str) -> Decimal:
        """Return the signed quantity held in a symbol."""

    def strategy(self, symbol: str) -> str:
        """Return the name of the strategy that opened the position in a symbol; "" when flat."""

    def apply(self, fill: Fill, order: Order) -> tuple[RoundTrip, ...]:
        """Move cash and position by one fill; return the position that it closed."""


class LiveAccounts(Accounts, Protocol):
    """What trading on an exchange asks of the books beside that."""

    balances: dict[str, Decimal]

    def adjust(self, currency: str, amount: Decimal) -> None:
        """Move a balance by what no fill explains."""

    def write_off(self, symbol: str, quantity: Decimal, ending: Any) -> tuple[RoundTrip, ...]:
        """Take a part of a position away for nothing; return the position that it ended."""
