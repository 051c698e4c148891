"""The control line's words, and its client against servers that misbehave."""

from __future__ import annotations

import asyncio
import json
import socket
import threading

import pytest

from trader.errors import ControlError, NotRunning
from trader.process.control import (
    CommandRefused,
    arequest,
    decode_answer,
    encode_error,
    encode_request,
    encode_result,
    request,
)


def test_answer_round_trip():
    """A result comes out as it went in; a refusal comes out as an error with its code."""
    assert decode_answer(encode_result({"a": [1, None]})) == {"a": [1, None]}
    with pytest.raises(CommandRefused, match="no such symbol") as caught:
        decode_answer(encode_error("unknown_symbol", "no such symbol"))
    assert caught.value.code == "unknown_symbol"


def test_request_is_one_line_whatever_is_in_it():
    """A line feed in an argument does not end the line."""
    encoded = encode_request("close", {"symbol": "A\nB"})
    assert encoded.count(b"\n") == 1
    assert json.loads(encoded) == {"command": "close", "arguments": {"symbol": "A\nB"}}


@pytest.mark.parametrize("line", [b"", b"nonsense\n", b"[]\n", b'{"ok": false}\n', b'{"ok": true}\n', b"3\n"])
def test_unreadable_answer_is_a_control_error(line):
    """Never a KeyError or a JSON error."""
    with pytest.raises(ControlError):
        decode_answer(line)


@pytest.fixture
def server(tmp_path):
    """Answer one client with given bytes, or keep silent with None."""
    path = tmp_path / "control.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    done = threading.Event()
    threads = []

    def answering(answer: bytes | None):
        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                if answer is None:
                    done.wait(10)
                else:
                    client.sendall(answer)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return path

    yield answering
    done.set()
    for thread in threads:
        thread.join()
    listener.close()


def ask_both(kind, path, **options):
    """Ask with the plain or with the asynchronous client."""
    if kind == "plain":
        return request(path, "status", **options)
    return asyncio.run(arequest(path, "status", **options))


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_request_returns_the_result(kind, server):
    """Both clients."""
    assert ask_both(kind, server(encode_result({"x": 1}))) == {"x": 1}


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_request_to_a_silent_service_times_out_by_name(kind, server):
    """The message names the command and the time."""
    with pytest.raises(ControlError, match=r"no answer to status within 0\.2 s"):
        ask_both(kind, server(None), timeout_s=0.2)


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_request_to_a_service_that_hangs_up_says_so(kind, server):
    """An end without an answer."""
    with pytest.raises(ControlError, match="ended before it answered"):
        ask_both(kind, server(b""))


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_request_without_a_service_is_not_running(kind, tmp_path):
    """No socket."""
    with pytest.raises(NotRunning):
        ask_both(kind, tmp_path / "control.sock")
