"""What others may send: each gets a clear status and message, and nobody else waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import TOKEN, Dashboard, eventually
from tests.staging import MINUTE_NS, Stage, paths_in
from trader.codes import Decided, Reason, Role
from trader.dashboard import app, archive, hub
from trader.state.segment import Segment

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """Serve an instance with a few decisions, orders and round trips."""
    stage = Stage(paths_in(tmp_path_factory.mktemp("bad"))).start()
    for number in range(5):
        stage.slots["mark_price"][0] = 60_000.0
        stage.trade(0, "0.02", Reason.SIGNAL, stage.decide(0, Decided.ORDERED, confidence=0.8))
        stage.now_ns += MINUTE_NS
        stage.slots["mark_price"][0] = 60_500.0 if number % 2 else 59_500.0
        stage.trade(0, "-0.02", Reason.TARGET if number % 2 else Reason.STOP)
        stage.deny(2)
    stage.commit()
    stage.publish()
    with Dashboard(stage) as dashboard:
        yield dashboard
    stage.stop()


def _raw(dashboard: Dashboard, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", dashboard.port), timeout=20) as line:
        line.sendall(data)
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            return b"".join(iter(lambda: line.recv(65536), b""))
    return b""


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/api/orders?limt=5", "limt is not known"),
        ("/api/orders?limit=5&limit=6", "more than once"),
        ("/api/orders?limit=", "limit"),
        ("/api/orders?limit=1e3", "limit"),
        ("/api/orders?limit=%FF", "not UTF-8"),
        ("/api/orders?before=-1", "before"),
        ("/api/orders?before=99999999999999999999", "before"),
        ("/api/orders?format=xml", "format"),
        ("/api/trades?before=5", "before"),
        ("/api/trades?before=1-1;DROP", "before"),
        ("/api/decisions?decided=maybe", "one of hold"),
        ("/api/decisions?broken=daily_los", "one of confidence"),
        ("/api/decisions?acted=perhaps", "acted"),
        ("/api/equity?points=1", "points"),
        ("/api/equity?since_ms=-1", "since_ms"),
        ("/api/equity?since_ms=1e400", "since_ms"),
        ("/api/candles", "symbol is missing"),
        ("/api/candles?symbol=BTC/USDT&points=999999", "points"),
        ("/api/logs?level=LOUD", "level"),
        ("/api/logs?before=../../etc/passwd", "before"),
        ("/api/status?since=1", "since is not known"),
    ],
)
def test_bad_argument_is_named(dashboard: Dashboard, path: str, says: str) -> None:
    """400 with the argument's name, in a document."""
    status, headers, body = dashboard.request("GET", path)
    error = json.loads(body)["error"]
    assert (status, error["code"]) == (400, "argument")
    assert says in error["message"]
    assert headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("path", ["/api/candles?symbol=DOGE/USDT", "/api/orders?symbol=..%2F..", "/api/trades?symbol="])
def test_unknown_symbol_is_not_found(dashboard: Dashboard, path: str) -> None:
    """A symbol that is not configured has no documents."""
    status, _, body = dashboard.request("GET", path)
    assert (status, json.loads(body)["error"]["code"]) == (404, "symbol")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/api/status", "/static/app.js", "/healthz", "/api/openapi.json"])
def test_wrong_method_says_which_are_right(dashboard: Dashboard, method: str, path: str) -> None:
    """405 with Allow."""
    status, headers, body = dashboard.request(method, path)
    assert status == 405
    assert headers["allow"] == "GET, HEAD"
    assert json.loads(body)["error"]["code"] == "method_not_allowed"


def test_head_is_get_without_a_body(dashboard: Dashboard) -> None:
    """The same headers, no body; a command has no HEAD."""
    for path in ("/api/positions", "/api/orders", "/", "/healthz"):
        status, headers, body = dashboard.request("HEAD", path)
        assert (status, body) == (200, b"")
        assert int(headers["content-length"]) > 0
    status, headers, _ = dashboard.request("HEAD", "/api/control/pause")
    assert (status, headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "body",
    [b"[" * 50_000, b'{"symbol":"' + b"x" * 60_000 + b'"}', b'{"symbol":NaN}', b"null", b'"text"', b'{"a":1}\x00'],
)
def test_malformed_bodies_are_refused(dashboard: Dashboard, body: bytes) -> None:
    """Deep, long, not JSON, not an object."""
    status, _, answer = dashboard.request("POST", "/api/control/close", body, Authorization=f"Bearer {TOKEN}")
    assert status == 400, answer
    assert b"Traceback" not in answer
    assert dashboard.commands == []


