"""The venue: a server in a thread of its own, the market that it plays, and the books that judge a client."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Self, TypeVar

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from tests.loopback.venue.binance import Binance
from tests.loopback.venue.books import Books, Refusal, Refused
from tests.loopback.venue.clock import VenueClock
from tests.loopback.venue.dialect import Answer, Call, Dialect, Session
from tests.loopback.venue.kraken import Kraken
from tests.loopback.venue.markets import TIMEFRAMES_MS, Market, Rules, exact_candles, rules_for
from tests.loopback.venue.matching import Fees, Matching
from tests.loopback.venue.script import Fault, Script
from tests.loopback.venue.server import application

T = TypeVar("T")
DIALECTS: dict[str, type[Dialect]] = {"binance": Binance, "kraken": Kraken}


class FakeVenue:
    """An exchange on the loopback that unmodified ccxt clients trade on; see the package's docstring."""

    def __init__(
        self,
        candles: Mapping[str, Sequence[Sequence[Any]]],
        *,
        dialect: str = "binance",
        balances: Mapping[str, Any] | None = None,
        keys: tuple[str, str] = ("test-key", "dGVzdC1zZWNyZXQ="),
        permissions: frozenset[str] = frozenset({"read", "trade"}),
        fee_rate: Any = "0.001",
        fee_currency: str | None = None,
        script: Script | None = None,
        clock: VenueClock | None = None,
        timeframe: str = "1m",
        history: int = 0,
        rules: Mapping[str, Rules] | None = None,
        slippage_bps: Any = 0,
        weight_limit: int | None = None,
        order_limit: int | None = None,
        port: int = 0,
    ) -> None:
        self.keys = keys
        self.permissions = permissions
        self.script = script or Script()
        self.clock = clock or VenueClock()
        self.weight_limit = weight_limit
        self.order_limit = order_limit
        self.requests: list[dict[str, Any]] = []
        self.port = port
        self._timeframe_ms = TIMEFRAMES_MS[timeframe]
        markets = self._markets(candles, dict(rules or {}), history)
        funds = {name: Decimal(str(amount)) for name, amount in (balances or {"USDT": 10_000}).items()}
        self.matching = Matching(markets, funds, self.clock, Fees(Decimal(str(fee_rate)), fee_currency))
        self.matching.slippage_bps = Decimal(str(slippage_bps))
        self.dialect = DIALECTS[dialect](self)
        self._closed_until_s = 0.0
        self._order_times: list[float] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._playing: concurrent.futures.Future[None] | None = None

    def _markets(self, candles: Mapping[str, Any], rules: dict[str, Rules], history: int) -> dict[str, Market]:
        markets = {}
        for symbol, rows in candles.items():
            own = rules.get(symbol) or rules_for(Decimal(str(rows[0][1])))
            markets[symbol] = Market(symbol, own, exact_candles(rows, own.tick, own.step), self._timeframe_ms)
        times = sorted({candle.open_ms for market in markets.values() for candle in market.candles})
        first_ms = times[min(history, len(times) - 1)]
        if self.clock.wall:  # the first candle played opens in the present minute
            shift = time.time_ns() // 1_000_000 // self._timeframe_ms * self._timeframe_ms - first_ms
            first_ms += shift
            for market in markets.values():
                market.candles = [replace(candle, open_ms=candle.open_ms + shift) for candle in market.candles]
        for market in markets.values():
            while (open_ms := market.next_open_ms()) is not None and open_ms < first_ms:
                market.close()
        self._market_ms = first_ms
        return markets

    # ------------------------------------------------------------- running

    def start(self) -> Self:
        """Serve in a thread; the first candle opens."""
        ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._serve, args=(ready,), name="fake venue", daemon=True)
        self._thread.start()
        ready.result(30)
        self.ask(self._open_candles)
        return self

    def stop(self) -> None:
        """End the server; clients see their connections close."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(30)
            self._loop = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self, ready: concurrent.futures.Future[None]) -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)

        async def begin() -> HTTPServer:
            sockets = bind_sockets(self.port, "127.0.0.1")
            self.port = sockets[0].getsockname()[1]
            server = HTTPServer(application(self))
            server.add_sockets(sockets)
            return server

        try:
            server = loop.run_until_complete(begin())
        except Exception as error:
            ready.set_exception(error)
            return
        self._loop = loop
        ready.set_result(None)
        loop.run_forever()
        loop.run_until_complete(self._end(server))
        loop.close()

    async def _end(self, server: HTTPServer) -> None:
        server.stop()
        for session in list(self.dialect.sessions):
            session.close()
        await server.close_all_connections()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def ask(self, question: Callable[[], T], timeout_s: float = 60.0) -> T:
        """Return what a function returns in the venue's thread, where everything happens in order."""
        loop = self._loop
        if loop is None or threading.current_thread() is self._thread:
            return question()
        answer: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            try:
                answer.set_result(question())
            except BaseException as error:  # noqa: BLE001 - it is raised where it was asked
                answer.set_exception(error)

        loop.call_soon_threadsafe(run)
        return answer.result(timeout_s)

    # -------------------------------------------------------------- looking

    @property
    def url(self) -> str:
        """Return where the venue listens."""
        return f"http://127.0.0.1:{self.port}"

    def exchange_config(self) -> dict[str, Any]:
        """Return what `market.exchange_config`, or a ccxt constructor, needs to trade here."""
        return self.dialect.config()

    @property
    def books(self) -> Books:
        """Return a copy of the venue's books."""
        return self.ask(self.matching.books)

    @property
    def submissions(self) -> dict[str, int]:
        """Return how often each client id was accepted."""
        return self.ask(lambda: dict(self.matching.submissions))

    @property
    def now_ms(self) -> int:
        """Return the venue's time [ms]."""
        return self.clock.now_ms()

    @property
    def market_ms(self) -> int:
        """Return the boundary up to which candles are closed [ms]."""
        return self._market_ms

    def price(self, symbol: str) -> Decimal:
        """Return a symbol's last price."""
        return self.ask(lambda: self.matching.markets[symbol].price)

    def streams(self) -> int:
        """Return how many websockets are open."""
        return self.ask(lambda: len(self.dialect.sessions))

    # ------------------------------------------------------------- playing

    @property
    def ended(self) -> bool:
        """Tell whether all candles are played."""
        return all(market.next_open_ms() is None for market in self.matching.markets.values())

    def advance(self, minutes: int = 1) -> int:
        """Play candles, each with its prices in order, and open the next one; return the market's time [ms]."""
        for _ in range(minutes):
            self.ask(self._play_candle)
        return self._market_ms

    def elapse(self, seconds: float) -> None:
        """Let time pass within the open candle, at the same price, and tell the streams what they know already."""
        self.ask(lambda: self._elapse(int(seconds * 1000)))

    def _elapse(self, passed_ms: int) -> None:
        before_ms = self._market_ms + self._timeframe_ms
        now_ms = self.clock.now_ms() - self.clock.offset_ms
        self.clock.market(min(now_ms + passed_ms, before_ms - 1))
        for market in self.matching.markets.values():
            if market.forming is not None:
                self.matching.move(market.symbol, market.price, gap=False)  # what fills piece by piece goes on
                self.dialect.on_price(market, next(self.matching.trade_ids))

    def run(self, speed: float = 60.0) -> None:
        """Play on by itself, `speed` market seconds per second, until `pause` or the end."""
        self.pause()
        assert self._loop is not None
        self._playing = asyncio.run_coroutine_threadsafe(self._play(speed), self._loop)

    def pause(self) -> None:
        """Stop playing by itself."""
        if self._playing is not None:
            self._playing.cancel()
            self._playing = None

    async def _play(self, speed: float) -> None:
        while not self.ended:
            steps = (self._phase_one, self._phase_two, self._phase_three, self._close_candles)
            for quarter, step in enumerate(steps, 1):
                await asyncio.sleep(self._pause_s(quarter, speed))
                step()

    def _pause_s(self, quarter: int, speed: float) -> float:
        """Return how long the next step of a candle is away: on the wall's clock it comes when the wall says so."""
        if self.clock.wall and speed == 1:
            return max(0.0, (self._market_ms + self._timeframe_ms * quarter / 4) / 1000 - time.time())
        return self._timeframe_ms / 4000 / speed

    def _play_candle(self) -> None:
        self._phase_one()
        self._phase_two()
        self._phase_three()
        self._close_candles()

    def _phase_one(self) -> None:
        self._touch(1)

    def _phase_two(self) -> None:
        self._touch(2)

    def _phase_three(self) -> None:
        self._touch(3)

    def _touch(self, phase: int) -> None:
        offset_ms = (0, self._timeframe_ms // 3, self._timeframe_ms * 2 // 3, self._timeframe_ms - 1)[phase]
        self.clock.market(self._market_ms + offset_ms)
        for market in self.matching.markets.values():
            if market.next_open_ms() != self._market_ms:
                continue  # the venue has a hole here
            before, trade_id = market.price, next(self.matching.trade_ids)
            market.touch(phase, self.clock.now_ms(), trade_id)
            self.matching.move(market.symbol, before, gap=phase == 0)
            self.dialect.on_price(market, trade_id)

    def _close_candles(self) -> None:
        boundary_ms = self._market_ms + self._timeframe_ms
        self.clock.market(boundary_ms)
        for market in self.matching.markets.values():
            if market.next_open_ms() == self._market_ms:
                self.dialect.on_close(market, market.close())
        self._market_ms = boundary_ms
        self._touch(0)

    def _open_candles(self) -> None:
        self.clock.market(self._market_ms)
        self._touch(0)

    # -------------------------------------------------------------- serving

    def handle(self, call: Call) -> Answer:
        """Answer a request that reached the venue."""
        try:
            return self.dialect.answer(call)
        except Refused as refused:
            return self.dialect.refusal(refused, call)

    def note(self, call: Call, answer: Answer, sent: str, faults: list[Fault], seconds: float) -> None:
        """Write a request down."""
        self.requests.append({
            "operation": call.operation, "method": call.method, "path": call.path, "params": call.params,
            "status": answer.status, "sent": sent, "faults": [fault.action for fault in faults],
            "venue_ms": self.clock.now_ms(), "seconds": seconds,
        })  # fmt: skip

    def asked(self, operation: str) -> list[dict[str, Any]]:
        """Return the requests of one operation."""
        return [request for request in list(self.requests) if request["operation"] == operation]

    def disturb(self, fault: Fault, call: Call) -> None:
        """Do what a fault does to the venue itself, before the request is handled."""
        params, matching = fault.params, self.matching
        match fault.action:
            case "partial_fills":
                matching.armed = (params.get("pieces", 3), params.get("later", False))
            case "fee_in_bnb":
                matching.fees.currency = params.get("currency", "BNB")
            case "lot_size_changed":
                changes = {name: Decimal(str(value)) for name, value in params.items() if name != "symbol"}
                matching.change_rules(params["symbol"], **changes)
            case "fill_races_cancel":
                order = self.dialect.addressed(call)
                if order is not None:
                    matching.fill_now(order, Decimal(str(params.get("part", 1))))
            case "call":
                params["function"](self, call)

    @property
    def checks_time(self) -> bool:
        """Tell whether a request's timestamp is held against the venue's clock: candles jump, the wall doesn't."""
        return self.clock.wall

    def count_order(self) -> None:
        """Count an order against the limit of 10 seconds, and refuse it above."""
        if self.order_limit is None:
            return
        now_s = time.monotonic()
        self._order_times = [at_s for at_s in self._order_times if at_s > now_s - 10.0]
        if len(self._order_times) >= self.order_limit:
            raise Refused(Refusal.RATE, f"{self.order_limit} orders per 10 SECOND")
        self._order_times.append(now_s)

    def in_maintenance(self) -> bool:
        """Tell whether the venue is closed."""
        return time.monotonic() < self._closed_until_s

    def close_for(self, seconds: float) -> None:
        """Close the venue for maintenance; 0 opens it again."""
        self._closed_until_s = time.monotonic() + seconds
        if seconds:
            self.cut_streams()

    def cut_streams(self) -> None:
        """Close all websockets without a word."""
        for session in self.ask(lambda: list(self.dialect.sessions)):
            self.ask(session.close)

    def send(self, session: Session, text: str, values: dict[str, Any] | None) -> None:
        """Send a message of a stream, as the script wants it; answers to requests (no values) always pass."""
        if values is None:
            session.send_text(text)
            return
        kind = "ws_user" if session.is_user and "private" in values else "ws_market"
        out, topic = [text], str(values.get("e", values.get("channel")))
        for fault in self.script.due((kind,), values):
            match fault.action:
                case "ws_duplicate":
                    out = out * fault.params.get("copies", 2)
                case "ws_missing":
                    out = []
                case "ws_reorder":
                    session.held += [(topic, message) for message in out]
                    out = []
                    self._release_later(session, fault.params.get("seconds", 0.5))
                case "ws_garbage":
                    out = [fault.params.get("text", '{"e":')]
                case "ws_mute":
                    session.muted.add(kind)
                case "ws_drop":
                    session.close()
                    return
        if kind in session.muted:
            return
        for message in out:
            session.send_text(message)
        if out:
            self._release(session, topic)

    def _release(self, session: Session, topic: str | None = None) -> None:
        """Send held messages: those of a topic that has just overtaken them, or all."""
        held = [message for kind, message in session.held if topic in (None, kind)]
        session.held = [one for one in session.held if topic not in (None, one[0])]
        for message in held:
            session.send_text(message)

    def _release_later(self, session: Session, seconds: float) -> None:
        """Send held messages in the end even if no other one follows."""
        asyncio.get_running_loop().call_later(seconds, self._release, session)

    def unmute(self) -> None:
        """Let all websockets speak again."""
        self.ask(lambda: [session.muted.clear() for session in self.dialect.sessions])

    # -------------------------------------------------- a process of its own

    def told(self, what: str) -> dict[str, Any]:
        """Answer a question of the process that started this one."""
        if what == "books":
            return self.matching.books().as_json()
        if what == "requests":
            return {"requests": self.requests, "faults": dict(self.script.made)}
        return {"url": self.url, "config": self.exchange_config(), "now_ms": self.now_ms, "ended": self.ended}

    def ordered(self, what: str, orders: dict[str, Any]) -> dict[str, Any]:
        """Do what the process that started this one wants."""
        if what == "advance":
            for _ in range(orders.get("minutes", 1)):
                self._play_candle()
        elif what == "run":
            asyncio.get_running_loop().call_soon(self.run, orders.get("speed", 60.0))
        elif what == "fault":
            params = orders.pop("params", {})
            self.script.add(**orders, **params)
        elif what == "clear":
            self.script.clear()
        elif what == "maintenance":
            self.close_for(orders.get("seconds", 0.0))
        else:
            raise ValueError(f"no order {what!r}")
        return {"now_ms": self.now_ms, "market_ms": self._market_ms, "ended": self.ended}
