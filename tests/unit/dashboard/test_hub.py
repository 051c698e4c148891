"""The hub: everybody gets the same frame, who lags gets a snapshot, who never reads is dropped."""

from __future__ import annotations

import asyncio

from trader.dashboard.hub import MOST_BEHIND, Hub


class _Page:
    """A websocket whose frames leave only when told."""

    def __init__(self, *, quick: bool = True) -> None:
        self.frames: list[str] = []
        self.quick = quick
        self.waiting: list[asyncio.Future[None]] = []
        self.closed: tuple[int | None, str | None] | None = None

    def write_message(self, message: bytes | str, binary: bool = False) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.frames.append(str(message))
        if self.quick:
            future.set_result(None)
        else:
            self.waiting.append(future)
        return future

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        self.closed = (code, reason)

    def catch_up(self) -> None:
        for future in self.waiting:
            future.set_result(None)
        self.waiting.clear()


def test_hub_push_reaches_everybody_with_one_object() -> None:
    """The very same text goes to all: encoded once."""

    async def scenario() -> None:
        hub, pages = Hub(), [_Page(), _Page()]
        for page in pages:
            hub.join(page, "all")
        update = "update-" + "x" * 10
        hub.push(update)
        assert [page.frames for page in pages] == [["all", update]] * 2
        assert pages[0].frames[1] is pages[1].frames[1]

    asyncio.run(scenario())


def test_hub_slow_client_skips_and_then_gets_a_snapshot() -> None:
    """What it missed is made good by a snapshot, not by a queue."""

    async def scenario() -> None:
        hub, page = Hub(), _Page(quick=False)
        hub.join(page, "all-1")
        hub.push("update-2")
        hub.push("update-3")
        assert page.frames == ["all-1"]
        assert hub.lagging()
        page.catch_up()
        hub.push("update-4", "all-4")
        assert page.frames == ["all-1", "all-4"]
        assert not hub.lagging()

    asyncio.run(scenario())


def test_hub_client_that_never_reads_is_dropped_alone() -> None:
    """Its connection is closed, the others don't notice."""

    async def scenario() -> None:
        hub, stuck, fine = Hub(), _Page(quick=False), _Page()
        hub.join(stuck, "all")
        hub.join(fine, "all")
        for _ in range(MOST_BEHIND + 1):
            hub.push("update", "all")
        assert stuck.closed is not None
        assert stuck.closed[0] == 1008
        assert len(hub) == 1
        assert len(fine.frames) == MOST_BEHIND + 2

    asyncio.run(scenario())


def test_hub_broken_client_is_forgotten() -> None:
    """A websocket that is closed already is no reason to fail."""

    class _Closed(_Page):
        def write_message(self, message: bytes | str, binary: bool = False) -> asyncio.Future[None]:
            raise ConnectionResetError

    async def scenario() -> None:
        hub = Hub()
        hub.join(_Closed(), "all")
        assert len(hub) == 0

    asyncio.run(scenario())
