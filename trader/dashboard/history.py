"""What the two databases say: decisions, orders, round trips and the account as it was left, and the long curve."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from trader.dashboard import records
from trader.dashboard.curve import Point
from trader.dashboard.view import position_view
from trader.errors import TraderError
from trader.ledger.metrics import MetricsReader
from trader.ledger.reader import LedgerReader
from trader.state.paths import InstancePaths

T = TypeVar("T")
Document = dict[str, Any]

log = logging.getLogger(__name__)


class History:
    """Reads both databases; what can't be read is empty, and is tried again the next time.

    Parameters
    ----------
    paths : InstancePaths
        Of the instance that is shown.
    """

    def __init__(self, paths: InstancePaths) -> None:
        self._paths = paths
        self._ledger: LedgerReader | None = None
        self._metrics = MetricsReader(paths.metrics)
        self._complained = False

    def account(self) -> Any:
        """Return the account as the ledger has it (fields of `core.records.ACCOUNT`), or None."""
        return self._from_ledger(lambda ledger: ledger.account(), None)

    def positions(self) -> list[Document]:
        """Return the open positions as the ledger has them, while no engine publishes them."""

        def read(ledger: LedgerReader) -> list[Document]:
            with ledger.snapshot():
                account, slots, holdings = ledger.account(), ledger.slots(), ledger.holdings()
            now_ns = int(account["event_ns"]) if account is not None else 0
            return [
                {**position_view(item.symbol, slots[item.symbol], now_ns, []), "strategy": item.strategy}
                for item in holdings
                if item.symbol in slots
            ]

        return self._from_ledger(read, [])

    def recent_decisions(self, interesting: int, idle: int) -> list[Document]:
        """Return the newest decisions of any kind with the newest that led to something, newest first."""

        def read(ledger: LedgerReader) -> list[Document]:
            found = {item.decision_id: item for item in ledger.decisions(limit=interesting, idle=False)}
            found.update((item.decision_id, item) for item in ledger.decisions(limit=idle))
            return [records.decision_view(found[key]) for key in sorted(found, reverse=True)]

        return self._from_ledger(read, [])

    def trips(self, limit: int) -> list[Document]:
        """Return the newest round trips, newest first."""
        return self._from_ledger(
            lambda ledger: [records.trip_view(item) for item in ledger.round_trips(limit=limit)], []
        )

    def curve(self, points: int, since_ms: int = 0) -> list[Point]:
        """Return the equity curve of `metrics.db`, thinned."""
        rows = self._metrics.equity(since_ns=since_ms * 1_000_000, points=points)
        return [(time_ns // 1_000_000, equity, drawdown_frac) for time_ns, equity, drawdown_frac in rows]

    def close(self) -> None:
        """Close both files."""
        self._metrics.close()
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def _from_ledger(self, read: Callable[[LedgerReader], T], otherwise: T) -> T:
        try:
            if self._ledger is None:
                if not self._paths.ledger.exists():
                    return otherwise
                self._ledger = LedgerReader(self._paths.ledger)
            found = read(self._ledger)
        except (TraderError, sqlite3.Error) as error:
            if not self._complained:
                log.warning("the ledger can not be read now: %s", error)
            self._complained = True
            if self._ledger is not None:
                self._ledger.close()
                self._ledger = None
            return otherwise
        self._complained = False
        return found
