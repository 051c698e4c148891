"""What risk knows of the candles before the first one that it sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trader.config.sections import Config
from trader.core.kernels import on_candles
from trader.core.records import CANDLE, MAX_GAUGES, fund, new_desk, new_events, new_slots
from trader.core.rulebook import gauge_rows, write_gauges
from trader.domain.invalidation import Gauge
from trader.domain.market import Candles
from trader.errors import ConfigError
from trader.risk.exit_plan import write_limits
from trader.risk.lookback import closes_as_rows, correlation_bars, gauges_of, keep_gauges, warming_bars
from trader.risk.manager import EnhancedRiskManager

MINUTE_NS = 60 * 10**9
START_NS = 1_704_276_000 * 10**9  # 2024-01-03T10:00:00Z
SYMBOLS = ("BTC/USDT", "ETH/USDT")


def _config(**sections: dict[str, Any]) -> Config:
    return Config.model_validate({"market": {"timeframe": "5m"}, **sections})


def _candles(count: int, seed: int = 3) -> Candles:
    """Return a random walk of closes, five minutes each."""
    close = 100.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0.0, 0.01, count)))
    open_ns = START_NS + 5 * MINUTE_NS * np.arange(count, dtype=np.int64)
    return Candles("BTC/USDT", "5m", open_ns, close, close + 2.0, close - 2.0, close, np.full(count, 7.0))


def _watched(candles: Candles, gauges: tuple[Gauge, ...]) -> Any:
    """Return a slot that has seen every candle live."""
    desk, slots, events = new_desk(), new_slots(1), new_events(1)
    write_limits(desk, _config(), 1)
    fund(desk, 10_000.0)
    slots["tick_size"] = slots["lot_size"] = 1e-8
    write_gauges(slots[0], gauges)
    for row in closes_as_rows(0, candles):
        on_candles(desk, slots, np.array([row], CANDLE), 1, events)
    return slots[0]


def test_gauges_of_configuration_come_first_and_once() -> None:
    """A gauge that a rule and a strategy both name is kept once; rules without one need none."""
    config = _config(exits={"invalidations": ["age over 20h", "RSI(5) below 25 on 2h"]})
    mine, own = Gauge.of("", 7), Gauge.of("2h", 5)
    assert gauges_of(config, [mine, own]) == (own, mine)


def test_gauges_of_more_than_there_is_room_for_are_refused_naming_all() -> None:
    """As many as there is room for are fine; one more is a mistake of the configuration."""
    full = [Gauge.of("", 2 + number) for number in range(MAX_GAUGES)]
    assert gauges_of(_config(), full) == tuple(full)
    with pytest.raises(ConfigError, match=rf"RSI\(99\).*room for {MAX_GAUGES}"):
        gauges_of(_config(), [*full, Gauge.of("", 99)])


@pytest.mark.parametrize(
    ("gauge", "bars"),
    [
        (Gauge.of("", 14), 57),  # four periods of closes, and one for the first change
        (Gauge.of("5m", 14), 57),
        (Gauge.of("1h", 14), 57 * 12),
        (Gauge.of("1d", 30), 20_000),  # 34,848 were needed
    ],
)
def test_warming_bars_are_four_periods_of_the_gauges_own_candles(gauge: Gauge, bars: int) -> None:
    """Longer timeframes take more of the market's candles, up to a bound."""
    assert warming_bars(_config(), [gauge]) == bars
    assert warming_bars(_config(), [Gauge.of("", 2), gauge]) == bars


def test_warming_bars_without_gauges_are_what_correlations_need() -> None:
    """A window of returns needs one close more; without a limit on correlated exposure nobody looks."""
    limited = _config(risk={"max_correlated_exposure_frac": 0.3, "correlation_window_bars": 24})
    assert (correlation_bars(limited), warming_bars(limited, [])) == (24, 25)
    assert (correlation_bars(_config()), warming_bars(_config(), [])) == (0, 1)


