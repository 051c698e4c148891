"""A ledger that a service left behind, and shared memory as a running one keeps it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from trader.clock import NS_PER_DAY, boottime_ns, parse_utc
from trader.codes import Decided, Direction, Limit, Reason, Role, ServiceState, Side, WorkerState
from trader.config.sections import Config
from trader.core.records import ACCOUNT, new_desk, new_slots
from trader.domain.decision import Decision
from trader.domain.fill import Fill
from trader.domain.order import Order, OrderEvent, OrderKind, OrderState
from trader.ledger.journal import Ledger
from trader.state.dtypes import BEAT, MAX_STRATEGIES, SERVICE, STRATEGY, VENUE, WORKER
from trader.state.paths import InstancePaths, locate, make_folders, remove_runtime
from trader.state.segment import Segment, clear_segments

SYMBOLS = ("BTC/USDT", "ETH/USDT")
START_NS = parse_utc("2024-01-03T12:00:00Z")
MINUTE_NS = 60_000_000_000


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch, tmp_path):
    """Run where no configuration, service or systemd is."""
    for name in ("TRADER_CONFIG", "TRADER_DATA_DIR", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "LOGS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def paths(tmp_path) -> Iterator[InstancePaths]:
    """Return the folders of an instance below the test's own."""
    found = locate(tmp_path, Config())
    make_folders(found)
    yield found
    clear_segments(found.runtime_dir)
    remove_runtime(found)


def trade(
    ledger: Ledger, symbol: str, side: Side, quantity: str, price: str, minute: int, decision_id: int = 0
) -> None:
    """Record an order that was filled at once."""
    reason = Reason.SIGNAL if decision_id else Reason.TARGET
    order_id, now_ns = ledger.next_order_id(), START_NS + minute * MINUTE_NS
    order = Order(
        order_id=order_id,
        client_order_id=f"main-{order_id}",
        symbol=symbol,
        side=side,
        kind=OrderKind.MARKET,
        quantity=Decimal(quantity),
        filled_quantity=Decimal(0),
        state=OrderState.INTENDED,
        reason=reason,
        strategy="simple_rsi",
        reduce_only=not decision_id,
        decision_id=decision_id,
        created_ns=now_ns,
        updated_ns=now_ns,
        stop_price=98.0,
        target_price=103.0,
    )
    ledger.record_order(order)
    fee = Decimal(quantity) * Decimal(price) / 1000
    fill = Fill(f"t{order_id}", order_id, symbol, side, Decimal(price), Decimal(quantity), fee, "USDT", now_ns, reason)
    ledger.record_fill(fill)
    for trip in ledger.books.apply(fill, order):
        ledger.record_round_trip(trip)
    ledger.update_order(replace(order, state=OrderState.SUBMITTED), OrderEvent.SUBMIT)
    filled = replace(order, state=OrderState.FILLED, filled_quantity=Decimal(quantity))
    ledger.update_order(filled, OrderEvent.FILL_REST)


