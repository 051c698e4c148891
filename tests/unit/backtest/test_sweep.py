"""Sweeps: the space, the same figures wherever they are computed, memory, and walk-forward."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.backtest.conftest import config_of
from trader.backtest import sweep as sweeping
from trader.backtest.heatmap import heat_maps, page
from trader.backtest.history import load
from trader.backtest.runner import run
from trader.backtest.settings import with_values
from trader.backtest.space import Axis, combinations, parse_axis
from trader.backtest.sweep import Sweeper, sweep
from trader.backtest.walkforward import walk_forward, windows
from trader.clock import NS_PER_DAY
from trader.errors import ConfigError, TraderError

GRID = (Axis("strategies.0.params.period", (7, 14)), Axis("exits.stop_loss_frac", (0.01, 0.02, 0.03)))


def silent(stage: str, done: float) -> None:
    """Show no progress."""


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("a.b=10:14:2", "a.b", (10, 12, 14)),
        ("a=0.1:0.3:0.1", "a", (0.1, 0.2, 0.3)),
        ("a=1:2:0.5", "a", (1.0, 1.5, 2.0)),
        ("a=1,2.5,true,null,rsi", "a", (1, 2.5, True, None, "rsi")),
        ("a=x:y", "a", ("x:y",)),
        ("a=-0.2:0.2:0.2", "a", (-0.2, 0.0, 0.2)),
    ],
)
def test_parse_axis_reads_ranges_and_lists(text: str, key: str, values: tuple[object, ...]) -> None:
    """Both ends belong to a range, and 0.1 + 0.2 is 0.3."""
    axis = parse_axis(text)
    assert (axis.key, axis.values) == (key, values)
    assert [type(value) for value in axis.values] == [type(value) for value in values]


@pytest.mark.parametrize("text", ["a", "=1", "a=", "a=3:1:1", "a=1:3:0", "a=1:2", "a=0:1:0.0000000001"])
def test_parse_axis_refuses_what_it_can_not_read(text: str) -> None:
    """The message repeats what was given."""
    with pytest.raises(ConfigError, match="--set"):
        parse_axis(text)


def test_combinations_are_the_whole_grid_or_a_sample_without_repetition() -> None:
    """The last key changes fastest; a sample is the same for the same seed."""
    whole = combinations(GRID)
    assert len(whole) == 6
    assert [one["exits.stop_loss_frac"] for one in whole[:3]] == [0.01, 0.02, 0.03]
    sample = combinations(GRID, 4, seed=3)
    assert len({tuple(one.values()) for one in sample}) == 4
    assert sample == combinations(GRID, 4, seed=3)
    huge = [Axis(f"k{index}", tuple(range(1000))) for index in range(6)]
    assert len(combinations(huge, 50)) == 50
    with pytest.raises(ConfigError, match="combinations, more than"):
        combinations(huge)
    with pytest.raises(ConfigError, match="given twice"):
        combinations([GRID[0], GRID[0]])


def test_with_values_names_the_key_that_does_not_exist(market: Path) -> None:
    """With the nearest that does."""
    config = config_of(market)
    with pytest.raises(ConfigError, match=r"did you mean exits\.stop_loss_frac"):
        with_values(config, {"risk.stop_loss_frac": 0.1})
    with pytest.raises(ConfigError, match="the list has entries 0 to 0"):
        with_values(config, {"strategies.3.params.period": 7})
    with pytest.raises(ConfigError, match="must be below 1"):
        with_values(config, {"exits.stop_loss_frac": 3})
    assert with_values(config, {"strategies.0.params.period": 7}).strategies[0].params == {"period": 7}
    assert config.strategies[0].params == {}


def test_sweep_gives_each_combination_the_figures_of_its_own_backtest(market: Path) -> None:
    """Sharing opinions between combinations changes nothing."""
    config = config_of(market)
    result = sweep(config, load(config.market), combinations(GRID))
    assert len(result.outcomes) == 6
    for outcome in result.outcomes:
        assert outcome.metrics == run(with_values(config, outcome.values)).metrics
    figures = [outcome.figure("sharpe") for outcome in result.outcomes]
    assert figures == sorted(figures, reverse=True)
    assert len({outcome.metrics for outcome in result.outcomes}) == 6


def test_sweep_in_processes_gives_the_same_as_in_this_one(market: Path) -> None:
    """Two workers that map the candles."""
    config = config_of(market)
    history = load(config.market)
    alone = sweep(config, history, combinations(GRID))
    with Sweeper(config, history, combinations(GRID), workers=2) as sweeper:
        together = sweeper.run()
    assert together.outcomes == alone.outcomes
    assert (together.workers, alone.workers) == (2, 1)
    assert together.deflated == alone.deflated
    assert not list(Path("/dev/shm").glob("trader-sweep-*"))


def test_sweep_says_that_a_worker_died(market: Path) -> None:
    """A worker that is killed (for want of memory, say) ends the sweep with a sentence, and leaves nothing behind."""
    config = config_of(market)
    sweeper = Sweeper(config, load(config.market), combinations(GRID), workers=2)
    with sweeper:
        sweeper.run()
        for worker in multiprocessing.active_children():
            worker.kill()
        with pytest.raises(TraderError, match="a worker process of the sweep died"):
            sweeper.run()
    assert not list(Path("/dev/shm").glob("trader-sweep-*"))


def test_sweep_shows_a_combination_that_is_not_allowed_and_goes_on(market: Path) -> None:
    """An impossible value is an outcome without figures, at the end."""
    config = config_of(market)
    result = sweep(config, load(config.market), combinations([Axis("strategies.0.params.oversold", (30, 90))]))
    assert [outcome.values["strategies.0.params.oversold"] for outcome in result.outcomes] == [30, 90]
    assert "needs 0 < oversold < overbought" in result.outcomes[1].problem
    assert result.outcomes[1].metrics is None


@pytest.mark.parametrize("key", ["risk.nonsense", "market.timeframe", "strategies.7.params.period"])
def test_sweep_refuses_a_key_that_can_not_be_swept(market: Path, key: str) -> None:
    """Before anything is started."""
    config = config_of(market)
    with pytest.raises(ConfigError, match=key.split(".", maxsplit=1)[0]):
        Sweeper(config, load(config.market), combinations([Axis(key, (1, 2))]))


def test_sweep_that_would_not_fit_is_refused_with_the_estimate(market: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says how many workers would fit."""
    config = config_of(market)
    history = load(config.market)
    needed = sweeping.estimate_bytes(history, 2, 1)
    monkeypatch.setattr(sweeping, "free_bytes", lambda: needed)
    with pytest.raises(ConfigError, match=r"would need about 0\.\d GiB with 2 workers; .* are free: use --workers 1"):
        Sweeper(config, history, combinations(GRID), workers=2)
    monkeypatch.setattr(sweeping, "free_bytes", lambda: 1000)
    with pytest.raises(ConfigError, match="use --since and --until"):
        Sweeper(config, history, combinations(GRID), workers=1)


