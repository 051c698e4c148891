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
