"""What others show of the model: the last decisions, spend against the cap, the breaker. Reads files only."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from trader.clock import format_utc, utc_day
from trader.codes import Breaker
from trader.config.sections import LlmConfig
from trader.strategy.llm.budget import BUDGET_FILE, BreakerState, Spent, read_breaker, read_day
from trader.units import plain

#: how much of the end of a day's records is looked at for the last decisions
_TAIL_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class LlmStatus:
    """The model's books as they are on disk."""

    today: Spent
    breaker: BreakerState
    max_calls: int
    max_usd: Decimal
    decisions: tuple[dict[str, Any], ...]  #: the last ones, newest first, without question and raw reply

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "calls_today": self.today.calls,
            "max_calls_per_day": self.max_calls,
            "spent_usd": plain(self.today.spent_usd),
            "reserved_usd": plain(self.today.reserved_usd),
            "max_usd_per_day": plain(self.max_usd),
            "breaker": self.breaker.state.name.lower(),
            "breaker_until": (
                format_utc(self.breaker.until_ns, "seconds")
                if self.breaker.state is Breaker.OPEN and self.breaker.until_ns < 2**62
                else None
            ),
            "breaker_reason": self.breaker.reason or None,
            "failures_in_a_row": self.breaker.failures,
            "decisions": list(self.decisions),
        }


def read_status(settings: LlmConfig, folder: Path, now_ns: int, limit: int = 20) -> LlmStatus | None:
    """Return the state of an instance's model; None when it was never asked.

    Parameters
    ----------
    settings : LlmConfig
        Section `llm`.
    folder : Path
        The instance's data folder.
    now_ns : int
        Wall clock [ns UTC].
    limit : int
        Decisions, at most.
    """
    path = folder / BUDGET_FILE
    if not path.exists():
        return None
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1.0)
    try:
        today, state = read_day(database, utc_day(now_ns)), read_breaker(database)
    except sqlite3.Error:
        return None  # it is being made at this moment
    finally:
        database.close()
    last = tuple(last_decisions(folder / settings.record_path, limit))
    return LlmStatus(today, state, settings.max_calls_per_day, Decimal(repr(settings.max_usd_per_day)), last)


def last_decisions(folder: Path, limit: int) -> Iterator[dict[str, Any]]:
    """Yield the last records of a folder, newest first, each without question and raw reply."""
    left = limit
    for path in sorted(folder.glob("????-??-??.jsonl"), reverse=True):
        for line in reversed(_tail(path)):
            record = _parsed(line)
            if record is None:
                continue
            if left <= 0:
                return
            left -= 1
            yield {name: value for name, value in record.items() if name not in ("request", "raw_body")}


def find_record(folder: Path, decision_id: str) -> dict[str, Any] | None:
    """Return the whole record of a decision; None when there is none."""
    for path in sorted(folder.glob("????-??-??.jsonl"), reverse=True):
        for line in reversed(path.read_bytes().split(b"\n")):
            if decision_id.encode() in line:
                record = _parsed(line)
                if record is not None and record["decision_id"] == decision_id:
                    return record
    return None


def _tail(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = max(0, size - _TAIL_BYTES)
        file.seek(start)
        lines = file.read().split(b"\n")
    return lines[1:] if start else lines


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None  # a crash has cut it, or it is being written
    return record if isinstance(record, dict) and "decision_id" in record else None