def save(ledger: Ledger, desk, slots) -> None:
    """Save an account and slots that agree with what was recorded: BTC/USDT is marked at 104."""
    cash = ledger.books.balance("USDT")
    for currency, amount in ledger.books.balances.items():
        ledger.set_paper_balance(currency, amount)
    slots["quantity"][0], slots["mark_price"][0], slots["stop_price"][0] = 2.5, 104.0, 98.0
    slots["entry_price"][0], slots["position_id"][0] = 100.0, 2
    account, now_ns = desk["account"], START_NS + 7 * MINUTE_NS
    figures = {
        "cash": float(cash),
        "gross_exposure": 260.0,
        "equity": float(cash) + 260.0,
        "peak_equity": float(cash) + 260.0,
        "fees_paid": 1.0 + 1.03 + 0.25,
        "round_trips": 1,
        "wins": 1,
        "open_positions": 1,
        "event_ns": now_ns,
        "day_start_equity": 10000.0,
    }
    for name, value in figures.items():
        account[name] = value
    ledger.record_day(START_NS // NS_PER_DAY, 10000.0, START_NS)
    ledger.save_state(desk, slots, now_ns)


def decision(number: int, symbol: str, decided: Decided, order_id: int = 0, broken: str = "") -> Decision:
    """Return a decision; one that names a broken limit names confidence."""
    now_ns = START_NS + number * MINUTE_NS
    return Decision(
        decision_id=number,
        cycle=number,
        time_ns=now_ns,
        strategy="simple_rsi",
        symbol=symbol,
        candle_ns=now_ns,
        price=100.0,
        direction=int(Direction.HOLD if decided is Decided.HOLD else Direction.LONG),
        confidence=0.65,
        value=25.0,
        decided=int(decided),
        mask=int(Limit.CONFIDENCE) if broken else 0,
        order_id=order_id,
        detail=broken,
    )


@pytest.fixture
def ledger(paths) -> Path:
    """Return a ledger with a round trip in ETH/USDT, a position in BTC/USDT and four decisions."""
    with Ledger.open(paths.ledger, instance="main", quote="USDT", initial_capital=Decimal(10000)) as journal:
        desk, slots = new_desk(), new_slots(len(SYMBOLS))
        journal.restore(desk, slots, SYMBOLS, ("simple_rsi",))
        trade(journal, "ETH/USDT", Side.BUY, "10", "100", 0, decision_id=1)
        trade(journal, "ETH/USDT", Side.SELL, "10", "103", 5)
        trade(journal, "BTC/USDT", Side.BUY, "2.5", "100", 6, decision_id=2)
        save(journal, desk, slots)
        journal.record_decisions(
            [
                decision(1, "ETH/USDT", Decided.ORDERED, order_id=1),
                decision(2, "BTC/USDT", Decided.ORDERED, order_id=3),
                decision(3, "BTC/USDT", Decided.HOLD),
                decision(4, "BTC/USDT", Decided.DENIED, broken='{"confidence":[0.65,0.7]}'),
            ]
        )
    return paths.ledger


class Running:
    """The supervisor's and the engine's shared memory, without processes."""

    def __init__(self, paths: InstancePaths) -> None:
        self.paths = paths
        self.workers = np.zeros(len(Role), WORKER)
        self.workers["role"] = range(len(Role))
        self.supervisor = self._segment(Role.SUPERVISOR)
        self.publish_service()

    def publish_service(self) -> None:
        """Publish a service that runs on paper, and its worker table."""
        service = np.zeros(1, SERVICE)
        service["state"], service["pid"] = ServiceState.RUNNING, 4242
        service["started_ns"], service["started_boot_ns"] = time.time_ns(), boottime_ns() - 75_000_000_000
        service["config_epoch"] = 3
        self.supervisor.writer("service").publish(service)
        self.supervisor.writer("workers").publish(self.workers)
        self.supervisor.word("lease_until_ns").set(boottime_ns() + 60_000_000_000)

    def start_engine(self, halt: int = 0, strategies: Sequence[tuple[bytes, int, int, int, int, int]] = ()) -> None:
        """Publish the engine's account, slots and beat."""
        segment = self.engine = self._segment(Role.ENGINE)
        self.workers["generation"][Role.ENGINE] = 1
        self.workers["state"][Role.ENGINE], self.workers["pid"][Role.ENGINE] = WorkerState.READY, 4243
        account = np.zeros(1, ACCOUNT)
        for name, value in (("initial_capital", 10000.0), ("equity", 10100.0), ("day_start_equity", 10050.0)):
            account[name] = value
        account["halt_mask"], account["open_positions"], account["event_ns"] = halt, 1, START_NS
        slots = new_slots(len(SYMBOLS))
        slots["quantity"][0], slots["mark_price"][0], slots["stop_price"][0] = 2.5, 110.0, 104.5
        segment.writer("book").publish(account, slots)
        beat = np.zeros(1, BEAT)
        beat["beat_ns"], beat["rss_bytes"] = boottime_ns(), 200 * 2**20
        segment.writer("beat").publish(beat)
        rows = np.zeros(MAX_STRATEGIES, STRATEGY)
        rows[: len(strategies)] = list(strategies)
        segment.writer("strategies").publish(rows)
        self.publish_service()

    def tell_venue(self, **fields: int) -> None:
        """Publish what the engine says of its exchange."""
        record = np.zeros(1, VENUE)
        for name, value in fields.items():
            record[name] = value
        self.engine.writer("venue").publish(record)

    def start_monitor(self) -> None:
        """Give the monitor's clearance."""
        segment = self._segment(Role.MONITOR)
        segment.word("clear_until_ns").set(boottime_ns() + 60_000_000_000)
        self.workers["generation"][Role.MONITOR] = 1
        self.publish_service()

    def _segment(self, role: Role) -> Segment:
        return Segment.create(
            self.paths.segment(role.name.lower(), 1),
            role=role,
            generation=1,
            n_symbols=len(SYMBOLS) if role is Role.ENGINE else 0,
            run_id="run-1",
            meta={"symbols": list(SYMBOLS), "instance": "main", "quote": "USDT", "mode": "paper"},
        )


@pytest.fixture
def running(paths) -> Running:
    """Return the shared memory of a service that has just started."""
    return Running(paths)
