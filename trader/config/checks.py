"""Checks over several keys at once: what each section can not know by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trader.clock import parse_utc
from trader.config.document import Path
from trader.config.problems import SECRET_WORDS
from trader.config.sections import Config
from trader.domain.invalidation import parse
from trader.units import timeframe_ns


@dataclass(frozen=True, slots=True)
class Finding:
    """A contradiction between keys."""

    path: Path  #: the key to point at
    text: str


_NOT_IN_THE_FILE = "a secret must not stand in the file: name where it is under credentials"

_Check = Callable[[Config], Iterator[Finding]]


def findings(config: Config, ignored: frozenset[Path] = frozenset()) -> list[Finding]:
    """Return every contradiction in a configuration whose keys are valid one by one.

    Parameters
    ----------
    config : Config
        The configuration.
    ignored : frozenset of path
        Keys that are already known to be wrong: no check that reads one of them is made.

    Returns
    -------
    list of Finding
        Empty when there is none.
    """
    return [
        finding
        for keys, check in _CHECKS
        if not any(_touches(key, wrong) for key in keys for wrong in ignored)
        for finding in check(config)
    ]


def _touches(key: Path, wrong: Path) -> bool:
    shorter = min(len(key), len(wrong))
    return key[:shorter] == wrong[:shorter]


def _replay_has_candles(config: Config) -> Iterator[Finding]:
    if config.market.source == "replay" and config.market.candles is None:
        yield Finding(("market", "candles"), "is missing: market.source replay needs a folder of candle files")


def _bounds_are_ordered(config: Config) -> Iterator[Finding]:
    since, until = config.market.since, config.market.until
    if since is not None and until is not None and parse_utc(since) >= parse_utc(until):
        yield Finding(("market", "until"), f"must be after market.since ({since}), was {until}")


def _rules_fit_the_candles(config: Config) -> Iterator[Finding]:
    base_ns = timeframe_ns(config.market.timeframe)
    for index, text in enumerate(config.exits.invalidations):
        if not parse(text).fits(base_ns):
            problem = f"{text!r}: its timeframe is no multiple of market.timeframe, which is {config.market.timeframe}"
            yield Finding(("exits", "invalidations", index), problem)


def _symbols_share_the_quote(config: Config) -> Iterator[Finding]:
    for index, symbol in enumerate(config.market.symbols):
        quote = symbol.partition("/")[2].partition(":")[0]
        if quote != config.quote:
            text = f"{symbol} is paid in {quote}, and the account is kept in {config.quote} (quote)"
            yield Finding(("market", "symbols", index), text)


def _instruments_are_traded(config: Config) -> Iterator[Finding]:
    for symbol in config.market.instruments:
        if symbol not in config.market.symbols:
            yield Finding(("market", "instruments", symbol), f"{symbol} is not in market.symbols")


def _strategies_are_fed(config: Config) -> Iterator[Finding]:
    for index, strategy in enumerate(config.strategies):
        if strategy.symbols is not None and not strategy.symbols:
            yield Finding(("strategies", index, "symbols"), "must not be empty; null means all of market.symbols")
        for place, symbol in enumerate(strategy.symbols or ()):
            if symbol not in config.market.symbols:
                yield Finding(("strategies", index, "symbols", place), f"{symbol} is not in market.symbols")


def _real_orders_need_a_venue(config: Config) -> Iterator[Finding]:
    if not config.engine.enable_trading:
        return
    if config.market.source != "exchange":
        text = f"real orders need market.source: exchange, was {config.market.source}"
        yield Finding(("engine", "enable_trading"), text)
    elif config.credentials.api_key is None or config.credentials.secret is None:
        yield Finding(("engine", "enable_trading"), "real orders need credentials.api_key and credentials.secret")


def _no_secret_for_the_venue(config: Config) -> Iterator[Finding]:
    for path in _secret_keys(config.market.exchange_config, ("market", "exchange_config")):
        yield Finding(path, _NOT_IN_THE_FILE)


def _no_secret_for_a_strategy(config: Config) -> Iterator[Finding]:
    for index, strategy in enumerate(config.strategies):
        for path in _secret_keys(strategy.params, ("strategies", index, "params")):
            yield Finding(path, _NOT_IN_THE_FILE)


def _secret_keys(values: Mapping[str, Any], path: Path) -> Iterator[Path]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _secret_keys(value, (*path, key))
        elif isinstance(value, str) and value and any(word in key.lower() for word in SECRET_WORDS):
            yield (*path, key)


#: keys that a check reads, and the check
_CHECKS: tuple[tuple[tuple[Path, ...], _Check], ...] = (
    ((("market", "source"), ("market", "candles")), _replay_has_candles),
    ((("market", "since"), ("market", "until")), _bounds_are_ordered),
    ((("market", "timeframe"), ("exits", "invalidations")), _rules_fit_the_candles),
    ((("market", "symbols"), ("quote",)), _symbols_share_the_quote),
    ((("market", "symbols"), ("market", "instruments")), _instruments_are_traded),
    ((("market", "symbols"), ("strategies",)), _strategies_are_fed),
    ((("engine", "enable_trading"), ("market", "source"), ("credentials",)), _real_orders_need_a_venue),
    ((("market", "exchange_config"),), _no_secret_for_the_venue),
    ((("strategies",),), _no_secret_for_a_strategy),
)
