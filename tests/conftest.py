"""Fixtures that every kind of test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_candles() -> Path:
    """Folder of real candles; who has none skips the tests that need them."""
    folder = os.environ.get("TRADER_TEST_DATA")
    if not folder:
        pytest.skip("TRADER_TEST_DATA does not name a folder of real candles")
    return Path(folder)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run in which no test may skip, when one did."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("TRADER_TESTS_MAY_NOT_SKIP") or reporter is None:
        return
    skipped = reporter.stats.get("skipped", [])
    if skipped and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        for report in skipped:
            reporter.write_line(f"skipped, and may not be: {report.nodeid}", red=True)
