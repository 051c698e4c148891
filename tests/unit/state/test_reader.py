"""The reader of a whole service: finding segments and following incarnations."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.unit.state.conftest import book
from trader.clock import boottime_ns
from trader.codes import Role
from trader.core.records import EQUITY_POINT, LIMITS
from trader.errors import LayoutMismatch, NotRunning, SegmentMissing, UnreadableSlot
from trader.state.dtypes import BEAT, HEALTH, SERVICE, VENUE, WORKER
from trader.state.paths import InstancePaths
from trader.state.reader import ALIVE_CHECK_NS, StateReader
from trader.state.segment import Segment


class Service:
    """The supervisor's side of shared memory, without processes."""

    def __init__(self, folder: Path, run_id: str = "run-1") -> None:
        self.paths = InstancePaths(folder, folder, folder)
        self.run_id = run_id
        self.supervisor = self.create(Role.SUPERVISOR, 1)
        self.table = np.zeros(len(Role), WORKER)
        self.publish_table()

    def create(self, role: Role, generation: int) -> Segment:
        """Make a process' segment."""
        path = self.paths.segment(role.name.lower(), generation)
        return Segment.create(
            path,
            role=role,
            generation=generation,
            n_symbols=2 if role is Role.ENGINE else 0,
            run_id=self.run_id,
            meta={"symbols": ["BTC/USDT", "ETH/USDT"]} if role is Role.ENGINE else {},
        )

    def publish_table(self) -> None:
        """Publish the worker table."""
        self.supervisor.writer("workers").publish(self.table)

    def start(self, role: Role, generation: int) -> Segment:
        """Make a worker's segment and name it in the table."""
        segment = self.create(role, generation)
        self.table[role]["generation"] = generation
        self.publish_table()
        return segment

    def remove(self) -> None:
        """Remove every segment."""
        for path in self.paths.runtime_dir.glob("seg-*"):
            path.unlink()


@pytest.fixture
def service(tmp_path):
    """Return a service without workers."""
    return Service(tmp_path)


def _record(dtype, **fields):
    records = np.zeros(1, dtype)
    for name, value in fields.items():
        records[name] = value
    return records


def _wait_for_the_next_look():
    deadline = boottime_ns() + ALIVE_CHECK_NS
    while boottime_ns() <= deadline:
        pass


def test_reader_without_a_runtime_folder_says_not_running(tmp_path):
    """The message names the data folder."""
    paths = InstancePaths(tmp_path / "data", tmp_path / "none", tmp_path)
    with pytest.raises(NotRunning, match=r"no service runs on .*data: there is no folder"):
        StateReader(paths).service()


def test_reader_of_an_empty_folder_says_not_running(tmp_path):
    """A service that stopped in order leaves no segments."""
    with pytest.raises(NotRunning, match="no supervisor's segment"):
        StateReader(InstancePaths(tmp_path, tmp_path, tmp_path)).lease_until_ns()


def test_reader_gives_what_the_supervisor_says(service):
    """Service record, worker table, lease and names."""
    service.supervisor.word("lease_until_ns").set(123)
    service.supervisor.writer("service").publish(_record(SERVICE, state=2, live=1))
    reader = StateReader(service.paths)
    assert reader.lease_until_ns() == 123
    assert (reader.service()["state"], reader.service()["live"]) == (2, 1)
    assert len(reader.workers()) == len(Role)
    assert reader.run_id == "run-1"
    assert reader.meta("supervisor") == {}


def test_reader_gives_what_the_workers_say(service):
    """Each worker's slots, through the worker table."""
    engine, monitor = service.start(Role.ENGINE, 1), service.start(Role.MONITOR, 5)
    engine.writer("book").publish(*book(7))
    engine.writer("limits").publish(_record(LIMITS, config_epoch=4))
    engine.writer("beat").publish(_record(BEAT, beats=9))
    monitor.writer("health").publish(_record(HEALTH, rounds=2))
    monitor.word("clear_until_ns").set(55)
    monitor.word("veto_mask").set(3)
    reader = StateReader(service.paths)
    got = reader.book()
    assert (got.account["cash"], got.slots["quantity"].tolist()) == (7, [7, 7])
    assert (got.symbols, got.meta) == (("BTC/USDT", "ETH/USDT"), reader.meta(Role.ENGINE))
    assert reader.limits()["config_epoch"] == 4
    assert reader.beat("engine")["beats"] == 9
    assert reader.health()["rounds"] == 2
    assert (reader.clear_until_ns(), reader.veto_mask()) == (55, 3)
    assert reader.book_version() == (1, 1)


