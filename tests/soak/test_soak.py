"""A minute of `make soak`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.acceptance.service import REPOSITORY


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.timeout(600)
def test_soak_of_a_minute_ends_with_the_fills_of_a_calm_run(real_candles):
    """Random faults for about a minute; the audit is clean and no fill differs."""
    if os.geteuid() != 0:
        pytest.skip("filling a disk of its own needs root")
    command = [sys.executable, "-m", "tests.soak", "--seconds", "60", "--seed", "11", "--candles", str(real_candles)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=500, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
