"""The steps of an order's life that touch disk or network, enumerated, and a hook at each.

At each of these moments the process can die. `reached` does nothing unless a test has installed a hook in its own
process; the crash campaign installs one that kills.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """Moments between two of which something has happened outside this process's memory."""

    INTENDED = "intended"  #: the order is in memory alone
    COMMIT_BEGINS = "commit_begins"  #: a step's transaction is about to be written
    COMMITTED = "committed"  #: it is on disk; nothing that follows from it has left the machine
    PUBLISHED = "published"  #: shared memory shows it
    SUBMIT_BEGINS = "submit_begins"  #: the request is about to be made
    SUBMIT_ON_SOCKET = "submit_on_socket"  #: its head is written; the venue may act on it from here on
    SUBMIT_ANSWERED = "submit_answered"
    SUBMIT_FAILED = "submit_failed"  #: an error was raised instead of an answer
    REPLACE_BEGINS = "replace_begins"  #: a stop is about to be replaced by another one, in one request
    REPLACE_ON_SOCKET = "replace_on_socket"
    REPLACE_ANSWERED = "replace_answered"
    REPLACE_FAILED = "replace_failed"
    LOOKUP_BEGINS = "lookup_begins"  #: the venue is about to be asked what became of an order
    LOOKUP_ANSWERED = "lookup_answered"
    LOOKUP_FAILED = "lookup_failed"
    TRADES_ANSWERED = "trades_answered"  #: the executions of an order are known
    CANCEL_BEGINS = "cancel_begins"
    CANCEL_ON_SOCKET = "cancel_on_socket"
    CANCEL_ANSWERED = "cancel_answered"
    CANCEL_FAILED = "cancel_failed"
    RECONCILE_BEGINS = "reconcile_begins"
    RECONCILE_ANSWERED = "reconcile_answered"  #: the venue's whole picture is known, and nothing was done with it
    UPDATE_TAKEN = "update_taken"  #: what the venue said is in memory alone


_hook: Callable[[Step], None] | None = None


def install(hook: Callable[[Step], None] | None) -> None:
    """Call a function at each step from now on, in this process; None: no longer. For tests."""
    global _hook  # noqa: PLW0603 - one process, one hook
    _hook = hook


def is_watched() -> bool:
    """Tell whether a hook is installed."""
    return _hook is not None


def reached(step: Step) -> None:
    """Say that a step was reached."""
    if _hook is not None:
        _hook(step)
