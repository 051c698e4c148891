"""The crash campaign: every step of an order's life, under every fault of the venue, then the judges."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from tests.live_rig import START_MS, flat_candles, live_config
from tests.loopback.venue import FakeVenue
from trader.domain.order import TERMINAL, OrderKind
from trader.ledger.audit import audit
from trader.ledger.reader import LedgerReader
from trader.state.paths import InstancePaths
from trader.state.segment import Segment

ROOT = Path(__file__).parents[2]
#: a little more steps than a whole round trip takes without a fault
STEPS = 90
BASE_NS = START_MS * 1_000_000

#: (address, action, parameters): every fault of the script that an order can meet
FAULTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("submit", "drop_before", {}),
    ("submit", "drop_after", {}),
    ("submit", "reset", {}),
    ("submit", "delay", {"seconds": 0.1}),
    ("submit", "delay_after", {"seconds": 0.1}),
    ("submit", "error_5xx", {"status": 503}),
    ("submit", "error_5xx_accepted", {"status": 504}),
    ("submit", "rate_limited", {"retry_after": 0}),
    ("submit", "rate_limited", {"retry_after": None, "status": 418}),
    ("submit", "clock_error_1021", {}),
    ("submit", "maintenance", {"seconds": 0.2}),
    ("submit", "garbage_json", {}),
    ("submit", "garbage_json", {"text": "{}"}),
    ("submit", "garbage_json", {"text": '{"unexpected":[]}'}),
    ("submit", "truncated_body", {"how": "json"}),
    ("submit", "truncated_body", {"how": "http"}),
    ("submit", "slow_body", {"seconds": 0.2}),
    ("submit", "partial_fills", {"pieces": 3}),
    ("submit", "fee_in_bnb", {}),
    ("submit", "lot_size_changed", {"symbol": "BTC/USDT", "step": "0.01", "min_quantity": "0.01"}),
    ("cancel", "drop_before", {}),
    ("cancel", "drop_after", {}),
    ("cancel", "reset", {}),
    ("cancel", "error_5xx_accepted", {"status": 504}),
    ("cancel", "rate_limited", {"retry_after": 0}),
    ("cancel", "garbage_json", {}),
    ("cancel", "truncated_body", {"how": "json"}),
    ("cancel", "fill_races_cancel", {}),
    ("cancel", "fill_races_cancel", {"part": 0.5}),
    ("replace", "drop_before", {}),
    ("replace", "drop_after", {}),
    ("replace", "error_5xx", {"status": 503}),
    ("replace", "error_5xx_accepted", {"status": 504}),
    ("replace", "rate_limited", {"retry_after": 0}),
    ("replace", "garbage_json", {"text": "{}"}),
    ("replace", "truncated_body", {"how": "json"}),
    ("replace", "fill_races_cancel", {"part": 0.5}),
    ("query", "drop_after", {}),
    ("query", "garbage_json", {"text": "{}"}),
    ("query", "truncated_body", {"how": "json"}),
    ("query", "error_5xx", {"status": 502}),
    ("trades", "drop_after", {}),
    ("trades", "truncated_body", {"how": "json"}),
    ("trades", "garbage_json", {"text": "[]"}),
    ("account", "drop_after", {}),
    ("account", "garbage_json", {"text": "{}"}),
    ("open_orders", "error_5xx", {"status": 503}),
    ("*", "rate_limited", {"retry_after": 0}),
)


@dataclass(frozen=True, slots=True)
class Combination:
    """Where the engine dies, and what the venue does meanwhile."""

    kill: int  #: after how many steps
    again: int  #: the second incarnation's; 0: it lives
    at: str
    action: str
    nth: int
    params: dict[str, Any]

    def __str__(self) -> str:
        second = f", then at {self.again}" if self.again else ""
        return f"killed at step {self.kill}{second} under {self.action} of {self.at} {self.nth} {self.params}"


def combinations(seed: int, count: int) -> list[Combination]:
    """Return combinations, the same ones for a seed: every fault with steps spread over the whole life."""
    draw = random.Random(seed)
    found = []
    for index in range(count):
        at, action, params = FAULTS[index % len(FAULTS)]
        # spread, not drawn: each fault meets each part of an order's life
        kill = 1 + (index // len(FAULTS) * 37 + index * 11 + seed) % STEPS
        again = draw.randrange(1, STEPS) if draw.random() < 0.25 else 0
        nth = draw.choice((1, 1, 1, 2, 2, 3)) if at != "*" else draw.randrange(1, 40)
        found.append(Combination(kill, again, at, action, nth, params))
    return found


class Template:
    """The warm process that children are forked from."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.order_crash"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._answer() == "ready"

    def run(self, job: dict[str, Any]) -> int:
        """Run a job; return how it ended."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, "the template has ended"
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@dataclass
class Campaign:
    """Runs combinations and counts where the engine was killed."""

    template: Template
    folder: Path
    killed: Counter[tuple[str, str]] = field(default_factory=Counter)  #: (step, fault)
    made: Counter[str] = field(default_factory=Counter)

    def run(self, number: int, combination: Combination) -> list[str]:
        """Run one combination to its end; return what is wrong afterwards."""
        folder = self.folder / f"{number}"
        folder.mkdir(parents=True)
        balances = {"USDT": 10_000, "BNB": 10}
        candles = {"BTC/USDT": flat_candles(), "BNB/USDT": flat_candles(500.0)}
        with FakeVenue(candles, balances=balances) as venue:
            venue.script.add(combination.at, combination.action, nth=combination.nth, **combination.params)
            problem = self._live(folder, venue, combination)
            self.made.update(venue.script.made)
            if problem:
                return [problem]
            return judge(folder, venue)

    def _live(self, folder: Path, venue: FakeVenue, combination: Combination) -> str:
        config = live_config(
            venue,
            symbols=["BTC/USDT"],
            recovery={"error_cooldown_seconds": 0.05},
            execution={"reconcile_interval_seconds": 2.0},
            exits={"stop_loss_frac": 0.05, "take_profit_frac": None, "trailing_stop_frac": 0.05},
        )
        job = {
            "folder": str(folder),
            "config": config.model_dump(mode="json"),
            "base_ns": BASE_NS,
            "environ": {name: os.environ[name] for name in ("VENUE_KEY", "VENUE_SECRET")},
        }
        for kill in (combination.kill, combination.again, 0):
            status = self.template.run({**job, "kill": kill})
            steps = (folder / "steps.txt").read_text().split()
            if status == 0:
                return ""
            if status != -9:
                trace = folder / "trace.txt"
                return f"ended with {status}: {trace.read_text() if trace.exists() else steps[-3:]}"
            self.killed[steps[-1], combination.action] += 1
        return "the last incarnation was killed as well"


def judge(folder: Path, venue: FakeVenue) -> list[str]:
    """Return what disagrees between the venue's own books, the ledger and shared memory."""
    books = venue.books
    problems = [f"accepted twice: {books.twice()}"] if books.twice() else []
    if books.differences:
        problems.append(f"the venue's own books: {books.differences}")
    paths = InstancePaths(folder, folder / "run-folder", folder / "logs")
    problems += [str(item) for item in audit(paths, LastState(paths)).differences]
    with LedgerReader(paths.ledger) as reader:
        orders = {order.client_order_id: order for order in reader.orders(newest_first=False)}
        ours = {name: amount for name, amount in reader.balances().items() if amount}
        trips = reader.round_trips()
        waiting = reader.query("SELECT note FROM adjustments WHERE accepted = 0")
    theirs = {name: amount for name, amount in books.balances.items() if amount}
    if {name: Decimal(amount) for name, amount in ours.items()} != theirs:
        problems.append(f"balances: ledger {ours}, venue {theirs}")
    problems += [f"unexplained: {row[0]}" for row in waiting]
    problems += _compare_orders(orders, books)
    if len(trips) != 1:
        problems.append(f"intended: one round trip, found {len(trips)}")
    return problems


