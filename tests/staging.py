"""A staged instance: real segments and a real ledger file, written by the test in place of the engine."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np

from trader.clock import NS_PER_DAY, NS_PER_S, boottime_ns, parse_utc, utc_day, utc_ns
from trader.codes import Decided, Direction, Limit, Reason, Role, ServiceState, Side, WorkerState
from trader.core.records import EQUITY_POINT, new_desk, new_slots
from trader.domain.decision import Decision
from trader.domain.fill import Fill
from trader.domain.order import Order, OrderKind, OrderState
from trader.ledger.journal import Ledger
from trader.state.dtypes import BEAT, SERVICE, WORKER
from trader.state.paths import InstancePaths
from trader.state.segment import Segment

START_NS = parse_utc("2025-01-02T09:00:00Z")
MINUTE_NS = 60 * NS_PER_S
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
TICKS = (0.1, 0.01, 0.01)
LOTS = (0.00001, 0.0001, 0.01)
PRICES = (64_250.4, 3_141.27, 148.62)
RUN_ID = "staged-run"


def paths_in(folder: Path) -> InstancePaths:
    """Return the paths of an instance below a folder, made."""
    paths = InstancePaths(folder / "data", folder / "run", folder / "logs")
    for path in (paths.data_dir, paths.runtime_dir, paths.log_dir):
        path.mkdir(mode=0o700, exist_ok=True)
    return paths


@dataclass
class Stage:
    """Everything that a running service publishes; change it, then `publish`."""

    paths: InstancePaths
    symbols: tuple[str, ...] = SYMBOLS
    strategies: tuple[str, ...] = ("simple_rsi",)
    capital: float = 10_000.0
    now_ns: int = START_NS
    desk: np.ndarray = field(default_factory=new_desk)
    service: np.ndarray = field(default_factory=lambda: np.zeros(1, SERVICE))
    workers: np.ndarray = field(default_factory=lambda: np.zeros(len(Role), WORKER))
    segments: dict[Role, Segment] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.slots = new_slots(len(self.symbols))
        for index in range(len(self.symbols)):
            self.slots["tick_size"][index] = TICKS[index % 3]
            self.slots["lot_size"][index] = LOTS[index % 3]
            self.slots["mark_price"][index] = PRICES[index % 3]
        limits, account = self.desk["limits"], self.desk["account"]
        for name, value in (
            ("max_open_positions", 5), ("max_daily_loss_frac", 0.05), ("max_daily_trades", 20),
            ("max_symbol_exposure_frac", 0.2), ("max_gross_exposure_frac", 1.0), ("max_drawdown_frac", 0.2),
            ("min_confidence_threshold", 0.7), ("risk_per_trade_frac", 0.01), ("stop_loss_frac", 0.02),
        ):  # fmt: skip
            limits[name] = value
        for name in ("cash", "equity", "initial_capital", "peak_equity", "day_start_equity"):
            account[name] = self.capital
        self.trade_number = 0
        self.ledger = Ledger.open(
            self.paths.ledger, instance="main", quote="USDT", initial_capital=Decimal(str(self.capital))
        )
        self.ledger.restore(new_desk(), new_slots(len(self.symbols)), self.symbols, self.strategies)

    # ----------------------------------------------------------- processes

    def start(self) -> Stage:
        """Publish a running service with all its workers."""
        meta = {"symbols": self.symbols, "strategies": self.strategies, "timeframe": "1m", "mode": "paper"}
        for role in Role:
            n_symbols = len(self.symbols) if role is Role.ENGINE else 0
            name = role.name.lower()
            segment = Segment.create(
                self.paths.segment(name, 1), role=role, generation=1, n_symbols=n_symbols, run_id=RUN_ID, meta=meta
            )
            self.segments[role] = segment
            worker = self.workers[role : role + 1]
            worker["role"], worker["pid"], worker["generation"] = role, os.getpid(), 1
            worker["state"], worker["started_ns"] = WorkerState.READY, boottime_ns()
        self.service["state"] = ServiceState.RUNNING
        self.service["started_ns"], self.service["started_boot_ns"] = utc_ns(), boottime_ns()
        self.service["config_epoch"], self.service["pid"] = 1, os.getpid()
        self.publish()
        self.renew()
        return self

    def new_engine(self, generation: int) -> None:
        """Replace the engine's segment, as a restart does."""
        old = self.segments[Role.ENGINE]
        self.segments[Role.ENGINE] = Segment.create(
            self.paths.segment("engine", generation), role=Role.ENGINE, generation=generation,
            n_symbols=len(self.symbols), run_id=RUN_ID, meta=old.meta,
        )  # fmt: skip
        self.workers["generation"][Role.ENGINE] = generation
        self.workers["restarts"][Role.ENGINE] += 1
        self.workers["state"][Role.ENGINE] = WorkerState.READY
        old.unlink()
        self.publish()

    def lose_engine(self) -> None:
        """Let the engine be dead and waiting for its next start."""
        self.workers["state"][Role.ENGINE] = WorkerState.BACKOFF
        self.workers["pid"][Role.ENGINE] = 0
        self.segments[Role.SUPERVISOR].writer("workers").publish(self.workers)

    def renew(self, seconds: float = 3600.0) -> None:
        """Grant lease and clearance for a while."""
        until = boottime_ns() + int(seconds * NS_PER_S)
        self.segments[Role.SUPERVISOR].word("lease_until_ns").set(until)
        self.segments[Role.MONITOR].word("clear_until_ns").set(until)

    def publish(self, *, beat_age_s: float | None = None) -> None:
        """Mark the account and publish everything; without an age, beats and data stay fresh for an hour."""
        self.mark()
        self.service["updated_ns"] = boottime_ns()
        supervisor, engine = self.segments[Role.SUPERVISOR], self.segments[Role.ENGINE]
        supervisor.writer("service").publish(self.service)
        supervisor.writer("workers").publish(self.workers)
        engine.writer("book").publish(self.desk["account"].copy(), self.slots)
        engine.writer("limits").publish(self.desk["limits"].copy())
        beat = np.zeros(1, BEAT)
        fresh_ns = boottime_ns() + 3600 * NS_PER_S  # a test may be slow, nobody beats meanwhile
        beat["beat_ns"] = fresh_ns if beat_age_s is None else boottime_ns() - int(beat_age_s * NS_PER_S)
        beat["fed_ns"], beat["market_ns"], beat["beats"] = fresh_ns, self.now_ns, 1
        beat["rss_bytes"], beat["pid"], beat["state"] = 190 * 2**20, os.getpid(), WorkerState.READY
        for role in (Role.ENGINE, Role.MONITOR, Role.DASHBOARD):
            self.segments[role].writer("beat").publish(beat)

    def note_equity(self) -> None:
        """Append the account's equity to the curve."""
        self.mark()
        account = self.desk["account"][0]
        point = np.zeros(1, EQUITY_POINT)
        point["time_ns"] = self.now_ns
        for name in (
            "equity",
            "cash",
            "gross_exposure",
            "drawdown_frac",
            "realised_pnl",
            "open_positions",
            "round_trips",
        ):
            point[name] = account[name]
        self.segments[Role.ENGINE].ring("equity").append(point)

    # ----------------------------------------------------------- trading

    def mark(self) -> None:
        """Bring the account up to the marks, as the kernels do."""
        account, held = self.desk["account"], self.slots[self.slots["quantity"] != 0]
        values = held["quantity"] * held["mark_price"]
        account["equity"] = account["cash"] + values.sum()
        account["gross_exposure"] = np.abs(values).sum()
        account["unrealised_pnl"] = (held["quantity"] * (held["mark_price"] - held["entry_price"])).sum()
        account["open_positions"] = len(held)
        account["peak_equity"] = np.maximum(account["peak_equity"], account["equity"])
        account["drawdown_frac"] = 1 - account["equity"] / account["peak_equity"]
        account["max_drawdown_frac"] = np.maximum(account["max_drawdown_frac"], account["drawdown_frac"])
        account["event_ns"], account["updated_ns"] = self.now_ns, boottime_ns()
        account["day"] = utc_day(self.now_ns)
        if self.now_ns % NS_PER_DAY == 0:
            account["day_start_equity"] = account["equity"]
            account["day_trades"] = 0

    def trade(self, slot: int, quantity: str, reason: Reason, decision_id: int = 0) -> None:
        """Fill a market order at the mark: signed quantity, positive buys; opens a flat slot or closes it whole."""
        record = self.slots[slot]
        price, amount = Decimal(str(round(float(record["mark_price"]), 2))), Decimal(quantity)
        side = Side.BUY if amount > 0 else Side.SELL
        opens = record["quantity"] == 0
        order = Order(
            order_id=self.ledger.next_order_id(),
            client_order_id=f"main-{self.trade_number}",
            symbol=self.symbols[slot],
            side=side,
            kind=OrderKind.MARKET,
            quantity=abs(amount),
            filled_quantity=abs(amount),
            state=OrderState.FILLED,
            reason=reason,
            strategy=self.strategies[0],
            reduce_only=not opens,
            decision_id=decision_id,
            created_ns=self.now_ns,
            updated_ns=self.now_ns,
        )
        fee = (price * abs(amount) * Decimal("0.001")).quantize(Decimal("0.00000001"))
        fill = Fill(
            f"t{self.trade_number}",
            order.order_id,
            order.symbol,
            side,
            price,
            abs(amount),
            fee,
            "USDT",
            self.now_ns,
            reason,
        )
        self.trade_number += 1
        self.ledger.record_order(order)
        self.ledger.record_fill(fill)
        trips = self.ledger.books.apply(fill, order)
        for trip in trips:
            self.ledger.record_round_trip(trip)
        self._move(record, float(price), float(amount), float(fee), opens)
        self._count(trips)
        self.ledger.save_state(self.desk, self.slots, self.now_ns)
        self.ledger.commit()

    def _move(self, record: np.void, price: float, amount: float, fee: float, opens: bool) -> None:
        account = self.desk["account"]
        account["cash"] -= amount * price + fee
        account["fees_paid"] += fee
        record["quantity"] = amount if opens else 0.0
        record["entry_price"], record["entry_ns"] = (price, self.now_ns) if opens else (0.0, 0)
        record["stop_price"] = price * 0.98 if opens else math.nan
        record["target_price"] = price * 1.03 if opens else math.nan
        record["best_price"] = price if opens else math.nan
        record["strategy"] = 0 if opens else -1
        account["day_trades"] += 1 if opens else 0

    def _count(self, trips: tuple) -> None:
        account = self.desk["account"]
        for trip in trips:
            account["round_trips"] += 1
            account["wins" if trip.pnl > 0 else "losses"] += 1
            account["realised_pnl"] += float(trip.pnl)

    def decide(
        self,
        slot: int,
        decided: Decided,
        *,
        value: float = 43.2,
        confidence: float = 0.0,
        detail: str = "",
        mask: int = 0,
    ) -> int:
        """Record one decision and return its id."""
        direction = (
            Direction.LONG if decided in (Decided.ORDERED, Decided.DENIED, Decided.NOT_CHOSEN) else Direction.HOLD
        )
        account = self.desk["account"]
        account["decisions"] += 1
        decision_id = self.ledger.next_decision_id()
        self.ledger.record_decisions(
            [
                Decision(
                    decision_id=decision_id,
                    cycle=int(account["cycles"][0]),
                    time_ns=self.now_ns,
                    strategy=self.strategies[0],
                    symbol=self.symbols[slot],
                    candle_ns=self.now_ns,
                    price=float(self.slots["mark_price"][slot]),
                    direction=int(direction),
                    confidence=confidence,
                    value=value,
                    decided=int(decided),
                    mask=int(mask),
                    order_id=0,
                    detail=detail,
                )
            ]
        )  # fmt: skip
        return decision_id

    def deny(self, slot: int) -> int:
        """Record a decision that the risk check denied for two reasons."""
        return self.decide(
            slot, Decided.DENIED, value=27.4, confidence=0.66, mask=Limit.CONFIDENCE | Limit.OPEN_POSITIONS,
            detail='{"confidence":[0.66,0.7],"open_positions":[5.0,5.0]}',
        )  # fmt: skip

    def commit(self) -> None:
        """Commit what was recorded."""
        self.ledger.save_state(self.desk, self.slots, self.now_ns)
        self.ledger.commit()

    def stop(self) -> None:
        """Remove the segments and close the ledger."""
        for path in self.paths.runtime_dir.glob("seg-*.shm"):
            path.unlink()
        self.ledger.close()
