"""Many configurations over one history: on all cores, or on a cluster.

Each worker process holds the history once, asks a strategy once per set of its parameters, and plays every
combination that differs in limits, exits or costs only on the same opinions. What is compiled runs
without Python's lock, and nothing is shared that could be written.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from trader.backtest.falls import falls_of
from trader.backtest.history import History
from trader.backtest.opinions import Columns, ask
from trader.backtest.positions import positions, trips_of
from trader.backtest.runner import bind, curve_of, interval_ns, simulate
from trader.backtest.settings import with_values
from trader.backtest.significance import Deflated, Moments, deflated_sharpe, moments
from trader.config.sections import Config
from trader.domain.market import FloatArray
from trader.domain.metrics import Metrics, daily_equity, measure, simple_returns
from trader.errors import ConfigError, TraderError
from trader.strategy.indicators import Memory, remembering

Progress = Callable[[str, float], None]

#: strategies' opinions that a worker keeps at most [bytes]
CACHE_BYTES = 256 * 2**20
#: indicators that a worker keeps at most [bytes]
MEMORY_BYTES = 128 * 2**20
#: of the memory that is free, what a sweep may take
_SHARE = 0.8
#: what a worker takes before it has any candle: interpreter, numpy, the compiler [bytes]
_WORKER_BYTES = 180 * 2**20
#: from how much work on processes are worth their start [bars x combinations]
_WORTH_PROCESSES = 20_000_000

#: figures by which the best combination can be chosen; more is better
OBJECTIVES = tuple(
    item.name
    for item in fields(Metrics)
    if item.name
    in {
        "sharpe",
        "sortino",
        "calmar",
        "total_return_frac",
        "cagr_frac",
        "profit_factor",
        "expectancy",
        "sqn",
        "win_rate_frac",
    }
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one combination came to; `problem` says why it could not be run."""

    number: int
    values: dict[str, Any]
    metrics: Metrics | None
    daily: Moments | None = None  #: of its daily returns, as the deflated ratio needs them
    problem: str = ""

    def figure(self, objective: str) -> float:
        """Return the figure that combinations are ranked by; minus infinity where there is none."""
        value = getattr(self.metrics, objective) if self.metrics is not None else None
        return -math.inf if value is None else float(value)


@dataclass(frozen=True, slots=True)
class SweepResult:
    """All combinations, the best first, and what the best is worth."""

    outcomes: tuple[Outcome, ...]
    objective: str
    trials: int
    deflated: Deflated | None
    workers: int
    bars: int
    elapsed_s: float

    @property
    def best(self) -> Outcome | None:
        """The best combination that has a figure to be ranked by."""
        first = self.outcomes[0] if self.outcomes else None
        return first if first is not None and first.figure(self.objective) > -math.inf else None

    @property
    def warning(self) -> str:
        """What to say of the best combination before anyone trades it; empty when it is convincing."""
        if self.best is None:
            return "no combination has a figure to be ranked by"
        if self.deflated is None:
            return "the best combination has no Sharpe ratio: whether it is luck can not be told"
        if self.deflated.convincing:
            return ""
        return (
            f"the best of {self.trials} trials without skill would show a daily Sharpe ratio of"
            f" {self.deflated.expected_best:.3f}; this one has {self.deflated.sharpe:.3f}. The probability that it is"
            f" more than luck is {self.deflated.probability:.1%} (deflated Sharpe ratio, Bailey, Lopez de Prado 2014)"
        )

    def document(self) -> dict[str, Any]:
        """Return the result as plain values for JSON."""
        return {
            "objective": self.objective,
            "trials": self.trials,
            "workers": self.workers,
            "bars": self.bars,
            "elapsed_s": self.elapsed_s,
            "best": _document(self.best) if self.best else None,
            "deflated_sharpe": asdict(self.deflated) | {"convincing": self.deflated.convincing}
            if self.deflated
            else None,
            "warning": self.warning or None,
            "combinations": [_document(outcome) for outcome in self.outcomes],
        }


def _document(outcome: Outcome) -> dict[str, Any]:
    return {
        "number": outcome.number,
        "values": outcome.values,
        "metrics": asdict(outcome.metrics) if outcome.metrics is not None else None,
        "problem": outcome.problem or None,
    }


# ----------------------------------------------------------------------------------- one worker


