"""The websocket over a real socket: snapshot first, changes within a second, the same bytes for everybody."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.serving import TOKEN, Dashboard, config_of, eventually
from tests.staging import MINUTE_NS, Stage, paths_in
from trader.codes import Decided, Reason


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Dashboard]:
    """Serve an idle instance."""
    stage = Stage(paths_in(tmp_path)).start()
    with Dashboard(stage) as dashboard:
        yield dashboard
    stage.stop()


async def _connect(dashboard: Dashboard, **headers: str) -> WebSocketClientConnection:
    return await websocket_connect(HTTPRequest(f"ws://127.0.0.1:{dashboard.port}/ws", headers=headers))


async def _leave(page: WebSocketClientConnection) -> None:
    page.close()
    while await asyncio.wait_for(page.read_message(), 5.0) is not None:
        pass


async def _frame(page: WebSocketClientConnection) -> tuple[str, dict[str, Any]]:
    message = await asyncio.wait_for(page.read_message(), 5.0)
    assert isinstance(message, str)
    return message, json.loads(message)


def test_live_snapshot_then_updates_with_what_is_new(dashboard: Dashboard) -> None:
    """A fill after the snapshot is in an update within two seconds, with decision, trade and new points only."""
    stage = dashboard.stage
    for _ in range(3):
        stage.now_ns += MINUTE_NS
        stage.note_equity()
    stage.publish()
    eventually(lambda: len(dashboard.get("/api/snapshot")["equity"]) == 3)

    async def scenario() -> None:
        page = await _connect(dashboard)
        _, snapshot = await _frame(page)
        assert snapshot["type"] == "snapshot"
        assert len(snapshot["equity"]) == 3
        assert snapshot["trades"] == []
        await _frame(page)
        seen_ms = snapshot["equity"][-1][0]
        bought = stage.decide(0, Decided.ORDERED, confidence=0.9)
        stage.trade(0, "0.01", Reason.SIGNAL, bought)
        stage.now_ns += MINUTE_NS
        stage.trade(0, "-0.01", Reason.STOP)
        stage.note_equity()
        stage.publish()
        began = asyncio.get_running_loop().time()
        while True:
            _, update = await _frame(page)
            assert update["type"] == "update"
            if "trades" in update:
                break
        assert asyncio.get_running_loop().time() - began < 2.0
        assert [trip["reason"] for trip in update["trades"]] == ["stop"]
        assert update["decisions"][0]["decided"] == "ordered"
        assert update["status"]["account"]["round_trips"] == 1
        assert all(point[0] > seen_ms for point in update.get("equity", []))
        _, later = await _frame(page)
        assert not {"trades", "decisions", "equity"} & set(later)
        assert not {"account", "limits", "positions", "strategies"} & set(later["status"]), "nothing of it has changed"
        await _leave(page)

    asyncio.run(scenario())


def test_live_update_is_the_same_for_everybody_and_once_a_second(dashboard: Dashboard) -> None:
    """Twenty pages get the same text, about one second apart."""

    async def scenario() -> None:
        pages = [await _connect(dashboard) for _ in range(20)]
        for page in pages:
            assert (await _frame(page))[1]["type"] == "snapshot"
        # pages that joined across a push are brought in step by the first whole one
        firsts = [(await _frame(page))[1]["status"]["sampled_ms"] for page in pages]
        for page, first in zip(pages, firsts, strict=True):
            seen = first
            while seen < max(firsts):
                seen = (await _frame(page))[1]["status"]["sampled_ms"]
        loop = asyncio.get_running_loop()
        times = []
        for _ in range(3):
            texts = {(await _frame(page))[0] for page in pages}
            assert len(texts) == 1
            times.append(loop.time())
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert all(0.7 < gap < 1.6 for gap in gaps), gaps
        for page in pages:
            await _leave(page)

    asyncio.run(scenario())


def test_live_foreign_origin_gets_no_websocket(dashboard: Dashboard) -> None:
    """Another site's page can't listen in."""

    async def scenario() -> None:
        with pytest.raises(HTTPClientError, match="403"):
            await _connect(dashboard, Origin="http://evil.example")
        with pytest.raises(HTTPClientError, match="421"):
            await _connect(dashboard, Host="rebound.example")
        page = await _connect(dashboard, Origin=dashboard.url)
        assert (await _frame(page))[1]["type"] == "snapshot"
        await _leave(page)

    asyncio.run(scenario())


def test_live_beyond_loopback_needs_a_session(tmp_path: Path) -> None:
    """Whoever may not read may not listen."""
    stage = Stage(paths_in(tmp_path)).start()
    config = config_of()
    config = config.model_copy(update={"dashboard": config.dashboard.model_copy(update={"host": "0.0.0.0"})})

    async def scenario(dashboard: Dashboard) -> None:
        for headers in ({}, {"Authorization": "Bearer guess"}, {"Cookie": "trader_session=guess"}):
            with pytest.raises(HTTPClientError, match="401"):
                await _connect(dashboard, **headers)
        page = await _connect(dashboard, Authorization=f"Bearer {TOKEN}")
        assert (await _frame(page))[1]["type"] == "snapshot"
        await _leave(page)

    with Dashboard(stage, config) as dashboard:
        asyncio.run(scenario(dashboard))
    stage.stop()


def test_live_what_a_page_says_changes_nothing(dashboard: Dashboard) -> None:
    """Text, binary and nonsense are ignored; a huge frame costs only its sender the connection."""

    async def scenario() -> None:
        page, loud = await _connect(dashboard), await _connect(dashboard)
        for message in ("pause", "{", "\x00" * 100):
            await page.write_message(message)
        await loud.write_message("x" * 100_000)
        assert (await _frame(page))[1]["type"] == "snapshot"
        for _ in range(2):
            assert (await _frame(page))[1]["type"] == "update"
        assert dashboard.commands == []
        assert len(dashboard.service._hub) == 1
        await _leave(page)
        await _leave(loud)

    asyncio.run(scenario())


def test_live_pages_that_leave_are_forgotten(dashboard: Dashboard) -> None:
    """A page that was closed leaves nothing behind."""

    async def scenario() -> None:
        for _ in range(10):
            page = await _connect(dashboard)
            await _frame(page)
            await _leave(page)
        async with asyncio.timeout(5.0):
            while len(dashboard.service._hub):
                await asyncio.sleep(0.02)

    asyncio.run(scenario())


def test_live_dashboard_that_stops_says_goodbye(dashboard: Dashboard) -> None:
    """A page learns at once that the server is gone, so that it can say so."""

    async def scenario() -> None:
        page = await _connect(dashboard)
        await _frame(page)
        await asyncio.to_thread(dashboard.stop)
        async with asyncio.timeout(5.0):
            while await page.read_message() is not None:
                pass
        assert page.close_code == 1001
        page.close()

    asyncio.run(scenario())
