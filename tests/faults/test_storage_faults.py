"""Faults 4, 19, 20, 21 and 27: the market is silent, an order is in flight, the disk is full, the power is gone."""

from __future__ import annotations

import csv
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.acceptance.service import EIGHT_SYMBOLS
from tests.faults.disks import PowerCut, SmallDisk
from tests.faults.stage import Stage, alive, busy_config, seconds_until
from trader.codes import Halt

SET = "genetrader-binance-2024"
OPEN_ORDERS = "SELECT count(*) FROM orders WHERE state NOT IN ('filled', 'canceled', 'rejected', 'expired', 'lost')"


def replay(candles: Path, **market: object) -> dict:
    """Return a configuration that trades all the time on real candles, as fast as it can."""
    return {
        **busy_config(),
        "market": {
            "source": "replay",
            "candles": str(candles),
            "timeframe": "1h",
            "symbols": EIGHT_SYMBOLS,
            "speed": 0,
            "stale_after_seconds": 36_000,
            **market,
        },
        "engine": {"loop_interval_seconds": 3600, "max_new_positions_per_cycle": 3},
    }


@pytest.fixture(scope="module")
def calm(real_candles, tmp_path_factory) -> list:
    """Return the fills of a run that nothing disturbed."""
    stage = Stage(tmp_path_factory.mktemp("calm"), replay(real_candles / SET), random.Random(0))
    assert stage.run(240) == 0, stage.text()[-3000:]
    assert stage.fill_count() > 1000
    return stage.fills()


def write_candles(path: Path, gap_at: int, gap: int, count: int) -> None:
    """Write candles of one minute with a hole."""
    with path.open("w", newline="", encoding="ascii") as file:
        rows = csv.writer(file)
        rows.writerow(["timestamp", "open", "high", "low", "close", "volume"])
        for index in range(count):
            minute = index if index < gap_at else index + gap
            price = 100 + (index % 7) * 0.1
            rows.writerow([1_700_000_040 + minute * 60, price, price + 0.2, price - 0.2, price + 0.05, 10])


@pytest.mark.slow
def test_fault_04_feed_is_silent(fault):
    """A market that delivers nothing is a complaint and a closed door for entries, never a restart."""
    fault.is_(
        4,
        "stale feed",
        done="a paced market goes silent for 24 s, then delivers again",
        expected="STATUS names it, no entries, exits ready, nobody killed or restarted; then entries again",
    )
    for trial in fault.trials(1):
        folder = trial.folder / "candles"
        folder.mkdir(parents=True)
        write_candles(folder / "BTC_USDT-1m.csv", gap_at=40, gap=24, count=200)
        config = busy_config()
        config["market"] = {"source": "replay", "candles": str(folder), "symbols": ["BTC/USDT"], "speed": 60.0}
        stage = trial.stage(config)
        stage.up_and_trading()
        pids = stage.pids()
        stage.after(lambda: fed_verdict(stage) is False, "the complaint", 90)
        silent = stage.entries()
        moment = time.monotonic()
        stage.after(lambda: fed_verdict(stage) is True, "market data again", 60)
        assert time.monotonic() - moment > 5
        assert stage.entries() <= silent + 1
        fault.recovered(stage.trades_again())
        assert stage.pids() == pids
        stage.verified()
    fault.happened("`gets no market data` while it was silent, no entry, same processes; entries with the next candles")


def fed_verdict(stage: Stage) -> bool | None:
    """Return what the supervisor thinks of the engine's market data."""
    from trader.errors import TraderError
    from trader.process.control import request

    try:
        workers = request(stage.paths.control_socket, "status")["workers"]
    except TraderError:
        return None
    return next(worker["fed"] for worker in workers if worker["role"] == "engine")


