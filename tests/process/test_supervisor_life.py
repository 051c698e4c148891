"""The supervisor's life with real processes: start, end, and what keeps it from starting."""

from __future__ import annotations

import os
import signal
import socket
import statistics
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.process.supervised import PATIENCE_S, Deaths, Supervised, alive, eventually
from trader.clock import boottime_ns
from trader.codes import WorkerState
from trader.errors import ControlError, NotRunning
from trader.process.control import request


def test_service_start_and_stop_is_clean(supervised):
    """All workers come up, SIGTERM ends them in order, exit 0, and nothing is left in the runtime folder."""
    service = supervised()
    service.up()
    pids = service.pids()
    assert len(pids) == 3
    assert [service.worker(role)["state"] for role in ("engine", "monitor", "dashboard")] == [WorkerState.READY] * 3
    assert service.paths.runtime_link.resolve() == service.paths.runtime_dir

    assert service.stop() == 0

    assert not any(alive(pid) for pid in pids)
    assert not service.paths.runtime_dir.exists()
    assert not service.paths.runtime_link.is_symlink()
    with pytest.raises(NotRunning):
        service.ask("status")


def test_lease_while_running_is_renewed_and_gone_after_start(supervised):
    """The lease lies at most 3 s ahead and moves on."""
    service = supervised()
    service.up()
    first = service.reader.lease_until_ns()
    assert 0 < first - boottime_ns() <= 3_000_000_000
    eventually(lambda: service.reader.lease_until_ns() > first, "a renewed lease")


def test_stopped_supervisor_lets_the_lease_run_out(supervised):
    """SIGSTOP of the supervisor takes the lease away within 3 s by itself."""
    service = supervised()
    service.up()
    service.process.send_signal(signal.SIGSTOP)
    assert service.reader.lease_until_ns() <= boottime_ns() + 3_000_000_000
    eventually(lambda: service.reader.lease_until_ns() < boottime_ns(), "the lease to run out")
    service.process.send_signal(signal.SIGCONT)
    eventually(lambda: service.reader.lease_until_ns() > boottime_ns(), "the lease to come back")
    assert all(service.worker(role)["restarts"] == 0 for role in ("engine", "monitor", "dashboard"))


def test_supervisor_sigkill_takes_all_workers_with_it(supervised):
    """No worker outlives the supervisor by more than 100 ms, and the next start works.

    The median of five: one death may wait for a processor on a machine that has other work.
    """
    service = supervised()
    took_s = []
    for _ in range(5):
        service.up()
        took_s.append(Deaths(service.pids()).seconds_after(service.process.kill))
        service.wait()
    assert statistics.median(took_s) < 0.1, took_s
    service.up()
    assert service.stop() == 0


def test_second_instance_on_the_same_folder_exits_75(supervised, tmp_path):
    """The second one names the lock and leaves the first alone."""
    service = supervised()
    service.up()
    second = Supervised(tmp_path)
    second.log = tmp_path / "second.txt"
    second.start()
    assert second.wait() == 75
    assert "supervisor.lock" in second.text
    assert service.state() == "running"


def test_invalid_configuration_exits_78_with_every_problem(supervised):
    """Nothing is started, and each problem is named."""
    service = supervised({"risk": {"max_open_position": 3, "max_drawdown_frac": 7}})
    service.start()
    assert service.wait() == 78
    assert "risk.max_open_position" in service.text
    assert "risk.max_drawdown_frac" in service.text
    assert not service.paths.runtime_dir.exists()


def test_worker_that_refuses_to_start_ends_the_service_with_its_code(supervised):
    """A damaged ledger is exit 70 with the engine's own words."""
    service = supervised(engine="Refusing")
    service.start()
    assert service.wait() == 70
    assert "page 7 of the ledger is damaged" in service.text
    assert not service.paths.runtime_dir.exists()


