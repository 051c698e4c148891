"""The monitor's service over real segments: clearance, veto, history, restarts, a broken disk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.serving import config_of, context_of
from tests.staging import MINUTE_NS, Stage, paths_in
from trader.clock import NS_PER_S, boottime_ns
from trader.codes import Role, Veto
from trader.config.sections import Config
from trader.errors import ControlError
from trader.ledger.metrics import MetricsReader
from trader.monitor.observer import stale_after_s
from trader.monitor.worker import CLEAR_TTL_NS, MonitorService
from trader.process.worker import Beat
from trader.state.reader import StateReader


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Stage a running instance with an idle account."""
    stage = Stage(paths_in(tmp_path)).start()
    yield stage
    stage.stop()


def _watch(stage: Stage, scenario: Callable[[MonitorService], Awaitable[None]]) -> None:
    segment = stage.segments[Role.MONITOR]
    segment.word("clear_until_ns").set(0)
    service = MonitorService(context_of(stage, "monitor", config_of()), segment, Beat(segment))

    async def life() -> None:
        await service.start()
        running = asyncio.create_task(service.run())
        try:
            await scenario(service)
        finally:
            await service.stop()
            await asyncio.wait_for(running, 5.0)

    asyncio.run(life())


async def _eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(8.0):
        while not condition():
            await asyncio.sleep(0.02)


def test_monitor_healthy_service_is_cleared_for_three_seconds_at_most(stage: Stage) -> None:
    """The clearance is renewed, and never worth more than its time to live."""
    reader = StateReader(stage.paths)

    async def scenario(_: MonitorService) -> None:
        await _eventually(lambda: reader.clear_until_ns() > boottime_ns())
        assert reader.clear_until_ns() <= boottime_ns() + CLEAR_TTL_NS
        first = reader.clear_until_ns()
        await _eventually(lambda: reader.clear_until_ns() > first)

    _watch(stage, scenario)
    assert reader.clear_until_ns() == 0  # a monitor that stops takes its clearance with it


def test_monitor_contradicting_books_veto_until_they_agree(stage: Stage) -> None:
    """Equity that is not cash and positions withdraws the clearance at once; agreement brings it back."""
    reader = StateReader(stage.paths)
    book = stage.segments[Role.ENGINE].writer("book")
    wrong = stage.desk["account"].copy()
    wrong["equity"] += 1.0

    async def scenario(_: MonitorService) -> None:
        await _eventually(lambda: reader.clear_until_ns() > boottime_ns())
        book.publish(wrong, stage.slots)
        await _eventually(lambda: reader.clear_until_ns() == 0)
        assert reader.veto_mask() == Veto.BOOKS
        stage.publish()
        await _eventually(lambda: reader.clear_until_ns() > boottime_ns())
        assert reader.veto_mask() == 0

    _watch(stage, scenario)


def test_monitor_silent_engine_is_vetoed(stage: Stage) -> None:
    """An engine whose beats are old gets no clearance."""
    stage.publish(beat_age_s=30.0)
    reader = StateReader(stage.paths)

    async def scenario(_: MonitorService) -> None:
        await _eventually(lambda: reader.veto_mask() == Veto.ENGINE)
        assert reader.clear_until_ns() == 0
        health = reader.health()
        assert health["engine_beat_age_ns"] >= 30 * NS_PER_S

    _watch(stage, scenario)


def test_monitor_curve_becomes_history_and_a_restart_adds_nothing(stage: Stage) -> None:
    """Each minute of market time is one row, also after the monitor read the same curve again."""

    def advance(count: int) -> None:
        for _ in range(count):
            stage.now_ns += MINUTE_NS
            stage.note_equity()
        stage.publish()

    advance(30)
    history = MetricsReader(stage.paths.metrics)

    async def until(count: int) -> None:
        await _eventually(lambda: len(history.equity()) >= count)

    _watch(stage, lambda _: until(30))
    advance(5)
    _watch(stage, lambda _: until(35))
    times = [point[0] for point in history.equity()]
    assert len(times) == 35
    assert times[-1] == stage.now_ns
    history.close()


def test_monitor_unwritable_history_clears_all_the_same_and_catches_up(stage: Stage) -> None:
    """Where metrics.db can't be made trading goes on; once it can, nothing is missing."""
    stage.paths.metrics.mkdir()
    reader, history = StateReader(stage.paths), MetricsReader(stage.paths.metrics)

    async def scenario(_: MonitorService) -> None:
        stage.now_ns += MINUTE_NS
        stage.note_equity()
        stage.publish()
        await _eventually(lambda: reader.clear_until_ns() > boottime_ns())
        await _eventually(lambda: reader.health()["problems"] != 0)
        stage.paths.metrics.rmdir()
        await _eventually(lambda: len(history.equity()) == 1)
        history.close()

    _watch(stage, scenario)


def test_monitor_reload_changes_the_interval(stage: Stage) -> None:
    """An aborted configuration leaves no trace, a committed one counts from the next point."""
    history = MetricsReader(stage.paths.metrics)

    async def scenario(service: MonitorService) -> None:
        service.prepare(config_of(monitor={"snapshot_interval_seconds": 60}), 2)
        service.abort()
        service.prepare(config_of(monitor={"snapshot_interval_seconds": 3600}), 2)
        service.commit()
        for _ in range(121):
            stage.now_ns += MINUTE_NS
            stage.note_equity()
        await _eventually(lambda: len(history.equity()) >= 3)
        assert len(history.equity()) == 3  # 09:01, 10:00, 11:00
        history.close()

    _watch(stage, scenario)


def test_monitor_command_is_refused(stage: Stage) -> None:
    """The monitor takes no commands."""

    async def scenario(service: MonitorService) -> None:
        with pytest.raises(ControlError, match="pause"):
            await service.command("pause", {})

    _watch(stage, scenario)


@pytest.mark.parametrize(
    ("market", "expected_s"),
    [
        ({"timeframe": "1m", "speed": 60}, 5.0),  # 3 x 60 s / 60 + 2 s
        ({"timeframe": "1h", "speed": 60}, 182.0),  # 3 x 3600 s / 60 + 2 s
        ({"source": "exchange", "timeframe": "1m"}, 182.0),  # 3 x 60 s + 2 s
        ({"stale_after_seconds": 600, "speed": 1}, 602.0),
    ],
)
def test_stale_after_follows_the_pace_of_the_market(market: dict[str, object], expected_s: float) -> None:
    """Three candles of real time, at least five seconds."""
    assert stale_after_s(Config.model_validate({"market": market})) == pytest.approx(expected_s)
