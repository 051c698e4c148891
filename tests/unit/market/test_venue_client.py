"""The choice of a client: what ccxt has, what its options may not be, and sandboxes that are none."""

from __future__ import annotations

import ccxt
import ccxt.async_support
import ccxt.pro
import pytest

from trader.config.secrets import Credentials, Secret
from trader.config.sections import MarketConfig
from trader.errors import ConfigError
from trader.market.venue_client import SANDBOX_HEADERS, SANDBOXES, check_venue_id, make_client


def market(exchange="binance", **values):
    """Return a section for a venue."""
    return MarketConfig(source="exchange", exchange=exchange, **values)


def addresses(urls):
    """Return every address in a tree of them."""
    if isinstance(urls, str):
        return {urls}
    return {one for value in (urls.values() if isinstance(urls, dict) else urls or ()) for one in addresses(value)}


@pytest.mark.parametrize(("given", "near"), [("binanse", "binance"), ("Kraken", "kraken"), ("coinbas", "coinbase")])
def test_exchange_that_ccxt_lacks_is_refused_with_the_nearest(given, near):
    """A typing error is found before anything is asked."""
    with pytest.raises(ConfigError, match=f"no exchange '{given}'; did you mean {near}"):
        check_venue_id(given)


def test_client_streams_where_it_is_wanted_and_there_is_a_stream():
    """ccxt.pro makes requests as well."""
    assert isinstance(make_client(market()), ccxt.pro.binance)
    plain = make_client(market(stream=False))
    assert isinstance(plain, ccxt.async_support.binance)
    assert not isinstance(plain, ccxt.pro.binance)


def test_client_is_kept_to_spot_and_to_public_requests_for_public_facts():
    """Loading the markets of all kinds takes requests to hosts that nothing here trades on."""
    client = make_client(market())
    assert client.options["fetchMarkets"]["types"] == ["spot"]
    assert client.options["fetchCurrencies"] is False
    assert client.options["defaultType"] == "spot"


def test_client_takes_the_owners_settings_and_keeps_its_rate_limit():
    """The configuration goes to the constructor, but for what would be dangerous."""
    client = make_client(market(exchange_config={"timeout": 1234, "enableRateLimit": False, "options": {"x": 1}}))
    assert (client.timeout, client.options["x"], client.enableRateLimit) == (1234, 1, True)
    assert client.options["maxRetriesOnFailure"] == 0


@pytest.mark.parametrize("where", [{"maxRetriesOnFailure": 3}, {"options": {"maxRetriesOnFailure": 1}}])
def test_retries_of_ccxt_are_refused(where):
    """They would send an order again whose answer was lost."""
    with pytest.raises(ConfigError, match="maxRetriesOnFailure: must be left out"):
        make_client(market(exchange_config=where))


@pytest.mark.parametrize("where", [{"sandbox": True}, {"options": {"sandboxMode": True}}, {"options": 5}])
def test_settings_that_can_not_be_are_refused(where):
    """The sandbox has one switch, which looks at the addresses afterwards."""
    with pytest.raises(ConfigError, match=r"market\.exchange_config"):
        make_client(market(exchange_config=where))


@pytest.mark.parametrize("exchange", sorted(SANDBOXES))
def test_sandbox_of_the_list_leaves_no_live_address(exchange):
    """For each venue of the list, with the ccxt that is installed."""
    live = addresses(make_client(market(exchange)).urls["api"])
    made = addresses(make_client(market(exchange, sandbox=True)).urls["api"])
    assert made
    assert not made & live


@pytest.mark.parametrize("exchange", sorted(SANDBOX_HEADERS))
def test_sandbox_by_header_sends_the_header(exchange):
    """One host serves both there."""
    name, value = SANDBOX_HEADERS[exchange]
    assert make_client(market(exchange, sandbox=True)).headers[name] == value


@pytest.mark.parametrize("exchange", sorted(set(ccxt.exchanges) - SANDBOXES - set(SANDBOX_HEADERS)))
def test_sandbox_of_any_other_venue_is_refused(exchange):
    """On 55 of them ccxt would go on with live addresses."""
    with pytest.raises(ConfigError, match=r"market\.sandbox"):
        make_client(market(exchange, sandbox=True))


def test_sandbox_that_keeps_one_live_address_is_refused(monkeypatch):
    """A later ccxt may leave one in place: it is compared at each start, not believed."""
    good = ccxt.pro.binance.set_sandbox_mode

    def leaky(self, enabled):
        kept = self.urls["api"]["private"]
        good(self, enabled)
        self.urls["api"]["private"] = kept

    monkeypatch.setattr(ccxt.pro.binance, "set_sandbox_mode", leaky)
    with pytest.raises(ConfigError, match=r"still has live addresses: https://api\.binance\.com"):
        make_client(market(sandbox=True))


def test_keys_are_in_the_client_and_in_no_text_about_them():
    """Neither repr nor str tells them."""
    keys = Credentials(Secret("the-key-itself"), Secret("the-secret-itself"), Secret("the-password"))
    client = make_client(market(), keys)
    assert (client.apiKey, client.secret, client.password) == keys.values
    assert "itself" not in f"{keys!r} {keys}"