class Worker:
    """Plays combinations on one history and remembers what strategies said.

    Parameters
    ----------
    config : Config
        What combinations differ from.
    history : History
        The candles.
    """

    def __init__(self, config: Config, history: History) -> None:
        self._config = config
        self._history = history
        self._said: OrderedDict[str, Columns] = OrderedDict()
        self._part: tuple[tuple[int, int], Worker] | None = None
        self._kept = 0
        self._memory = Memory(MEMORY_BYTES)

    def play(self, number: int, values: dict[str, Any]) -> Outcome:
        """Return what a combination comes to; one that is not allowed is an outcome, no error."""
        try:
            metrics, returns = self.figures(values)
        except TraderError as error:
            return Outcome(number, values, None, problem=str(error))
        return Outcome(number, values, metrics, moments(returns))

    def within(self, window: tuple[int, int] | None) -> Worker:
        """Return the worker for a part of the history, from one open to another [ns UTC]; None: the whole."""
        if window is None:
            return self
        if self._part is None or self._part[0] != window:
            self._part = (window, Worker(self._config, self._history.between(*window)))
        return self._part[1]

    def figures(self, values: dict[str, Any]) -> tuple[Metrics, FloatArray]:
        """Return the figures and the daily returns of a combination."""
        config = with_values(self._config, values)
        played = simulate(config, self._history, self._opinions(config))
        curve = curve_of(config, self._history, played.log)
        held = positions(played.events, len(config.strategies))
        return measure(curve, trips_of(held), falls_of(curve)), simple_returns(daily_equity(curve)[1])

    def _opinions(self, config: Config) -> list[Columns]:
        grid_ns = interval_ns(config)
        columns = []
        for section, bound in zip(config.strategies, bind(config), strict=True):
            key = json.dumps([section.model_dump(), bound.slots, grid_ns], sort_keys=True, default=str)
            found = self._said.get(key)
            if found is None:
                with remembering(self._memory):
                    found = self._said[key] = ask(bound, self._history, grid_ns)
                self._kept += found.nbytes
                while self._kept > CACHE_BYTES and len(self._said) > 1:
                    self._kept -= self._said.popitem(last=False)[1].nbytes
            self._said.move_to_end(key)
            columns.append(found)
        return columns


# in a worker process: set once, by `_begin`
_worker: Worker | None = None


def _begin(config: Config, folder: str, header: dict[str, Any]) -> None:
    """Map the history that the parent has laid down, read-only pages that all workers share."""
    global _worker  # noqa: PLW0603 - a process pool has no other place for what a worker keeps
    # copy on write: compiled code is made for writable arrays, and nobody writes
    rows = np.load(Path(folder) / "rows.npy", mmap_mode="c")
    starts = np.load(Path(folder) / "starts.npy", mmap_mode="c")
    _worker = Worker(config, History(rows=np.asarray(rows), starts=np.asarray(starts), **header))
    _worker.play(0, {})  # loads what is compiled, before there is anything to wait for


def _play_batch(batch: Sequence[tuple[int, dict[str, Any]]], window: tuple[int, int] | None) -> list[Outcome]:
    if _worker is None:
        raise TraderError("a sweep's worker was asked before it had its history")
    return [_worker.within(window).play(number, values) for number, values in batch]


def play_remotely(
    config: Config, history: History, batch: Sequence[tuple[int, dict[str, Any]]], window: tuple[int, int] | None
) -> list[Outcome]:
    """Play a batch on a worker of a cluster, which keeps the strategies' opinions for the next one."""
    key = (config.model_dump_json(), history.start_ns, history.end_ns, history.bars)
    if key not in _remote:
        _remote.clear()
        _remote[key] = Worker(config, history)
    return [_remote[key].within(window).play(number, values) for number, values in batch]


_remote: dict[Any, Worker] = {}


# ------------------------------------------------------------------------------------ the sweep


def default_workers() -> int:
    """Return how many processes this one may keep busy."""
    return len(os.sched_getaffinity(0))


