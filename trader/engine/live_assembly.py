"""Puts together what trading on an exchange needs beside the rest: account, ledger, router, live desk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trader.config.sections import Config
from trader.core.live import warm_up_live
from trader.domain.instrument import Instrument
from trader.engine.live_desk import LiveDesk
from trader.engine.venue_watch import VenueWatch
from trader.errors import ConfigError, Transient
from trader.execution.answers import exactly, read_balances
from trader.execution.capabilities import capabilities_of, missing
from trader.execution.client_ids import ClientIds
from trader.execution.exchange_venue import REQUEST_S, ExchangeVenue
from trader.execution.live_router import LiveRouter
from trader.execution.reconcile import OVERLAP_S, Reconciler
from trader.ledger.journal import Ledger, Restored
from trader.ledger.reader import LedgerReader
from trader.market.connection import ExchangeConnection, explained
from trader.market.exchange_feed import ExchangeFeed
from trader.units import plain

log = logging.getLogger(__name__)

Records = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Account:
    """The account at the venue, as it is at the start."""

    name: str  #: what tells it from others, without a secret
    balances: Mapping[str, Decimal]


async def read_account(config: Config, connection: ExchangeConnection) -> Account:
    """Ask the venue for the account, and refuse what can't be traded on.

    Parameters
    ----------
    config : Config
        The configuration.
    connection : ExchangeConnection
        Open, with credentials.

    Returns
    -------
    Account
        What it holds.

    Raises
    ------
    ConfigError
        When the keys are wrong or may not trade, the venue lacks what live trading needs, or a section asks for what
        spot can't do; each by name.
    Transient
        When the venue's answer is of no use now.
    """
    _refuse_impossible(config, connection)
    exactly(connection.rest)
    with explained(connection.venue):
        answer = await connection.call("fetch_balance", deadline_s=REQUEST_S)
    balances = read_balances(answer)
    if balances is None:
        raise Transient(f"{connection.venue}: the answer about balances was garbled, or the account is empty")
    told: Mapping[str, Any] = answer.get("info") if isinstance(answer.get("info"), dict) else {}
    if told.get("canTrade") is False:
        raise ConfigError(f"credentials: the key may not trade on {connection.venue}: allow it spot trading there")
    key = str(connection.rest.apiKey or "")
    name = f"account {told['uid']}" if told.get("uid") else f"key ..{key[-4:]}"
    return Account(name, balances)


def _refuse_impossible(config: Config, connection: ExchangeConnection) -> None:
    problems = []
    lacking = missing(connection.rest.has)
    if lacking:
        text = f"{connection.venue} can not do what live trading needs: {', '.join(lacking)}"
        problems.append(f"market.exchange: {text}")
    if config.risk.allow_short:
        problems.append("risk.allow_short: can not be with real orders: only spot is traded, and spot is never short")
    if config.risk.leverage > 1:
        problems.append("risk.leverage: must be 1 with real orders: only spot is traded, without borrowed money")
    if problems:
        raise ConfigError("\n".join(problems))


def open_live_ledger(config: Config, path: Path, account: Account, instruments: Sequence[Instrument]) -> Ledger:
    """Open the ledger of an account, or begin one with what the account holds.

    Raises
    ------
    ConfigError
        When the account has too little to trade, or the ledger is another account's.
    LedgerError
        When it can't be used.
    """
    if path.exists():
        with LedgerReader(path) as reader:
            capital = Decimal(reader.meta()["initial_capital"])
    else:
        capital = account.balances.get(config.quote, Decimal(0))
        least = min(item.min_notional for item in instruments)
        if capital <= 0 or capital < least:
            raise ConfigError(
                f"{account.name} holds {plain(capital)} {config.quote}, and the smallest order is {plain(least)}: "
                "fund it, or trade on paper (engine.enable_trading: false)"
            )
    return Ledger.open(path, instance=config.instance, quote=config.quote, initial_capital=capital, mode="live")


def build_live(
    config: Config,
    feed: ExchangeFeed,
    ledger: Ledger,
    restored: Restored,
    account: Account,
    watch: VenueWatch,
    book: tuple[Records, Records, tuple[str, ...]],
    entries_pass: Callable[[], bool],
) -> tuple[LiveRouter, LiveDesk]:
    """Return router and live desk over a restored ledger.

    Parameters
    ----------
    config : Config
        The configuration.
    feed : ExchangeFeed
        Open; its connection is shared.
    ledger : Ledger
        Open.
    restored : Restored
        What it gave back.
    account : Account
        As it is at the venue.
    watch : VenueWatch
        Takes errors and answers.
    book : tuple
        Desk, slots and symbols.
    entries_pass : callable
        Tells whether nothing halts or fences entries.

    Returns
    -------
    tuple
        Router and live desk; call its `begin`.
    """
    warm_up_live()
    connection = feed.connection
    desk, slots, symbols = book
    ids = ClientIds(config.instance, ledger.mark)
    venue = ExchangeVenue(
        connection, capabilities_of(config.market.exchange), on_error=watch.on_error, on_success=watch.on_success
    )
    router = LiveRouter(
        ledger,
        ledger.books,
        venue,
        desk,
        slots,
        symbols,
        feed.instruments,
        ids=ids,
        now_ns=connection.now_ns,
        entries_pass=entries_pass,
        open_orders=restored.open_orders,
    )
    if restored.fresh:
        router.open_account({name: amount for name, amount in account.balances.items() if name != config.quote})
    reconciler = Reconciler(connection, venue, router, ledger, ledger.books, ids)
    since_ns = (restored.cursor_ns or connection.now_ns()) - OVERLAP_S * 1_000_000_000
    live = LiveDesk(config, feed, venue, router, reconciler, watch, since_ns)
    log.warning(
        "REAL ORDERS on %s, %s, capital %s %s, client order ids %s...",
        connection.venue,
        account.name,
        plain(ledger.books.balance(config.quote)),
        config.quote,
        ids.prefix,
    )
    return router, live
