"""The control socket: whatever comes in is answered, and the worst that happens is a refusal."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from trader.errors import TraderError
from trader.supervisor.server import MAX_CLIENTS, MAX_REQUEST_BYTES, ControlServer

LIMIT_S = 60.0


async def _echo(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"heard": arguments}


async def _refuse(_: dict[str, Any]) -> dict[str, Any]:
    raise TraderError("not today")


async def _break(_: dict[str, Any]) -> dict[str, Any]:
    raise ZeroDivisionError("by nothing")


def _served(folder: Path, play: Callable[[Path], Awaitable[Any]]) -> Any:
    """Serve on a real socket, let clients play, and return what they return."""

    async def whole() -> Any:
        path = folder / "control.sock"
        server = ControlServer(path, {"echo": _echo, "refuse": _refuse, "break": _break})
        await server.start()
        try:
            return await play(path)
        finally:
            await server.close()
            assert not path.exists()

    return asyncio.run(asyncio.wait_for(whole(), LIMIT_S))


async def _say(path: Path, words: bytes) -> dict[str, Any]:
    """Return what is answered to some bytes, after which the client sends nothing more."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(words)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    document: dict[str, Any] = json.loads(answer)
    return document


def test_server_command_is_answered_and_the_socket_is_the_owners(tmp_path: Path) -> None:
    """Arguments arrive, and nobody else may connect."""

    async def play(path: Path) -> tuple[dict[str, Any], int]:
        words = b'{"command": "echo", "arguments": {"symbol": "BTC/USDT"}}\n'
        return await _say(path, words), stat.S_IMODE(os.stat(path).st_mode)  # noqa: ASYNC240, PTH116

    answer, mode = _served(tmp_path, play)
    assert "BTC/USDT" in json.dumps(answer)
    assert mode & 0o077 == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (b"", "ends with a line feed"),
        (b'{"command": "echo"}', "ends with a line feed"),
        (b"status\n", "this is no JSON"),
        (b"\xff\xfe\n", "this is no JSON"),
        (b"[" * 50_000 + b"\n", "this is no JSON"),
        (b"[]\n", "a command looks like"),
        (b'{"command": 7}\n', "a command looks like"),
        (b'{"command": "sell everything"}\n', "unknown command 'sell everything'; known: echo, refuse, break"),
        (b'{"command": "echo", "arguments": []}\n', "arguments must be an object"),
        (b" " * (MAX_REQUEST_BYTES + 1) + b"\n", "a command has at most 65536 bytes"),
        (b'{"command": "refuse"}\n', "not today"),
        (b'{"command": "break"}\n', "ZeroDivisionError: by nothing"),
    ],
)
def test_server_what_is_no_command_is_refused_in_words(tmp_path: Path, words: bytes, said: str) -> None:
    """Each mistake has its own words, and the server serves on."""

    async def play(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        return await _say(path, words), await _say(path, b'{"command": "echo"}\n')

    answer, after = _served(tmp_path, play)
    assert said in json.dumps(answer)
    assert "heard" in json.dumps(after)


def test_server_crowd_of_silent_clients_makes_room_for_one_that_speaks(tmp_path: Path) -> None:
    """Who has been silent longest is sent away with a reason; a command gets through."""

    async def play(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        crowd = [await asyncio.open_unix_connection(str(path)) for _ in range(MAX_CLIENTS)]
        answer = await _say(path, b'{"command": "echo"}\n')
        gone = json.loads(await crowd[0][0].read())
        for _, writer in crowd:
            writer.close()
        return answer, gone

    answer, gone = _served(tmp_path, play)
    assert "heard" in json.dumps(answer)
    assert f"more than {MAX_CLIENTS} clients at once" in json.dumps(gone)


def test_server_where_no_socket_can_be_made_says_which(tmp_path: Path) -> None:
    """A folder that is not there is named."""
    server = ControlServer(tmp_path / "missing" / "control.sock", {})
    with pytest.raises(TraderError, match=r"missing/control\.sock can not be made"):
        asyncio.run(server.start())
