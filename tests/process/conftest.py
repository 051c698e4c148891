"""Fixtures of the tests with real processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process.supervised import Supervised


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    """Make supervisors, and clean up after them."""
    made: list[Supervised] = []

    def make(settings: dict[str, Any] | None = None, *, probation_s: float = 30.0, **classes: str) -> Supervised:
        made.append(Supervised(tmp_path, settings, probation_s=probation_s, **classes))
        return made[-1]

    yield make
    for service in made:
        service.clean_up()
