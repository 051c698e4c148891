"""A day of the real service at a fake venue, candle by candle: the market stands still until nothing is open any more.

What happens at the venue then depends on the candles and on the orders alone. So a day that was disturbed by faults and
deaths can be held against one that was not, fill by fill.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import pytest

from tests.acceptance.service import Service
from tests.loopback.venue import FakeVenue, Script, VenueClock
from trader.codes import Decided, Halt
from trader.errors import TraderError
from trader.state.paths import find
from trader.state.reader import StateReader

#: after the close, when the feed asks for a candle [s of market time]
SETTLED_S = 1.2
#: how long the service may take to come to rest, compilation, deaths and pauses included [s]
PATIENCE_S = 240.0
#: candles from one chance to enter to the next; positions end within
EPISODE = 8
#: orders that may be live while nothing is under way: protective stops that rest
UNDER_WAY = """
    SELECT order_id, kind, state, symbol, note FROM orders
    WHERE state NOT IN ('filled', 'canceled', 'rejected', 'expired', 'lost')
    AND NOT (kind = 'protect' AND state = 'open')
"""


class Day:
    """A fake venue, and the service that trades on it."""

    def __init__(
        self,
        folder: Path,
        candles: Mapping[str, Sequence[Sequence[Any]]],
        *,
        script: Script | None = None,
        dialect: str = "binance",
        history: int = 60,
        live: bool = True,
        config: Mapping[str, Any] | None = None,
        **venue: Any,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.script = script or Script()
        clock = VenueClock(share=folder / "venue.time")
        self.venue = FakeVenue(candles, dialect=dialect, history=history, clock=clock, **venue)
        self.live = live
        self.kills: Counter[str] = Counter()
        self._config = dict(config or {})
        self._symbols = list(candles)
        self._reader: StateReader | None = None
        self._played = False  # until a candle closes there is none to wait for

    # ------------------------------------------------------------- lifecycle

    def __enter__(self) -> Self:
        self.venue.start()
        patch = self._patch = pytest.MonkeyPatch()
        patch.setenv("VENUE_TIME", str(self.folder / "venue.time"))
        patch.setenv("VENUE_KEY", self.venue.keys[0])
        patch.setenv("VENUE_SECRET", self.venue.keys[1])
        self.service = Service(self.folder, self.configuration())
        try:
            self.service.start()
            self.settle()
        except BaseException:
            self.__exit__()
            raise
        # faults begin once the day has
        self.venue.script.faults += self.script.faults
        return self

    def __exit__(self, *_: object) -> None:
        self.service.kill()
        self.venue.stop()
        self._patch.undo()

    def configuration(self) -> dict[str, Any]:
        """Return the service's configuration."""
        exchange = self.venue.exchange_config()
        # a request that was lost is believed to be lost sooner, and nobody waits for a rate limit
        exchange["options"] = {**exchange.get("options", {}), "recvWindow": 150}
        exchange["rateLimit"] = 1
        return {
            "market": {
                "source": "exchange", "exchange": self.venue.dialect.name, "symbols": self._symbols, "timeframe": "1m",
                "exchange_config": exchange,
            },
            "engine": {
                "loop_interval_seconds": 60, "enable_trading": self.live, "exit_interval_seconds": 0.05,
                "max_new_positions_per_cycle": len(self._symbols),
            },
            "strategies": [{"use": "tests.acceptance.exchange_clock:Swinging"}],
            "risk": {
                "min_confidence_threshold": 0.0, "max_daily_trades": 1000, "max_daily_loss_frac": 0.9,
                "max_drawdown_frac": 0.9,
            },
            "exits": {"stop_loss_frac": 0.005, "take_profit_frac": 0.004},
            "recovery": {"max_consecutive_errors": 5, "error_cooldown_seconds": 0.3},
            "dashboard": {"enable": False},
            "credentials": {"api_key": {"env": "VENUE_KEY"}, "secret": {"env": "VENUE_SECRET"}},
            **self._config,
        }  # fmt: skip

    # --------------------------------------------------------------- playing

    def play(self, minutes: int) -> None:
        """Play candles; each begins when what the last one brought about has come to rest."""
        for _ in range(minutes):
            self.venue.advance()
            self._played = True
            self.settle()

    def settle(self, patience_s: float = PATIENCE_S) -> None:
        """Wait until the service has taken in the last candle and nothing is under way."""
        deadline_s = time.monotonic() + patience_s
        poke_s, at_rest, why = 0.0, 0, "-"
        while at_rest < 2:
            now_s = time.monotonic()
            if now_s > deadline_s:
                raise AssertionError(f"not at rest after {patience_s} s: {self.busy()}\n{self.service.text()[-6000:]}")
            if self.service.process is not None and self.service.process.poll() is not None:
                raise AssertionError(f"the service has ended:\n{self.service.text()[-6000:]}")
            if now_s > poke_s:  # the feed wakes for what the streams say
                self.venue.elapse(SETTLED_S if not poke_s else _pace_s(why))
                poke_s = now_s + 0.1
            why = self.busy()
            at_rest = 0 if why else at_rest + 1
            time.sleep(0.003)

    def busy(self) -> str:
        """Return what is under way, or "" when nothing is."""
        try:
            if self._reader is None:
                self._reader = StateReader(find(self.folder))
            book, venue = self._reader.book(), self._reader.venue()
        except (TraderError, OSError) as error:
            self._reader = None
            return f"no state: {error}"
        account = book.account
        if self._played and account["event_ns"] < self.venue.market_ms * 1_000_000:
            return f"the candle of {self.venue.market_ms} is not taken in: {account['event_ns']}"
        halts = Halt(int(account["halt_mask"])) & (Halt.RECONCILE | Halt.BREAKER | Halt.FEED | Halt.LEDGER)
        if halts:
            return f"halted: {halts!r}"
        if venue["orders_unknown"] or venue["stops_missing"]:
            return f"unknown {venue['orders_unknown']}, without a stop {venue['stops_missing']}"
        orders, leaving = self.service.rows(UNDER_WAY), self.service.rows("SELECT symbol FROM leaving")
        return f"orders: {orders}, leaving: {leaving}" if orders or leaving else ""

    # ---------------------------------------------------------------- deaths

    def processes(self) -> dict[str, int]:
        """Return the service's processes: role and pid."""
        assert self.service.process is not None
        reader = StateReader(find(self.folder))
        workers = {role: int(reader.beat(role)["pid"]) for role in ("engine", "monitor")}
        return {"supervisor": self.service.process.pid, **workers}

    def kill_engine(self, why: str = "") -> None:
        """SIGKILL the engine; the supervisor starts another one."""
        try:
            paths = find(self.folder)
            pid = int(StateReader(paths).beat("engine")["pid"])
            os.kill(pid, signal.SIGKILL)
        except (TraderError, OSError):
            return
        self.kills[why] += 1

    def kill_at(self, operation: str, nth: int) -> None:
        """SIGKILL the engine at the nth request of a kind, just before the venue handles it."""
        self.script.add(operation, "call", nth=nth, function=lambda _, call: self.kill_engine(call.operation))

    # --------------------------------------------------------------- results

    def fills(self) -> dict[tuple[str, int], list[tuple[int, str, Decimal, Decimal]]]:
        """Return the venue's fills by symbol and episode: minute, side, price, quantity; pieces of one together."""
        found: dict[tuple[str, int], Counter[tuple[int, str, Decimal]]] = defaultdict(Counter)
        for trade in self.venue.books.trades:
            minute = trade.time_ms // 60_000
            found[trade.symbol, minute // EPISODE][minute, "buy" if trade.buys else "sell", trade.price] += (
                trade.quantity
            )
        return {
            name: sorted((*fill, quantity) for fill, quantity in fills.items()) for name, fills in sorted(found.items())
        }

    def refused(self) -> set[tuple[str, int]]:
        """Return symbols and episodes in which an entry was refused: halted, fenced, or too old to be sent."""
        denied = self.service.rows(
            "SELECT name, time_ns FROM decisions JOIN names ON name_id = symbol_id"
            f" WHERE decided = {int(Decided.DENIED)}"
        )
        never = self.service.rows(
            "SELECT symbol, created_ns FROM orders"
            " WHERE reduce_only = 0 AND filled_quantity = '0' AND state IN ('lost', 'rejected', 'canceled')"
        )
        return {(symbol, time_ns // 60_000_000_000 // EPISODE) for symbol, time_ns in (*denied, *never)}

    def judge(self) -> None:
        """Hold ledger, venue and shared memory against each other: no difference, nothing twice, nothing lost."""
        books = self.venue.books
        assert books.differences == {}
        assert books.twice() == {}, "a client id was accepted twice"
        rows = self.service.rows("SELECT client_order_id, venue_order_id, state, filled_quantity FROM orders")
        known = {client_id: (venue_id, state, Decimal(filled)) for client_id, venue_id, state, filled in rows}
        for order in books.orders.values():
            assert order.client_id in known, f"{order.client_id} stands at the venue and not in the ledger"
            _, state, filled = known[order.client_id]
            assert filled == order.filled, order
            assert order.status.open == (state == "open"), (order, state)
        never = {client_id for client_id, (venue_id, _, _) in known.items() if venue_id is not None}
        assert never <= {order.client_id for order in books.orders.values()}
        assert self.fills_in_ledger() == self.fills_at_venue()
        verdict = self.service.json("verify")
        assert verdict["clean"], verdict
        assert verdict["differences"] == []

    def fills_in_ledger(self) -> Counter[tuple[str, ...]]:
        """Return the ledger's fills, comparable with `fills_at_venue`."""
        rows = self.service.rows("SELECT symbol, side, price, quantity, fee, fee_currency FROM fills")
        return Counter(
            (symbol, str(side), *(_text(Decimal(amount)) for amount in amounts), currency)
            for symbol, side, *amounts, currency in rows
        )

    def fills_at_venue(self) -> Counter[tuple[str, ...]]:
        """Return the venue's fills, comparable with `fills_in_ledger`."""
        return Counter(
            (
                one.symbol,
                "1" if one.buys else "-1",
                _text(one.price),
                _text(one.quantity),
                _text(one.fee),
                one.fee_currency,
            )
            for one in self.venue.books.trades
        )  # fmt: skip


def _pace_s(why: str) -> float:
    """Return how much time passes at the venue per tenth of a second: a start may take long, a candle must not."""
    return 0.25 if why.startswith("the candle") else 0.05 if why.startswith("no state") else 0.02


def _text(amount: Decimal) -> str:
    return f"{amount.normalize():f}"