def test_body_beyond_its_bound_is_not_read(dashboard: Dashboard) -> None:
    """A length of ten megabytes, and chunks without end, end the connection; the next request is served."""
    head = b"POST /api/control/pause HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    declared = _raw(dashboard, head + b"Content-Length: 10000000\r\n\r\n" + b"x" * 100)
    chunked = _raw(
        dashboard, head + b"Transfer-Encoding: chunked\r\n\r\n" + (b"4000\r\n" + b"x" * 0x4000 + b"\r\n") * 8
    )
    for answer in (declared, chunked):
        assert not answer.startswith(b"HTTP/1.1 200")
        assert b"Traceback" not in answer
    assert dashboard.get("/api/status")["source"] == "engine"


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /api/status HTTP/1.1\r\n\r\n",
        b"GET /api/status HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET http://evil.example/api/status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    ],
)
def test_broken_http_costs_only_its_sender(dashboard: Dashboard, data: bytes) -> None:
    """Whatever it is, it gets no numbers, and everybody else is served."""
    answer = _raw(dashboard, data)
    assert b'"account"' not in answer
    assert b"Traceback" not in answer
    assert dashboard.get("/api/status")["source"] == "engine"


def test_half_requests_do_not_keep_others_waiting(dashboard: Dashboard) -> None:
    """Two hundred connections that never finish their request: everybody else is served at once."""
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", dashboard.port), timeout=10))
            line.sendall(b"GET /api/status HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        began = time.monotonic()
        assert dashboard.get("/api/status")["source"] == "engine"
        assert time.monotonic() - began < 5.0


def test_connections_beyond_the_bound_are_closed(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are there go on; room comes back when they leave."""
    keep = http.client.HTTPConnection("127.0.0.1", dashboard.port, timeout=10)
    keep.request("GET", "/api/status")
    assert keep.getresponse().read()
    monkeypatch.setattr(app, "MOST_CONNECTIONS", 1)
    eventually(lambda: len(dashboard.service._server._connections) == 1)
    assert _raw(dashboard, b"GET /api/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") == b""
    keep.request("GET", "/api/status")
    assert keep.getresponse().status == 200
    keep.close()
    eventually(lambda: len(dashboard.service._server._connections) == 0)
    assert dashboard.get("/api/status")["source"] == "engine"


def test_websockets_beyond_the_bound_get_503(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three hundred are taken, the next one is told to come later, the others still get their frames."""
    monkeypatch.setattr(hub, "MOST_CLIENTS", 300)

    async def scenario() -> None:
        pages = [await asyncio.open_connection("127.0.0.1", dashboard.port, limit=2**20) for _ in range(301)]
        for reader, writer in pages[:300]:
            writer.write(HANDSHAKE)
            assert b" 101 " in await asyncio.wait_for(reader.readline(), 30)
        reader, writer = pages[300]
        writer.write(HANDSHAKE)
        assert b" 503 " in await asyncio.wait_for(reader.readline(), 30)
        for reader, _ in (pages[0], pages[299]):
            assert await asyncio.wait_for(reader.readuntil(b'"type":"update"'), 30)
        for _, writer in pages:
            writer.close()

    asyncio.run(scenario())
    eventually(lambda: not len(dashboard.service._hub))


def test_page_that_never_reads_is_dropped(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once its buffer is full and it has missed its pushes; a page that reads gets every one meanwhile."""
    monkeypatch.setattr(hub, "MOST_BEHIND", 2)
    lines = []
    for small in (True, False):
        line = socket.socket()
        if small:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        line.settimeout(10)
        line.connect(("127.0.0.1", dashboard.port))
        line.sendall(HANDSHAKE)
        lines.append(line)
    mute, alert = lines
    eventually(lambda: len(dashboard.service._hub) == 2)
    stage = dashboard.stage
    seen = 0
    deadline = time.monotonic() + 60

    def filled() -> bool:
        nonlocal seen
        # the kernel's buffers take megabytes: snapshots of many long decisions fill them sooner
        for _ in range(40):
            stage.decide(0, Decided.FAILED, detail="x" * 8_000)
        stage.commit()
        stage.publish()
        seen += len(alert.recv(2**22))
        return len(dashboard.service._hub) == 1 or time.monotonic() > deadline

    eventually(filled, "the drop", 90)
    assert len(dashboard.service._hub) == 1
    assert seen > 100_000
    for line in lines:
        line.close()
    eventually(lambda: not len(dashboard.service._hub))
    assert mute.fileno() == -1


def test_questions_that_pile_up_are_refused_not_queued_forever(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the queue's length: 503 with Retry-After; what needs no ledger is answered meanwhile."""
    monkeypatch.setattr(archive, "MOST_WAITING", 0)
    status, headers, body = dashboard.request("GET", "/api/orders")
    assert (status, json.loads(body)["error"]["code"]) == (503, "busy")
    assert int(headers["retry-after"]) > 0
    assert dashboard.get("/api/status")["source"] == "engine"


def test_question_that_takes_too_long_is_given_up(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, and the ledger answers the next, shorter question."""
    monkeypatch.setattr(archive, "PATIENCE_S", -1.0)
    monkeypatch.setattr(archive, "_STEPS", 1)
    status, _, body = dashboard.request("GET", "/api/decisions?limit=1000")
    assert (status, json.loads(body)["error"]["code"]) == (503, "busy")
    monkeypatch.undo()
    assert dashboard.get("/api/decisions?limit=1000")["decisions"]


def test_damaged_ledger_is_a_503_and_memory_is_still_shown(tmp_path: Path) -> None:
    """What the ledger would answer is refused with a reason; the present comes from memory."""
    stage = Stage(paths_in(tmp_path)).start()
    stage.ledger.close()
    for suffix in ("-wal", "-shm"):
        stage.paths.ledger.with_name(stage.paths.ledger.name + suffix).unlink(missing_ok=True)
    stage.paths.ledger.write_bytes(b"not a database, however long it is looked at" * 200)
    with Dashboard(stage) as dashboard:
        status, _, body = dashboard.request("GET", "/api/orders")
        assert (status, json.loads(body)["error"]["code"]) == (503, "unreadable")
        assert dashboard.get("/api/status")["source"] == "engine"
        assert dashboard.request("GET", "/api/trades")[0] == 503


def test_segment_of_another_layout_is_as_if_there_was_no_engine(tmp_path: Path) -> None:
    """An engine of an older version: its numbers are not read, the ledger's are shown, nothing breaks."""
    stage = Stage(paths_in(tmp_path)).start()
    stage.commit()
    path = stage.segments[Role.ENGINE].path
    data = bytearray(path.read_bytes())
    data[8:24] = bytes(16)  # magic's neighbour: layout and hashes
    path.unlink()
    path.write_bytes(data)
    with pytest.raises(Exception, match=r"(?i)layout|version|segment"):
        Segment.attach(path, role=Role.ENGINE)
    with Dashboard(stage) as dashboard:
        status = dashboard.get("/api/status")
        assert status["source"] in ("ledger", "none")
        assert status["service"]["running"] is True
        assert dashboard.request("GET", "/healthz")[0] == 503
        assert dashboard.request("GET", "/metrics")[0] == 200
    stage.stop()


# ------------------------------------------------------------------ answers that fit


def test_pages_follow_each_other_without_gap_or_twice(dashboard: Dashboard) -> None:
    """`next` of a page is `before` of the following one, until there is none."""
    for path, member, key in (("orders", "orders", "id"), ("trades", "trades", "id"), ("decisions", "decisions", "id")):
        whole = [row[key] for row in dashboard.get(f"/api/{path}?limit=1000")[member]]
        found, before = [], ""
        while before is not None:
            page = dashboard.get(f"/api/{path}?limit=2" + (f"&before={before}" if before else ""))
            found += [row[key] for row in page[member]]
            before = page["next"]
        assert found == whole
        assert len(whole) >= 5


def test_documents_are_sent_once(dashboard: Dashboard) -> None:
    """An ETag that comes back is a 304 without a body; another one is not."""
    for path in ("/api/trades", "/api/profit", "/api/openapi.json"):
        status, headers, body = dashboard.request("GET", path)
        assert status == 200
        again, more, rest = dashboard.request("GET", path, **{"If-None-Match": headers["etag"]})
        assert (again, rest) == (304, b"")
        assert more["etag"] == headers["etag"]
        assert dashboard.request("GET", path, **{"If-None-Match": '"other"'})[2] == body


def test_long_answers_are_packed_for_who_takes_that(dashboard: Dashboard) -> None:
    """The same document, in fewer bytes; short ones are left as they are."""
    import gzip

    plain = dashboard.request("GET", "/api/decisions?limit=100")[2]
    _, headers, packed = dashboard.request("GET", "/api/decisions?limit=100", **{"Accept-Encoding": "gzip"})
    assert headers["content-encoding"] == "gzip"
    assert len(packed) < len(plain) / 2
    assert gzip.decompress(packed) == plain
    assert "accept-encoding" in headers["vary"].lower()
    assert "content-encoding" not in dashboard.request("GET", "/api/profit", **{"Accept-Encoding": "gzip"})[1]


def test_tables_are_saved_as_csv(dashboard: Dashboard) -> None:
    """A header, a line each, quoted where it must be, and nothing that a spreadsheet would calculate."""
    import csv
    import io

    dashboard.stage.decide(0, Decided.FAILED, detail='=HYPERLINK("http://evil.example","x"),\n"quoted"')
    dashboard.stage.commit()
    status, headers, body = dashboard.request("GET", "/api/decisions?format=csv&limit=10000&decided=failed")
    assert status == 200
    assert headers["content-type"].startswith("text/csv")
    assert headers["content-disposition"] == 'attachment; filename="decisions.csv"'
    rows = list(csv.DictReader(io.StringIO(body.decode(), newline="")))
    assert rows[0]["decided"] == "failed"
    assert not any(cell.startswith(("=", "@")) for row in rows for cell in row.values())
    for path in ("positions", "orders", "trades", "workers", "strategies", "health", "logs"):
        text = dashboard.request("GET", f"/api/{path}?format=csv")[2].decode()
        assert "," in text.splitlines()[0]


def test_decisions_are_filtered_by_verdict_and_limit(dashboard: Dashboard) -> None:
    """Only what was asked for."""
    denied = dashboard.get("/api/decisions?decided=denied&limit=100")["decisions"]
    assert {row["decided"] for row in denied} == {"denied"}
    by_limit = dashboard.get("/api/decisions?broken=open_positions&limit=100")["decisions"]
    assert [row["id"] for row in by_limit] == [row["id"] for row in denied]
    assert dashboard.get("/api/decisions?broken=drawdown")["decisions"] == []


def test_profit_is_the_sum_of_the_round_trips(dashboard: Dashboard) -> None:
    """By day and by symbol, to the cent."""
    trips = dashboard.get("/api/trades?limit=1000")["trades"]
    profit = dashboard.get("/api/profit")
    total = sum(trip["pnl"] for trip in trips)
    for rows in (profit["days"], profit["symbols"]):
        assert sum(row["pnl"] for row in rows) == pytest.approx(total)
        assert sum(row["trades"] for row in rows) == len(trips)
        assert sum(row["wins"] for row in rows) == sum(trip["pnl"] > 0 for trip in trips)
    assert dashboard.get("/api/profit?since_ms=4000000000000")["days"] == []


def test_every_answer_has_the_headers_that_protect(dashboard: Dashboard) -> None:
    """Pages, files, documents and errors: policy without unsafe-inline, no framing, no sniffing, no server's name."""
    for path in (
        "/",
        "/login",
        "/static/app.js",
        "/static/nothing.js",
        "/api/status",
        "/nothing",
        "/vendor/plotly.min.js",
    ):
        _, headers, _ = dashboard.request("GET", path)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert "tornado" not in headers.get("server", "").lower()