@pytest.mark.slow
def test_fault_19_stop_with_an_order_in_flight(fault):
    """In order or by SIGKILL: the intent is on disk, and the next run takes the order to its end, once."""
    fault.is_(
        19,
        "stop with an order in flight",
        done="SIGTERM, and in other trials SIGKILL, while an order is journaled and not yet filled; then a new start",
        expected="SIGTERM: exit 0 in 60 s, no new order; afterwards each order has one end, audit clean",
    )
    took = []
    for trial in fault.trials():
        for number in (signal.SIGTERM, signal.SIGKILL):
            stage = trial.stage(busy_config(speed=60.0), number.name)
            stage.up_and_trading()
            stage.after(lambda: stage.number(OPEN_ORDERS) > 0, "an order in flight")
            started = time.monotonic()
            stage.send("supervisor", number)
            assert stage.wait(60) == (0 if number == signal.SIGTERM else -number)
            took.append(time.monotonic() - started)
            orders = stage.number("SELECT max(order_id) FROM orders")
            stage.verified()
            started = time.monotonic()
            stage.up()
            query = OPEN_ORDERS + f" AND order_id <= {orders}"
            stage.after(lambda: stage.number(query) == 0, "the end of the old orders")
            stage.trades_again()
            fault.recovered(time.monotonic() - started)
            ends = stage.rows(
                "SELECT order_id, count(*) FROM order_events WHERE state IN ('filled', 'canceled', 'rejected')"
                " GROUP BY order_id HAVING count(*) > 1"
            )
            assert not ends
            assert stage.stop() == 0
            stage.verified()
    fault.happened(f"stopped within {max(took):.1f} s, what was in flight was filled once by the next run; audit clean")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("how", ["cut short", "noise", "empty"])
