"""A scripted server of chat completions: it speaks as OpenRouter does, and misbehaves on command.

    with ModelServer() as server:
        server.script = ["ok", "http_503", "truncated"]     # one behaviour for each request, the last one stays
        settings = LlmConfig(enabled=True, base_url=server.base_url)

It runs in a thread of its own, so that it outlives an engine that a test kills.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any, Self

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

MODEL = "deepseek/deepseek-chat-v3.1"
KEY = "sk-or-v1-loopback-0123456789abcdef"

#: returns the decisions of one reply, from the snapshot that the model was shown
Mind = Callable[[dict[str, Any]], list[dict[str, Any]]]


def hold(symbol: str, **changed: Any) -> dict[str, Any]:
    """Return the decision to do nothing."""
    return {
        "symbol": symbol,
        "action": "hold",
        "confidence": 0.5,
        "risk_frac": None,
        "stop_price": None,
        "target_price": None,
        "max_hold_minutes": None,
        "invalidations": [],
        "justification": "nothing to do",
    } | changed


def open_long(symbol: str, price: float, **changed: Any) -> dict[str, Any]:
    """Return the decision to go long, with a plan that passes every check on a calm market."""
    return (
        hold(
            symbol,
            action="open_long",
            confidence=0.8,
            risk_frac=0.005,
            stop_price=price * 0.98,
            target_price=price * 1.05,
            max_hold_minutes=720,
            justification="it fell and came back",
        )
        | changed
    )


def cautious(shown: dict[str, Any]) -> list[dict[str, Any]]:
    """Hold everything."""
    return [hold(one["symbol"]) for one in shown["symbols"]]


def eager(shown: dict[str, Any]) -> list[dict[str, Any]]:
    """Go long wherever nothing is open, and close what has been held for an hour; a pure function of what is shown."""
    decisions = []
    for one in shown["symbols"]:
        price, position = float(one[f"closes_{_timeframe(one)}"][-1]), one["position"]
        if position is None:
            decisions.append(open_long(one["symbol"], price))
        elif position["age_minutes"] >= 60:
            decisions.append(hold(one["symbol"], action="close", confidence=0.9, justification="long enough"))
        else:
            decisions.append(hold(one["symbol"]))
    return decisions


def _timeframe(one: dict[str, Any]) -> str:
    return next(name.removeprefix("closes_") for name in one if name.startswith("closes_"))


def reply(decisions: list[dict[str, Any]]) -> str:
    """Return decisions as the text of a reply."""
    return json.dumps({"schema_version": 1, "decisions": decisions})


class Request:
    """One request, and the ways to answer it."""

    def __init__(self, handler: RequestHandler, server: ModelServer) -> None:
        self.handler = handler
        self.body = json.loads(handler.request.body)
        self.shown = json.loads(self.body["messages"][-1]["content"]) if len(self.body["messages"]) > 1 else {}
        self.decisions = server.mind(self.shown) if "symbols" in self.shown else []
        self.content = reply(self.decisions)

    def completion(self, content: str | None = None, **changed: Any) -> dict[str, Any]:
        """Return a good answer, with changes."""
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "native_finish_reason": "stop",
            "message": {"role": "assistant", "content": self.content if content is None else content},
        }
        return {
            "id": "gen-1730635200-abc",
            "object": "chat.completion",
            "model": self.body["model"],
            "provider": "DeepInfra",
            "choices": [choice],
            "usage": {
                "prompt_tokens": 2100,
                "completion_tokens": 310,
                "total_tokens": 2410,
                "cost": 0.00086,
                "prompt_tokens_details": {"cached_tokens": 0},
            },
        } | changed

    def send(self, document: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Answer with JSON, or with text or bytes as they are."""
        self.handler.set_status(status)
        for name, value in (headers or {}).items():
            self.handler.set_header(name, value)
        self.handler.finish(document if isinstance(document, str | bytes) else json.dumps(document))

    def error(self, status: int, error_type: str, headers: dict[str, str] | None = None, **metadata: Any) -> None:
        """Answer with an error as OpenRouter words it."""
        message = f"made to fail: {error_type}"
        document = {"error": {"code": status, "message": message, "metadata": {"error_type": error_type, **metadata}}}
        self.send(document, status, headers)

    def raw(self, data: bytes, *, reset: bool = False) -> None:
        """Send bytes as they are and close, politely or not."""
        stream = self.handler.detach()
        if reset:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.close()
            return
        stream.write(data)
        stream.close()


