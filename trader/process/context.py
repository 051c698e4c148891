"""What a worker is told when it is born: plain, frozen, picklable."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from trader.config.sections import Config
from trader.state.paths import InstancePaths


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """Everything that one incarnation of a worker starts from."""

    role: str  #: engine, monitor or dashboard
    generation: int  #: counts this role's incarnations within one run, from 1
    run_id: str  #: names the run of the service; the same in logs, segments and the journal
    config: Config
    config_epoch: int  #: counts the configurations of one run, from 1
    paths: InstancePaths
    supervisor_pid: int  #: whoever else is our parent is not our parent
    segment: Path  #: our own shared memory, created by the supervisor, written by us only
    sockets: tuple[socket.socket, ...] = ()  #: listening sockets handed down (socket activation)
