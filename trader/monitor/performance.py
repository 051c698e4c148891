"""Performance: turns the equity curve into snapshots at even steps of market time, keeps them, and reports.

    monitor = PerformanceMonitor(10_000.0, "data")
    monitor.update_metrics(10_120.0, open_positions=1, total_trades=4, win_rate=75.0)
    monitor.generate_report()["recent_performance"]["1d"]

The service's monitor process feeds the same object from shared memory; a notebook or a script calls it by hand.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from trader.clock import NS_PER_DAY, NS_PER_S, format_utc, utc_ns
from trader.errors import LedgerError
from trader.ledger import performance
from trader.ledger.metrics import HealthChange, MetricsReader, MetricsStore, Snapshot, Traded, is_unusable, move_aside

Records = npt.NDArray[np.void]

#: snapshots that wait for a disk that can't be written
MOST_WAITING = 20_000
MOST_CHANGES_WAITING = 1000
#: days that a closing monitor packs at most
PACKED_AT_THE_END = 400

log = logging.getLogger(__name__)


class SnapshotPicker:
    """Picks one point of the equity curve for each interval of market time.

    The first point at or after each multiple of the interval is taken, so that a restart neither shifts the
    grid nor takes a moment twice.

    Parameters
    ----------
    interval_s : float
        Market time between two snapshots [s].
    last_ns : int
        Market time of the last snapshot that is already kept [ns UTC]; 0: none.
    """

    def __init__(self, interval_s: float, last_ns: int = 0) -> None:
        self._last_ns = last_ns
        self._interval_ns = max(1, int(interval_s * NS_PER_S))

    def set_interval(self, interval_s: float) -> None:
        """Take another interval from the next point on."""
        self._interval_ns = max(1, int(interval_s * NS_PER_S))

    def pick(self, points: Records) -> Iterator[Snapshot]:
        """Yield the snapshots among new points of the curve.

        Parameters
        ----------
        points : ndarray
            Records of `trader.core.records.EQUITY_POINT`, oldest first.
        """
        for index in self._chosen(points["time_ns"]):
            yield _snapshot(points[index])

    def _chosen(self, times: npt.NDArray[np.int64]) -> Iterator[int]:
        cells = times // self._interval_ns
        for index, (time_ns, cell) in enumerate(zip(times.tolist(), cells.tolist(), strict=True)):
            if time_ns > self._last_ns and cell != self._last_ns // self._interval_ns:
                self._last_ns = time_ns
                yield index


def _snapshot(point: np.void) -> Snapshot:
    closed = int(point["round_trips"])
    return Snapshot(
        time_ns=int(point["time_ns"]),
        equity=float(point["equity"]),
        cash=float(point["cash"]),
        gross_exposure=float(point["gross_exposure"]),
        drawdown_frac=float(point["drawdown_frac"]),
        realised_pnl=float(point["realised_pnl"]),
        open_positions=int(point["open_positions"]),
        round_trips=closed,
        daily_pnl=float(point["equity"]) - float(point["day_start_equity"]),
        day_trades=int(point["day_trades"]),
        win_frac=int(point["wins"]) / closed if closed else None,
        max_drawdown_frac=float(point["max_drawdown_frac"]),
        cycles=int(point["cycles"]),
        decisions=int(point["decisions"]),
    )


class PerformanceMonitor:
    """Keeps performance history in `metrics.db` and reports from it.

    Nothing here raises for a disk that is full, read-only or gone: what can't be written waits (20,000 snapshots of
    it) and `error` says why. A file that is damaged, or of a newer version, is put aside and history begins anew.
    Values come back from the file bit by bit.

    Parameters
    ----------
    initial_capital : float
        Equity before the first snapshot [quote]; a file that exists keeps the value it was begun with.
    data_dir : path
        Folder of `metrics.db`, made if it is not there. A ledger in it is where round trips come from.
    snapshot_interval_seconds : float, optional
        Market time between two snapshots that `take` keeps [s].
    """

    def __init__(
        self,
        initial_capital: float = 10_000.0,
        data_dir: Path | str = "data",
        *,
        snapshot_interval_seconds: float = 60.0,
    ) -> None:
        self.path = Path(data_dir) / "metrics.db"
        self.error: str | None = None  #: why history can't be written now
        self.put_aside: Path | None = None  #: where a file went that could not be used
        self.written = 0  #: snapshots written since this object was made
        self._initial = float(initial_capital)
        self._peak = self._initial
        self._worst_frac = 0.0
        self._interval_s = snapshot_interval_seconds
        self._picker = SnapshotPicker(snapshot_interval_seconds)
        self._last_ns = 0
        self._day: tuple[int, float] | None = None
        self._snapshots: deque[Snapshot] = deque(maxlen=MOST_WAITING)
        self._changes: deque[HealthChange] = deque(maxlen=MOST_CHANGES_WAITING)
        self._trades: deque[Traded] = deque(maxlen=MOST_WAITING)
        self._store: MetricsStore | None = None
        self._reader = MetricsReader(self.path)
        self._open()

    # --------------------------------------------------------------- library

    @property
    def initial_capital(self) -> float:
        """Equity before the first snapshot [quote]."""
        return self._initial

    def update_metrics(
        self,
        current_capital: float,
        open_positions: int = 0,
        daily_pnl: float | None = None,
        total_pnl: float | None = None,
        total_trades: int = 0,
        daily_trades: int | None = None,
        win_rate: float | None = None,
        max_drawdown: float | None = None,
        decisions: int | None = None,
        loops: int | None = None,
        *,
        cash: float | None = None,
        time_ns: int | None = None,
    ) -> None:
        """Take a snapshot now.

        Parameters
        ----------
        current_capital : float
            Cash and marked positions [quote].
        open_positions : int
            How many are open.
        daily_pnl : float, optional
            Since the UTC day began [quote]; worked out from the first snapshot of the day when it is not given.
        total_pnl : float, optional
            Since the beginning [quote]; `current_capital - initial_capital` when it is not given.
        total_trades, daily_trades : int
            Round trips so far, entries of this UTC day.
        win_rate, max_drawdown : float, optional
            In percent; the drawdown is worked out from the snapshots when it is not given.
        decisions, loops : int, optional
            Opinions asked, cycles run.
        cash : float, optional
            [quote].
        time_ns : int, optional
            When [ns UTC]; now by default. A time that is not after the last snapshot's becomes the next free one.

        Raises
        ------
        ValueError
            When the capital is no finite number.
        """
        capital = float(current_capital)
        if not np.isfinite(capital):
            raise ValueError(f"current_capital must be a finite number, was {current_capital}")
        moment = max(utc_ns() if time_ns is None else int(time_ns), self._last_ns + 1)
        self._last_ns = moment
        self._peak = max(self._peak, capital)
        fall_frac = 1.0 - capital / self._peak if self._peak > 0 else 0.0
        self._worst_frac = max(self._worst_frac, fall_frac)
        day = moment // NS_PER_DAY
        if self._day is None or self._day[0] != day:
            self._day = (day, capital)
        held = capital - cash if cash is not None else 0.0
        self._snapshots.append(
            Snapshot(
                time_ns=moment,
                equity=capital,
                cash=capital if cash is None else float(cash),
                gross_exposure=abs(held),
                drawdown_frac=fall_frac,
                realised_pnl=capital - self._initial if total_pnl is None else float(total_pnl),
                open_positions=int(open_positions),
                round_trips=int(total_trades),
                daily_pnl=capital - self._day[1] if daily_pnl is None else float(daily_pnl),
                day_trades=daily_trades,
                win_frac=None if win_rate is None else float(win_rate) / 100.0,
                max_drawdown_frac=self._worst_frac if max_drawdown is None else abs(float(max_drawdown)) / 100.0,
                cycles=loops,
                decisions=decisions,
            )
        )
        self.write()

    def record_trade(
        self,
        symbol: str,
        pnl: float,
        entry_ns: int,
        exit_ns: int,
        *,
        strategy: str = "",
        exit_reason: str = "",
        fees: float = 0.0,
    ) -> None:
        """Record a round trip; for those who have no ledger in the folder.

        Parameters
        ----------
        symbol : str
            As in BTC/USDT.
        pnl : float
            Net result [quote].
        entry_ns, exit_ns : int
            [ns UTC].
        strategy, exit_reason : str
            What it can be told apart by.
        fees : float
            [quote].
        """
        self._trades.append(Traded(exit_ns, entry_ns, symbol, strategy, exit_reason, float(pnl), float(fees)))
        self.write()

    def generate_report(self) -> dict[str, Any]:
        """Return performance so far.

        Returns
        -------
        dict
            `summary`, `recent_performance` (`1h`, `1d`, `7d` before the last snapshot), `trading_activity`,
            `capital_stats`, `metrics` (with a ledger) and `units`; `win_rate` and `max_drawdown` are in percent.
        """
        self.write()
        with_ledger = self._from_ledger()
        return with_ledger if with_ledger is not None else self._from_snapshots()

    # --------------------------------------------------------------- the service

    def set_interval(self, interval_s: float) -> None:
        """Take snapshots at another interval of market time from the next point on [s]."""
        self._interval_s = interval_s
        self._picker.set_interval(interval_s)

    def take(self, points: Records) -> None:
        """Keep the snapshots among new points of the equity curve, records of `EQUITY_POINT`, oldest first."""
        self._snapshots.extend(self._picker.pick(points))

    def note(self, change: HealthChange) -> None:
        """Keep a change of health."""
        self._changes.append(change)

    def write(self) -> bool:
        """Write what waits; return whether nothing waits any more."""
        if not (self._snapshots or self._changes or self._trades):
            return self.error is None
        if self._store is not None and not self._store.is_there:
            self._forget_store()  # somebody moved or deleted the file: what it holds is theirs now
        if self._store is None:
            self._open()
        if self._store is None:
            return False
        try:
            self._store.append(self._snapshots, self._changes, self._trades)
        except sqlite3.Error as error:
            self._refused(error)
            return False
        except OSError as error:
            self.error = str(error)
            return False
        self.error = None
        self.written += len(self._snapshots)
        for waiting in (self._snapshots, self._changes, self._trades):
            waiting.clear()
        return True

    def close(self) -> None:
        """Write what waits, pack what a fast replay has left behind, and close the file."""
        self.write()
        if self._store is not None:
            try:
                self._store.pack_old_days(PACKED_AT_THE_END)
            except sqlite3.Error as error:
                log.info("old days of the performance history were not packed: %s", error)
        # the reader first: whoever closes last takes the write-ahead log with it, and a reader can't
        self._reader.close()
        self._forget_store()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --------------------------------------------------------------- the file

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._store = MetricsStore.open(self.path)
            self._store.remember("initial_capital", self._initial)
            self._last_ns = max(self._last_ns, self._store.last_time_ns())
        except (sqlite3.Error, OSError) as error:
            if self.error is None:
                log.warning("performance history can not be opened: %s; it is tried again", error)
            self.error = str(error)
            self._forget_store()
            return
        self.error = None
        if self._store.put_aside is not None:
            self.put_aside = self._store.put_aside
            log.warning("performance history could not be used; kept as %s, begun anew", self.put_aside)
        self._resume()

    def _resume(self) -> None:
        """Go on where the file ends: nothing is taken twice, the peak and the day's beginning are remembered."""
        initial = self._reader.remembered("initial_capital")
        self._initial = float(initial) if isinstance(initial, int | float) else self._initial
        last = self._reader.last()
        self._peak = max(self._peak, self._initial)
        if last is None:
            return
        if last.drawdown_frac < 1.0:
            self._peak = max(self._peak, last.equity / (1.0 - last.drawdown_frac))
        self._worst_frac = max(self._worst_frac, last.max_drawdown_frac or 0.0)
        if last.daily_pnl is not None:
            self._day = (last.time_ns // NS_PER_DAY, last.equity - last.daily_pnl)
        if not self._snapshots:
            self._picker = SnapshotPicker(self._interval_s, self._last_ns)

    def _refused(self, error: sqlite3.Error) -> None:
        """Keep what waits; when the file itself is wrong, put it aside, so that the next write begins anew."""
        self.error = str(error)
        self._forget_store()
        if not is_unusable(error):
            return
        try:
            self.put_aside = move_aside(self.path)
        except OSError as problem:
            self.error = f"{error}; it can not be put aside: {problem}"
            return
        log.warning("performance history is damaged (%s); kept as %s, begun anew", error, self.put_aside)

    def _forget_store(self) -> None:
        if self._store is not None:
            try:
                self._store.close()
            except sqlite3.Error as error:
                log.debug("performance history did not close: %s", error)
            self._store = None

    # --------------------------------------------------------------- reports

    def _from_ledger(self) -> dict[str, Any] | None:
        from trader.ledger.reader import LedgerReader
        from trader.ledger.statistics import report

        try:
            with LedgerReader(self.path.with_name("ledger.db")) as reader:
                return report(reader, self._reader)
        except LedgerError:
            return None  # a folder of one's own, or a service that has not begun

    def _from_snapshots(self) -> dict[str, Any]:
        last = self._reader.last() or (self._snapshots[-1] if self._snapshots else None)
        capital = last.equity if last is not None else self._initial
        now_ns = last.time_ns if last is not None else utc_ns()
        trips = [performance.closed_from(item) for item in self._reader.trades()]
        return {
            "summary": self._summary(last, trips),
            "recent_performance": performance.recent_performance(self._reader, trips, now_ns, capital, self._initial),
            "trading_activity": performance.activity(trips),
            "capital_stats": performance.capital_stats(self._reader),
            "metrics": performance.of_marks(self._reader, self._initial),
            "units": {"percent": ["summary.*_percent", "summary.win_rate", "summary.max_drawdown"]},
        }

    def _summary(self, last: Snapshot | None, trips: list[performance.Closed]) -> dict[str, Any]:
        results = performance.results(trips)
        capital = last.equity if last is not None else self._initial
        won = last.win_frac if last is not None and last.win_frac is not None else results["win_rate_frac"]
        return {
            "initial_capital": self._initial,
            "current_capital": capital,
            "total_pnl": capital - self._initial,
            "total_pnl_percent": (capital / self._initial - 1.0) * 100.0 if self._initial else None,
            "daily_pnl": last.daily_pnl if last is not None else 0.0,
            "open_positions": last.open_positions if last is not None else 0,
            "total_trades": max(last.round_trips if last is not None else 0, results["trades"]),
            "daily_trades": last.day_trades if last is not None else 0,
            "win_rate": won * 100.0 if won is not None else 0.0,
            "max_drawdown": self._worst_frac * 100.0 if last is None else (last.max_drawdown_frac or 0.0) * 100.0,
            "loops": last.cycles if last is not None else 0,
            "decisions": last.decisions if last is not None else 0,
            "until": format_utc(last.time_ns) if last is not None else None,
        }
