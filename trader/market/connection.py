"""The one connection to a venue: a ccxt client, its markets, and its clock; shared by feed and execution.

One object per key, so that all requests go through one leaky bucket. Every request has a deadline. Errors of
ccxt pass through as they are: what they mean for an order is decided where orders are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

import orjson

from trader.clock import NS_PER_S, boottime_ns, format_utc
from trader.config.secrets import Credentials
from trader.config.sections import MarketConfig
from trader.domain.instrument import Instrument
from trader.errors import ConfigError, Permanent, Transient, VenueError
from trader.logs.redaction import hide, redact
from trader.market.venue_client import make_client
from trader.market.venue_clock import ClockSample, LocalClock, SystemClock, VenueClock
from trader.market.venue_instruments import instruments_of

log = logging.getLogger(__name__)

T = TypeVar("T")

#: answers to the call under way that were no JSON
_garbled: ContextVar[list[str] | None] = ContextVar("garbled", default=None)

#: answers that the clock is measured by, and when fewer are enough [ns]
CLOCK_SAMPLES = 5
GOOD_UNCERTAINTY_NS = 20_000_000

#: deadlines [s]: what is large, what is small
MARKETS_S, TIME_S, CLOSE_S = 30.0, 5.0, 5.0

#: how long a start waits for a venue that can't be reached [s], and between two tries
OPEN_PATIENCE_S, OPEN_RETRY_S, OPEN_RETRY_MOST_S = 90.0, 2.0, 30.0

#: no venue's wish to wait is followed for longer [s]
LONGEST_WAIT_S = 600.0

#: nothing here moves money out: no code path to these exists
FORBIDDEN = ("withdraw", "transfer")

#: what a feed can not do without, as ccxt names it
FEED_NEEDS = ("fetchOHLCV",)


class ExchangeConnection:
    """A venue, reached through ccxt.

    Parameters
    ----------
    market : MarketConfig
        Section `market`.
    credentials : Credentials, optional
        Keys; None for public data only.
    clock : LocalClock, optional
        This machine's clocks.
    on_error : callable, optional
        Told of every error that happens in the background (stream, clock); what a caller waits for is raised instead.
    on_success : callable, optional
        Told of every good answer in the background.
    persistent : bool
        For an engine that comes back in a running service, with positions to look after: it waits for the venue for as
        long as it takes, and a symbol that is halted there is no reason not to start.

    Raises
    ------
    ConfigError
        When the venue can not be what the section says; see `trader.market.venue_client`.
    """

    def __init__(
        self,
        market: MarketConfig,
        *,
        credentials: Credentials | None = None,
        clock: LocalClock | None = None,
        on_error: Callable[[BaseException], None] | None = None,
        on_success: Callable[[], None] | None = None,
        persistent: bool = False,
    ) -> None:
        self.market = market
        self.clock = VenueClock(clock or SystemClock())
        self.on_error = on_error or (lambda _: None)
        self.on_success = on_success or (lambda: None)
        self.instruments: tuple[Instrument, ...] = ()
        self.persistent = persistent
        self.has_credentials = credentials is not None
        for secret in credentials.values if credentials else ():
            hide(secret)
        self.rest: Any = make_client(market, credentials)
        self.stream: Any = self.rest if market.stream and hasattr(self.rest, "watch_ohlcv") else None
        # requests carry the venue's time, whatever this machine's clock says
        self.rest.milliseconds = self.clock.milliseconds
        self.rest.on_rest_response = _look_at_answer
        self._closed = False

    @property
    def venue(self) -> str:
        """The exchange's ccxt id, with a word when it is its sandbox."""
        return f"{self.market.exchange} (sandbox)" if self.market.sandbox else self.market.exchange

    @property
    def skew_ns(self) -> int:
        """Venue time minus this machine's wall clock [ns]."""
        return self.clock.skew_ns

    @property
    def is_clock_off(self) -> bool:
        """Whether this machine's clock is off by more than `market.max_clock_skew_seconds`."""
        return abs(self.skew_ns) > self.market.max_clock_skew_seconds * NS_PER_S

    def now_ns(self) -> int:
        """Return the venue's time [ns UTC]."""
        return self.clock.now_ns()

    def has(self, capability: str) -> bool:
        """Tell whether the venue itself offers something, by ccxt's name for it (emulations do not count)."""
        return self.rest.has.get(capability) is True

    # --------------------------------------------------------------- lifecycle

    async def open(self, needs: Sequence[str] = FEED_NEEDS) -> None:
        """Load the markets, find the instruments, measure the clock.

        Parameters
        ----------
        needs : sequence of str
            Capabilities that can not be missing, as ccxt names them.

        Raises
        ------
        ConfigError
            When the venue lacks a capability, the timeframe or a symbol, by name.
        Transient
            When the venue can't be reached now.
        VenueError
            When it answers with an error.
        """
        self.check_capabilities(needs)
        with explained(self.venue):
            await self.call("load_markets", deadline_s=MARKETS_S)
            self.instruments = instruments_of(self.rest, self.market.symbols, halted=self.persistent)
            await self.measure_clock()
        log.info(
            "%s: %d markets, clock %+.0f ms (+-%.0f ms)",
            self.venue,
            len(self.rest.markets),
            self.skew_ns / 1e6,
            self.clock.uncertainty_ns / 1e6,
        )

    def check_capabilities(self, needs: Sequence[str]) -> None:
        """Refuse a venue that lacks something by name.

        Raises
        ------
        ConfigError
            Naming every capability that is missing, and the timeframes when ours is none of them.
        """
        problems = []
        missing = [name for name in needs if not self.has(name)]
        if missing:
            problems.append(f"market.exchange: {self.venue} can not do what is needed: {', '.join(missing)}")
        timeframes = self.rest.timeframes or {}
        if "fetchOHLCV" in needs and timeframes and self.market.timeframe not in timeframes:
            known = ", ".join(str(name) for name in timeframes)
            problems.append(f"market.timeframe: {self.venue} has no {self.market.timeframe} candles; it has {known}")
        if problems:
            raise ConfigError("\n".join(problems))

    async def patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something that needs the venue, again and again while it can't be reached.

        Parameters
        ----------
        work : callable
            Makes the awaitable.

        Returns
        -------
        object
            What it returns.

        Raises
        ------
        Transient
            When the venue was away for too long; never where the connection is persistent.
        """
        give_up_ns = boottime_ns() + int(OPEN_PATIENCE_S * NS_PER_S)
        pause_s = OPEN_RETRY_S
        while True:
            try:
                return await work()
            except Transient as error:
                if boottime_ns() > give_up_ns and not self.persistent:
                    raise
                log.warning("%s; trying again", error)
                self.on_error(error.__cause__ or error)
                await asyncio.sleep(max(pause_s, self.retry_after_s()) * random.uniform(0.5, 1.0))  # noqa: S311
                pause_s = min(2 * pause_s, OPEN_RETRY_MOST_S)

    async def reload_markets(self) -> tuple[Instrument, ...]:
        """Ask for the markets anew; return the instruments whose steps or minima have changed.

        Rules change while a service runs. A symbol that is halted or gone keeps the steps it had.
        """
        await self.call("load_markets", True, deadline_s=MARKETS_S)  # noqa: FBT003 - ccxt's reload
        changed = []
        known = list(self.instruments)
        for slot, old in enumerate(known):
            try:
                (new,) = instruments_of(self.rest, (old.symbol,), halted=True)
            except ConfigError as error:
                log.warning("%s", error)
                continue
            if new != old:
                log.warning("%s has changed the rules of %s: %s -> %s", self.venue, old.symbol, old, new)
                changed.append(new)
                known[slot] = new
        self.instruments = tuple(known)
        return tuple(changed)

    async def close(self) -> None:
        """Close every connection; what is still running there fails."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self.rest.close()

    # ---------------------------------------------------------------- requests

    async def call(self, method: str, *args: Any, deadline_s: float, **params: Any) -> Any:
        """Make one request.

        Parameters
        ----------
        method : str
            A unified method of ccxt, as in fetch_ohlcv.
        *args
            Its arguments.
        deadline_s : float
            Longest wait, the queue of the rate limiter included [s].
        **params
            The venue's own parameters, as in clientOrderId.

        Returns
        -------
        object
            What ccxt returns.

        Raises
        ------
        ccxt.BaseError
            As ccxt raised it; `ccxt.RequestTimeout` when the deadline has passed, and `ccxt.BadResponse` when the
            answer was no whole JSON text, whatever ccxt made of it: nobody knows then what the venue has done.
        """
        if method.startswith(FORBIDDEN):
            raise Permanent(f"{method} is never called: nothing here moves money out of an account")
        from ccxt.base.errors import BadResponse, ExchangeError, RequestTimeout

        function = getattr(self.rest, method)
        garbled: list[str] = []
        token = _garbled.set(garbled)
        try:
            async with asyncio.timeout(deadline_s):
                result = await (function(*args, params=params) if params else function(*args))
        except TimeoutError as error:
            raise RequestTimeout(f"{self.venue} {method}: no answer within {deadline_s:g} s") from error
        except ExchangeError as error:
            if garbled:
                raise BadResponse(f"{self.venue} {method}: the answer is garbled: {error}") from error
            raise
        finally:
            _garbled.reset(token)
        if garbled:
            raise BadResponse(f"{self.venue} {method}: the answer is no JSON: {garbled[0]!r}")
        return result

    def retry_after_s(self) -> float:
        """Return how long the venue's last answer asked to wait [s]; 0 when it did not."""
        headers = self.rest.last_response_headers or {}
        told = next((value for name, value in headers.items() if str(name).lower() == "retry-after"), None)
        try:
            return min(max(float(told), 0.0), LONGEST_WAIT_S) if told is not None else 0.0
        except ValueError:  # a date: venues say seconds
            return 0.0

    # ------------------------------------------------------------------- clock

    async def measure_clock(self) -> int:
        """Ask the venue for its time, several times unless the answers are quick, and go by it.

        Returns
        -------
        int
            Venue time minus this machine's wall clock [ns].

        Raises
        ------
        ccxt.BaseError
            When no answer came at all.
        """
        if not self.has("fetchTime"):
            return self.skew_ns
        samples: list[ClockSample] = []
        failure: Exception | None = None
        for _ in range(CLOCK_SAMPLES):
            try:
                samples.append(await self._ask_time())
            except Exception as error:  # noqa: BLE001 - one answer of several; without any, the last is raised
                failure = error
                continue
            self.clock.take(samples)
            if self.clock.uncertainty_ns <= GOOD_UNCERTAINTY_NS and len(samples) > 1:
                break
        if not samples and failure is not None:
            raise failure
        return self.skew_ns

    async def _ask_time(self) -> ClockSample:
        from ccxt.base.errors import BadResponse

        local = self.clock.local
        sent_ns = local.elapsed_ns()
        told_ms = await self.call("fetch_time", deadline_s=TIME_S)
        received_ns = local.elapsed_ns()
        if not isinstance(told_ms, int | float) or isinstance(told_ms, bool) or not 0 < told_ms < 1e14:
            raise BadResponse(f"{self.venue} fetch_time: {told_ms!r} is no time")
        # a time in whole seconds is told in steps of a second
        resolution_ns = NS_PER_S if told_ms % 1000 == 0 else NS_PER_S // 1000
        return ClockSample(sent_ns, received_ns, int(told_ms) * 1_000_000, resolution_ns)


