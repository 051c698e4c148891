"""What every dialect does: read a request, answer it, and speak on websockets."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from tests.loopback.venue.books import Refused, VenueOrder, VenueTrade
from tests.loopback.venue.markets import Candle, Market

if TYPE_CHECKING:
    from tests.loopback.venue.venue import FakeVenue


@dataclass
class Call:
    """One request as it came in."""

    method: str
    path: str
    query: str
    body: str
    headers: dict[str, str]
    params: dict[str, str] = field(default_factory=dict)
    operation: str = "other"

    def __post_init__(self) -> None:
        self.params = dict(parse_qsl(self.query, keep_blank_values=True))
        if self.body and "json" in self.headers.get("content-type", ""):
            self.params |= {name: str(value) for name, value in json.loads(self.body).items()}
        else:
            self.params |= dict(parse_qsl(self.body, keep_blank_values=True))


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    payload: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """Return the bytes of the body."""
        if isinstance(self.payload, bytes):
            return self.payload
        return json.dumps(self.payload, separators=(",", ":")).encode()


class Session:
    """One websocket of a client."""

    def __init__(self, path: str, send: Callable[[str], None], close: Callable[[], None]) -> None:
        self.path = path
        self.send_text = send
        self.close = close
        self.topics: dict[str, Any] = {}
        self.is_user = False
        self.muted: set[str] = set()
        self.held: list[tuple[str, str]] = []  # topic and text of messages that come after the next one


class Dialect(ABC):
    """One exchange's way of talking."""

    name = ""

    def __init__(self, venue: FakeVenue) -> None:
        self.venue = venue
        self.matching = venue.matching
        self.sessions: list[Session] = []
        self.matching.listeners.append(self.on_order)

    # ------------------------------------------------------------- requests

    @abstractmethod
    def operation(self, call: Call) -> str:
        """Return what the request is about, in words that all dialects share."""

    @abstractmethod
    def answer(self, call: Call) -> Answer:
        """Answer a request; raise Refused for what is not granted."""

    @abstractmethod
    def refusal(self, refused: Refused, call: Call) -> Answer:
        """Word a refusal."""

    @abstractmethod
    def addressed(self, call: Call) -> VenueOrder | None:
        """Return the order that a request names, if there is one."""

    @abstractmethod
    def too_many(self, status: int, retry_after_s: float | None) -> Answer:
        """Answer that there were too many requests."""

    @abstractmethod
    def clock_error(self) -> Answer:
        """Answer that the request's time is not the venue's."""

    @abstractmethod
    def maintenance(self) -> Answer:
        """Answer that the venue is closed for a while."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return what the ccxt constructor needs so that this venue is the exchange."""

    # ------------------------------------------------------------- streams

    def opened(self, session: Session) -> None:
        """Greet a new websocket."""
        self.sessions.append(session)

    def closed(self, session: Session) -> None:
        """Forget a websocket."""
        if session in self.sessions:
            self.sessions.remove(session)

    @abstractmethod
    def heard(self, session: Session, message: str) -> None:
        """Answer a message of a client on a websocket."""

    @abstractmethod
    def on_order(self, event: str, order: VenueOrder, trade: VenueTrade | None) -> None:
        """Tell clients that an order changed."""

    @abstractmethod
    def on_price(self, market: Market, trade_id: int) -> None:
        """Tell clients that a market traded."""

    @abstractmethod
    def on_close(self, market: Market, candle: Candle) -> None:
        """Tell clients that a candle closed."""

    # --------------------------------------------------------------- shared

    def now_ms(self) -> int:
        """Return the venue's time [ms]."""
        return self.venue.clock.now_ms()

    def tell(self, session: Session, payload: Any, values: dict[str, Any] | None = None) -> None:
        """Send one message, unless the script has other plans for it; `values` are what conditions see."""
        self.venue.send(session, json.dumps(payload, separators=(",", ":")), values)


class Weights:
    """Request weights within a rolling minute of the machine's clock."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.banned_until_s = 0.0
        self._spent: list[tuple[float, int]] = []
        self._warned = 0

    def spend(self, weight: int) -> tuple[int, int, float]:
        """Return (used weight, status, seconds to wait): status 429 above the limit, 418 for going on."""
        now_s = time.monotonic()
        if now_s < self.banned_until_s:
            return self.used, 418, self.banned_until_s - now_s
        self._spent = [(at_s, spent) for at_s, spent in self._spent if at_s > now_s - 60.0]
        self._spent.append((now_s, weight))
        if self.limit is None or self.used <= self.limit:
            self._warned = 0
            return self.used, 200, 0.0
        self._warned += 1
        if self._warned > 10:
            self.banned_until_s = now_s + 120.0
            return self.used, 418, 120.0
        return self.used, 429, 60.0 - (now_s - self._spent[0][0])

    @property
    def used(self) -> int:
        """Return the weight of the last minute."""
        return sum(weight for _, weight in self._spent)
