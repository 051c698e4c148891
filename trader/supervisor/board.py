"""The supervisor's own segment: what everyone may know of the service and of its processes."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np

from trader.clock import boottime_ns, utc_ns
from trader.codes import Role, ServiceState, WorkerState
from trader.config.sections import Config
from trader.state.dtypes import SERVICE, WORKER
from trader.state.segment import Segment
from trader.supervisor.station import Station


def is_live(config: Config) -> bool:
    """Return whether real orders are sent."""
    return config.market.source == "exchange" and config.engine.enable_trading


class Board:
    """Publishes the service record and the worker table."""

    def __init__(self, segment: Segment) -> None:
        self._service_slot = segment.writer("service")
        self._workers_slot = segment.writer("workers")
        self._service = np.zeros(1, SERVICE)
        self._service["pid"] = os.getpid()
        self._service["started_ns"] = utc_ns()
        self._service["started_boot_ns"] = boottime_ns()
        self._workers = np.zeros(len(Role), WORKER)
        self._workers["role"] = np.arange(len(Role))
        self._workers[Role.SUPERVISOR]["pid"] = os.getpid()
        self._workers[Role.SUPERVISOR]["generation"] = 1
        self._workers[Role.SUPERVISOR]["state"] = WorkerState.READY
        self._workers[Role.SUPERVISOR]["started_ns"] = boottime_ns()

    def service(self, state: ServiceState, config: Config, epoch: int, reloads: int, rejected: int) -> None:
        """Publish the state of the service."""
        record = self._service
        record["state"] = int(state)
        record["config_epoch"] = epoch
        record["reloads"] = reloads
        record["reload_rejected"] = rejected
        record["live"] = int(is_live(config))
        record["updated_ns"] = boottime_ns()
        self._service_slot.publish(record)

    def workers(self, stations: Iterable[Station]) -> None:
        """Publish the worker table."""
        for station in stations:
            row = self._workers[Role[station.role.upper()]]
            row["pid"] = station.pid
            row["generation"] = station.generation
            row["state"] = int(station.state)
            row["restarts"] = station.restarts
            row["started_ns"] = station.started_ns
            row["exit_code"] = station.exit_code
            row["next_start_ns"] = station.next_start_ns if station.state is WorkerState.BACKOFF else 0
        self._workers_slot.publish(self._workers)
