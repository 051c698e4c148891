"""The dashboard over a real socket: documents, errors, headers, bad input."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.serving import TOKEN, Dashboard, config_of, eventually
from tests.staging import MINUTE_NS, START_NS, Stage, paths_in
from trader.codes import Decided, Halt, Reason
from trader.errors import TraderError
from trader.ledger.metrics import MetricsStore, Snapshot


def _trade_a_little(stage: Stage) -> None:
    stage.slots["mark_price"][0] = 60_000.0
    stage.decide(0, Decided.HOLD)
    bought = stage.decide(0, Decided.ORDERED, value=22.0, confidence=0.8)
    stage.trade(0, "0.02", Reason.SIGNAL, bought)
    for _ in range(30):
        stage.now_ns += MINUTE_NS
        stage.slots["mark_price"][0] += 61.0
        stage.note_equity()
    stage.trade(0, "-0.02", Reason.TARGET)
    stage.trade(1, "0.5", Reason.SIGNAL)
    stage.deny(2)
    stage.commit()
    stage.publish()


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """Serve an instance that has traded a little."""
    stage = Stage(paths_in(tmp_path_factory.mktemp("documents"))).start()
    _trade_a_little(stage)
    with Dashboard(stage) as dashboard:
        yield dashboard
    stage.stop()


def test_status_is_what_was_published(dashboard: Dashboard) -> None:
    """Equity, one position, one round trip, from shared memory."""
    status = dashboard.get("/api/status")
    assert status["source"] == "engine"
    assert status["service"]["mode"] == "paper"
    assert [position["symbol"] for position in status["positions"]] == ["ETH/USDT"]
    assert status["account"]["round_trips"] == 1
    assert status["account"]["equity"] == pytest.approx(float(dashboard.stage.desk["account"]["equity"][0]))


def test_positions_and_performance_agree_with_status(dashboard: Dashboard) -> None:
    """Three documents, one truth."""
    performance = dashboard.get("/api/performance")
    assert performance["open_positions"] == len(dashboard.get("/api/positions")["positions"]) == 1
    assert performance["total_trades"] == 1
    assert performance["win_rate"] == 100.0


def test_trades_and_orders_are_the_ledgers(dashboard: Dashboard) -> None:
    """Bought at 60,000, sold at 61,830, 0.02 of it: 36.60 less fees of 1.2 and 1.2366."""
    [trip] = dashboard.get("/api/trades")["trades"]
    assert trip["pnl_exact"] == "34.1634"
    assert trip["reason"] == "target"
    orders = dashboard.get("/api/orders")["orders"]
    assert [order["id"] for order in orders] == [3, 2, 1]
    assert [order["id"] for order in dashboard.get("/api/orders?symbol=BTC/USDT&limit=1")["orders"]] == [2]


def test_decisions_are_filtered_by_symbol_and_time(dashboard: Dashboard) -> None:
    """Newest first, with reasons."""
    decisions = dashboard.get("/api/decisions")["decisions"]
    assert [decision["decided"] for decision in decisions] == ["denied", "ordered", "hold"]
    assert "0.66 against 0.7" in decisions[0]["why"]
    assert decisions[0]["limits"] == ["confidence", "open_positions"]
    assert len(dashboard.get("/api/decisions?symbol=SOL/USDT")["decisions"]) == 1
    assert len(dashboard.get("/api/decisions?since=2025-01-02T09:10:00Z")["decisions"]) == 1
    assert dashboard.get("/api/decisions?since=2026-01-01")["decisions"] == []


def test_equity_is_thinned_to_the_points_asked_for(dashboard: Dashboard) -> None:
    """Thirty points, or ten of them with the last."""
    every = dashboard.get("/api/equity")["points"]
    assert len(every) == 30
    few = dashboard.get("/api/equity?points=10")["points"]
    assert len(few) <= 10
    assert few[-1] == every[-1]
    since = (START_NS + 25 * MINUTE_NS) // 1_000_000
    assert [point[0] for point in dashboard.get(f"/api/equity?since_ms={since}")["points"]] == [
        since + step * 60_000 for step in range(6)
    ]


def test_healthz_healthy_service_answers_200(dashboard: Dashboard) -> None:
    """Lease, clearance, engine and data are fine."""
    document = dashboard.get("/healthz")
    assert document["ok"] is True
    assert document["problems"] == []


def test_healthz_fault_answers_503_with_the_reason(dashboard: Dashboard) -> None:
    """A ledger that can't be written is a reason; when it can again, all is well."""
    account = dashboard.stage.desk["account"]
    account["halt_mask"] = Halt.LEDGER
    dashboard.stage.publish()
    try:
        eventually(lambda: dashboard.request("GET", "/healthz")[0] == 503)
        assert b'"code":"ledger"' in dashboard.request("GET", "/healthz")[2]
    finally:
        account["halt_mask"] = 0
        dashboard.stage.publish()
    eventually(lambda: dashboard.request("GET", "/healthz")[0] == 200)