# ccxt's own hook for every answer. What is no JSON it would read as an empty one: a list without candles, an order
# without an id
def _look_at_answer(
    status: int, _reason: str, _url: str, _method: str, _headers: Any, body: str, _sent_headers: Any, _sent: Any
) -> str:
    text = body.strip()
    if text and (200 <= status < 300 or text[0] in "{["):
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError:
            if (garbled := _garbled.get()) is not None:
                garbled.append(text[:80])
    return text


@contextlib.contextmanager
def explained(venue: str) -> Iterator[None]:
    """Turn ccxt's errors of a start into ours: what passes, what is the configuration's fault, what is neither.

    Parameters
    ----------
    venue : str
        Name for the message.

    Raises
    ------
    ConfigError
        When the keys, a symbol or what was asked for can not be right.
    Transient
        When the venue can't be reached, or is busy.
    VenueError
        For any other answer.
    """
    from ccxt.base import errors

    try:
        yield
    except errors.BaseError as error:
        text = redact(f"{venue}: {type(error).__name__}: {str(error)[:300]}")
        if isinstance(error, errors.AuthenticationError):  # PermissionDenied, AccountNotEnabled ... as well
            raise ConfigError(f"credentials: the venue refuses them: {text}") from error
        if isinstance(error, errors.NotSupported | errors.BadSymbol):
            raise ConfigError(f"market: {text}") from error
        if isinstance(error, errors.OperationFailed):
            raise Transient(f"the venue can not be used now: {text}") from error
        raise VenueError(text) from error


def describe_clock(connection: ExchangeConnection) -> str:
    """Return the venue's time and this machine's difference to it, for people."""
    return (
        f"{format_utc(connection.now_ns(), 'milliseconds')} at {connection.venue}, {connection.skew_ns / 1e6:+.0f} ms"
    )