def test_keep_gauges_warmed_by_history_stand_where_watching_would_have_brought_them() -> None:
    """An RSI that reads the candles before knows to the bit what one knows that was there."""
    gauges, candles = (Gauge.of("", 5), Gauge.of("1h", 3)), _candles(100)
    slots = new_slots(2)
    asked: list[tuple[int, int]] = []

    def history(slot: int, bars: int) -> Candles:
        asked.append((slot, bars))
        return candles

    keep_gauges(slots, gauges, 77, history)
    live = _watched(candles, gauges)
    assert asked == [(0, 77), (1, 77)]
    for slot in slots:
        assert gauge_rows(slot) == gauge_rows(live)
        assert slot["watched_close"] == live["watched_close"] == candles.close[-1]


def test_keep_gauges_that_are_there_go_on_and_only_new_ones_read_history() -> None:
    """What the ledger has restored is not computed anew; a slot with nothing new asks for no candles."""
    old, new, candles = Gauge.of("", 5), Gauge.of("1h", 3), _candles(60)
    slots = np.array([_watched(_candles(60, seed=9), (old,))])
    before = gauge_rows(slots[0])
    keep_gauges(slots, (new, old), 9, lambda _slot, _bars: candles)
    assert gauge_rows(slots[0]) == [*before, *gauge_rows(_watched(candles, (new,)))]
    keep_gauges(slots, (new, old), 9, lambda _slot, _bars: pytest.fail("nothing is new"))


def test_keep_gauges_without_candles_know_nothing_yet() -> None:
    """A market that is new has no history: no close is made up."""
    slots = new_slots(1)
    slots["watched_close"] = 42.0
    keep_gauges(slots, (Gauge.of("", 5),), 9, lambda _slot, _bars: _candles(0))
    assert gauge_rows(slots[0]) == [[0, 5, 0, 0.0, 0.0, 0.0]]
    assert slots[0]["watched_close"] == 42.0


def test_closes_as_rows_close_a_timeframe_after_they_open() -> None:
    """Every field of a candle goes over."""
    candles = _candles(3)
    rows = closes_as_rows(1, candles)
    assert rows["slot"].tolist() == [1, 1, 1]
    assert (rows["close_ns"] - candles.open_ns).tolist() == [5 * MINUTE_NS] * 3
    for name in ("open_ns", "open", "high", "low", "close", "volume"):
        assert np.array_equal(rows[name], getattr(candles, name))


def test_look_back_keeps_the_closes_that_the_window_of_correlations_needs() -> None:
    """One close more than returns for each symbol; later candles take the place of the oldest."""
    config = _config(risk={"max_correlated_exposure_frac": 0.3, "correlation_window_bars": 12})
    desk, slots = new_desk(), new_slots(2)
    risk = EnhancedRiskManager(desk, slots, SYMBOLS)
    asked: list[tuple[int, int]] = []

    def history(slot: int, bars: int) -> Candles:
        asked.append((slot, bars))
        return _candles(bars, seed=slot)

    risk.look_back(config, [], history)
    assert asked == [(0, 13), (1, 13)]
    assert risk.closes is not None
    for slot in range(2):
        assert sorted(risk.closes[slot]["close"]) == pytest.approx(sorted(_candles(13, seed=slot).close))
    risk.watch(closes_as_rows(0, _candles(14))[-1:])
    kept_ns = sorted(risk.closes[0]["close_ns"])
    assert (kept_ns[0], kept_ns[-1]) == (START_NS + 10 * MINUTE_NS, START_NS + 14 * 5 * MINUTE_NS)
    assert min(risk.closes[1]["close_ns"]) == START_NS + 5 * MINUTE_NS


def test_look_back_without_a_limit_on_correlations_keeps_nothing() -> None:
    """Closes that nobody asks for are not read, and candles pass by."""
    risk = EnhancedRiskManager(new_desk(), new_slots(2), SYMBOLS)
    risk.look_back(_config(), [], lambda _slot, _bars: pytest.fail("nobody needs candles"))
    risk.watch(closes_as_rows(0, _candles(1)))
    assert risk.closes is None
