"""Candles are put together without losing a high, a low or volume, and never show what is still to come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader.config.sections import Config
from trader.dashboard.candles import Bars, CandleHistory, together
from trader.market.simulated import EPOCH_NS

MINUTE_NS = 60 * 10**9


def _bars(count: int, seed: int = 1, start_ns: int = EPOCH_NS) -> Bars:
    noise = np.random.default_rng(seed)
    o, c = noise.uniform(90, 110, (2, count))
    return Bars(
        start_ns + np.arange(count) * MINUTE_NS,
        (o, np.maximum(o, c) + 1, np.minimum(o, c) - 1, c, noise.uniform(0, 5, count)),
    )


@given(count=st.integers(1, 3000), most=st.integers(2, 500), shift=st.integers(0, 10_000), seed=st.integers(0, 9))
def test_together_keeps_extremes_ends_and_volume(count: int, most: int, shift: int, seed: int) -> None:
    """However many there were: few enough, first open, last close, highest, lowest and all the volume are there."""
    bars = _bars(count, seed, EPOCH_NS + shift * MINUTE_NS)
    few, step_ns = together(bars, MINUTE_NS, most)
    assert len(few) <= max(most, 1) + 1
    assert step_ns % MINUTE_NS == 0
    o, h, low, c, volume = bars.prices
    found = few.prices
    assert (found[0][0], found[3][-1]) == (o[0], c[-1])
    assert (found[1].max(), found[2].min()) == (h.max(), low.min())
    assert found[4].sum() == pytest.approx(volume.sum())
    assert np.all(np.diff(few.open_ns) > 0)
    if step_ns > MINUTE_NS:
        assert np.all(few.open_ns % step_ns == 0)


def test_history_of_the_simulated_market_ends_now() -> None:
    """Asked again later it has grown by exactly what has closed since, and the old part is the same."""
    history = CandleHistory(Config())
    first = history.bars("BTC/USDT", EPOCH_NS + 100 * MINUTE_NS)
    assert int(first.open_ns[-1]) == EPOCH_NS + 99 * MINUTE_NS
    later = history.bars("BTC/USDT", EPOCH_NS + 130 * MINUTE_NS)
    assert len(later) == len(first) + 30
    assert np.array_equal(later.prices[3][: len(first)], first.prices[3])
    assert len(history.bars("BTC/USDT", EPOCH_NS + 100 * MINUTE_NS)) == len(first)
    assert len(history.bars("BTC/USDT", 0)) == 0


def test_history_of_an_exchange_without_files_is_empty() -> None:
    """Nothing was downloaded, nothing is shown, nothing fails."""
    config = Config.model_validate({"market": {"source": "exchange", "symbols": ["BTC/USDT"]}})
    assert len(CandleHistory(config).bars("BTC/USDT", EPOCH_NS)) == 0


@pytest.mark.data
def test_history_of_a_replay_is_its_file_up_to_now(real_candles: Path) -> None:
    """The future of a replay is not shown."""
    folder = real_candles / "genetrader-binance-2024"
    config = Config.model_validate(
        {"market": {"source": "replay", "candles": str(folder), "timeframe": "1h", "symbols": ["BTC/USDT"]}}
    )
    history = CandleHistory(config)
    whole = history.bars("BTC/USDT", 2**62)
    half_ns = int(whole.open_ns[len(whole) // 2])
    half = history.bars("BTC/USDT", half_ns)
    assert int(half.open_ns[-1]) == half_ns - 60 * MINUTE_NS
