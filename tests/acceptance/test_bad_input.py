"""Bad input ends with a message that names the thing, the right exit code, and nothing started."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.acceptance.service import Service, replay_config

GOOD_ROWS = [
    "date,open,high,low,close,volume",
    "2024-01-01T00:00:00Z,100,101,99,100.5,10",
    "2024-01-01T01:00:00Z,100.5,102,100,101,11",
    "2024-01-01T02:00:00Z,101,103,100.5,102,12",
]


def csv_service(folder: Path, rows: list[str]) -> Service:
    """Return a service that replays one hourly CSV file made of the given rows."""
    candles = folder / "candles"
    candles.mkdir(parents=True)
    (candles / "BTC_USDT-1h.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return Service(folder, replay_config(candles, "1h", ["BTC/USDT"]))


def test_run_with_broken_configuration_reports_every_problem_and_exits_78(tmp_path: Path) -> None:
    """One run names all problems with file and line, and leaves no data folder."""
    service = Service(tmp_path)
    service.config_file.write_text(
        "risk:\n  max_open_position: 3\n  max_daily_loss_frac: 7\nengine: [1]\n", encoding="utf-8"
    )
    assert service.run(30) == 78
    text = service.text()
    assert "trader.yaml:2" in text
    assert "max_open_positions" in text
    assert "trader.yaml:3" in text
    assert "trader.yaml:4" in text
    assert not service.data_dir.exists()


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("2024-01-01T01:00:00Z,nan,102,100,101,11", 2),
        ("2024-01-01T01:00:00Z,-5,102,-6,101,11", 2),
        ("2024-01-01T01:00:00Z,100.5,99,100,101,11", 2),
        ("2023-12-31T23:00:00Z,100.5,102,100,101,11", 2),
    ],
    ids=["nan", "negative", "high-below-low", "unordered"],
)
def test_run_with_impossible_candle_names_file_and_row_and_exits_1(tmp_path: Path, row: str, line: int) -> None:
    """A candle that can't be is refused before anything starts."""
    service = csv_service(tmp_path, [GOOD_ROWS[0], GOOD_ROWS[1], row, GOOD_ROWS[3]])
    assert service.run(60) == 1
    assert "BTC_USDT-1h.csv" in service.text()
    assert f"row {line}" in service.text()
    assert not (service.data_dir / "ledger.db").exists()


@pytest.mark.parametrize("content", [None, ""], ids=["missing", "empty"])
def test_run_without_candles_names_the_file_and_exits_1(tmp_path: Path, content: str | None) -> None:
    """A missing or an empty file is named."""
    service = csv_service(tmp_path, GOOD_ROWS)
    path = tmp_path / "candles" / "BTC_USDT-1h.csv"
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    assert service.run(60) == 1
    assert "BTC_USDT-1h" in service.text()


def test_run_on_a_data_folder_in_use_exits_75_and_disturbs_nothing(tmp_path: Path) -> None:
    """The second instance leaves at once; the first one goes on."""
    service = Service(tmp_path, {"dashboard": {"port": 0}})
    service.start()
    service.until(lambda: service.worker_pid("engine"), "a ready engine")
    second = service.command("run", "--config", str(service.config_file), timeout_s=30)
    assert second.returncode == 75
    assert "another" in second.stderr.lower()
    assert service.json("status")["state"] == "running"
    assert service.stop() == 0


def test_run_on_a_damaged_ledger_exits_70_and_leaves_the_file_alone(tmp_path: Path) -> None:
    """A ledger that is not whole is refused, named, and not touched."""
    service = csv_service(tmp_path, GOOD_ROWS)
    assert service.run(60) == 0
    ledger = service.data_dir / "ledger.db"
    whole = ledger.read_bytes()
    ledger.write_bytes(whole[:4096] + bytes(4096) + whole[8192:])
    before = ledger.read_bytes()
    shutil.rmtree(service.data_dir / "run", ignore_errors=True)
    assert service.run(60) == 70
    assert "ledger" in service.text()
    assert ledger.read_bytes() == before
