"""A long replay of real candles with a random fault every few seconds, and what must come of it.

Which fault comes when, to whom, and for how long depends on the seed; when it hits the market does not.
At the end the audit must be clean and the fills must be those of a run with no fault.
"""

from __future__ import annotations

import collections
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.feather

from tests.acceptance.service import EIGHT_SYMBOLS
from tests.faults.disks import SmallDisk
from tests.faults.stage import WORKERS, Stage

SET = "genetrader-binance-2024"
TIMEFRAME, CANDLE_S = "5m", 300
#: candles a second while nothing is wrong, and how many of a soak's seconds are spent like that
CANDLES_PER_S, CALM_FRAC = 40.0, 0.5
#: between two faults [s]
PAUSE_S = (0.5, 3.0)
#: deaths that a role may have in 5 minutes without being given up, less one
SPARED = {"monitor": 4, "dashboard": 4}
WINDOW_S = 300.0
DISK_MIB = 1024
#: a stop this long is taken for a hang in the engine (5 s), not yet in the others (15 s)
STOP_S = (0.3, 7.0)

BROKEN = ("risk: {max_open_positions: many}\n", "market: [\n", "no_such_section: 1\n")


@dataclass
class Result:
    """What a soak did and saw."""

    seed: int
    seconds: float = 0.0
    faults: collections.Counter[str] = field(default_factory=collections.Counter)
    starts: int = 0
    fills: int = 0
    same_fills: bool = False
    verify: str = ""
    verify_code: int = -1

    def lines(self) -> list[str]:
        """Return a report."""
        counted = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        return [
            f"soak, seed {self.seed}: {self.seconds:.0f} s, {self.faults.total()} faults, {self.starts} starts",
            f"  {counted}",
            f"  fills: {self.fills}, {'the same as' if self.same_fills else 'NOT THOSE OF'} a run with no fault",
            f"  trader verify: exit {self.verify_code}",
        ]


def config(candles: Path, seconds: float, speed: float, **more: Any) -> dict[str, Any]:
    """Return a replay that takes about so many seconds with its faults; the whole set at most."""
    count = int(seconds * CALM_FRAC * CANDLES_PER_S)
    table = pyarrow.feather.read_table(candles / f"BTC_USDT-{TIMEFRAME}.feather", columns=["date"])
    first = table["date"][0].as_py()
    until = first.timestamp() + count * CANDLE_S
    return {
        "market": {
            "source": "replay",
            "candles": str(candles),
            "timeframe": TIMEFRAME,
            "symbols": EIGHT_SYMBOLS,
            "until": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until)),
            "speed": speed,
        },
        "strategies": [{"use": "simple_rsi", "params": {"period": 7, "oversold": 35, "overbought": 65}}],
        "risk": {"max_daily_trades": 1000, "max_drawdown_frac": 1.0, "max_daily_loss_frac": 1.0},
        "dashboard": {"port": 0},
        **more,
    }


