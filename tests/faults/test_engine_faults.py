"""Faults 1, 2, 3, 11 and 14: an engine that dies, hangs or will not live."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.faults.stage import alive, busy_config, seconds_until
from trader.codes import Role, WorkerState
from trader.monitor.health import books_difference_frac
from trader.state.segment import Segment

#: from the order to stand still to the SIGABRT, and from there to the SIGKILL [s]
HANG_S, KILL_S = 5.0, 2.0
TICK_S = 0.5


def test_fault_01_engine_dies(fault):
    """SIGKILL, SIGSEGV and SIGABRT: a new generation goes on behind the ledger, nothing doubled, nothing lost."""
    fault.is_(
        1,
        "engine dies",
        done="SIGKILL, SIGSEGV or SIGABRT to the engine at a random moment, while it trades",
        expected="reaped in ms, backoff, new generation, ledger replayed, then trades; audit clean",
    )
    reaped = []
    for trial in fault.trials():
        stage = trial.stage(busy_config())
        stage.up_and_trading()
        time.sleep(trial.rng.uniform(0.0, 1.0))
        number = trial.rng.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
        others = {role: stage.pid(role) for role in ("monitor", "dashboard")}
        pid, cursor = stage.pid("engine"), stage.number("SELECT cursor_ns FROM cursor")
        os.kill(pid, number)
        reaped.append(stage.after(lambda: not Path(f"/proc/{pid}").exists(), "the engine to be reaped"))
        took = reaped[-1] + stage.after(lambda: stage.is_ready("engine", 1), "a second generation")
        fault.recovered(took + stage.trades_again())
        assert stage.worker("engine")["exit_code"] == -number
        assert stage.number("SELECT cursor_ns FROM cursor") > cursor
        assert {role: stage.pid(role) for role in others} == others
        stage.verified()
    fault.happened(f"reaped within {max(reaped) * 1e3:.0f} ms; next generation traded; audit clean")


@pytest.mark.slow
def test_fault_02_engine_loop_is_blocked(fault):
    """A strategy that never returns: SIGABRT after 5 s with the Python frame in the log, then a new engine."""
    fault.is_(
        2,
        "engine loop blocked",
        done="a strategy sleeps for ever in the engine's loop",
        expected="5 s without a beat, SIGABRT, Python traceback, restart; the lease goes on",
    )
    dead_after = []
    for trial in fault.trials():
        stage = trial.stage(busy_config("Blocking"))
        stage.up_and_trading()
        time.sleep(trial.rng.uniform(0.0, 0.5))
        pid = stage.pid("engine")
        stage.trigger("block")
        stage.after(lambda: not stage.trigger_file.exists(), "the block")
        lowest = 99.0
        started = time.monotonic()
        while alive(pid):
            lowest = min(lowest, stage.lease_left_s())
            assert time.monotonic() - started < 60, stage.text()[-3000:]
            time.sleep(0.01)
        dead_after.append(time.monotonic() - started)
        stage.after(lambda: stage.is_ready("engine", 1), "a second generation")
        stage.trades_again()
        fault.recovered(time.monotonic() - started)
        (silent,) = re.findall(r"no beat for ([0-9.]+) s", stage.text())
        late_s = max(0.0, 3.0 - lowest - TICK_S)  # as the supervisor came to its ticks, on a machine with other work
        assert HANG_S <= float(silent) < HANG_S + 2 * TICK_S + late_s
        assert dead_after[-1] < HANG_S + KILL_S + 2 * TICK_S + late_s
        assert lowest > 0, "the lease ran out, although the supervisor is well"
        assert stage.worker("engine")["exit_code"] == -signal.SIGABRT
        assert "stand_still" in stage.text()
        stage.verified()
    fault.happened(f"SIGABRT after at most {max(dead_after):.1f} s, traceback names the frame, the lease never ran out")


@pytest.mark.slow
@pytest.mark.parametrize("deaf", [False, True], ids=["spinning", "spinning-and-deaf"])
def test_fault_03_engine_in_endless_compiled_code(fault, deaf):
    """No Python handler runs in nopython code: faulthandler's or, when even that is kept away, SIGKILL ends it."""
    fault.is_(
        3,
        "endless compiled code" + (", SIGABRT ignored" if deaf else ""),
        done="a strategy enters an endless nopython loop" + (" with SIGABRT ignored" if deaf else ""),
        expected="as 2" + ("; SIGABRT has no effect, SIGKILL 2 s later" if deaf else ""),
    )
    dead_after = []
    for trial in fault.trials():
        stage = trial.stage(busy_config("Spinning"))
        stage.up_and_trading()
        pid = stage.pid("engine")
        stage.trigger("spin deaf" if deaf else "spin")
        stage.after(lambda: not stage.trigger_file.exists(), "the spin")
        dead_after.append(seconds_until(lambda: not alive(pid), "the engine's death"))
        took = dead_after[-1] + stage.after(lambda: stage.is_ready("engine", 1), "a second generation")
        fault.recovered(took + stage.trades_again())
        assert stage.worker("engine")["exit_code"] == (-signal.SIGKILL if deaf else -signal.SIGABRT)
        assert deaf or "spin_in_compiled_code" in stage.text()
        stage.verified()
    fault.happened(f"dead by {'SIGKILL' if deaf else 'SIGABRT, with traceback,'} after at most {max(dead_after):.1f} s")


