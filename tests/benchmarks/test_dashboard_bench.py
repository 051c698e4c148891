"""What the dashboard costs: requests beside a bare Tornado handler of the same run, a thousand pages, and time.

Servers run in processes of their own, asked by the same client over keep-alive connections, round by round in turn.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.staging import MINUTE_NS, Stage, paths_in
from trader.codes import Decided, Reason
from trader.ledger.metrics import MetricsStore, Snapshot

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

CONNECTIONS = 16
ROUND_S = 2.0
ROUNDS = 7
PAGES = 1000
WATCHED_S = 20.0

_BARE = """
import asyncio, sys
from tornado.web import Application, RequestHandler
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
body = open(sys.argv[1], "rb").read()
class Bare(RequestHandler):
    def get(self):
        self.set_header("Content-Type", "application/json")
        self.finish(body)
async def main():
    server = HTTPServer(Application([("/api/status", Bare)], log_function=lambda handler: None))
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""

_OURS = """
import asyncio, sys
from pathlib import Path
from tests.serving import config_of, context_of
from tests.staging import RUN_ID, paths_in
from trader.codes import Role
from trader.dashboard.worker import DashboardService
from trader.process.context import WorkerContext
from trader.process.worker import Beat
from trader.state.segment import Segment
paths = paths_in(Path(sys.argv[1]))
async def main():
    context = WorkerContext("dashboard", 1, RUN_ID, config_of(), 1, paths, 0, paths.segment("dashboard", 1))
    segment = Segment.attach(context.segment, writable=True)
    service = DashboardService(context, segment, Beat(segment))
    print((await service.start())["port"], flush=True)
    await service.run()
asyncio.run(main())
"""