def test_reader_worker_that_never_started_is_missing(service):
    """Not up is told apart from not running."""
    with pytest.raises(SegmentMissing, match="the engine has no shared state"):
        StateReader(service.paths).book()


def test_reader_worker_that_published_nothing_is_unreadable(service):
    """A new engine has no book before it has recovered."""
    service.start(Role.ENGINE, 1)
    with pytest.raises(UnreadableSlot, match="nothing was published yet"):
        StateReader(service.paths).book()


def test_reader_follows_a_worker_to_its_next_generation(service):
    """The old snapshot lasts until the table names the new generation, and not a read longer."""
    first = service.start(Role.ENGINE, 1)
    first.writer("book").publish(*book(1))
    reader = StateReader(service.paths)
    assert reader.book().account["cash"] == 1
    first.unlink()
    assert reader.book().account["cash"] == 1
    second = service.start(Role.ENGINE, 2)
    with pytest.raises(UnreadableSlot):
        reader.book()
    second.writer("book").publish(*book(2))
    assert reader.book().account["cash"] == 2
    assert reader.book_version() == (2, 1)


def test_reader_equity_goes_on_over_generations(service):
    """A position of the old ring reads the new one from its beginning."""
    ring = service.start(Role.ENGINE, 1).ring("equity")
    for value in (1, 2, 3):
        ring.append(_record(EQUITY_POINT, time_ns=value))
    reader = StateReader(service.paths)
    points, position, lost = reader.equity_since()
    assert (points["time_ns"].tolist(), lost) == ([1, 2, 3], 0)
    ring.append(_record(EQUITY_POINT, time_ns=4))
    points, position, _ = reader.equity_since(position)
    assert points["time_ns"].tolist() == [4]
    ring = service.start(Role.ENGINE, 2).ring("equity")
    for value in range(5, 12):
        ring.append(_record(EQUITY_POINT, time_ns=value))
    points, position, lost = reader.equity_since(position)
    assert (points["time_ns"].tolist(), lost) == (list(range(5, 12)), 0)
    assert len(reader.equity_since(position)[0]) == 0


def test_reader_segment_of_another_run_is_refused(service):
    """Shared memory is never read across runs."""
    service.run_id = "run-0"
    service.start(Role.ENGINE, 1)
    with pytest.raises(LayoutMismatch, match="belongs to run 'run-0', expected 'run-1'"):
        StateReader(service.paths).book()


def test_reader_finds_a_service_that_was_restarted(service, tmp_path):
    """Generations begin anew with a run: the old mapping must not be taken for the new engine."""
    service.start(Role.ENGINE, 1).writer("book").publish(*book(1))
    reader = StateReader(service.paths)
    assert reader.book().account["cash"] == 1
    service.remove()
    again = Service(tmp_path, "run-2")
    again.start(Role.ENGINE, 1).writer("book").publish(*book(2))
    _wait_for_the_next_look()
    assert reader.book().account["cash"] == 2
    assert reader.run_id == "run-2"


def test_reader_says_not_running_once_the_service_stopped(service):
    """The mapping outlives the file; the reader must not."""
    reader = StateReader(service.paths)
    assert len(reader.workers()) == len(Role)
    service.remove()
    _wait_for_the_next_look()
    with pytest.raises(NotRunning):
        reader.workers()


DEAD = """
import sys
from pathlib import Path
from tests.unit.state.test_reader import Service
Service(Path(sys.argv[1]))
"""


def test_reader_says_not_running_when_the_supervisor_died(tmp_path):
    """A crash leaves segments behind; their owner is dead."""
    subprocess.run([sys.executable, "-c", DEAD, tmp_path], check=True, timeout=60)
    assert (tmp_path / "seg-supervisor-1.shm").exists()
    with pytest.raises(NotRunning, match="died without cleaning up"):
        StateReader(InstancePaths(tmp_path, tmp_path, tmp_path)).service()


def test_reader_imports_no_compiler():
    """Numba would cost the dashboard and every command 100 MiB."""
    code = "import sys, trader.state.reader; sys.exit('numba' in sys.modules or 'llvmlite' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_venue_comes_from_the_engine(service):
    """What the engine says of its exchange is read by itself."""
    engine = service.start(Role.ENGINE, 1)
    engine.writer("venue").publish(_record(VENUE, live=1, differences=2))
    found = StateReader(service.paths).venue()
    assert (found["live"], found["differences"]) == (1, 2)
