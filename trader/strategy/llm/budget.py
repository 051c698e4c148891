"""What the model may cost: reserved at its worst before each call, settled afterwards, kept over restarts.

Money is exact (`Decimal`, US dollars) and the day is UTC, as at the billing end. A reservation whose outcome is unknown
stays: whoever was not told what a call has cost assumes the worst.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from trader.clock import utc_day
from trader.codes import Breaker
from trader.errors import StrategyError
from trader.strategy.llm.vocabulary import Hold
from trader.units import EXACT, plain

#: the books, in the data folder
BUDGET_FILE = "llm.db"

#: raised with every change of the tables
VERSION = 1

_SCHEMA = """
CREATE TABLE days (
    day INTEGER PRIMARY KEY, calls INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, spent_usd TEXT NOT NULL
);
CREATE TABLE reservations (
    id INTEGER PRIMARY KEY, day INTEGER NOT NULL, decision_id TEXT NOT NULL, usd TEXT NOT NULL, made_ns INTEGER NOT NULL
);
CREATE INDEX reservations_of_day ON reservations (day);
CREATE TABLE breaker (
    only INTEGER PRIMARY KEY CHECK (only = 1), state INTEGER NOT NULL, failures INTEGER NOT NULL,
    until_ns INTEGER NOT NULL, reason TEXT NOT NULL
);
INSERT INTO breaker VALUES (1, 0, 0, 0, '');
"""


class BudgetUnwritable(StrategyError):
    """The budget of the language model can not be kept on disk: without it nothing is spent."""


@dataclass(frozen=True, slots=True)
class Spent:
    """One UTC day."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    spent_usd: Decimal
    reserved_usd: Decimal  #: of calls whose outcome is not known

    @property
    def total_usd(self) -> Decimal:
        """What may be gone."""
        return EXACT.add(self.spent_usd, self.reserved_usd)


@dataclass(frozen=True, slots=True)
class BreakerState:
    """Whether the model is asked."""

    state: Breaker
    failures: int  #: in a row
    until_ns: int  #: when it may be tried again [ns UTC]; 0: not open
    reason: str  #: the last failure


@dataclass(frozen=True, slots=True)
class Reservation:
    """Money set aside for one call."""

    number: int
    day: int  #: UTC day, days since the epoch
    usd: Decimal


class Budget:
    """The books of one instance's model.

    Parameters
    ----------
    path : Path
        The database; made when it does not exist.
    max_calls, max_usd : int, Decimal
        Caps of a UTC day.

    Raises
    ------
    BudgetUnwritable
        When the file can't be used.
    """

    def __init__(self, path: Path, max_calls: int, max_usd: Decimal) -> None:
        self._path = path
        self.max_calls = max_calls
        self.max_usd = max_usd
        with self._writing():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, isolation_level=None, timeout=5.0)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._prepare()

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def reserve(self, now_ns: int, decision_id: str, usd: Decimal) -> Reservation | Hold:
        """Set money aside for one call, on disk before anything is sent.

        Parameters
        ----------
        now_ns : int
            Wall clock [ns UTC].
        decision_id : str
            What it is for.
        usd : Decimal
            The most that the call can cost.

        Returns
        -------
        Reservation or Hold
            The reason when the day's calls or dollars do not allow it.

        Raises
        ------
        BudgetUnwritable
            When it can't be written down.
        """
        day = utc_day(now_ns)
        with self._writing(), self._transaction():
            today = read_day(self._database, day)
            if today.calls >= self.max_calls:
                return Hold.BUDGET_CALLS
            if EXACT.add(today.total_usd, usd) > self.max_usd:
                return Hold.BUDGET_USD
            self._database.execute(
                "INSERT INTO days VALUES (?, 1, 0, 0, '0') ON CONFLICT (day) DO UPDATE SET calls = calls + 1", (day,)
            )
            made = self._database.execute(
                "INSERT INTO reservations (day, decision_id, usd, made_ns) VALUES (?, ?, ?, ?)",
                (day, decision_id, plain(usd), now_ns),
            )
            return Reservation(int(made.lastrowid or 0), day, usd)

    def settle(
        self, reservation: Reservation, usd: Decimal, prompt_tokens: int = 0, completion_tokens: int = 0
    ) -> None:
        """Replace a reservation by what the call has cost; 0 for one that certainly was not billed."""
        with self._writing(), self._transaction():
            gone = self._database.execute("DELETE FROM reservations WHERE id = ?", (reservation.number,))
            if gone.rowcount:
                today = read_day(self._database, reservation.day)
                self._database.execute(
                    "UPDATE days SET spent_usd = ?, prompt_tokens = prompt_tokens + ?, "
                    "completion_tokens = completion_tokens + ? WHERE day = ?",
                    (plain(EXACT.add(today.spent_usd, usd)), prompt_tokens, completion_tokens, reservation.day),
                )

    def today(self, now_ns: int) -> Spent:
        """Return the books of the UTC day."""
        return read_day(self._database, utc_day(now_ns))

    def breaker(self) -> BreakerState:
        """Return the breaker as it was left."""
        return read_breaker(self._database)

    def set_breaker(self, state: BreakerState) -> None:
        """Keep the breaker over restarts."""
        with self._writing():
            self._database.execute(
                "UPDATE breaker SET state = ?, failures = ?, until_ns = ?, reason = ?",
                (int(state.state), state.failures, state.until_ns, state.reason),
            )

    def _prepare(self) -> None:
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise BudgetUnwritable(f"{self._path}: was written by a newer version of trader; upgrade, or move it away")
        if version == 0:
            with self._transaction():
                for statement in _SCHEMA.split(";"):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise BudgetUnwritable(
                f"{self._path}: {error}; the model is not asked while its costs can't be kept"
            ) from (error)


def read_day(database: sqlite3.Connection, day: int) -> Spent:
    """Return the books of a UTC day."""
    row = database.execute(
        "SELECT calls, prompt_tokens, completion_tokens, spent_usd FROM days WHERE day = ?", (day,)
    ).fetchone()
    open_ = database.execute("SELECT usd FROM reservations WHERE day = ?", (day,)).fetchall()
    reserved = Decimal(0)
    for (usd,) in open_:
        reserved = EXACT.add(reserved, Decimal(usd))
    calls, prompt_tokens, completion_tokens, spent = row or (0, 0, 0, "0")
    return Spent(calls, prompt_tokens, completion_tokens, Decimal(spent), reserved)


def read_breaker(database: sqlite3.Connection) -> BreakerState:
    """Return the breaker as it was left."""
    state, failures, until_ns, reason = database.execute(
        "SELECT state, failures, until_ns, reason FROM breaker"
    ).fetchone()
    return BreakerState(Breaker(state), failures, until_ns, reason)