def test_sweep_warns_that_the_best_of_many_is_luck(market: Path) -> None:
    """A random walk has no edge, whatever the best of forty combinations shows."""
    config = config_of(market)
    tries = combinations([Axis("strategies.0.params.period", tuple(range(5, 25))), GRID[1]])
    result = sweep(config, load(config.market), tries)
    assert result.trials == 60
    assert "more than luck" in result.warning
    assert result.deflated is not None
    assert result.deflated.trials == 60
    assert result.document()["warning"] == result.warning


def test_heat_map_has_the_best_figure_of_each_pair(market: Path) -> None:
    """One map for two keys; the page stands alone."""
    config = config_of(market)
    result = sweep(config, load(config.market), combinations(GRID))
    (one,) = heat_maps(result)
    assert (one.values_y, one.values_x) == ((7, 14), (0.01, 0.02, 0.03))
    for y, line in zip(one.values_y, one.figures, strict=True):
        for x, figure in zip(one.values_x, line, strict=True):
            wanted = {one.key_y: y, one.key_x: x}
            assert figure == next(o.figure("sharpe") for o in result.outcomes if o.values == wanted)
    text = page(result, None)
    assert '"heatmap"' in text
    assert "<script src" not in text


def test_windows_roll_by_one_test_and_end_with_the_history() -> None:
    """Tests follow each other without a gap; the last one may be short."""
    found = windows(0, 100 * NS_PER_DAY, 30, 20)
    assert [tuple(at // NS_PER_DAY for at in one) for one in found] == [
        (0, 30, 50),
        (20, 50, 70),
        (40, 70, 90),
        (60, 90, 100),
    ]
    with pytest.raises(ConfigError, match=r"has 10\.0 days only"):
        windows(0, 10 * NS_PER_DAY, 30, 20)


def test_walk_forward_tests_what_training_chose(market: Path) -> None:
    """Each test is a backtest of the chosen combination on days that the choice has not seen."""
    config = config_of(market)
    history = load(config.market)
    with Sweeper(config, history, combinations(GRID)) as sweeper:
        walked = walk_forward(sweeper, 30, 20, "sharpe", silent)
    assert len(walked.steps) == 3
    growth = 1.0
    for step in walked.steps:
        assert step.train_ns[1] == step.test_ns[0]
        trained = sweep(config, history.between(*step.train_ns), combinations(GRID))
        assert trained.best is not None
        assert step.values == trained.best.values
        tested = run(with_values(config, step.values), history.between(*step.test_ns)).metrics
        assert step.tested == tested
        growth *= 1.0 + tested.total_return_frac
    assert walked.total_return_frac == pytest.approx(growth - 1.0)


@pytest.fixture
def cluster() -> Iterator[str]:
    """Address of a real scheduler with two worker processes on loopback."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1", silence_logs=50
    ) as made:
        yield made.scheduler_address


@pytest.mark.filterwarnings("default")
def test_sweep_on_a_dask_cluster_gives_the_same(market: Path, cluster: str) -> None:
    """A scheduler and two workers, each a process; the same outcomes in the same order."""
    config = config_of(market)
    history = load(config.market)
    with Sweeper(config, history, combinations(GRID), dask=cluster) as sweeper:
        assert sweeper.workers == 2
        found = sweeper.run()
        walked = walk_forward(sweeper, 30, 30, "sharpe", silent)
    assert found.outcomes == sweep(config, history, combinations(GRID)).outcomes
    with Sweeper(config, history, combinations(GRID)) as here:
        same = walk_forward(here, 30, 30, "sharpe", silent)
    assert walked.document() == same.document()


@pytest.mark.filterwarnings("default")
def test_sweep_without_a_scheduler_says_so(market: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where nobody listens."""
    config = config_of(market)
    with pytest.raises(TraderError, match=r"--dask tcp://127\.0\.0\.1:9: no scheduler answers there"):
        Sweeper(config, load(config.market), combinations(GRID), dask="tcp://127.0.0.1:9")
