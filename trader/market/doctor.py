"""The examination of a venue: whether it can be reached, listened to and traded on, and what keys may do there.

`trader doctor` shows all of it; the start with real orders makes the same examination and refuses what it finds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from trader.codes import Level
from trader.config.secrets import Credentials
from trader.config.sections import Config
from trader.errors import ConfigError, TraderError, Transient
from trader.logs.redaction import redact
from trader.market.candle_requests import CandleRequests
from trader.market.connection import FEED_NEEDS, MARKETS_S, ExchangeConnection, describe_clock, explained
from trader.market.key_rights import key_rights
from trader.market.venue_client import make_client
from trader.market.venue_instruments import instruments_of
from trader.units import exact, plain, timeframe_ns

log = logging.getLogger(__name__)

#: longest waits of single steps [s]
BALANCE_S, STREAM_S = 10.0, 20.0

#: what real orders need, as ccxt names it
TRADING_NEEDS = ("createOrder", "cancelOrder", "fetchOpenOrders", "fetchBalance", "fetchMyTrades")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look has found."""

    name: str  #: what was looked at, a word or two
    level: Level
    text: str
    error: TraderError | None = None  #: that it comes from


def ok(name: str, text: str) -> Finding:
    """Return a finding that is fine."""
    return Finding(name, Level.OK, text)


def warning(name: str, text: str) -> Finding:
    """Return a finding that an owner should know of."""
    return Finding(name, Level.WARNING, text)


def failed(name: str, cause: str | TraderError) -> Finding:
    """Return a finding that nothing should be started on."""
    return Finding(name, Level.GRAVE, str(cause), cause if isinstance(cause, TraderError) else None)


async def examine(config: Config, credentials: Credentials | None) -> AsyncIterator[Finding]:
    """Yield what is found at the configured venue, step by step; ends at what nothing can follow.

    Parameters
    ----------
    config : Config
        With `market.source: exchange`.
    credentials : Credentials or None
        Keys, if there are any.

    Yields
    ------
    Finding
        In the order of looking.
    """
    try:
        connection = ExchangeConnection(config.market, credentials=credentials)
    except ConfigError as error:
        yield failed("venue", str(error))
        return
    try:
        async for finding in _examine(connection, config):
            yield finding
    finally:
        await connection.close()


async def _examine(connection: ExchangeConnection, config: Config) -> AsyncIterator[Finding]:
    try:
        connection.check_capabilities((*FEED_NEEDS, *(TRADING_NEEDS if config.engine.enable_trading else ())))
    except ConfigError as error:
        for line in str(error).splitlines():
            yield failed("capabilities", line)
        return
    began_s = time.monotonic()
    try:
        with explained(connection.venue):
            await connection.call("load_markets", deadline_s=MARKETS_S)
    except TraderError as error:
        yield failed("keys" if isinstance(error, ConfigError) else "reachable", error)
        return
    took_ms = (time.monotonic() - began_s) * 1000
    yield ok(
        "reachable", f"{connection.venue} answered with {len(connection.rest.markets)} markets in {took_ms:.0f} ms"
    )
    try:
        connection.instruments = instruments_of(connection.rest, config.market.symbols)
    except ConfigError as error:
        for line in str(error).splitlines():
            yield failed("symbols", line)
    else:
        yield ok("symbols", "; ".join(map(_steps, connection.instruments)))
        yield await examine_clock(connection)
        yield await _examine_candles(connection)
        yield await _examine_stream(connection)
    async for finding in examine_account(connection, config):
        yield finding


def _steps(item: Any) -> str:
    return (
        f"{item.symbol} tick {plain(item.tick_size)}, lot {plain(item.lot_size)},"
        f" smallest order {plain(item.min_notional)} {item.quote}"
    )


async def examine_clock(connection: ExchangeConnection) -> Finding:
    """Return how far this machine's clock is off the venue's."""
    try:
        with explained(connection.venue):
            await connection.measure_clock()
    except TraderError as error:
        return failed("clock", error)
    if not connection.clock.is_measured:
        return warning("clock", f"{connection.venue} does not tell its time: keep this machine's clock right (NTP)")
    if connection.is_clock_off:
        limit_s = connection.market.max_clock_skew_seconds
        text = f"{describe_clock(connection)}; more than market.max_clock_skew_seconds, {limit_s:g}: set up NTP"
        return failed("clock", text)
    return ok("clock", describe_clock(connection))


async def _examine_candles(connection: ExchangeConnection) -> Finding:
    market = connection.market
    length_ns = timeframe_ns(market.timeframe)
    requests = CandleRequests(connection, market.timeframe)
    ages = {}
    try:
        with explained(connection.venue):
            for symbol in market.symbols:
                now_ns = connection.now_ns()
                page = await requests.page(symbol, now_ns - 20 * length_ns)
                if page.rows:
                    ages[symbol] = (now_ns - page.rows[-1].open_ns) / length_ns
    except TraderError as error:
        return failed("candles", error)
    quiet = [symbol for symbol in market.symbols if ages.get(symbol, 99.0) > 3]
    if quiet:
        return warning(
            "candles", f"no {market.timeframe} candle of the last three of {', '.join(quiet)}: hardly traded"
        )
    return ok("candles", f"{market.timeframe} candles of all symbols are there, up to now")


