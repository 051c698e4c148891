"""The choice of a feed by `market.source`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from trader.config.secrets import Credentials
from trader.config.sections import Config
from trader.errors import ConfigError
from trader.market.feed import Feed

if TYPE_CHECKING:
    from trader.market.connection import ExchangeConnection


def make_connection(
    config: Config,
    credentials: Credentials | None = None,
    on_error: Callable[[BaseException], None] | None = None,
    on_success: Callable[[], None] | None = None,
    *,
    persistent: bool = False,
) -> ExchangeConnection | None:
    """Return the connection to the configured venue, not opened yet; None when no venue is configured.

    Parameters
    ----------
    config : Config
        Its section `market` is read.
    credentials : Credentials, optional
        Keys; market data needs none.
    on_error : callable, optional
        Told of every error in the background.
    on_success : callable, optional
        Told of every good answer in the background.
    persistent : bool
        Whether a service is running already that waits for nothing but this; see `ExchangeConnection`.

    Raises
    ------
    ConfigError
        When the venue can not be what the section says.
    """
    if config.market.source != "exchange":
        return None
    from trader.market.connection import ExchangeConnection

    return ExchangeConnection(
        config.market, credentials=credentials, on_error=on_error, on_success=on_success, persistent=persistent
    )


def open_feed(config: Config, connection: ExchangeConnection | None = None, history_bars: int = 0) -> Feed:
    """Return the feed that the configuration names, not opened yet.

    Parameters
    ----------
    config : Config
        Its section `market` is read.
    connection : ExchangeConnection, optional
        To the venue, where the market is one.
    history_bars : int
        How far strategies look back, in candles; a venue is asked for as many at the start.

    Returns
    -------
    Feed
        Call its `open` before anything else.

    Raises
    ------
    ConfigError
        When the section asks for something that there is not.
    """
    source = config.market.source
    if source == "replay":
        from trader.market.replay import ReplayFeed

        return ReplayFeed(config.market)
    if source == "simulated":
        from trader.market.simulated import SimulatedFeed

        return SimulatedFeed(config.market)
    from trader.market.exchange_feed import ExchangeFeed

    if connection is None:
        raise ConfigError("market.source: exchange needs a connection to its venue")
    return ExchangeFeed(connection, history_bars=history_bars, stale_after_s=config.market.stale_after_seconds)