@pytest.mark.slow
def test_fault_11_engine_killed_while_it_publishes(fault, real_candles):
    """Every snapshot that a dead engine leaves is whole, and its age says that nobody writes it any more."""
    fault.is_(
        11,
        "writer killed in mid-update",
        done="SIGKILL at random moments to an engine in full flight; its segment is read meanwhile and after",
        expected="the last complete snapshot (equity = cash + positions); beat grows old; never a mix",
    )
    whole = 0
    for trial in fault.trials():
        stage = trial.stage(
            {
                **busy_config("Busy"),
                "market": {
                    "source": "replay",
                    "candles": str(real_candles / "genetrader-binance-2024"),
                    "timeframe": "5m",
                    "speed": 0,
                    "stale_after_seconds": 3600,
                },
                "engine": {"loop_interval_seconds": 300, "max_new_positions_per_cycle": 3},
            }
        )
        stage.up()
        for generation in range(1, 6):
            stage.after(lambda g=generation: stage.is_ready("engine", g - 1), f"generation {generation}")
            stage.market_moves()
            dead = Segment.attach(stage.paths.segment("engine", generation), role=Role.ENGINE)
            pid = stage.pid("engine")
            deadline = time.monotonic() + trial.rng.uniform(0.05, 0.6)
            while time.monotonic() < deadline:
                whole += is_whole(dead)
            killed = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            seconds_until(lambda: not alive(pid), "the engine's death")
            whole += is_whole(dead)
            before = int(dead.reader("beat").read()["beat"][0]["beat_ns"])
            fault.recovered(stage.after(lambda g=generation: stage.is_ready("engine", g), "the next generation"))
            assert int(dead.reader("beat").read()["beat"][0]["beat_ns"]) == before
            assert time.monotonic() - killed < 90
        stage.stop()
        stage.verified()
    fault.happened(f"{whole} snapshots read, all whole; the dead one's beat stood still; audit clean")


def is_whole(segment: Segment) -> bool:
    """Fail unless a snapshot agrees with itself."""
    from trader.state.reader import _book, _Mapped

    book = _book(_Mapped(segment))
    assert np.isfinite(book.account["equity"])
    assert books_difference_frac(book) < 1e-9
    return True


@pytest.mark.slow
def test_fault_14_engine_that_dies_at_every_start(fault):
    """Three restarts without progress, and the service says why and ends with 70: systemd decides."""
    fault.is_(
        14,
        "crash loop",
        done="a strategy kills the engine (SIGSEGV) at its first candle, in every generation",
        expected="3 restarts with backoff in 5 min, then exit 70 with the reason; entries never get a lease again",
    )
    took = []
    for trial in fault.trials():
        stage = trial.stage(busy_config("Dying", params={"die": True}))
        started = time.monotonic()
        code = stage.run(120)
        took.append(time.monotonic() - started)
        assert code == 70, stage.text()[-3000:]
        assert stage.text().count("restarting in") == 3
        assert "died too often" in stage.text()
        assert stage.worker("engine")["state"] in (0, WorkerState.FATAL)
        stage.configure(busy_config())
        fault.recovered(stage.up())
        stage.trades_again()
        stage.verified()
    fault.happened(f"given up with exit 70 after {max(took):.1f} s; started again without the cause, it trades")
