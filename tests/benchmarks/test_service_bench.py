"""What the whole service costs: a cycle by number of symbols, a replay, the start, the memory.

The printed figures are what the README quotes; the bounds are wide, so that only a mistake breaks them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.acceptance.service import EIGHT_SYMBOLS, Service, replay_config
from tests.benchmarks.measure import readable
from tests.unit.engine.conftest import OPEN, Rig
from trader.config.sections import Config

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

MIB = 1 << 20


def median_step_s(folder: Path, symbols: int, steps: int) -> float:
    """Return the median time of one cycle of a real engine: candles, signals, risk, orders; commits apart."""
    names = [f"S{index:03d}/USDT" for index in range(symbols)]
    config = Config.model_validate(
        {
            "market": {"symbols": names, "speed": 0},
            "engine": {"loop_interval_seconds": 60},
            "risk": {"max_daily_trades": 1000},
        }
    )
    folder.mkdir()
    rig = Rig(folder, config)
    taken = []
    for event in rig.next_events(steps + 20):
        started = time.perf_counter()
        rig.parts.engine.on_market(event, OPEN)
        taken.append(time.perf_counter() - started)
        rig.commit()
    rig.parts.ledger.close()
    return float(np.median(taken[20:]))


def test_cycle_time_by_number_of_symbols(tmp_path: Path) -> None:
    """A cycle asks, checks and records for every symbol; its time grows no faster than their number."""
    print("\none cycle of the engine, every strategy asked about every symbol, by number of symbols")
    medians = {}
    for symbols in (1, 10, 100, 500):
        medians[symbols] = median_step_s(tmp_path / str(symbols), symbols, 200 if symbols < 100 else 60)
        each = readable(medians[symbols] / symbols)
        print(f"  {symbols:>4} symbols {readable(medians[symbols]):>10}  {each:>10} a symbol")
    assert medians[500] < 60 * medians[10]


def played(service: Service) -> tuple[int, float]:
    """Play a replay to its end; return its candles and how long they took after READY [s]."""
    service.start()
    service.until(lambda: " running (" in service.text(), "READY")
    started = time.monotonic()
    assert service.wait(600) == 0
    took = time.monotonic() - started
    return service.rows("SELECT count(*) FROM decisions")[0][0], took


@pytest.mark.data
@pytest.mark.parametrize("timeframe", ["1h", "5m"])
def test_replay_speed_through_the_whole_service(real_candles: Path, tmp_path: Path, timeframe: str) -> None:
    """Eight months of eight symbols, all processes, every decision in the ledger."""
    service = Service(tmp_path, replay_config(real_candles / "genetrader-binance-2024", timeframe, EIGHT_SYMBOLS))
    candles, took_s = played(service)
    rate = candles / took_s
    print(f"\nreplay of {candles:,} {timeframe} candles through the service: {took_s:.1f} s, {rate:,.0f} candles/s")
    assert candles / took_s > 1000


@pytest.fixture
def default_service(tmp_path: Path) -> Iterator[Service]:
    """Provide the default configuration on a free port."""
    service = Service(tmp_path, {"dashboard": {"port": 0}})
    yield service
    service.kill()


def ready_after_s(service: Service) -> float:
    """Return the seconds from the start to the line that says running."""
    started = time.monotonic()
    service.start()
    service.until(lambda: " running (" in service.text(), "READY", 120)
    return time.monotonic() - started


def memory_of(pid: int) -> dict[str, int]:
    """Return a process's memory [bytes]: Pss counts a shared page by its share."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}


def test_start_to_ready_and_memory(default_service: Service) -> None:
    """Warm caches: the median of five starts, and what each process holds."""
    ready_after_s(default_service)
    default_service.stop()
    times = []
    for _ in range(5):
        default_service.output.unlink()
        times.append(ready_after_s(default_service))
        if len(times) < 5:
            default_service.stop()
    print(f"\nstart to READY, warm caches: median {readable(float(np.median(times)))}, best {readable(min(times))}")
    workers: list[dict[str, Any]] = default_service.json("status")["workers"]
    assert default_service.process is not None
    pids = {"supervisor": default_service.process.pid, **{worker["role"]: worker["pid"] for worker in workers}}
    total = 0
    for role, pid in pids.items():
        memory = memory_of(pid)
        total += memory["Pss"]
        print(f"  {role:<11} PSS {memory['Pss'] / MIB:6.1f} MiB  RSS {memory['Rss'] / MIB:6.1f} MiB")
    print(f"  {'together':<11} PSS {total / MIB:6.1f} MiB")
    assert total < 600 * MIB