async def _examine_stream(connection: ExchangeConnection) -> Finding:
    market = connection.market
    if not market.stream:
        return ok("stream", "market.stream is off: candles are asked for")
    if not connection.has("watchOHLCV"):
        return ok("stream", f"ccxt streams no candles of {connection.venue}: they are asked for")
    client = make_client(market)
    client.set_markets_from_exchange(connection.rest)
    began_s = time.monotonic()
    try:
        async with asyncio.timeout(STREAM_S):
            await client.watch_ohlcv(market.symbols[0], market.timeframe)
    except TimeoutError:
        text = f"no message about {market.symbols[0]} within {STREAM_S:g} s; candles would be asked for"
        return warning("stream", text)
    except Exception as error:  # noqa: BLE001 - whatever ccxt makes of it, requests stand in
        return warning("stream", f"{type(error).__name__}: {redact(str(error)[:200])}; candles would be asked for")
    finally:
        await client.close()
    return ok("stream", f"first message after {(time.monotonic() - began_s) * 1000:.0f} ms")


async def examine_account(connection: ExchangeConnection, config: Config) -> AsyncIterator[Finding]:
    """Yield what is found about keys, their rights, and the money that is there.

    Parameters
    ----------
    connection : ExchangeConnection
        With its markets loaded.
    config : Config
        Its capital and limits are held against the venue's minima.

    Yields
    ------
    Finding
        In the order of looking.
    """
    if not connection.has_credentials:
        if config.engine.enable_trading:
            yield failed("keys", "real orders need credentials.api_key and credentials.secret")
        else:
            yield ok("keys", "none configured: paper trading needs none")
        yield _examine_minima(connection, config, exact(config.initial_capital), "initial_capital")
        return
    try:
        with explained(connection.venue):
            balance = await connection.call("fetch_balance", deadline_s=BALANCE_S)
        _refuse_garbled(connection, balance)
    except TraderError as error:
        yield failed("keys", error)
        return
    yield ok("keys", f"{connection.venue} takes them")
    async for finding in _examine_rights(connection, balance):
        yield finding
    free = _free(balance, config.quote)
    if free is None:
        yield failed("balance", f"{connection.venue} tells no balances")
        return
    yield ok("balance", f"{plain(free)} {config.quote} are free")
    capital = free if config.engine.enable_trading else exact(config.initial_capital)
    yield _examine_minima(connection, config, capital, "the free balance" if capital is free else "initial_capital")


def _refuse_garbled(connection: ExchangeConnection, balance: Any) -> None:
    # what ccxt makes of an answer without content must not pass for an account without money
    if not isinstance(balance, dict) or not balance.get("info"):
        raise Transient(f"{connection.venue}: the answer about balances was garbled")


async def _examine_rights(connection: ExchangeConnection, balance: Any) -> AsyncIterator[Finding]:
    try:
        with explained(connection.venue):
            rights = await key_rights(connection)
    except TraderError as error:
        yield failed("rights", error)
        return
    info = balance.get("info") if isinstance(balance, dict) else None
    trade = rights.trade
    if isinstance(info, dict) and info.get("canTrade") is False:
        trade = False
    if trade is False:
        yield failed("rights", "the keys are read-only: allow them spot trading at the venue")
    elif trade is None:
        yield warning("rights", f"{connection.venue} does not tell whether the keys may trade")
    else:
        yield ok("rights", "the keys may trade")
    if rights.withdraw:
        yield failed("withdrawals", "the keys may move money out of the account: take that right away at the venue")
    elif rights.withdraw is None:
        text = f"{connection.venue} does not tell whether the keys may withdraw: see there that they may not"
        yield warning("withdrawals", text)
    else:
        yield ok("withdrawals", "the keys may not withdraw")


# an order of the largest size that risk would allow has to pass the venue's smallest
def _examine_minima(connection: ExchangeConnection, config: Config, capital: Decimal, what: str) -> Finding:
    largest = capital * exact(config.risk.max_symbol_exposure_frac)
    small = [item for item in connection.instruments if item.min_notional > largest]
    if small:
        named = ", ".join(f"{item.symbol} {plain(item.min_notional)}" for item in small)
        text = (
            f"{what} of {plain(capital)} {config.quote} allows orders of {plain(largest)} at most, and the smallest are"
        )
        return failed("minima", f"{text}: {named}")
    return ok("minima", f"orders of up to {plain(largest)} {config.quote} pass the venue's minima")


def _free(balance: Any, quote: str) -> Decimal | None:
    free = balance.get("free") if isinstance(balance, dict) else None
    if not isinstance(free, dict):
        return None
    value = free.get(quote, 0)
    return exact(value if isinstance(value, str) else float(value or 0))


async def refuse_unfit(connection: ExchangeConnection, config: Config, *, first: bool) -> None:
    """Refuse to send real orders with keys, or on a venue, that the doctor would not pass.

    Parameters
    ----------
    connection : ExchangeConnection
        Open, with credentials.
    config : Config
        The configuration.
    first : bool
        Whether this account is new here. Later starts have positions to look after: then a clock that is off halts
        entries, and money that is invested is no lack of money.

    Raises
    ------
    ConfigError
        Naming everything that stands in the way.
    Transient
        When the venue can't be asked now.
    """
    found = [finding async for finding in examine_account(connection, config)]
    if first:
        found.insert(0, await examine_clock(connection))
    else:
        found = [finding for finding in found if finding.name not in ("balance", "minima")]
    grave = [finding for finding in found if finding.level is Level.GRAVE]
    for finding in grave:
        if isinstance(finding.error, Transient):
            raise finding.error
    if grave:
        lines = "\n".join(f"engine.enable_trading: {finding.name}: {finding.text}" for finding in grave)
        raise ConfigError(f"{lines}\n`trader doctor` shows all of it")
    for finding in found:
        if finding.level is Level.WARNING:
            log.warning("%s: %s", finding.name, finding.text)
