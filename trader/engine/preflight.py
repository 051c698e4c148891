"""What has to be right before any process of the service is started.

Runs in a child of the supervisor (`trader.process.preflight`), because strategies are an owner's own
code and candles need libraries that the supervisor shall not carry.
"""

from __future__ import annotations

from trader.config.sections import Config
from trader.errors import ConfigError, TraderError
from trader.strategy.advised import equip
from trader.strategy.registry import create


def preflight(config: Config) -> None:
    """Create every strategy once and, for a replay, read every candle once.

    Raises
    ------
    ConfigError
        With one line for each strategy that can't be used, each beginning with its key.
    MarketDataError
        Naming what is wrong in each file of candles.
    """
    try:
        equip(create(config.strategies, config.market.symbols, config.market.timeframe), config, None)
    except TraderError as error:
        raise ConfigError(str(error)) from error
    if config.market.source == "replay":
        from trader.market.replay import preflight as read_candles

        read_candles(config)
    elif config.market.source == "exchange":
        from trader.market.venue_preflight import preflight as ask_venue

        ask_venue(config)
