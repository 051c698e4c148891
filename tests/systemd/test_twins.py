"""Two instances on one data folder can't both trade, whichever way they are started; and folders that are not ours."""

from __future__ import annotations

import pytest

from tests.systemd.conftest import eventually
from tests.systemd.test_service import is_whole, worker_pids

pytestmark = pytest.mark.systemd

PYTHON = "/opt/trader/venv/bin/python"
AS_TRADER = ("setpriv", "--reuid=trader", "--regid=trader", "--init-groups", "--")
DATA = ("--config", "/etc/trader/trader.yaml", "--data-dir", "/var/lib/trader")
#: every way to start a second one, beside the unit
WAYS = {
    "shell": ("trader", "run"),
    "python -m": (*AS_TRADER, PYTHON, "-m", "trader", "run", *DATA),
    "another unit": (
        "systemd-run", "--wait", "--quiet", "--pipe", "-p", "User=trader", PYTHON, "-m", "trader", "run", *DATA,
    ),
    "root, another runtime folder": (
        "env", "RUNTIME_DIRECTORY=/tmp/other-runtime", *AS_TRADER, PYTHON, "-m", "trader", "run", *DATA,
    ),
}  # fmt: skip


def test_unit_keeps_out_whoever_comes_second(trader):
    """Exit 75 naming the holder, in every way; the unit does not notice."""
    trader.systemctl("start", "trader")
    pids, main = worker_pids(trader), trader.show("MainPID")
    trader.box.run("install", "-d", "-o", "trader", "-m", "700", "/tmp/other-runtime")
    for way, command in WAYS.items():
        second = trader.box.run(*command, check=False)
        assert (way, second.returncode) == (way, 75), second.stdout + second.stderr
        assert main in second.stderr
    assert worker_pids(trader) == pids
    assert trader.show("MainPID") == main


def test_unit_is_kept_out_by_a_service_in_the_foreground(trader):
    """It fails once with 75, is not tried again, and cancels nothing of the one that runs."""
    trader.box.run("systemd-run", "--quiet", "--unit=by-hand", *WAYS["python -m"])
    try:
        eventually(lambda: is_whole(trader), "the service by hand", 120)
        pids = worker_pids(trader)
        refused = trader.box.run("systemctl", "start", "trader", check=False)
        assert refused.returncode != 0
        assert trader.show("ExecMainStatus") == "75"
        assert trader.show("NRestarts") == "0"
        assert worker_pids(trader) == pids
    finally:
        trader.systemctl("stop", "by-hand")


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        ("install -d -o root -m 700 {}", "belongs"),
        ("install -d -o trader -m 500 {}", "can not"),
        ("install -d -o trader -m 777 {}", "others"),
        ("touch {}", ""),
    ],
    ids=["foreign", "not writable", "open to others", "a file"],
)
def test_runtime_folder_that_can_not_be_used_is_refused_by_name(trader, prepare, words):
    """One line that names it, no traceback, no worker."""
    folder = "/tmp/some-runtime"
    trader.box.run("sh", "-c", f"rm -rf {folder}; {prepare.format(folder)}")
    refused = trader.box.run("env", f"RUNTIME_DIRECTORY={folder}", *WAYS["python -m"], check=False)
    assert refused.returncode not in (0, 75)
    assert folder in refused.stderr
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr
    assert trader.box.run("pgrep", "-u", "trader", check=False).stdout == ""
