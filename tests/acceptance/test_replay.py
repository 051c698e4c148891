"""Real candles through the whole service: all processes, the ledger, the reports."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.acceptance.service import EIGHT_SYMBOLS, Service, replay_config

pytestmark = pytest.mark.data

SET = "genetrader-binance-2024"
SEED = 20240103


@pytest.fixture(scope="module")
def undisturbed(real_candles: Path, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Eight months of hourly candles of eight symbols, played to the end."""
    service = Service(tmp_path_factory.mktemp("undisturbed"), replay_config(real_candles / SET, "1h", EIGHT_SYMBOLS))
    assert service.run() == 0, service.text()[-4000:]
    return service


def test_replay_to_the_end_has_trades_and_a_clean_audit(undisturbed: Service) -> None:
    """The service stops by itself with 0; the report has trades; the audit finds nothing."""
    report = undisturbed.json("report")
    assert report["summary"]["trades"] == len(report["trades"]) > 50
    verified = undisturbed.command("verify", "--json")
    assert verified.returncode == 0, verified.stdout


def test_replay_of_every_candle_is_in_the_ledger(undisturbed: Service) -> None:
    """The last cycle judged the last candle; each cycle left its decisions, the idle ones too."""
    ((cycles, decisions),) = undisturbed.rows("SELECT max(cycle), count(*) FROM decisions")
    assert cycles == 6002
    assert decisions == 5 * 6002 + 3 * 5980


def test_replay_twice_gives_the_same_ledger(undisturbed: Service, real_candles: Path, tmp_path: Path) -> None:
    """Two runs differ in wall-clock stamps only."""
    again = Service(tmp_path, replay_config(real_candles / SET, "1h", EIGHT_SYMBOLS))
    assert again.run() == 0
    first, second = undisturbed.ledger_dump(), again.ledger_dump()
    assert first.keys() == second.keys()
    for table, rows in first.items():
        assert rows == second[table], table


def kill_engine_at(service: Service, moments: list[int], timeout_s: float) -> int:
    """SIGKILL the engine each time the ledger has passed a number of decisions; return the number of kills."""
    service.start()
    kills = 0
    for moment in moments:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and service.process is not None and service.process.poll() is None:
            (count,) = (
                service.rows("SELECT coalesce(max(decision_id), 0) FROM decisions")[0]
                if service.rows("SELECT 1 FROM sqlite_master WHERE name = 'decisions'")
                else (0,)
            )
            pid = service.worker_pid("engine") if count >= moment else None
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.02)
    return kills


def test_replay_with_engine_kills_ends_with_the_same_fills(
    undisturbed: Service, real_candles: Path, tmp_path: Path
) -> None:
    """An engine that is SIGKILLed again and again repeats nothing and forgets nothing."""
    chance = random.Random(SEED)
    moments = sorted(chance.randrange(500, 45_000) for _ in range(4))
    service = Service(tmp_path, replay_config(real_candles / SET, "1h", EIGHT_SYMBOLS))
    kills = kill_engine_at(service, moments, 60)
    assert service.wait(240) == 0, service.text()[-4000:]
    assert kills >= 2
    assert service.fills() == undisturbed.fills()
    assert service.command("verify").returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_replay_of_5m_candles_with_twenty_engine_kills_ends_with_the_same_fills(
    real_candles: Path, tmp_path: Path
) -> None:
    """Half a million candles, twenty SIGKILLs at random moments, the same fills as without."""
    config = replay_config(real_candles / SET, "5m", EIGHT_SYMBOLS)
    calm, disturbed, again = (Service(tmp_path / name, config) for name in ("calm", "disturbed", "again"))
    assert calm.run(600) == 0
    assert again.run(600) == 0
    assert again.ledger_dump() == calm.ledger_dump()
    chance = random.Random(SEED)
    moments = sorted(chance.randrange(1_000, 570_000) for _ in range(20))
    kills = kill_engine_at(disturbed, moments, 120)
    assert disturbed.wait(600) == 0, disturbed.text()[-4000:]
    assert kills == 20
    assert calm.fills()
    assert disturbed.fills() == calm.fills()
    assert disturbed.command("verify").returncode == 0


def test_replay_with_the_whole_service_killed_goes_on_where_it_was(
    undisturbed: Service, real_candles: Path, tmp_path: Path
) -> None:
    """After SIGKILL of every process a new start ends with the same ledger as one undisturbed run."""
    service = Service(tmp_path, replay_config(real_candles / SET, "1h", EIGHT_SYMBOLS))
    service.start()
    service.until(lambda: len(service.rows("SELECT 1 FROM sqlite_master WHERE name = 'fills'")), "a ledger")
    service.until(lambda: service.rows("SELECT count(*) FROM fills")[0][0] > 20, "twenty fills")
    service.kill()
    assert service.run() == 0, service.text()[-4000:]
    dump, expected = service.ledger_dump(), undisturbed.ledger_dump()
    for table in ("fills", "orders", "round_trips", "days", "account", "decisions"):
        assert dump[table] == expected[table], table
