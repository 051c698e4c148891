"""Performance: turns the equity curve into snapshots at even steps of market time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from trader.clock import NS_PER_S
from trader.ledger.metrics import Snapshot

Records = npt.NDArray[np.void]


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

        Yields
        ------
        Snapshot
            Without the account's figures.
        """
        for point in points:
            time_ns = int(point["time_ns"])
            if time_ns <= self._last_ns or time_ns // self._interval_ns == self._last_ns // self._interval_ns:
                continue
            self._last_ns = time_ns
            yield Snapshot(
                time_ns=time_ns,
                equity=float(point["equity"]),
                cash=float(point["cash"]),
                gross_exposure=float(point["gross_exposure"]),
                drawdown_frac=float(point["drawdown_frac"]),
                realised_pnl=float(point["realised_pnl"]),
                open_positions=int(point["open_positions"]),
                round_trips=int(point["round_trips"]),
            )


def with_account(snapshot: Snapshot, account: np.void) -> Snapshot:
    """Return a snapshot with the figures that only the account has; unchanged when it has gone on since.

    Parameters
    ----------
    snapshot : Snapshot
        As picked from the curve.
    account : record of `trader.core.records.ACCOUNT`
        The newest one.

    Returns
    -------
    Snapshot
        With daily result, trades, win rate, worst drawdown and counters when both are of one moment.
    """
    if int(account["event_ns"]) != snapshot.time_ns:
        return snapshot
    closed = int(account["round_trips"])
    return snapshot._replace(
        daily_pnl=float(account["equity"]) - float(account["day_start_equity"]),
        day_trades=int(account["day_trades"]),
        win_frac=int(account["wins"]) / closed if closed else None,
        max_drawdown_frac=float(account["max_drawdown_frac"]),
        cycles=int(account["cycles"]),
        decisions=int(account["decisions"]),
    )
