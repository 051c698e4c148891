"""Small services for the supervisor's tests; each behaves in one way."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from typing import Any

from trader.clock import boottime_ns
from trader.config.sections import Config
from trader.errors import ConfigError, ControlError, LedgerDamaged, StartAgain
from trader.process.context import WorkerContext
from trader.process.worker import Beat
from trader.state.segment import Segment

#: a configuration with this many positions is rejected by `Picky`, and with this port `Picky` does not start
UNLUCKY = 13


class Steady:
    """Iterates until it is told to stop; answers every command with what it was told."""

    def __init__(self, context: WorkerContext, segment: Segment, beat: Beat) -> None:
        self.context = context
        self.config = context.config
        self.segment = segment
        self.beat = beat
        self.stopping = asyncio.Event()
        self.prepared: Config | None = None

    async def start(self) -> dict[str, Any]:
        """Come up."""
        return {"generation": self.context.generation}

    async def run(self) -> None:
        """Iterate."""
        while not self.stopping.is_set():
            self.step()
            await asyncio.sleep(0.01)

    def step(self) -> None:
        """Do one iteration."""
        self.beat.iterations += 1
        self.beat.fed()

    async def stop(self) -> None:
        """Leave `run`."""
        self.stopping.set()

    async def command(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Echo, or refuse a flatten."""
        if name == "flatten":
            raise ControlError("nothing to flatten")
        return {
            "name": name,
            "arguments": arguments,
            "limit": self.config.risk.max_open_positions,
            "environment": sorted(os.environ),
            "may_compile": ctypes.CDLL(None).prctl(66, 0, 0, 0, 0) <= 0,  # PR_GET_MDWE; -1: an older kernel
        }

    def prepare(self, config: Config, epoch: int) -> None:
        """Keep it."""
        self.prepared = config

    def commit(self) -> None:
        """Take it."""
        assert self.prepared is not None
        self.config = self.prepared

    def abort(self) -> None:
        """Forget it."""
        self.prepared = None


class Clearing(Steady):
    """A monitor that has no objections."""

    def step(self) -> None:
        """Renew the clearance."""
        super().step()
        self.segment.word("clear_until_ns").set(boottime_ns() + 3_000_000_000)


class Picky(Steady):
    """Rejects one configuration on reload, and does not start with another."""

    async def start(self) -> dict[str, Any]:
        """Refuse the unlucky port."""
        if self.config.dashboard.port == UNLUCKY:
            raise ConfigError(f"port {UNLUCKY} brings bad luck")
        return {"port": self.config.dashboard.port}

    def prepare(self, config: Config, epoch: int) -> None:
        """Refuse the unlucky limit."""
        if config.risk.max_open_positions == UNLUCKY:
            raise ConfigError(f"{UNLUCKY} positions bring bad luck")
        if config.strategies[0].use == "unheard_of":
            raise ConfigError("strategies.0.use: there is no strategy 'unheard_of'")
        super().prepare(config, epoch)


class Blocking(Steady):
    """Blocks its loop when it is told to pause."""

    async def command(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Stand still."""
        time.sleep(60)  # noqa: ASYNC251 - that is the point
        return {}


class Trading(Steady):
    """Moves its market on, as an engine in a fast replay does."""

    def step(self) -> None:
        """One hour per step, and every incarnation goes on far beyond the one before."""
        super().step()
        hour_ns = 3_600_000_000_000
        self.beat.market_ns = max(self.beat.market_ns, self.context.generation * 100_000 * hour_ns) + hour_ns


class Finishing(Steady):
    """Is done by itself."""

    async def run(self) -> None:
        """End soon."""
        await asyncio.sleep(0.2)


class Refusing(Steady):
    """Does not start, and says why."""

    async def start(self) -> dict[str, Any]:
        """Refuse."""
        raise LedgerDamaged("page 7 of the ledger is damaged")


class Spoiled(Steady):
    """Finds something wrong that it can mend for the next incarnation."""

    async def start(self) -> dict[str, Any]:
        """Mend it, the first time."""
        if self.context.generation == 1:
            raise StartAgain("the cache of kernels was wrong and is removed")
        return {}


class Unbootable(Steady):
    """Dies on the way up without a word."""

    async def start(self) -> dict[str, Any]:
        """Die."""
        os._exit(3)


class Crashing(Steady):
    """Dies soon after it has come up."""

    async def run(self) -> None:
        """Die."""
        await asyncio.sleep(0.05)
        os._exit(3)


class Stubborn(Steady):
    """Does not stop."""

    async def stop(self) -> None:
        """Go on."""