def test_worker_that_mended_its_own_fault_is_started_again_within_the_same_start(supervised):
    """A spoiled cache of kernels ends an incarnation and not the service."""
    service = supervised(engine="Spoiled")
    service.up()
    assert service.worker("engine")["generation"] == 2
    assert "the cache of kernels was wrong and is removed" in service.text


def test_dashboard_that_refuses_to_start_leaves_the_service_degraded(supervised):
    """A dashboard is no reason not to trade."""
    service = supervised(dashboard="Refusing")
    service.start()
    service.wait_for("degraded")
    assert service.reader.lease_until_ns() > boottime_ns()


def test_finished_engine_ends_the_service_with_0(supervised):
    """The end of a replay is an orderly end."""
    service = supervised(engine="Finishing")
    service.start()
    assert service.wait() == 0
    assert "market data has ended" in service.text


def test_second_sigterm_kills_at_once(supervised):
    """Whoever asks twice does not wait for a stubborn worker."""
    service = supervised(engine="Stubborn")
    service.up()
    service.process.send_signal(signal.SIGTERM)
    eventually(lambda: "asked to stop" in service.text, "the first SIGTERM")
    service.process.send_signal(signal.SIGTERM)
    assert service.wait() == 0
    assert "does not stop" not in service.text


def test_sigterm_during_the_start_is_not_lost(supervised):
    """A signal that comes while Python still imports ends the service in order."""
    service = supervised()
    process = service.start()
    eventually(lambda: b"SIG" in _caught(process.pid), "handlers")
    process.send_signal(signal.SIGTERM)
    assert service.wait() == 0


def _caught(pid: int) -> bytes:
    """Return b"SIG" once the process catches SIGTERM."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return b""
    mask = int(status.split("SigCgt:")[1].split()[0], 16)
    return b"SIG" if mask >> (signal.SIGTERM - 1) & 1 else b""


def test_notify_socket_is_told_in_order_and_not_handed_on(supervised, tmp_path):
    """PID 1 hears READY, WATCHDOG alone in its datagram, STATUS, STOPPING; workers can't reach it."""
    path = tmp_path / "notify.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(10.0)
        service = supervised()
        service.up({"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "1500000"})
        environment = service.ask("pause")["environment"]
        assert service.stop() == 0
        listener.settimeout(0.1)
        heard = []
        with suppress(TimeoutError):
            while True:
                heard.append(listener.recv(4096).decode("ascii"))
    assert "NOTIFY_SOCKET" not in environment
    assert "WATCHDOG_USEC" not in environment
    assert heard.index("READY=1") < heard.index("STOPPING=1")
    assert "WATCHDOG=1" in heard
    assert any(text.startswith("STATUS=") for text in heard)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"hello\n", "malformed"),
        (b"[1]\n", "malformed"),
        (b'{"command": "dance"}\n', "unknown"),
        (b'{"command": "status", "arguments": 3}\n', "malformed"),
        (b"x" * 200_000, "too_large"),
        (b"[" * 60_000 + b"\n", "malformed"),
        (b"\xff\xfe\x00\n", "malformed"),
        (b'{"command": null}\n', "malformed"),
        (b'{"command": "status"', "malformed"),
        (b"\n", "malformed"),
        (b"", "malformed"),
        (b'{"command": "close", "arguments": {"symbol": ["BTC/USDT"]}}\n', "unknown_symbol"),
        (b'{"command": "close"}\n', "unknown_symbol"),
    ],
)
def test_control_socket_bad_input_is_refused(one_service, sent, code):
    """Whatever comes in gets an answer that names the problem, and the service goes on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(10.0)
        line.connect(str(one_service.paths.control_socket))
        with suppress(BrokenPipeError):  # it may have seen enough
            line.sendall(sent)
            line.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(ConnectionResetError):
            while part := line.recv(65536):
                answer += part
    assert f'"code": "{code}"'.encode() in answer
    assert one_service.state() == "running"


def test_control_socket_silent_client_disturbs_nobody_and_is_told(one_service):
    """A client that connects and never writes costs a place for ten seconds, not the service."""
    with silent_client(one_service) as line:
        assert one_service.state() == "running"
        assert b'"code": "timeout"' in line.recv(65536)


def test_control_socket_full_of_silent_clients_still_takes_commands(one_service):
    """Who sends a command comes before who only holds a place; the oldest of those is told."""
    with ExitStack() as stack:
        lines = [stack.enter_context(silent_client(one_service)) for _ in range(60)]
        for _ in range(5):
            assert one_service.ask("status")["state"] == "running"
        assert b'"code": "busy"' in lines[0].recv(65536)
    assert one_service.reader.lease_until_ns() > boottime_ns()


def silent_client(service: Supervised) -> socket.socket:
    """Return a connection that nothing was sent over."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.settimeout(PATIENCE_S)
    line.connect(str(service.paths.control_socket))
    return line


