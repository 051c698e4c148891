"""The choice and making of a ccxt client: one object per key, for requests and for the stream.

ccxt is imported inside functions: a paper run on the simulated market never pays for it.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from trader.config.secrets import Credentials
from trader.config.sections import MarketConfig
from trader.errors import ConfigError

log = logging.getLogger(__name__)

#: venues whose sandbox was seen to have other hosts for every address (ccxt 4.5.90); the comparison is made again
#: at each start. On the others `set_sandbox_mode` fails, leaves live addresses in place, or goes to another venue.
SANDBOXES = frozenset(
    {
        "binance",
        "bitso",
        "bybit",
        "bybiteu",
        "coinbaseexchange",
        "cryptocom",
        "gate",
        "hitbtc",
        "phemex",
        "poloniex",
        "woo",
    }
)

#: headers that make a request a simulated one, for venues that have one host for both
SANDBOX_HEADERS: Mapping[str, tuple[str, str]] = {"okx": ("x-simulated-trading", "1")}

#: longest that ccxt itself waits for an answer [ms]; deadlines of single calls are shorter or equal
TIMEOUT_MS = 30_000


def venue_ids() -> list[str]:
    """Return every exchange id that ccxt has."""
    import ccxt.async_support

    return list(ccxt.async_support.exchanges)


def check_venue_id(exchange: str) -> None:
    """Refuse an exchange that ccxt does not have.

    Raises
    ------
    ConfigError
        Naming the nearest that it has.
    """
    known = venue_ids()
    if exchange in known:
        return
    near = difflib.get_close_matches(exchange.lower(), known, 1)
    hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(known)}"
    raise ConfigError(f"market.exchange: ccxt has no exchange {exchange!r}{hint}")


def has_stream(exchange: str) -> bool:
    """Tell whether ccxt can stream from a venue."""
    import ccxt.pro

    return exchange in ccxt.pro.exchanges


def make_client(market: MarketConfig, credentials: Credentials | None = None) -> Any:
    """Return a ccxt client of the configured venue, checked and closed to every live address in the sandbox.

    Parameters
    ----------
    market : MarketConfig
        Section `market`.
    credentials : Credentials, optional
        Keys; public data needs none.

    Returns
    -------
    ccxt exchange
        From ccxt.pro when `market.stream` is on and the venue has one (it makes requests as well), else from
        ccxt.async_support. Call its `close`.

    Raises
    ------
    ConfigError
        When ccxt has no such exchange, the options can not be, or the sandbox has live addresses left.
    """
    import ccxt.async_support
    import ccxt.pro

    exchange = market.exchange
    check_venue_id(exchange)
    _check_options(market.exchange_config)
    module = ccxt.pro if market.stream and has_stream(exchange) else ccxt.async_support
    made = getattr(module, exchange)
    try:
        client = made(_settings(market.exchange_config, credentials))
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"market.exchange_config: {exchange} can not be made with it: {error}") from error
    # whatever the settings said: a repeated order request would be a second order
    client.options["maxRetriesOnFailure"] = 0
    client.enableRateLimit = True
    _narrow_to_spot(client, market.exchange_config.get("options", {}))
    if market.sandbox:
        _switch_to_sandbox(client)
    return client


def _settings(given: Mapping[str, Any], credentials: Credentials | None) -> dict[str, Any]:
    settings: dict[str, Any] = {"timeout": TIMEOUT_MS, **given, "enableRateLimit": True}
    settings["options"] = {"defaultType": "spot", **settings.get("options", {})}
    if credentials is not None:
        settings |= {"apiKey": credentials.api_key.reveal(), "secret": credentials.secret.reveal()}
        if credentials.password is not None:
            settings["password"] = credentials.password.reveal()
    return settings


# spot markets alone where a venue would load all its kinds, and no private request for public facts
def _narrow_to_spot(client: Any, given: Mapping[str, Any]) -> None:
    kinds = client.options.get("fetchMarkets")
    listed = kinds.get("types") if isinstance(kinds, dict) else kinds
    if "fetchMarkets" not in given and isinstance(listed, list) and "spot" in listed:
        client.options["fetchMarkets"] = {**kinds, "types": ["spot"]} if isinstance(kinds, dict) else ["spot"]
    if "fetchCurrencies" not in given and client.options.get("fetchCurrencies") is True:
        client.options["fetchCurrencies"] = False


def _check_options(given: Mapping[str, Any]) -> None:
    options = given.get("options", {})
    if not isinstance(options, Mapping):
        raise ConfigError(f"market.exchange_config.options: must be a mapping, was {type(options).__name__}")
    for place, values in (("", given), (".options", options)):
        if values.get("maxRetriesOnFailure"):
            raise ConfigError(
                f"market.exchange_config{place}.maxRetriesOnFailure: must be left out: ccxt would send orders again"
                " whose answer was lost, and they would stand twice"
            )
    if given.get("sandbox") or given.get("test") or options.get("sandboxMode") or options.get("enableDemoTrading"):
        text = "the sandbox is switched on by market.sandbox, which compares the addresses afterwards"
        raise ConfigError(f"market.exchange_config: {text}")


def _switch_to_sandbox(client: Any) -> None:
    exchange = str(client.id)
    live = set(_addresses(client.urls.get("api")))
    if exchange not in SANDBOXES and exchange not in SANDBOX_HEADERS:
        known = ", ".join(sorted(SANDBOXES | set(SANDBOX_HEADERS)))
        raise ConfigError(f"market.sandbox: no sandbox of {exchange} is known to be safe; there are: {known}")
    try:
        client.set_sandbox_mode(True)
    except Exception as error:  # ccxt raises a plain TypeError where there is none
        raise ConfigError(f"market.sandbox: {exchange} can not be switched: {type(error).__name__}: {error}") from error
    if exchange in SANDBOX_HEADERS:
        name, value = SANDBOX_HEADERS[exchange]
        if str((client.headers or {}).get(name)) != value:
            raise ConfigError(
                f"market.sandbox: {exchange} was switched, but does not send {name}: {value}; nothing is sent"
            )
        return
    left = sorted(live & set(_addresses(client.urls.get("api"))))
    if left or not client.urls.get("api"):
        raise ConfigError(f"market.sandbox: {exchange} was switched, and still has live addresses: {', '.join(left)}")


# every address in a tree of them
def _addresses(urls: Any) -> Iterator[str]:
    if isinstance(urls, str):
        yield urls
    elif isinstance(urls, Mapping):
        for value in urls.values():
            yield from _addresses(value)
    elif isinstance(urls, list):
        for value in urls:
            yield from _addresses(value)
