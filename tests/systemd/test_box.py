"""The harness itself: a real systemd that nothing escapes from."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.systemd


def test_box_runs_a_real_systemd_as_pid_1(box):
    """Units can be started and looked at."""
    assert box.run("cat", "/proc/1/comm").stdout.strip() == "systemd"
    box.run("systemd-run", "--wait", "--quiet", "--property=DynamicUser=yes", "true")


def test_box_changes_stay_inside(box):
    """What is written in the box is not written on the machine."""
    box.run("touch", "/etc/written-in-the-box")
    assert not Path("/etc/written-in-the-box").exists()
