"""A dashboard that really serves: the service itself on a real socket, its loop in a thread of its own."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from tests.staging import RUN_ID, Stage
from trader.codes import Role
from trader.config.sections import Config
from trader.dashboard.worker import DashboardService
from trader.process.context import WorkerContext
from trader.process.control import encode_error, encode_result
from trader.process.worker import Beat
from trader.state.segment import Segment

TOKEN = "open sesame"
DEADLINE_S = 10.0


def context_of(stage: Stage, role: str, config: Config) -> WorkerContext:
    """Return what the supervisor would hand to a worker."""
    return WorkerContext(role, 1, RUN_ID, config, 1, stage.paths, os.getpid(), stage.paths.segment(role, 1))


def config_of(port: int = 0, *, token: bool = True, **sections: Any) -> Config:
    """Return a configuration whose token, if any, is in the environment variable STAGED_TOKEN."""
    os.environ["STAGED_TOKEN"] = TOKEN
    dashboard = {"port": port, "token": {"env": "STAGED_TOKEN"} if token else None}
    return Config.model_validate({"dashboard": dashboard, **sections})


def eventually(condition: Callable[[], Any], what: str = "the condition", deadline_s: float = DEADLINE_S) -> Any:
    """Return the first true answer, or fail after a while."""
    end = time.monotonic() + deadline_s
    while True:
        if found := condition():
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come within {deadline_s} s")
        time.sleep(0.02)


class Dashboard:
    """Serves from `start` to `stop`; also answers the control line and remembers what came over it."""

    def __init__(self, stage: Stage, config: Config | None = None) -> None:
        self.stage = stage
        self.config = config or config_of()
        self.commands: list[tuple[str, dict[str, Any]]] = []
        self.refuse_with: tuple[str, str] | None = None
        self.port = 0
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Dashboard:
        """Return once it listens."""
        self._thread.start()
        assert self._ready.wait(DEADLINE_S)
        if self._failure is not None:
            raise self._failure
        return self

    def stop(self) -> None:
        """End it and wait."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self.service.stop(), self.loop).result(DEADLINE_S)
            self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        if self._failure is not None:  # it has ended by itself, and nobody was answered from then on
            raise self._failure

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers (lower case) and body of one request over a fresh connection."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            if data is not None:
                sent.setdefault("Content-Type", "application/json")
            line.request(method, path, data, sent)
            answer = line.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            line.close()

    def get(self, path: str, **headers: str) -> Any:
        """Return a document."""
        status, _, body = self.request("GET", path, **headers)
        assert status == 200, body
        return json.loads(body)

    def command(self, name: str, body: Any = None, token: str | None = TOKEN) -> tuple[int, Any]:
        """Send a command as a script would."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        status, _, answer = self.request("POST", f"/api/control/{name}", body or {}, **headers)
        return status, json.loads(answer)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
            self._ready.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        context = context_of(self.stage, "dashboard", self.config)
        if Role.DASHBOARD in self.stage.segments:
            segment = Segment.attach(context.segment, writable=True)
        else:
            context.segment.unlink(missing_ok=True)
            segment = Segment.create(
                context.segment, role=Role.DASHBOARD, generation=1, n_symbols=0, run_id=RUN_ID, meta={}
            )
        self.service = DashboardService(context, segment, Beat(segment))
        self.stage.paths.control_socket.unlink(missing_ok=True)
        async with await asyncio.start_unix_server(self._answer, str(self.stage.paths.control_socket)):
            self.port = (await self.service.start())["port"]
            self._ready.set()
            await self.service.run()
        self.stage.paths.control_socket.unlink(missing_ok=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(await reader.readline())
        self.commands.append((asked["command"], asked["arguments"]))
        refusal = self.refuse_with
        writer.write(encode_error(*refusal) if refusal else encode_result({"done": asked["command"]}))
        await writer.drain()
        writer.close()