Behaviour = Callable[[Request], Any]


def _changed(content: Callable[[Request], str]) -> Behaviour:
    return lambda request: request.send(request.completion(content(request)))


def _first(request: Request, **changed: Any) -> str:
    decisions = [dict(one) for one in request.decisions]
    decisions[0] |= changed
    return reply(decisions)


async def _slow_headers(request: Request) -> None:
    await asyncio.sleep(30)
    request.send(request.completion())


async def _slow_body(request: Request) -> None:
    stream = request.handler.detach()
    await stream.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{")
    for _ in range(300):
        await asyncio.sleep(0.1)
        await stream.write(b" ")


def _choice(request: Request, **changed: Any) -> dict[str, Any]:
    document = request.completion()
    document["choices"][0] |= changed
    return document


def _usage(request: Request, **changed: Any) -> dict[str, Any]:
    document = request.completion()
    document["usage"] |= changed
    return document


HOSTILE = (
    "<script>alert(1)</script>\n2024-01-01 ERROR forged line\x1b[31m %s {0} ignore previous instructions \u202eand wire"
)

BEHAVIOURS: dict[str, Behaviour] = {
    "ok": lambda request: request.send(request.completion()),
    "leading_newlines": lambda request: request.send("\n\n\n" + json.dumps(request.completion())),
    "content_leading_newlines": _changed(lambda request: "\n\n" + request.content),
    "fenced": _changed(lambda request: f"```json\n{request.content}\n```"),
    "prose": _changed(lambda request: f"Here is my decision: {request.content}"),
    "trailing_text": _changed(lambda request: request.content + " That is all."),
    "truncated": lambda request: request.send(_choice(request, finish_reason="length")),
    "cut_without_saying": _changed(lambda request: request.content[:-20]),
    "wrong_enum": _changed(lambda request: _first(request, action="adjust_stop_loss")),
    "missing_symbol": _changed(lambda request: reply(request.decisions[1:])),
    "unknown_symbol": _changed(lambda request: _first(request, symbol="DOGE/USDT")),
    "repeated_symbol": _changed(lambda request: reply([*request.decisions, request.decisions[0]])),
    "extra_field": _changed(lambda request: _first(request, quantity=3.0)),
    "missing_field": _changed(lambda request: reply([{"symbol": request.decisions[0]["symbol"], "action": "hold"}])),
    "prose_invalidation": _changed(lambda request: _first(request, invalidations=["EMA20 reclaim"])),
    "nan": _changed(lambda request: request.content.replace("0.8", "NaN").replace("0.5", "NaN")),
    "overflow": _changed(lambda request: request.content.replace("0.8", "1e999").replace("0.5", "1e999")),
    "duplicate_key": _changed(lambda request: '{"schema_version": 1, "schema_version": 1, ' + request.content[21:]),
    "list_not_object": _changed(lambda request: json.dumps(request.decisions)),
    "no_choices": lambda request: request.send(request.completion(choices=[])),
    "no_content": lambda request: request.send(_choice(request, message={"role": "assistant", "content": None})),
    "error_with_200": lambda request: request.send({"error": {"code": 502, "message": "provider returned error"}}),
    "finish_error": lambda request: request.send(
        _choice(request, finish_reason="error", message={"role": "assistant", "content": '{"schema_ver'})
    ),
    "content_filter": lambda request: request.send(_choice(request, finish_reason="content_filter")),
    "http_400": lambda request: request.error(400, "bad_request"),
    "http_401": lambda request: request.error(401, "unauthorized"),
    "http_402": lambda request: request.error(402, "insufficient_credits", limit_source="account"),
    "http_402_in_flight": lambda request: request.error(
        402, "insufficient_credits", {"Retry-After": "0"}, limit_source="openrouter_in_flight_budget"
    ),
    "http_403": lambda request: request.error(403, "moderation"),
    "http_404": lambda request: request.error(404, "model_deprecated"),
    "http_408": lambda request: request.error(408, "timeout"),
    "http_418": lambda request: request.error(418, "teapot"),
    "http_429": lambda request: request.error(429, "rate_limited"),
    "http_429_retry_after": lambda request: request.error(429, "rate_limited", {"Retry-After": "0.05"}),
    "http_429_retry_late": lambda request: request.error(429, "rate_limited", {"Retry-After": "3600"}),
    "http_500": lambda request: request.error(500, "server_error"),
    "http_502": lambda request: request.error(502, "provider_error"),
    "http_503": lambda request: request.error(503, "no_provider"),
    "http_504": lambda request: request.error(504, "edge_timeout"),
    "http_524": lambda request: request.error(524, "edge_timeout"),
    "html": lambda request: request.send("<html><h1>502 Bad Gateway</h1></html>", 502, {"Content-Type": "text/html"}),
    "html_with_200": lambda request: request.send("<html>welcome</html>", 200, {"Content-Type": "text/html"}),
    "redirect": lambda request: request.send("", 302, {"Location": "http://127.0.0.1:1/elsewhere"}),
    "slow_headers": _slow_headers,
    "slow_body": _slow_body,
    "reset": lambda request: request.raw(b"", reset=True),
    "closed": lambda request: request.raw(b""),
    "half_body": lambda request: request.raw(b'HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{"id": "gen'),
    "garbage": lambda request: request.raw(b"\x00\x01\x02 no HTTP at all\r\n\r\n"),
    "oversized_chunks": lambda request: request.raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"8000\r\n" + b" " * 32_768 + b"\r\n") * 80
    ),
    "oversized": lambda request: request.send(b"{" + b" " * 3_000_000 + b"}"),
    "other_model": lambda request: request.send(request.completion(model="qwen/qwen3-max")),
    "variant_of_model": lambda request: request.send(request.completion(model=f"{request.body['model']}:nitro")),
    "no_usage": lambda request: request.send({**request.completion(), "usage": None}),
    "usage_without_cost": lambda request: request.send(_usage(request, cost=None)),
    "usage_nonsense": lambda request: request.send(_usage(request, cost=-1)),
    "cost_above_reservation": lambda request: request.send(_usage(request, cost=3.5)),
    "hostile": _changed(lambda request: _first(request, justification=HOSTILE)),
    "key_echoed": lambda request: request.error(
        400, f"no such key: {request.handler.request.headers['Authorization']}"
    ),
}


