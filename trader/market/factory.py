"""The choice of a feed by `market.source`."""

from __future__ import annotations

from trader.config.sections import Config
from trader.errors import ConfigError
from trader.market.feed import Feed


def open_feed(config: Config) -> Feed:
    """Return the feed that the configuration names, not opened yet.

    Parameters
    ----------
    config : Config
        Its section `market` is read.

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
    raise ConfigError(f"market.source: {source}: this version trades replay and simulated markets; choose one of them")
