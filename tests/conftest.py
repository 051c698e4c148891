"""Fixtures that every kind of test may use."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings


def _kernel_cache() -> Path:
    """Return a private folder for compiled kernels, one per version of the sources that are compiled.

    numba itself does not notice when a kernel's callee changes in another file. Each worker of xdist has its own, a
    copy of what was compiled before they began: two that write the same cache at once can spoil it.
    """
    root = Path(__file__).parents[1] / "trader"
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        text = path.read_bytes()
        if b"numba" in text or path.parent.name == "core":
            digest.update(path.name.encode() + text)
    owner = Path(tempfile.gettempdir()) / f"trader-test-kernels-{os.getuid()}"
    owner.mkdir(mode=0o700, exist_ok=True)
    if owner.stat().st_uid != os.getuid():  # a cached kernel is code: never run another user's
        return Path(tempfile.mkdtemp(prefix="trader-test-kernels-"))
    # numba knows a source by its path as well: another checkout's kernels would not be taken
    digest.update(str(root).encode())
    shared = owner / digest.hexdigest()[:16]
    shared.mkdir(mode=0o700, exist_ok=True)
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        return shared
    own = shared.with_name(f"{shared.name}-{worker}")
    if not own.exists():
        shutil.copytree(shared, own)
    return own


# how long an example takes says something about the machine, not about the code; which examples are drawn must not
# depend on the day, or a change is blamed for what it has not done: `make properties` draws new ones
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("search", settings.get_profile("patient"), derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("TRADER_TEST_EXAMPLES", "patient"))

# before anything imports numba; processes that tests start inherit it, and so do workers of xdist
if os.environ.get("NUMBA_CACHE_DIR") == os.environ.get("TRADER_TEST_KERNELS"):
    os.environ["NUMBA_CACHE_DIR"] = os.environ["TRADER_TEST_KERNELS"] = str(_kernel_cache())


def pytest_configure(config: pytest.Config) -> None:
    """Compile every kernel once before workers are started, or each of them would."""
    if getattr(config.option, "numprocesses", None) and "PYTEST_XDIST_WORKER" not in os.environ:
        subprocess.run([sys.executable, "-m", "tests.warming"], check=True, cwd=Path(__file__).parents[1])


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


@pytest.hookimpl(trylast=True)  # after whoever shuffles
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what waits longest: the tests of one systemd, in one worker."""
    items.sort(key=lambda item: item.path.parent.name != "systemd")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep what shares an expensive fixture in one worker: each file, and all tests of one systemd."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "systemd" if "systemd" in Path(file).parts else file

    return ByFile(config, log)