def _compare_orders(orders: dict[str, Any], books: Any) -> list[str]:
    problems = []
    for client_id, theirs in books.by_client_id.items():
        ours = orders.get(client_id)
        if ours is None:
            problems.append(f"the ledger lacks {client_id}, which the venue has as {theirs.status}")
            continue
        if ours.filled_quantity != theirs.filled:
            problems.append(f"{client_id}: ledger filled {ours.filled_quantity}, venue {theirs.filled}")
        if (ours.state in TERMINAL) == theirs.status.open:
            problems.append(f"{client_id}: ledger {ours.state}, venue {theirs.status}")
    for client_id, ours in orders.items():
        if client_id not in books.by_client_id and ours.state not in ("lost", "rejected", "canceled"):
            problems.append(f"the venue never had {client_id}, the ledger says {ours.state}")
        if ours.kind is OrderKind.MARKET and not ours.reduce_only and ours.state in ("lost", "rejected"):
            problems.append(f"the intended entry {client_id} is missing: {ours.state} {ours.note}")
    return problems


class LastState:
    """Shared memory as the last incarnation left it."""

    def __init__(self, paths: InstancePaths) -> None:
        files = paths.runtime_dir.glob("seg-engine-*")
        self._segment = Segment.attach(max(files, key=lambda path: int(path.stem.rpartition("-")[2])))

    def book(self) -> Any:
        """Return account and slots."""
        parts = self._segment.reader("book").read()

        class Book:
            account, slots, symbols = parts["account"][0], parts["slots"], tuple(self._segment.meta["symbols"])

        return Book
