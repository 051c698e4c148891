"""`make install` and `make uninstall` on a real systemd."""

from __future__ import annotations

import json
import os

import pytest

from tests.systemd.conftest import PYTHON, ROOT, install

pytestmark = pytest.mark.systemd


def test_install_puts_everything_in_place(installed):
    """Program, configuration, unit, user and command; and nothing is started."""
    installed.run("test", "-x", "/opt/trader/venv/bin/python")
    assert installed.run("stat", "-c", "%a %U %G", "/etc/trader/trader.yaml").stdout.split() == [
        "640",
        "root",
        "trader",
    ]
    assert installed.run("getent", "passwd", "trader").stdout.strip().endswith("/usr/sbin/nologin")
    assert installed.run("systemctl", "show", "--value", "-p", "LoadState", "trader").stdout.strip() == "loaded"
    assert installed.run("systemctl", "is-active", "trader", check=False).stdout.strip() == "inactive"
    assert json.loads(installed.run("trader", "check", "--json").stdout)["valid"] is True


def test_install_unit_is_verified_and_sandboxed(installed):
    """`systemd-analyze verify` has nothing to say, and the exposure is 1.2 or better."""
    verified = installed.run("systemd-analyze", "verify", "/etc/systemd/system/trader.service")
    assert verified.stdout + verified.stderr == ""
    security = installed.run("systemd-analyze", "security", "--no-pager", "--threshold=12", "trader").stdout
    assert "Overall exposure level" in security


def test_install_every_directive_was_understood(installed):
    """A directive that this systemd does not know would be ignored with a warning only."""
    installed.run("systemctl", "daemon-reload")
    log = installed.run("journalctl", "--no-pager", "-b", "-o", "cat", "_PID=1").stdout
    assert "Reloading" in log  # systemd's own messages are in there at all
    assert [line for line in log.splitlines() if "system/trader.service:" in line] == []


def test_install_again_keeps_the_configuration(installed):
    """An owner's changes survive an upgrade."""
    installed.run("sh", "-c", "echo '# mine' >>/etc/trader/trader.yaml")
    install(installed)
    assert installed.run("tail", "-n1", "/etc/trader/trader.yaml").stdout == "# mine\n"
    installed.run("sed", "-i", "$d", "/etc/trader/trader.yaml")


@pytest.mark.parametrize(
    ("prepare", "python", "reason"),
    [
        ("", "/opt/no-such-python", "does not exist"),
        ("mkdir -p /root/py && cp /usr/bin/python3.11 /root/py/python", "/root/py/python", "can not see /root"),
        (
            "mkdir -p /opt/locked/bin && chmod 700 /opt/locked && cp /usr/bin/python3.11 /opt/locked/bin/python",
            "/opt/locked/bin/python",
            "can not execute because of /opt/locked (mode 700, owner root)",
        ),
    ],
)
def test_install_unusable_interpreter_is_refused_with_the_reason(box, prepare, python, reason):
    """Before anything is changed."""
    if prepare:
        box.run("sh", "-c", prepare)
    refused = box.run("make", "install", f"PYTHON={python}", "PREFIX=/opt/elsewhere", cwd=ROOT, check=False)
    assert refused.returncode != 0
    assert reason in refused.stderr
    assert box.run("test", "-e", "/opt/elsewhere", check=False).returncode == 1


def test_install_without_root_is_refused(box):
    """It says what to do."""
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    script = box.run("mktemp", "--suffix=.sh").stdout.strip()
    box.run("cp", str(ROOT / "systemd/install.sh"), script)
    box.run("chmod", "755", script)
    refused = box.run(*command, script, "install", check=False)
    assert refused.returncode == 1
    assert "run it as root" in refused.stderr


def test_interpreter_of_the_tests_exists():
    """The tests install with the distribution's own Python."""
    assert os.access(PYTHON, os.X_OK)
