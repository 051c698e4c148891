"""The engine alone: it trades as the service does, goes on where it was, and refuses what can not be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trader import AutonomousDecisionEngine, EmaTrendStrategy, SimpleRSIStrategy
from trader.config.sections import Config
from trader.domain.market import Candles
from trader.domain.round_trip import RoundTrip
from trader.errors import ConfigError, MarketDataError
from trader.ledger.audit import audit
from trader.ledger.reader import LedgerReader
from trader.state.paths import InstancePaths
from trader.strategy.base import Strategy
from trader.units import timeframe_ns

HOUR_NS = 3_600_000_000_000
BARS = 400
CONFIG = Config.model_validate({"risk": {"min_confidence_threshold": 0.5}, "exits": {"trailing_stop_frac": 0.02}})


def _candles(symbol: str, seed: int, timeframe: str = "1h") -> Candles:
    close = np.round(60_000 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.006, BARS))), 2)
    opened = np.append(close[:1], close[:-1])
    high, low = np.maximum(opened, close), np.minimum(opened, close)
    open_ns = 1_704_067_200_000_000_000 + timeframe_ns(timeframe) * np.arange(BARS)
    return Candles(symbol, timeframe, open_ns, opened, high, low, close, np.ones(BARS))


MARKET = (_candles("BTC/USDT", 1), _candles("ETH/USDT", 2))


def _strategies() -> list[Strategy]:
    return [SimpleRSIStrategy(symbol="BTC/USDT"), EmaTrendStrategy()]


def _trades(ledger: Path) -> list[RoundTrip]:
    with LedgerReader(ledger) as reader:
        return reader.round_trips()


def test_play_leaves_trades_in_a_ledger_that_agrees(tmp_path: Path) -> None:
    """Every opinion is recorded, and the books close to the last decimal."""
    path = tmp_path / "ledger.db"
    with AutonomousDecisionEngine.alone(_strategies(), MARKET, path, CONFIG) as engine:
        assert engine.play() == BARS
        account = engine.account
    assert account["round_trips"] > 5
    assert account["decisions"] == 3 * BARS
    assert len(_trades(path)) == account["round_trips"]
    assert audit(InstancePaths(tmp_path, tmp_path, tmp_path)).differences == ()


def test_play_in_pieces_is_the_same_as_at_once(tmp_path: Path) -> None:
    """Opened again on its ledger, an engine goes on after the last candle, positions and plans included."""
    whole, pieces = tmp_path / "whole.db", tmp_path / "pieces.db"
    with AutonomousDecisionEngine.alone(_strategies(), MARKET, whole, CONFIG) as engine:
        engine.play()
        at_once = engine.account
    first_ns = int(MARKET[0].open_ns[0])
    for bars in (97, 98, 260, BARS):
        with AutonomousDecisionEngine.alone(_strategies(), MARKET, pieces, CONFIG) as engine:
            engine.play(first_ns + bars * HOUR_NS)
            in_pieces = engine.account
    assert in_pieces == pytest.approx(at_once, nan_ok=True)
    assert _trades(pieces) == _trades(whole)


def test_alone_what_can_not_be_is_refused_by_name(tmp_path: Path) -> None:
    """Before a ledger is begun."""
    path = tmp_path / "ledger.db"
    with pytest.raises(ConfigError, match="DOGE/USDT is not in market"):
        AutonomousDecisionEngine.alone([SimpleRSIStrategy(symbol="DOGE/USDT")], MARKET, path)
    with pytest.raises(ConfigError, match="ETH/USDT: candles of 5m, but BTC/USDT has 1h"):
        AutonomousDecisionEngine.alone(_strategies(), (MARKET[0], _candles("ETH/USDT", 2, "5m")), path)
    with pytest.raises(ConfigError, match="needs candles"):
        AutonomousDecisionEngine.alone(_strategies(), (), path)
    bad = _candles("BTC/USDT", 1)
    bad.low[7] = np.nan
    with pytest.raises(MarketDataError, match="BTC/USDT"):
        AutonomousDecisionEngine.alone(_strategies()[:1], (bad,), path)
    assert not path.exists()
