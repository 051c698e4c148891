"""Where an instance keeps its files: one value that every process and command agrees on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class InstancePaths:
    """Folders and files of one instance.

    The data folder outlives everything; the runtime folder (on a tmpfs) lives as long as the
    service and is found through the link `run` in the data folder.
    """

    data_dir: Path
    runtime_dir: Path
    log_dir: Path

    @property
    def ledger(self) -> Path:
        """The ledger, written by the engine only."""
        return self.data_dir / "ledger.db"

    @property
    def metrics(self) -> Path:
        """Performance history, written by the monitor only."""
        return self.data_dir / "metrics.db"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.data_dir / "supervisor.lock"

    @property
    def engine_lock(self) -> Path:
        """Held by the engine for as long as it lives, however it was started."""
        return self.data_dir / "engine.lock"

    @property
    def runtime_link(self) -> Path:
        """Leads commands from the data folder to the runtime folder."""
        return self.data_dir / "run"

    @property
    def control_socket(self) -> Path:
        """Where the supervisor takes commands."""
        return self.runtime_dir / "control.sock"

    def segment(self, role: str, generation: int) -> Path:
        """Return the shared-memory file of one incarnation of a process."""
        return self.runtime_dir / f"seg-{role}-{generation}.shm"
