"""Logging is one per process: each test gets it back as it was."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture(autouse=True)
def restored_logging():
    """Put levels and handlers back after a test."""
    names = ("", "trader")
    before = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
