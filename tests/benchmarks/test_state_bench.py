"""What it costs to publish and to read the shared state: `make bench` prints the table.

The best of several rounds: what the code costs, not what else the machine was doing.
"""

import tempfile
import timeit
from pathlib import Path

import numpy as np
import pytest
from numba import int64, njit

from trader.codes import Role
from trader.core.records import ACCOUNT, EQUITY_POINT, new_slots
from trader.state.dtypes import WORKER
from trader.state.latch import CompiledReader, CompiledWriter, publish, snapshot
from trader.state.paths import InstancePaths
from trader.state.reader import StateReader
from trader.state.segment import Segment

pytestmark = pytest.mark.bench

ROUNDS = 7
SYMBOLS = [1, 9, 100, 500]


def best_ns(call, number=20_000):
    """Return the least time that one call took on average over a round [ns]."""
    return min(timeit.repeat(call, number=number, repeat=ROUNDS)) / number * 1e9


@njit(int64(int64[::1], int64), nogil=True)
def _publish_often(plan, count):
    last = 0
    for _ in range(count):
        last = publish(plan)
    return last


@njit(int64(int64[::1], int64), nogil=True)
def _snapshot_often(plan, count):
    last = 0
    for _ in range(count):
        last = snapshot(plan, 1000)
    return last


class Desk:
    """An engine's segment and its book, for one number of symbols."""

    def __init__(self, folder: Path, n_symbols: int) -> None:
        self.engine = self._create(folder, Role.ENGINE, n_symbols)
        self.supervisor = self._create(folder, Role.SUPERVISOR, 0)
        table = np.zeros(len(Role), WORKER)
        table["generation"] = 1
        self.supervisor.writer("workers").publish(table)
        self.paths = InstancePaths(folder, folder, folder)
        self.found = Segment.attach(self.engine.path)
        self.account, self.slots = np.zeros(1, ACCOUNT), new_slots(n_symbols)
        self.writer = CompiledWriter(self.engine, "book")
        self.writer.publish(self.account, self.slots)

    @staticmethod
    def _create(folder: Path, role: Role, n_symbols: int) -> Segment:
        path = folder / f"seg-{role.name.lower()}-1.shm"
        meta = {"symbols": [f"C{i}/USDT" for i in range(n_symbols)]}
        return Segment.create(path, role=role, generation=1, n_symbols=n_symbols, run_id="r", meta=meta)

    @property
    def payload_bytes(self) -> int:
        """How much one update carries."""
        return self.account.nbytes + self.slots.nbytes


@pytest.fixture(params=SYMBOLS, ids=lambda n: f"{n}-symbols")
def desk(request):
    """Return a desk on a tmpfs."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Desk(Path(folder), request.param)


def _report(what, desk, value_ns):
    print(f"\n{what:44s} {len(desk.slots):4d} symbols {desk.payload_bytes:7d} bytes {value_ns:10.0f} ns")


def test_publish_compiled_from_python_is_below_a_microsecond(desk):
    """The engine publishes after each event: below a microsecond for the book of nine symbols."""
    writer, account, slots = desk.writer, desk.account, desk.slots
    cost_ns = best_ns(lambda: writer.publish(account, slots))
    _report("publish, compiled, from Python", desk, cost_ns)
    if len(slots) <= 9:
        assert cost_ns < 1000


def test_publish_and_read_inside_compiled_code(desk):
    """What a kernel pays: about a third of a nanosecond for each byte and less."""
    plan = desk.writer._plan
    publish_ns = best_ns(lambda: _publish_often(plan, 1000), 20) / 1000
    reader = CompiledReader(desk.found, "book")
    read_ns = best_ns(lambda: _snapshot_often(reader._plan, 1000), 20) / 1000
    _report("publish, inside compiled code", desk, publish_ns)
    _report("read, inside compiled code", desk, read_ns)
    assert max(publish_ns, read_ns) < 100 + 0.3 * desk.payload_bytes


def test_read_from_python(desk):
    """What the engine's, the dashboard's and a command's reads cost."""
    compiled, plain, state = CompiledReader(desk.found, "book"), desk.found.reader("book"), StateReader(desk.paths)
    _report("read in place, compiled", desk, best_ns(compiled.refresh))
    _report("read, numpy", desk, best_ns(plain.read, 5_000))
    through_ns = best_ns(state.book, 5_000)
    _report("read through StateReader", desk, through_ns)
    assert through_ns < 200_000


def test_publish_with_numpy(desk):
    """What a process without a compiler pays."""
    writer, account, slots = desk.engine.writer("book"), desk.account, desk.slots
    cost_ns = best_ns(lambda: writer.publish(account, slots), 5_000)
    _report("publish, numpy", desk, cost_ns)
    assert cost_ns < 200_000


def test_words_and_rings():
    """The lease is read before each order, an equity point appended after each event."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        desk = Desk(Path(folder), 1)
        state, ring, point = StateReader(desk.paths), desk.engine.ring("equity"), np.zeros(1, EQUITY_POINT)
        word = desk.supervisor.word("lease_until_ns")
        _report("word, read", desk, best_ns(word.get))
        lease_ns = best_ns(state.lease_until_ns)
        _report("lease through StateReader", desk, lease_ns)
        append_ns = best_ns(lambda: ring.append(point), 5_000)
        _report("ring, append", desk, append_ns)
        _report("ring, read all 8192", desk, best_ns(lambda: ring.read_since(0), 50))
        assert lease_ns < 10_000
        assert append_ns < 50_000
