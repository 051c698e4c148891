"""Segments and records that the tests of the shared state use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trader.codes import Role
from trader.core.records import ACCOUNT, new_slots
from trader.state.layout import Records
from trader.state.segment import Segment

META = {"symbols": ["BTC/USDT", "ETH/USDT"], "mode": "paper", "quote": "USDT"}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Segment]:
    """Make a segment in the test's own folder."""

    def _make(role: Role = Role.ENGINE, generation: int = 1, n_symbols: int = 2, run_id: str = "run-1") -> Segment:
        path = tmp_path / f"seg-{role.name.lower()}-{generation}.shm"
        return Segment.create(
            path, role=role, generation=generation, n_symbols=n_symbols, run_id=run_id, meta=dict(META)
        )

    return _make


def book(value: float, n_symbols: int = 2) -> tuple[Records, Records]:
    """Return an account and slots that all hold one value."""
    account = np.zeros(1, ACCOUNT)
    account["cash"] = value
    account["equity"] = value
    slots = new_slots(n_symbols)
    slots["quantity"] = value
    return account, slots