class Soak:
    """Plays one soak.

    Parameters
    ----------
    folder : Path
        Where both services live; stays as it is.
    candles : Path
        The set of candles.
    seconds : float
        How long it should take, about [s].
    seed : int
        Chooses the faults.
    say : callable
        Told what happens.
    """

    def __init__(self, folder: Path, candles: Path, seconds: float, seed: int, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._calm = config(candles, seconds, speed=0)
        self._config = config(candles, seconds, speed=CANDLES_PER_S * CANDLE_S)
        self._rng = random.Random(seed)
        self._say = say
        self._deaths: dict[str, list[float]] = {role: [] for role in WORKERS}
        self.result = Result(seed)

    def run(self) -> Result:
        """Play the calm run, then the other one, and compare."""
        calm = Stage(self._folder / "calm", self._calm, self._rng)
        assert calm.run(1800) == 0, calm.text()[-4000:]
        self._say(f"without faults: {calm.fill_count()} fills")
        started = time.monotonic()
        with SmallDisk(self._folder / "soak", DISK_MIB) as disk:
            stage = Stage(self._folder / "soak", self._config, self._rng)
            try:
                self._disturb(stage, disk)
                self.result.seconds = time.monotonic() - started
                self.result.fills = stage.fill_count()
                self.result.same_fills = stage.fills() == calm.fills()
                verified = stage.command("verify")
                self.result.verify, self.result.verify_code = verified.stdout + verified.stderr, verified.returncode
            finally:
                stage.clean_up()
        return self.result

    def _disturb(self, stage: Stage, disk: SmallDisk) -> None:
        """Do one fault after the other until the market has ended."""
        self._start(stage)
        faults = self._faults(stage, disk)
        while (code := stage.process.poll() if stage.process else None) is None:
            self._sleep(stage, self._rng.uniform(*PAUSE_S))
            name = self._rng.choice(list(faults))
            if stage.process is None or stage.process.poll() is not None or not faults[name]():
                continue
            self.result.faults[name] += 1
            if self.result.faults.total() % 25 == 0:
                self._say(f"{self.result.faults.total()} faults, {stage.fill_count()} fills")
        assert code == 0, f"the service ended with {code}:\n{stage.text()[-4000:]}"

    def _start(self, stage: Stage) -> None:
        self.result.starts += 1
        for deaths in self._deaths.values():
            deaths.clear()
        stage.start()

    @staticmethod
    def _sleep(stage: Stage, seconds: float) -> None:
        """Sleep, but not beyond the end of the service."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and stage.process is not None and stage.process.poll() is None:
            time.sleep(0.02)

    # ------------------------------------------------------------------ faults: each tells whether it was done

    def _faults(self, stage: Stage, disk: SmallDisk) -> dict[str, Callable[[], bool]]:
        faults: dict[str, Callable[[], bool]] = {"supervisor SIGKILL": lambda: self._kill_supervisor(stage)}
        for role in WORKERS:
            faults[f"{role} SIGKILL"] = lambda role=role: self._kill(stage, role)
        for role in ("supervisor", *WORKERS):
            faults[f"{role} SIGSTOP"] = lambda role=role: self._stop(stage, role)
        faults["SIGHUP good file"] = lambda: self._reload(stage, good=True)
        faults["SIGHUP bad file"] = lambda: self._reload(stage, good=False)
        faults["disk full"] = lambda: self._fill(stage, disk)
        return faults

    def _spare(self, role: str) -> bool:
        """Tell whether one more death would be one too many: a role that is given up is another test."""
        now = time.monotonic()
        self._deaths[role] = [at for at in self._deaths[role] if now - at < WINDOW_S]
        return len(self._deaths[role]) >= SPARED.get(role, 1_000_000)

    def _kill(self, stage: Stage, role: str) -> bool:
        pid = stage.pid(role)
        if not pid or self._spare(role):
            return False
        self._deaths[role].append(time.monotonic())
        return _signal(pid, signal.SIGKILL)

    def _stop(self, stage: Stage, role: str) -> bool:
        pid = stage.pid(role)
        if not pid or not _signal(pid, signal.SIGSTOP):
            return False
        self._sleep(stage, self._rng.uniform(*STOP_S))
        _signal(pid, signal.SIGCONT)
        return True

    def _kill_supervisor(self, stage: Stage) -> bool:
        assert stage.process is not None
        stage.process.kill()
        if stage.process.wait() == 0:
            return False  # it had just ended by itself
        self._start(stage)
        return True

    def _reload(self, stage: Stage, *, good: bool) -> bool:
        if not stage.is_whole():
            return False
        before = stage.service_number("reloads") + stage.service_number("reload_rejected")
        old = stage.config_file.read_text(encoding="utf-8")
        if good:
            level = self._rng.choice(["INFO", "WARNING", "DEBUG"])
            stage.configure({**self._config, "logging": {"level": level}})
        else:
            stage.config_file.write_text(self._rng.choice(BROKEN), encoding="utf-8")
        assert stage.process is not None
        _signal(stage.process.pid, signal.SIGHUP)
        end = time.monotonic() + 15
        while time.monotonic() < end and stage.process.poll() is None:
            if stage.service_number("reloads") + stage.service_number("reload_rejected") > before:
                break
            time.sleep(0.02)
        if not good:
            stage.config_file.write_text(old, encoding="utf-8")
        return True

    def _fill(self, stage: Stage, disk: SmallDisk) -> bool:
        disk.fill()
        self._sleep(stage, self._rng.uniform(0.2, 4.0))
        disk.empty()
        return True


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