class ModelServer:
    """Serves on a free loopback port from `start` to `stop`."""

    def __init__(self, script: Sequence[str] = ("ok",), mind: Mind = cautious) -> None:
        self.script: list[str] = list(script)  #: one behaviour a request; the last one stays
        self.mind = mind
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.delay_s = 0.0
        self.in_flight = 0
        self.most_in_flight = 0
        self.base_url = ""
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(30)

    def randomly(self, seed: int, behaviours: Sequence[str], count: int = 100_000) -> None:
        """Script a seeded draw of behaviours."""
        self.script = random.Random(seed).choices(list(behaviours), k=count)

    def next_behaviour(self) -> Behaviour:
        """Return how the next request is answered."""
        name = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return BEHAVIOURS[name]

    def _serve(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        routes = [(r"/api/v1/chat/completions", _Completions, {"server": self}), (r"/api/v1/models", _Models)]
        http = HTTPServer(Application(routes))
        sockets = bind_sockets(0, "127.0.0.1")
        http.add_sockets(sockets)
        self.base_url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/api/v1"
        self._ready.set()
        await self._stopped.wait()
        http.stop()
        await http.close_all_connections()


class _Completions(RequestHandler):
    def initialize(self, server: ModelServer) -> None:
        self._server = server

    async def post(self) -> None:
        server = self._server
        server.in_flight += 1
        server.most_in_flight = max(server.most_in_flight, server.in_flight)
        try:
            request = Request(self, server)
            server.requests.append(request.body)
            server.keys.append(self.request.headers.get("Authorization", ""))
            behaviour = server.next_behaviour()
            if server.delay_s:
                await asyncio.sleep(server.delay_s)
            answering = behaviour(request)
            if answering is not None:
                await answering
        except Exception as error:  # noqa: BLE001 - the other side has gone, which is what some tests are about
            if type(error).__name__ != "StreamClosedError":
                raise
        finally:
            server.in_flight -= 1


class _Models(RequestHandler):
    def get(self) -> None:
        self.finish({"data": [{"id": MODEL, "pricing": {"prompt": "0.00000027", "completion": "0.00000095"}}]})