def test_fault_20_compile_cache_is_corrupt(fault, how):
    """A cache that can't be read is compiled anew, once; the kernels agree with the golden numbers."""
    fault.is_(
        20,
        f"compile cache corrupt: {how}",
        done=f"files of the kernels' cache, random ones or all: {how}",
        expected="wiped, compiled again, golden vectors, READY; the next start is warm again",
    )
    for trial in fault.trials(2):
        stage = trial.stage(busy_config())
        cache = trial.folder / "cache"
        stage.more_environment = {"XDG_CACHE_HOME": str(cache)}
        stage.up()  # the first one compiles
        assert stage.stop() == 0
        files = [path for path in cache.rglob("*") if path.suffix in (".nbi", ".nbc")]
        assert files
        for path in trial.rng.sample(files, trial.rng.choice([len(files), len(files) // 2, 3])):
            data = path.read_bytes()
            cut = data[: trial.rng.randrange(1, len(data))]
            path.write_bytes({"cut short": cut, "noise": trial.rng.randbytes(len(data)), "empty": b""}[how])
        fault.recovered(stage.up())
        assert stage.worker("engine")["restarts"] == 0, "one start has to do"
        stage.trades_again()
        assert stage.stop() == 0
        stage.up()
        assert stage.text().count("kernels compiled in") == 2, "the cache was not rebuilt, once"
        stage.verified()
    fault.happened("compiled anew within the same start and READY; warm again afterwards")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_fault_20_compile_cache_is_stale(fault, tmp_path):
    """Another version of the package never loads the kernels of this one."""
    fault.is_(
        20,
        "compile cache stale",
        done="start, then the same caches with one line of one helper changed, as an upgrade does",
        expected="another cache folder: nothing old is loaded",
    )
    for trial in fault.trials(1):
        code = tmp_path / "code"
        shutil.copytree(
            Path(__file__).parents[2] / "trader", code / "trader", ignore=shutil.ignore_patterns("__pycache__")
        )
        stage = trial.stage({"dashboard": {"port": 0}})
        stage.more_environment = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(code)}
        kernels = tmp_path / "cache" / "trader" / "kernels"
        stage.up()
        assert stage.stop() == 0
        old = {path: path.stat().st_atime_ns for path in kernels.rglob("*.nbc")}
        folders = set(kernels.glob("*/"))
        helper = code / "trader" / "core" / "rounding.py"
        helper.write_text(helper.read_text() + "\n# another version\n")
        fault.recovered(stage.up())
        assert len(set(kernels.glob("*/")) - folders) == 1
        assert old == {path: path.stat().st_atime_ns for path in old}
        assert stage.stop() == 0
    fault.happened("a folder of its own, compiled anew; the old one was not even read (the time is a cold start)")


@pytest.mark.slow
def test_fault_21_disk_is_full(fault, real_candles, calm, private_mounts):
    """Entries halt, nothing dies, nothing is lost; with space again it goes on by itself."""
    fault.is_(
        21,
        "disk full",
        done="the data folder's disk (a real one of 160 MiB) filled to the last byte while it trades, and freed again",
        expected="entries halted with the reason, nobody dies; freed: goes on by itself; fills as without the fault",
    )
    for trial in fault.trials():
        with SmallDisk(trial.folder / "service", 160) as disk:
            stage = trial.stage(replay(real_candles / SET))
            stage.up()
            for goal in sorted(trial.rng.sample(range(40, 900), 2)):
                stage.after(lambda: stage.fill_count() > goal, f"{goal} fills", 120)
                pids = stage.pids()
                disk.fill()
                stage.after(lambda: halted(stage), "the halt")
                fills = settled(stage)
                time.sleep(2)
                assert stage.fill_count() == fills
                assert stage.pids() == pids, stage.text()[-3000:]
                disk.empty()
                fault.recovered(stage.after(lambda: stage.fill_count() > fills, "more fills"))
            assert stage.wait(240) == 0, stage.text()[-3000:]
            assert stage.fills() == calm
            stage.verified()
    fault.happened("halted, same processes, went on by itself; fills the same as without; audit clean")


def settled(stage: Stage) -> int:
    """Return the number of fills once no commit that was under way adds to it."""
    before = -1
    while (now := stage.fill_count()) != before:
        before = now
        time.sleep(0.5)
    return now


def halted(stage: Stage) -> bool:
    """Tell whether entries are kept back because of the disk."""
    book = stage.look(lambda reader: reader.book())
    return book is not None and (bool(int(book.account["halt_mask"]) & Halt.LEDGER) or stage.clear_left_s() < 0)


@pytest.mark.slow
def test_fault_27_power_is_lost(fault, real_candles, calm, private_mounts):
    """Only what was flushed is left: the ledger is whole, and the run ends as if nothing had happened."""
    fault.is_(
        27,
        "power loss",
        done="the data folder's ext4 loses all that was not flushed, and takes no more; SIGKILL to all; mount; start",
        expected="ledger whole, audit clean, goes on behind the last commit; fills as without the fault",
    )
    cuts = 0
    for trial in fault.trials():
        with PowerCut(trial.folder / "service") as disk:
            stage = trial.stage(replay(real_candles / SET))
            disk.sync()  # what an owner wrote some time ago
            for goal in sorted(trial.rng.sample(range(40, 900), 3)):
                started = time.monotonic()
                stage.up()
                if cuts:
                    fault.recovered(time.monotonic() - started)
                stage.after(lambda: stage.fill_count() > goal, f"{goal} fills", 120)
                time.sleep(trial.rng.uniform(0, 0.2))
                pids = stage.pids()
                disk.cut()
                for pid in pids.values():
                    if alive(pid):
                        os.kill(pid, signal.SIGKILL)
                stage.wait(10)
                seconds_until(lambda: not any(alive(pid) for pid in pids.values()), "everyone's end")
                disk.off()
                disk.power_on()
                stage.verified()
                cuts += 1
            assert stage.run(240) == 0, stage.text()[-3000:]
            assert stage.fills() == calm
            stage.verified()
    fault.happened(f"{cuts} cuts: each time whole and clean before the start; fills the same as without")
