"""Commands that act: over a real control socket, to handlers that note what they were told."""

from __future__ import annotations

import asyncio
import io
import json
import threading

import pytest

from trader.cli import main
from trader.errors import ControlError
from trader.process.control import CommandRefused
from trader.supervisor.server import ControlServer


class Owner:
    """A control server in a thread of its own."""

    def __init__(self, paths) -> None:
        self.heard = []
        self.answers = {
            "pause": {"halts": ["paused"]},
            "resume": {"halts": ["drawdown"]},
            "flatten": {"closing": ["BTC/USDT"], "halts": ["paused"]},
            "close": {"closing": ["BTC/USDT"]},
            "reload": {"changed": ["risk.max_daily_trades: 20 -> 5"], "restarted": ["dashboard"], "config_epoch": 2},
        }
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = ControlServer(paths.control_socket, {name: self._handler(name) for name in self.answers})
        self._run(self._server.start())

    def _handler(self, name):
        async def handle(arguments):
            self.heard.append((name, arguments))
            answer = self.answers[name]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return handle

    def _run(self, coroutine) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def close(self) -> None:
        """Stop the server and its thread."""
        self._run(self._server.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def owner(paths):
    """Return a control server where the service's would be."""
    made = Owner(paths)
    yield made
    made.close()


def run(capsys, *argv):
    """Carry out a command; return exit code, stdout, stderr."""
    exit_code = main(argv)
    captured = capsys.readouterr()
    return exit_code, captured.out, captured.err


@pytest.mark.parametrize(
    ("argv", "told", "says"),
    [
        (["pause"], ("pause", {}), "paused: no new positions"),
        (["resume"], ("resume", {}), "resumed, but entries are still halted: drawdown"),
        (["flatten", "--yes"], ("flatten", {}), "closing BTC/USDT; no new positions until"),
        (["close", "btc-usdt", "--yes"], ("close", {"symbol": "BTC/USDT"}), "closing BTC/USDT"),
        (["reload", "--wait"], ("reload", {"wait": True}), "in force: risk.max_daily_trades: 20 -> 5"),
        (["reload"], ("reload", {"wait": False}), "reload asked for"),
    ],
)
def test_command_reaches_the_service_and_its_answer_is_shown(owner, capsys, tmp_path, argv, told, says):
    """What was asked arrives as it was meant."""
    exit_code, out, err = run(capsys, *argv, "--data-dir", str(tmp_path))
    assert (exit_code, owner.heard, err) == (0, [told], "")
    assert says in out


def test_command_json_is_the_answer(owner, capsys, tmp_path):
    """Scripts get the service's own document."""
    out = run(capsys, "pause", "--json", "--data-dir", str(tmp_path))[1]
    assert json.loads(out) == {"halts": ["paused"]}


def test_command_refused_is_one_line_and_exit_1(owner, capsys, tmp_path):
    """The service's reason is shown."""
    owner.answers["close"] = ControlError("there is no open position in BTC/USDT")
    assert run(capsys, "close", "BTC/USDT", "--yes", "--data-dir", str(tmp_path)) == (
        1,
        "",
        "trader: there is no open position in BTC/USDT\n",
    )


def test_reload_rejected_fails_visibly(owner, capsys, tmp_path):
    """A bad file is not a success."""
    owner.answers["reload"] = CommandRefused("f.yaml:3: risk.x: unknown key", "rejected")
    exit_code, out, err = run(capsys, "reload", "--wait", "--data-dir", str(tmp_path))
    assert (exit_code, out) == (1, "")
    assert "f.yaml:3: risk.x: unknown key" in err


@pytest.mark.parametrize("command", [["pause"], ["flatten", "--yes"], ["reload", "--wait"]])
def test_command_without_a_service_says_so(command, capsys, tmp_path):
    """No socket, no service."""
    exit_code, out, err = run(capsys, *command, "--data-dir", str(tmp_path))
    assert (exit_code, out) == (1, "")
    assert f"no service runs on {tmp_path / 'data'}" in err


@pytest.mark.parametrize("command", [["flatten"], ["close", "BTC/USDT"]])
def test_closing_without_a_terminal_needs_yes(owner, command, capsys, tmp_path, monkeypatch):
    """A script can't close positions by accident."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    exit_code, _, err = run(capsys, *command, "--data-dir", str(tmp_path))
    assert (exit_code, owner.heard) == (2, [])
    assert "--yes" in err


class Terminal(io.StringIO):
    """Input that an owner types."""

    def isatty(self):
        """Say that it is one."""
        return True


@pytest.mark.parametrize(("typed", "exit_code", "told"), [("y\n", 0, 1), ("\n", 1, 0), ("no\n", 1, 0), ("", 1, 0)])
def test_flatten_asks_and_does_what_was_answered(owner, running, typed, exit_code, told, capsys, tmp_path, monkeypatch):
    """The question says what will happen; anything but yes is no."""
    running.start_engine()
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    found, _, err = run(capsys, "flatten", "--data-dir", str(tmp_path))
    assert (found, len(owner.heard)) == (exit_code, told)
    assert "This pauses, and closes 1 position (BTC/USDT) at the market. Go on? [y/N]" in err
