"""`make uninstall` takes away what `make install` brought, and nothing that an owner has."""

from __future__ import annotations

import pytest

from tests.systemd.conftest import ROOT, Trader, install

pytestmark = pytest.mark.systemd

PROGRAM = ("/opt/trader", "/etc/systemd/system/trader.service", "/usr/local/bin/trader", "/var/cache/trader")
OWNED = ("/etc/trader/trader.yaml", "/var/lib/trader/data/ledger.db", "/var/log/trader")


def exists(box, path):
    """Tell whether a path is there, in the box."""
    return box.run("test", "-e", path, check=False).returncode == 0


def test_uninstall_of_a_running_service_keeps_configuration_ledger_and_logs(trader: Trader):
    """It is stopped first; with PURGE=1 the rest goes too, and the user."""
    box = trader.box
    trader.systemctl("start", "trader")
    assert all(exists(box, path) for path in (*PROGRAM, *OWNED))
    try:
        said = box.run("make", "uninstall", cwd=ROOT).stdout
        assert [path for path in PROGRAM if exists(box, path)] == []
        assert [path for path in OWNED if not exists(box, path)] == []
        assert "/var/lib/trader" in said
        assert trader.show("LoadState") == "not-found"
        assert box.run("pgrep", "-u", "trader", check=False).stdout == ""

        box.run("make", "uninstall", "PURGE=1", cwd=ROOT)
        assert [path for path in OWNED if exists(box, path)] == []
        assert box.run("getent", "passwd", "trader", check=False).stdout == ""
    finally:
        install(box)  # for whoever comes next
