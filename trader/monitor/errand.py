"""Errands: work that may hang, in a thread that nobody waits for; not even the end of the process does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


class Errand(Generic[T]):
    """One piece of work, begun when it is made.

    Parameters
    ----------
    work : callable
        What is done; what it raises is logged, and the result is None.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self.result: T | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, name="errand", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.result = self._work()
        except Exception:
            log.exception("an errand broke")