@pytest.mark.parametrize("how", ["foreign", "a file", "open to others"])
def test_runtime_folder_that_is_not_ours_alone_is_refused_by_name(supervised, tmp_path, how):
    """Whoever else can write there could feed us commands or forged memory."""
    folder = tmp_path / "run"
    if how == "a file":
        folder.write_text("")
    else:
        folder.mkdir(mode=0o700)
        if how == "foreign":
            os.chown(folder, 65534, 65534)
        else:
            folder.chmod(0o777)
    service = supervised()
    service.start({"RUNTIME_DIRECTORY": str(folder)})
    assert service.wait() not in (0, -signal.SIGKILL)
    assert str(folder) in service.text
    assert "Traceback" not in service.text
    assert "started as process" not in service.text


def test_control_socket_is_for_the_owner_only(one_service):
    """Nobody else may send commands."""
    assert one_service.paths.control_socket.stat().st_mode & 0o777 == 0o600


def test_commands_reach_the_engine_and_come_back(one_service):
    """A command's arguments, its result and its refusal travel whole."""
    assert one_service.ask("close", {"symbol": "BTC/USDT"})["arguments"] == {"symbol": "BTC/USDT"}
    with pytest.raises(ControlError, match="nothing to flatten"):
        one_service.ask("flatten")
    with pytest.raises(ControlError, match="'XYZ/USDT' is not traded here; traded: BTC/USDT"):
        one_service.ask("close", {"symbol": "XYZ/USDT"})


def test_control_request_without_a_service_says_so(tmp_path):
    """A missing socket and a dead one are both: not running."""
    with pytest.raises(NotRunning):
        request(tmp_path / "control.sock", "status")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(tmp_path / "dead.sock"))
    with pytest.raises(NotRunning):
        request(tmp_path / "dead.sock", "status")


@pytest.fixture(scope="module")
def one_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    """One service for the tests that do it no harm."""
    service = Supervised(tmp_path_factory.mktemp("service"))
    service.up()
    yield service
    service.clean_up()


def test_worker_environment_is_tame(one_service):
    """One thread per library in every worker."""
    environment = one_service.ask("pause")["environment"]
    assert {"NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"} <= set(environment)


def test_engine_may_compile(one_service):
    """What the supervisor forbids itself does not reach the one process that compiles."""
    assert one_service.ask("pause")["may_compile"] is True


def test_status_document_names_every_worker(one_service):
    """The three verdicts are in it."""
    status = eventually(lambda: _judged(one_service), "verdicts")
    assert status["mode"] == "paper"
    assert status["pid"] == one_service.process.pid
    for worker in status["workers"]:
        assert worker["alive"] is True
        assert worker["progressing"] is True
        assert worker["fed"] is True
        assert os.path.exists(f"/proc/{worker['pid']}")  # noqa: PTH110


def _judged(service: Supervised) -> dict[str, Any] | None:
    status = service.ask("status")
    judged = all(worker["alive"] and worker["fed"] for worker in status["workers"])
    return status if judged else None
