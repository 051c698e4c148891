"""Fixtures of the fault campaign, and its table at the end of a run.

The environment chooses: TRADER_FAULT_SEED (what is done when, and to whom), TRADER_FAULT_REPEAT (how often).
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.disks import have_private_mounts
from tests.faults.report import Fault, Row, table
from tests.faults.stage import Stage

SEED = int(os.environ.get("TRADER_FAULT_SEED", "7"))
REPEAT = int(os.environ.get("TRADER_FAULT_REPEAT", "1"))


@pytest.fixture
def fault(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fault]:
    """Provide what a test tells its fault to; clean up every service that it made."""
    made: list[Stage] = []

    def make(folder: Path, config: dict[str, Any], rng: random.Random) -> Stage:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made.append(Stage(folder, config, rng))
        return made[-1]

    told = Fault(tmp_path, SEED, REPEAT, make)
    yield told
    for stage in made:
        stage.clean_up()
    if (document := told.document()) is not None:
        request.node.user_properties.append(("fault", document))


@pytest.fixture(scope="session")
def private_mounts() -> None:
    """Give this process and its children a view of the mounts of their own: nothing mounted here is seen outside."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    have_private_mounts()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep why a fault's test failed for the table."""
    if report.when == "call" and report.failed and getattr(report.longrepr, "reprcrash", None):
        report.user_properties.append(("failure", report.longrepr.reprcrash.message.splitlines()[0][:300]))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table."""
    found: dict[str, dict[str, Any]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                found.setdefault(report.nodeid, {})[name] = value
    rows = []
    for properties in found.values():
        if "fault" in properties:
            row = Row(**properties["fault"])
            if "failure" in properties:
                row.passed, row.happened = False, properties["failure"]
            rows.append(row)
    if rows:
        terminalreporter.section("fault campaign")
        for line in table(rows, SEED):
            terminalreporter.write_line(line)
