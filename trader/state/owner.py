"""Who owns a segment: a process named so that a reused pid is not mistaken for it."""

from __future__ import annotations

from pathlib import Path

# position of the start time among the fields that follow the command's name in /proc/PID/stat
_STARTED_FIELD = 19


def process_started(pid: int) -> int | None:
    """Return when a process started [clock ticks since boot], or None when there is no such process.

    A zombie, dead and not yet reaped, counts as none.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # the command's name stands in parentheses and may itself hold blanks and parentheses
    fields = text[text.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[_STARTED_FIELD])


def is_alive(pid: int, started: int) -> bool:
    """Return whether the process with this pid is still the one that started then."""
    return process_started(pid) == started