def test_metrics_are_read_by_a_prometheus_parser(dashboard: Dashboard) -> None:
    """Every family parses, has help, and the values are the account's."""
    status, headers, body = dashboard.request("GET", "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert all(family.documentation for family in families.values())
    assert families["trader_open_positions"].samples[0].value == 1
    assert families["trader_round_trips"].samples[0].name == "trader_round_trips_total"
    limits = {sample.labels["limit"] for sample in families["trader_limit_used"].samples}
    assert {"daily_loss", "drawdown", "open_positions"} <= limits


def test_page_has_a_strict_policy_and_nothing_inline_or_foreign(dashboard: Dashboard) -> None:
    """No inline script or style, no other host, and the policy forbids both."""
    status, headers, body = dashboard.request("GET", "/")
    page = body.decode()
    assert status == 200
    policy = headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    for forbidden in ("http://", "https://", "style=", "onclick", "<style"):
        assert forbidden not in page
    assert "<script>" not in page


@pytest.mark.parametrize("name", ["app.js", "charts.js", "control.js", "dom.js", "format.js", "link.js", "panels.js"])
def test_static_files_are_served_typed_and_revalidated(dashboard: Dashboard, name: str) -> None:
    """A browser asks again each time and gets 304 while nothing changed."""
    status, headers, _ = dashboard.request("GET", f"/static/{name}")
    assert status == 200
    assert "javascript" in headers["content-type"]
    assert headers["cache-control"] == "no-cache"
    assert headers["x-content-type-options"] == "nosniff"
    assert dashboard.request("GET", f"/static/{name}", **{"If-None-Match": headers["etag"]})[0] == 304


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/api/nothing", 404, "not_found"),
        ("DELETE", "/api/nothing", 404, "not_found"),
        ("GET", "/api/orders?limit=0", 400, "argument"),
        ("GET", "/api/orders?limit=10001", 400, "argument"),
        ("GET", "/api/orders?limit=-5", 400, "argument"),
        ("GET", "/api/orders?limit=ten", 400, "argument"),
        ("GET", "/api/orders?limit=%D9%A3", 400, "argument"),
        ("GET", "/api/orders?symbol=DOGE/USDT", 404, "symbol"),
        ("GET", "/api/decisions?since=yesterday", 400, "argument"),
        ("GET", "/api/decisions?since=99999-01-01", 400, "argument"),
        ("GET", "/api/equity?points=0", 400, "argument"),
        ("GET", "/api/equity?since_ms=1e9", 400, "argument"),
        ("POST", "/api/status", 405, "method_not_allowed"),
        ("GET", "/api/control/pause", 405, "method_not_allowed"),
    ],
)
def test_bad_requests_get_a_document_and_never_a_traceback(
    dashboard: Dashboard, method: str, path: str, status: int, code: str
) -> None:
    """What is wrong is said in one line of JSON."""
    found, headers, body = dashboard.request(method, path, {} if method == "POST" else None)
    assert (found, f'"code":"{code}"'.encode() in body) == (status, True), body
    assert headers["content-type"].startswith("application/json")
    assert b"Traceback" not in body
    assert ("allow" in headers) == (status == 405)


@pytest.mark.parametrize(
    "path", ["/static/../worker.py", "/static/%2e%2e/worker.py", "/static/..%2f..%2fcodes.py", "//etc/passwd"]
)
def test_path_tricks_lead_nowhere(dashboard: Dashboard, path: str) -> None:
    """Nothing outside the page's own folder is served."""
    status, _, body = dashboard.request("GET", path)
    assert status in (403, 404)
    assert b"import" not in body
    assert b"Traceback" not in body


def test_foreign_host_name_is_refused(dashboard: Dashboard) -> None:
    """A name that was pointed at 127.0.0.1 reads nothing, not even health."""
    for path in ("/api/status", "/healthz", "/"):
        assert dashboard.request("GET", path, Host="rebound.example")[0] == 421


