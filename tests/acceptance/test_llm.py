"""The strategy `llm` in the whole service, on real candles, against a scripted model server."""

from __future__ import annotations

import json
import os
import random
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.acceptance.service import Service, replay_config
from tests.loopback.model_server import KEY, ModelServer, eager
from trader.market.candles_file import read_candle_file
from trader.strategy.llm.records import Records

pytestmark = pytest.mark.data

SYMBOLS = ["BTC/USDT", "ETH/USDT"]
SET = "genetrader-binance-2024"
SEED = 11

#: what a bad day at the model's server is made of; most of it good, or nothing would be traded
BAD_DAY = ("ok",) * 12 + (
    "http_503", "http_429_retry_after", "http_500", "reset", "truncated", "fenced", "nan", "other_model", "half_body",
    "html_with_200", "finish_error", "no_usage", "hostile", "wrong_enum", "missing_symbol",
)  # fmt: skip


def configuration(candles: Path, server: ModelServer, until: str = "2024-01-14", **llm: Any) -> dict[str, Any]:
    """Return a service that asks the model each hour of history."""
    config = replay_config(
        candles / SET,
        "1h",
        SYMBOLS,
        strategies=[{"use": "llm"}],
        engine={"loop_interval_seconds": 3600},
        risk={"max_daily_trades": 1000, "max_symbol_exposure_frac": 0.4, "max_drawdown_frac": 1.0},
        llm={
            "enabled": True,
            "base_url": server.base_url,
            "period_s": 3600,
            "api_key_env": "LLM_TEST_KEY",
            "max_entries_per_day": 100,
            "max_entries_per_hour": 100,
            "cooldown_s": 0,
            "max_slip_bps": 1000,
            "deadline_s": 20,
            "breaker_failures": 5,
            "breaker_cooldown_s": 1,
            **llm,
        },
    )  # fmt: skip
    config["market"] |= {"since": "2024-01-09", "until": until}
    config["dashboard"] = {"enable": False}
    return config


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the key where the service is told to look."""
    monkeypatch.setenv("LLM_TEST_KEY", KEY)


def test_recorded_session_replays_to_the_same_ledger_without_a_server(real_candles: Path, tmp_path: Path) -> None:
    """Record against a server that fails now and then; replay with nobody there: every table is the same."""
    with ModelServer(mind=eager) as server:
        server.randomly(SEED, BAD_DAY)
        recorded = Service(tmp_path / "recorded", configuration(real_candles, server, mode="record"))
        assert recorded.run() == 0, recorded.text()[-4000:]
    first = recorded.ledger_dump()
    assert len(first["round_trips"]) > 10
    replayed = Service(tmp_path / "replayed", configuration(real_candles, server, mode="replay"))
    replayed.data_dir.mkdir()
    (replayed.data_dir / "llm").symlink_to(recorded.data_dir / "llm")
    assert replayed.run() == 0, replayed.text()[-4000:]
    second = replayed.ledger_dump()
    for table in first:
        assert first[table] == second[table], table
    assert KEY not in recorded.text()
    for path in (*recorded.data_dir.rglob("*.jsonl"), *recorded.data_dir.rglob("*.log")):
        assert KEY.encode() not in path.read_bytes(), path


def test_day_of_failures_and_kills_stays_within_its_leash(real_candles: Path, tmp_path: Path) -> None:
    """Spend never above the cap, no order without a record, every exit on time."""
    cap = Decimal("0.12")
    with ModelServer(mind=eager) as server:
        server.randomly(SEED + 1, BAD_DAY)
        config = configuration(
            real_candles, server, max_usd_per_day=float(cap), breaker_failures=5, breaker_cooldown_s=1
        )
        service = Service(tmp_path, config)
        service.start()
        draw = random.Random(SEED)
        for count in sorted(draw.sample(range(15, 120), 3)):
            service.until(
                lambda least=count: _decisions(service) >= least or _ended(service), f"{count} decisions", 120
            )
            pid = None if _ended(service) else service.worker_pid("engine")
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
        assert service.wait(240) == 0, service.text()[-4000:]
    _spend_is_within(service, cap)
    _every_entry_has_its_record(service)
    _exits_are_on_time(service, real_candles)
    verified = service.command("verify", "--json")
    assert verified.returncode == 0, verified.stdout


def _ended(service: Service) -> bool:
    return service.process is None or service.process.poll() is not None


def _decisions(service: Service) -> int:
    rows = service.rows("SELECT count(*) FROM decisions") if service.rows("SELECT 1 FROM sqlite_master") else []
    return int(rows[0][0]) if rows else 0


def _spend_is_within(service: Service, cap: Decimal) -> None:
    import sqlite3

    database = sqlite3.connect(service.data_dir / "llm.db")
    days = database.execute("SELECT day, spent_usd FROM days").fetchall()
    assert days
    for day, spent in days:
        kept = database.execute("SELECT usd FROM reservations WHERE day = ?", (day,)).fetchall()
        assert Decimal(spent) + sum((Decimal(usd) for (usd,) in kept), Decimal(0)) <= cap
    database.close()


def _every_entry_has_its_record(service: Service) -> None:
    known = {record["decision_id"]: record for record in Records(service.data_dir / "llm").read()}
    entries = service.rows(
        "SELECT d.note, o.symbol, o.created_ns FROM orders o JOIN decisions d ON d.order_id = o.order_id "
        "WHERE o.reduce_only = 0"
    )
    assert len(entries) > 3
    for note, symbol, created_ns in entries:
        record = known[note.partition(":")[0]]
        (final,) = [one for one in record["final"] if one["symbol"] == symbol]
        assert final["action"] == "open_long"
        assert record["effective_ns"] <= created_ns


def _exits_are_on_time(service: Service, candles: Path) -> None:
    trips = service.rows(
        "SELECT r.symbol, r.entry_ns, r.exit_ns, o.stop_price FROM round_trips r "
        "JOIN orders o ON o.order_id = r.entry_order_id"
    )
    assert trips
    rows = {
        symbol: read_candle_file(candles / SET / f"{symbol.replace('/', '_')}-1h.feather", symbol, "1h")
        for symbol in SYMBOLS
    }
    for symbol, entry_ns, exit_ns, stop in trips:
        held = rows[symbol]
        # candles that were over before the exit: none of them may have touched the stop
        over = (held.open_ns >= entry_ns) & (held.open_ns + 3_600_000_000_000 < exit_ns)
        assert not np.any(held.low[over] <= stop), (symbol, entry_ns, exit_ns)
        assert exit_ns - entry_ns <= 13 * 3_600_000_000_000  # the oldest allowed is 12 h, seen at the next close


def test_backtest_trades_what_was_recorded(real_candles: Path, tmp_path: Path) -> None:
    """The same trades as the service that was there, and a clear word where nothing was recorded."""
    with ModelServer(mind=eager) as server:
        service = Service(tmp_path, configuration(real_candles, server, until="2024-01-12"))
        assert service.run() == 0, service.text()[-4000:]
    result = tmp_path / "backtest.json"
    done = service.command("backtest", "--json", str(result), "--config", str(service.config_file), timeout_s=300)
    assert done.returncode == 0, done.stderr
    document = json.loads(result.read_text())
    trades = document["trades"]
    assert any("questions have cost" in note for note in document["notes"])
    assert any("at 20 draws of random moments" in note for note in document["notes"])
    trips = service.rows("SELECT symbol, entry_price, exit_price, pnl FROM round_trips ORDER BY position_id")
    assert len(trades) == len(trips) > 5
    for trade, (symbol, entry, exit_, pnl) in zip(trades, trips, strict=True):
        assert trade["symbol"] == symbol
        assert trade["entry_price"] == pytest.approx(float(entry), abs=1e-9)
        assert trade["exit_price"] == pytest.approx(float(exit_), abs=1e-9)
        assert trade["pnl"] == pytest.approx(float(pnl), abs=1e-9)
    (service.data_dir / "llm").rename(tmp_path / "elsewhere")
    none = service.command("backtest", "--config", str(service.config_file), timeout_s=240)
    assert none.returncode == 78
    assert "holds no decision records" in none.stderr


def test_llm_that_is_not_enabled_is_refused_by_name(tmp_path: Path) -> None:
    """Off by default: using it without saying so starts nothing."""
    service = Service(tmp_path, {"strategies": [{"use": "llm"}], "dashboard": {"enable": False}})
    assert service.run(120) == 78
    assert "llm.enabled" in service.text()