@contextmanager
def _served(code: str, argument: Path) -> Iterator[tuple[int, psutil.Process]]:
    command = [sys.executable, "-c", code, str(argument)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline()), psutil.Process(server.pid)
        finally:
            server.kill()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Stage an instance with a position, decisions and a curve."""
    stage = Stage(paths_in(tmp_path)).start()
    stage.slots["mark_price"][0] = 60_000.0
    stage.trade(0, "0.02", Reason.SIGNAL, stage.decide(0, Decided.ORDERED, confidence=0.8))
    for _ in range(300):
        stage.now_ns += MINUTE_NS
        stage.slots["mark_price"][0] += 3.0
        stage.deny(2)
        stage.note_equity()
    stage.commit()
    stage.publish()
    yield stage
    stage.stop()


async def _asks(port: int, seconds: float) -> list[float]:
    """Ask over keep-alive connections as fast as answers come; return how long each answer took."""
    request = b"GET /api/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := time.perf_counter()) < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            lower = head.lower()
            at = lower.index(b"content-length:") + 15
            await reader.readexactly(int(lower[at : lower.index(b"\r", at)]))
            took.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return took


def test_status_requests_beside_a_bare_handler(stage: Stage, tmp_path: Path) -> None:
    """At least 80 % of what Tornado does with a ready body and nothing else."""
    body = tmp_path / "body.json"
    with _served(_OURS, tmp_path) as (ours, _):
        with socket.create_connection(("127.0.0.1", ours)) as line:
            line.sendall(b"GET /api/status HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            answer = b"".join(iter(lambda: line.recv(65536), b""))
        body.write_bytes(answer.partition(b"\r\n\r\n")[2])
        with _served(_BARE, body) as (bare, _):
            ports = {"trader /api/status": ours, "bare Tornado handler": bare}
            rates: dict[str, list[float]] = {name: [] for name in ports}
            slow: dict[str, list[float]] = {name: [] for name in ports}
            for _ in range(ROUNDS):
                for name, port in ports.items():
                    took = sorted(asyncio.run(_asks(port, ROUND_S)))
                    rates[name].append(len(took) / ROUND_S)
                    slow[name].append(took[len(took) * 99 // 100])
    print(
        f"\n{body.stat().st_size} bytes of JSON over {CONNECTIONS} keep-alive connections, client on the same machine"
    )
    for name in ports:
        rate, p99_ms = statistics.median(rates[name]), statistics.median(slow[name]) * 1e3
        print(f"  {name:<22} {rate:>7.0f} requests a second, p99 {p99_ms:.1f} ms")
    ratio = statistics.median(a / b for a, b in zip(*rates.values(), strict=True))
    print(f"  ratio {ratio:.2f} (median of the rounds' ratios); freqtrade's /status: 145 a second")
    assert ratio >= 0.8


async def _page(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    return reader, writer


async def _frame(reader: asyncio.StreamReader) -> int:
    """Read one whole text frame of the server; answer pings by silence."""
    head = await reader.readexactly(2)
    length = head[1] & 0x7F
    if length == 126:
        length = int.from_bytes(await reader.readexactly(2))
    elif length == 127:
        length = int.from_bytes(await reader.readexactly(8))
    await reader.readexactly(length)
    return head[0] & 0x0F


async def _watch(port: int, server: psutil.Process, stage: Stage) -> tuple[float, float, list[int], int]:
    """Hold a thousand pages for a while; return CPU share, pushes a second and page, memory at times, frames lost."""
    pages = [await _page(port) for _ in range(PAGES)]
    frames = [0] * PAGES

    async def listen(index: int) -> None:
        while True:
            if await _frame(pages[index][0]) == 1:
                frames[index] += 1

    listeners = [asyncio.create_task(listen(index)) for index in range(PAGES)]
    await asyncio.sleep(4.0)
    before, began, counted = server.cpu_times(), time.monotonic(), list(frames)
    memory = []
    while time.monotonic() - began < WATCHED_S:
        stage.now_ns += MINUTE_NS
        stage.slots["mark_price"][0] += 1.0
        stage.note_equity()
        stage.publish()
        memory.append(server.memory_info().rss)
        await asyncio.sleep(0.5)
    took, after = time.monotonic() - began, server.cpu_times()
    for listener in listeners:
        listener.cancel()
    await asyncio.gather(*listeners, return_exceptions=True)
    seen = [now - then for now, then in zip(frames, counted, strict=True)]
    for _, writer in pages:
        writer.close()
    share = (after.user + after.system - before.user - before.system) / took
    return share, statistics.fmean(seen) / took, memory, min(seen)


def test_thousand_pages_updated_each_second(stage: Stage, tmp_path: Path) -> None:
    """Under half a core, every page once a second, memory flat."""
    with _served(_OURS, tmp_path) as (port, server):
        share, rate, memory, fewest = asyncio.run(_watch(port, server, stage))
    half = len(memory) // 2
    grown = statistics.median(memory[half:]) - statistics.median(memory[:half])
    print(f"\n{PAGES} websockets for {WATCHED_S:.0f} s: {share:.2f} cores, {rate:.2f} updates a second and page")
    print(f"  the page with the fewest got {fewest}; {memory[-1] / 2**20:.0f} MiB, grown by {grown / 2**20:.2f} MiB")
    assert share < 0.5
    assert rate > 0.8
    assert grown < 8 * 2**20


def test_charts_of_months_load_fast(stage: Stage, tmp_path: Path) -> None:
    """A year of minutes in the curve and 200,000 candles: every chart's document in well under 300 ms."""
    store = MetricsStore.open(stage.paths.metrics)
    start_ns = stage.now_ns - 525_600 * MINUTE_NS
    for day in range(365):  # as the monitor does: old days are packed as new ones come
        minutes = range(day * 1440, (day + 1) * 1440)
        store.append(Snapshot(start_ns + i * MINUTE_NS, 10_000.0 + i % 977, 0, 0, 0, 0, 0, 0) for i in minutes)
    store.close()
    stage.now_ns += 200_000 * MINUTE_NS
    stage.publish()
    paths = (
        "/api/equity?points=1500",
        "/api/candles?symbol=BTC/USDT&points=400",
        "/api/profit",
        "/api/decisions?limit=200",
    )
    print()
    with _served(_OURS, tmp_path) as (port, _):
        for path in paths:
            took = []
            for _ in range(6):
                began = time.perf_counter()
                with socket.create_connection(("127.0.0.1", port)) as line:
                    line.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
                    answer = b"".join(iter(lambda line=line: line.recv(65536), b""))
                took.append(time.perf_counter() - began)
                assert answer.startswith(b"HTTP/1.1 200"), answer[:300]
            print(f"  {path:<44} first {took[0] * 1e3:>6.0f} ms, then {statistics.median(took[1:]) * 1e3:>5.1f} ms")
            assert statistics.median(took[1:]) < 0.3