class Sweeper:
    """Where combinations are played: in this process, in processes of its own, or on a cluster; use it with `with`.

    Parameters
    ----------
    config : Config
        What combinations differ from.
    history : History
        The candles.
    tries : sequence of dict
        Values by dotted key; see `trader.backtest.space`.
    workers : int, optional
        Processes; as many as there are cores by default, and none for little work.
    dask : str, optional
        Address of a Dask scheduler to play on instead.

    Raises
    ------
    ConfigError
        When it would not fit in memory, with the estimate; or a key does not exist.
    TraderError
        When no scheduler answers.
    """

    def __init__(
        self,
        config: Config,
        history: History,
        tries: Sequence[dict[str, Any]],
        workers: int | None = None,
        dask: str | None = None,
    ) -> None:
        if not tries:
            raise ConfigError("a sweep needs something to try: --set KEY=from:to:step")
        _check_keys(config, tries[0])
        self.config, self.history = config, history
        self._numbered = list(enumerate(tries))
        self._here = Worker(config, history)
        self._opened = ExitStack()
        self._pool: Executor | None = None
        self._cluster: Any = None
        self._shared: Any = None
        if dask is not None:
            self._cluster = self._opened.enter_context(_client(dask))
            self.workers = sum(self._cluster.nthreads().values())
            self._shared = self._cluster.scatter(history, broadcast=True, hash=False)
            return
        self.workers = _processes(workers, history, self._numbered)
        refuse_too_large(history, self.workers, len(config.strategies))
        if self.workers > 1:
            self._pool = self._opened.enter_context(worker_pool(config, history, self.workers))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def run(
        self, objective: str = "sharpe", window: tuple[int, int] | None = None, progress: Progress | None = None
    ) -> SweepResult:
        """Play every combination and rank them.

        Parameters
        ----------
        objective : str
            One of `OBJECTIVES`.
        window : tuple of int, optional
            First open and end of the part of the history to play [ns UTC]; the whole by default.
        progress : callable, optional
            Is told how much is done.

        Raises
        ------
        ConfigError
            When there is no such objective.
        """
        started = time.perf_counter()
        if objective not in OBJECTIVES:
            raise ConfigError(f"--objective {objective}: choose one of {', '.join(OBJECTIVES)}")
        outcomes: list[Outcome] = []
        for batch in self._played(window):
            outcomes += batch
            (progress or _silent)("sweeping", len(outcomes) / len(self._numbered))
        ranked = tuple(sorted(outcomes, key=lambda outcome: (-outcome.figure(objective), outcome.number)))
        return SweepResult(
            ranked,
            objective,
            len(ranked),
            _deflated(ranked),
            self.workers,
            self.history.bars,
            time.perf_counter() - started,
        )

    def best_of(self, values: dict[str, Any], window: tuple[int, int]) -> tuple[Metrics, FloatArray]:
        """Return figures and daily returns of one combination on a part of the history."""
        return self._here.within(window).figures(values)

    def _played(self, window: tuple[int, int] | None) -> Iterator[list[Outcome]]:
        if self._cluster is None and self._pool is None:
            worker = self._here.within(window)
            yield from ([worker.play(number, values)] for number, values in self._numbered)
            return
        batches = _batches(self._numbered, self.workers)
        if self._pool is not None:
            try:
                for done in as_completed([self._pool.submit(_play_batch, batch, window) for batch in batches]):
                    yield done.result()
            except BrokenProcessPool as error:
                raise TraderError(
                    "a worker process of the sweep died, perhaps for want of memory: use fewer --workers"
                ) from error
            return
        distributed: Any = importlib.import_module("distributed")
        sent = [
            self._cluster.submit(play_remotely, self.config, self._shared, batch, window, pure=False)
            for batch in batches
        ]
        for come in distributed.as_completed(sent):
            yield come.result()


def sweep(config: Config, history: History, tries: Sequence[dict[str, Any]], objective: str = "sharpe") -> SweepResult:
    """Play every combination on as many cores as it is worth, and rank them; see `Sweeper`."""
    with Sweeper(config, history, tries) as sweeper:
        return sweeper.run(objective)


def _silent(stage: str, done: float) -> None:
    """Show no progress."""


def _check_keys(config: Config, values: dict[str, Any]) -> None:
    """Refuse a key that no combination could have, before anything is started."""
    for key, value in values.items():
        if key.startswith(("market.", "data_dir", "instance", "dashboard.", "logging.")):
            raise ConfigError(
                f"--set {key}: a sweep has one history; sweep keys of strategies, engine, risk, exits, execution"
            )
        try:
            with_values(config, {key: value})
        except ConfigError as error:
            if "unknown key" in str(error) or "no such key" in str(error) or "the list has" in str(error):
                raise