def test_huge_body_is_refused_and_others_go_on(dashboard: Dashboard) -> None:
    """More than 64 KiB is not read."""
    with socket.create_connection(("127.0.0.1", dashboard.port), timeout=5) as line:
        line.sendall(b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n")
        answer = line.recv(1000)
    assert not answer.startswith(b"HTTP/1.1 200")
    assert dashboard.get("/api/status")["source"] == "engine"


def test_token_is_not_asked_for_reading_on_loopback_and_never_shown(dashboard: Dashboard) -> None:
    """Reading is open here; the token stands in no document."""
    for path in ("/", "/api/status", "/api/snapshot", "/metrics", "/healthz"):
        status, _, body = dashboard.request("GET", path)
        assert status == 200
        assert TOKEN.encode() not in body


# ------------------------------------------------------------------ circumstances


def test_no_service_shows_the_ledger_as_it_was_left(tmp_path: Path) -> None:
    """Without a supervisor: account, position and round trips come from the ledger, health says stopped."""
    stage = Stage(paths_in(tmp_path)).start()
    _trade_a_little(stage)
    for path in stage.paths.runtime_dir.glob("seg-*.shm"):
        path.unlink()
    stage.segments.clear()
    with Dashboard(stage) as dashboard:
        status = dashboard.get("/api/status")
        assert status["source"] == "ledger"
        assert status["service"]["running"] is False
        assert status["account"]["round_trips"] == 1
        [position] = status["positions"]
        assert (position["symbol"], position["strategy"]) == ("ETH/USDT", "simple_rsi")
        assert position["to_target_frac"] == pytest.approx(0.03)
        assert dashboard.request("GET", "/healthz")[0] == 503
    stage.stop()


def test_nothing_at_all_is_shown_as_nothing(tmp_path: Path) -> None:
    """No service, no ledger, no history: every document answers."""
    stage = Stage(paths_in(tmp_path))
    stage.ledger.close()
    stage.paths.ledger.unlink()
    with Dashboard(stage) as dashboard:
        assert dashboard.get("/api/status")["source"] == "none"
        assert dashboard.get("/api/trades") == {"trades": [], "next": None}
        assert dashboard.get("/api/equity") == {"points": []}
        assert dashboard.get("/api/performance")["available"] is False
        assert dashboard.request("GET", "/metrics")[0] == 200


def test_engine_restart_is_survived(tmp_path: Path) -> None:
    """Away: the last numbers. Back in a new generation: the new ones, and the curve goes on."""
    stage = Stage(paths_in(tmp_path)).start()
    stage.now_ns += MINUTE_NS
    stage.note_equity()
    with Dashboard(stage) as dashboard:
        assert dashboard.get("/api/status")["source"] == "engine"
        stage.lose_engine()
        eventually(lambda: dashboard.get("/api/status")["source"] == "memory")
        stage.desk["account"]["cash"] = 12_345.0
        stage.new_engine(2)
        stage.now_ns += MINUTE_NS
        stage.note_equity()
        stage.publish()
        eventually(lambda: dashboard.get("/api/status")["account"]["equity"] == 12_345.0)
        assert [point[1] for point in dashboard.get("/api/equity")["points"]] == [10_000.0, 12_345.0]
    stage.stop()


def test_history_and_live_curve_join_without_a_seam(tmp_path: Path) -> None:
    """What the monitor kept before the dashboard started comes first, what the ring adds comes after."""
    stage = Stage(paths_in(tmp_path)).start()
    store = MetricsStore.open(stage.paths.metrics)
    store.append(Snapshot(START_NS - step * MINUTE_NS, 9_000.0 + step, 0, 0, 0, 0, 0, 0) for step in range(1, 6))
    store.close()
    for _ in range(3):
        stage.now_ns += MINUTE_NS
        stage.note_equity()
    stage.publish()
    with Dashboard(stage) as dashboard:
        points = dashboard.get("/api/equity")["points"]
        assert [point[1] for point in points] == [9_005.0, 9_004.0, 9_003.0, 9_002.0, 9_001.0, *[10_000.0] * 3]
        assert dashboard.get("/api/snapshot")["equity"] == points
    stage.stop()


def test_busy_port_is_an_error_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The port's number and the key to change are in the message."""
    monkeypatch.setattr("trader.dashboard.worker.BIND_PATIENCE_S", 0.2)
    stage = Stage(paths_in(tmp_path)).start()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TraderError, match=rf"port {port}.*dashboard\.port"):
            Dashboard(stage, config_of(port)).start()
    stage.stop()


def test_missing_token_is_an_error_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configured token that can't be had stops the dashboard from starting open."""
    stage = Stage(paths_in(tmp_path)).start()
    config = config_of()
    monkeypatch.delenv("STAGED_TOKEN")
    with pytest.raises(TraderError, match="STAGED_TOKEN"):
        Dashboard(stage, config).start()
    stage.stop()


def test_beyond_loopback_reading_needs_the_token(tmp_path: Path) -> None:
    """Listening on all addresses: the page and health are public, numbers are not."""
    stage = Stage(paths_in(tmp_path)).start()
    config = config_of()
    open_config = config.model_copy(update={"dashboard": config.dashboard.model_copy(update={"host": "0.0.0.0"})})
    with Dashboard(stage, open_config) as dashboard:
        assert dashboard.request("GET", "/api/status")[0] == 401
        assert dashboard.request("GET", "/metrics")[0] == 401
        status, headers, _ = dashboard.request("GET", "/")
        assert (status, headers["location"]) == (302, "/login")
        assert dashboard.request("GET", "/login")[0] == 200
        assert dashboard.request("GET", "/healthz")[0] == 200
        assert dashboard.get("/api/status", Authorization=f"Bearer {TOKEN}")["source"] == "engine"
    stage.stop()
