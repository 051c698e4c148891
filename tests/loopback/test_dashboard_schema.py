"""The OpenAPI document says what is true: every answer fits its model, and schemathesis finds no failure."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.loopback.test_dashboard_documents import _trade_a_little
from tests.serving import TOKEN, Dashboard
from tests.staging import Stage, paths_in
from trader.dashboard import security
from trader.dashboard.acting import COMMANDS
from trader.dashboard.routes import REST


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """Serve an instance that has traded a little, and never slow a guesser down: that has tests of its own."""
    stage = Stage(paths_in(tmp_path_factory.mktemp("schema"))).start()
    _trade_a_little(stage)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(security, "MOST_FAILURES", 10**9)
        with Dashboard(stage) as dashboard:
            yield dashboard
    stage.stop()


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_schemathesis_finds_no_failure(dashboard: Dashboard, tmp_path: Path, seed: int) -> None:
    """Right and wrong requests of every kind get the statuses, types and bodies that the document says."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{dashboard.url}/api/openapi.json", "--checks", "all",
        "--max-examples", "3" if seed == 1 else "60", "--seed", str(seed),
        "--no-color", "--header", f"Authorization: Bearer {TOKEN}",
    ]  # fmt: skip
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
    selected = re.search(r"(\d+) selected / (\d+) total", found.stdout)
    assert selected is not None
    assert int(selected[1]) == int(selected[2]) > len(REST) + len(COMMANDS), "some operations were left out"


def test_every_route_is_described(dashboard: Dashboard) -> None:
    """No document, no command and no session is missing, and nothing is described that is not there."""
    paths = set(dashboard.get("/api/openapi.json")["paths"])
    assert paths == {path for path, _ in REST} | {f"/api/control/{name}" for name in COMMANDS} | {"/api/login"}


@pytest.mark.parametrize(("path", "handler"), REST, ids=[path for path, _ in REST])
def test_answer_fits_its_model(dashboard: Dashboard, path: str, handler: Any) -> None:
    """Every member is declared, every declared member is there and of its type."""
    query = "?symbol=BTC/USDT" if "candles" in path else ""
    if handler.answers is None:
        assert dashboard.request("GET", path)[0] == 200
        return
    document = dashboard.get(path + query)
    assert handler.answers.model_validate(document, strict=False)


def test_answers_without_a_service_fit_their_models(tmp_path: Path) -> None:
    """Also when there is nothing to tell."""
    stage = Stage(paths_in(tmp_path))
    stage.ledger.close()
    stage.paths.ledger.unlink()
    with Dashboard(stage) as dashboard:
        for path, handler in REST:
            query = "?symbol=BTC/USDT" if "candles" in path else ""
            status, _, body = dashboard.request("GET", path + query)
            assert status == (503 if path == "/healthz" else 200), body
            if handler.answers is not None:
                handler.answers.model_validate_json(body)