def _processes(workers: int | None, history: History, numbered: Sequence[Any]) -> int:
    if workers is not None:
        if workers < 1:
            raise ConfigError(f"--workers {workers}: at least 1")
        return min(workers, len(numbered))
    if history.bars * len(numbered) < _WORTH_PROCESSES:
        return 1
    return min(default_workers(), len(numbered))


@contextmanager
def worker_pool(config: Config, history: History, workers: int) -> Iterator[Executor]:
    """Start processes that hold the history; the candles are written once and mapped by all.

    Parameters
    ----------
    config : Config
        What combinations differ from.
    history : History
        The candles.
    workers : int
        How many processes.
    """
    import multiprocessing

    # memory where there is a file system in it, so that mapping costs no disk
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a folder of our own is made in it
    with tempfile.TemporaryDirectory(prefix="trader-sweep-", dir=base) as folder:
        np.save(Path(folder) / "rows.npy", history.rows)
        np.save(Path(folder) / "starts.npy", history.starts)
        header = {
            item.name: getattr(history, item.name)
            for item in fields(History)
            if item.init and item.name not in ("rows", "starts")
        }
        context = multiprocessing.get_context("spawn")
        arguments = (config, folder, header)
        with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=arguments) as pool:
            yield pool


def _batches(numbered: Sequence[Any], workers: int) -> list[list[Any]]:
    """Return batches in which combinations of the same strategies' parameters stay together."""
    ordered = sorted(numbered, key=lambda item: json.dumps(_of_strategies(item[1]), sort_keys=True, default=str))
    size = max(1, math.ceil(len(ordered) / (workers * 4)))
    return [ordered[at : at + size] for at in range(0, len(ordered), size)]


def _of_strategies(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key.startswith("strategies.")}


@contextmanager
def _client(address: str) -> Iterator[Any]:
    """Connect to a scheduler that has workers."""
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError as error:
        raise ConfigError("--dask needs dask.distributed: pip install 'trader[dask]'") from error
    try:
        client = distributed.Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise TraderError(f"--dask {address}: no scheduler answers there: {error}") from error
    with client:
        if not client.nthreads():
            raise TraderError(f"--dask {address}: the scheduler has no workers")
        yield client


def _deflated(ranked: Sequence[Outcome]) -> Deflated | None:
    sharpes = [outcome.daily.sharpe for outcome in ranked if outcome.daily is not None]
    return deflated_sharpe(ranked[0].daily, sharpes, len(ranked))


# -------------------------------------------------------------------------------------- memory


def estimate_bytes(history: History, workers: int, strategies: int) -> int:
    """Return the memory that a sweep needs beside what is loaded already [bytes].

    The candles once, mapped by all; for each worker its own base, one strategy's copies of the candles while it is
    asked, the opinions that it keeps, and the curve.
    """
    bars = len(history.rows)
    opinions = bars * 25 * strategies
    per_worker = bars * (48 + 5 * 8) + max(opinions, min(CACHE_BYTES, 8 * opinions)) + bars * 16
    if workers <= 1:
        return per_worker
    return history.rows.nbytes + history.starts.nbytes + workers * (_WORKER_BYTES + per_worker)


def refuse_too_large(history: History, workers: int, strategies: int) -> None:
    """Refuse a sweep that would not fit in the memory that is free.

    Raises
    ------
    ConfigError
        With the estimate, and what would fit.
    """
    free = free_bytes()
    needed = estimate_bytes(history, workers, strategies)
    if needed <= free * _SHARE:
        return
    fits = next(
        (count for count in range(workers - 1, 0, -1) if estimate_bytes(history, count, strategies) <= free * _SHARE), 0
    )
    hint = f"use --workers {fits}" if fits else "use --since and --until, fewer symbols or a longer timeframe"
    raise ConfigError(
        f"the sweep would need about {needed / 2**30:.1f} GiB with {workers} workers;"
        f" {free / 2**30:.1f} GiB are free: {hint}"
    )


def free_bytes() -> int:
    """Return the memory that can be had without swapping [bytes]: of the machine, or of our control group if less."""
    available = 0
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return available
    return min(available, int(limit) - used) if limit.isdigit() else available
