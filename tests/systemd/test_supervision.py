"""What only a real systemd can show: the held port, instances, keys, deaths told, and a start that is quick."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest

from tests.systemd.conftest import DEFAULT, PORT, eventually
from tests.systemd.test_service import is_whole, with_limit, worker_pids

pytestmark = pytest.mark.systemd

STANDING = ("systemctl", "is-active", "--quiet", "trader-port")
UNITS = ("trader.service", "trader@.service", "trader.socket", "trader-port.service", "trader-alert@.service")


@pytest.fixture
def held(trader):
    """Let trader.socket hold the port that the configuration names."""
    folder = "/etc/systemd/system/trader.socket.d"
    text = f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{trader.port}\n"
    trader.box.run("sh", "-c", f'mkdir -p {folder} && printf "%s" "$1" >{folder}/port.conf', "sh", text)
    trader.systemctl("daemon-reload")
    yield trader
    trader.systemctl("stop", "trader", "trader.socket", check=False)
    trader.box.run("rm", "-rf", folder)
    trader.systemctl("daemon-reload")


class Visitor(threading.Thread):
    """Asks for the page again and again, and counts how often nobody listened."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.url = f"http://127.0.0.1:{port}/healthz"
        self.refused = self.answered = 0
        self.leave = threading.Event()

    def run(self) -> None:
        """Visit."""
        while not self.leave.wait(0.02):
            try:
                with urllib.request.urlopen(self.url, timeout=30):
                    self.answered += 1
            except urllib.error.HTTPError:  # 503: an answer
                self.answered += 1
            except (ConnectionRefusedError, urllib.error.URLError) as error:
                if isinstance(getattr(error, "reason", error), ConnectionRefusedError):
                    self.refused += 1
            except OSError:
                pass  # a connection that was open when its server died


def test_units_are_verified_by_systemd(installed):
    """Every unit that was installed, the template as an instance."""
    for unit in UNITS:
        name = unit.replace("@.", "@second.")
        verified = installed.run("systemd-analyze", "verify", f"/etc/systemd/system/{name}", check=False)
        assert (unit, verified.stdout + verified.stderr) == (unit, "")


def test_port_is_never_refused_over_restarts_and_closed_by_stop(held):
    """Restart of the service, SIGKILL of supervisor and of dashboard; after a stop nobody listens or wakes it."""
    held.systemctl("start", "trader")
    visitor = Visitor(held.port)
    visitor.start()
    eventually(lambda: visitor.answered > 3, "answers")
    held.systemctl("restart", "trader")
    for victim in ("dashboard", None):
        eventually(lambda: is_whole(held), "the service")
        before = worker_pids(held), held.show("MainPID")
        held.box.run("kill", "-KILL", str(before[0][victim]) if victim else before[1])
        eventually(lambda b=before: is_whole(held) and (worker_pids(held), held.show("MainPID")) != b, "a recovery")
    answered = visitor.answered
    eventually(lambda: visitor.answered > answered + 3, "answers after all that")
    visitor.leave.set()
    visitor.join(35)
    assert visitor.refused == 0
    held.systemctl("stop", "trader")
    eventually(lambda: _is_refused(held.port), "a closed port")
    held.systemctl("start", "trader.socket")
    with socket.create_connection(("127.0.0.1", held.port)):  # even with the port open, no visitor starts a trader
        eventually(lambda: held.box.run(*STANDING, check=False).returncode == 0, "the stand-in")
    assert held.show("ActiveState") == "inactive"


def _is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_death_is_told_and_final_failure_alerts(trader):
    """A post-mortem line for the SIGKILL; the alert, and the owner's own program, for a configuration that is wrong."""
    trader.systemctl("start", "trader")
    old, before = trader.show("MainPID"), trader.now()
    trader.box.run("kill", "-KILL", old)
    line = eventually(lambda: _line(trader.journal("-p", "err", "--since", before), "post-mortem"), "the post-mortem")
    assert "ended by signal (killed KILL); equity" in line
    eventually(lambda: trader.show("MainPID") not in ("0", old) and is_whole(trader), "a new service")
    trader.systemctl("stop", "trader")

    trader.box.run(
        "sh", "-c", "printf '#!/bin/sh\\necho calling about $1\\n' >/etc/trader/alert; chmod 755 /etc/trader/alert"
    )
    trader.configure(with_limit("many"))
    trader.box.run("systemctl", "start", "trader", check=False)

    def alert():
        found = trader.box.run("journalctl", "-u", "trader-alert@trader", "--no-pager", "-o", "cat", check=False)
        return "calling about trader" in found.stdout and found.stdout

    text = eventually(alert, "the alert")
    assert "trader has failed and stays down: exit-code (exited 78)" in text
    trader.box.run("rm", "/etc/trader/alert")


def _line(text, word):
    return next((line for line in text.splitlines() if word in line), None)


def test_instances_run_side_by_side_without_touching_each_other(trader):
    """trader@NAME has its own configuration, folders and runtime; the main service does not notice its end."""
    second = "/etc/trader/second.yaml"
    text = PORT.sub(r"\1 0", DEFAULT).replace("instance: main", "instance: second")
    trader.box.run("sh", "-c", f'printf "%s" "$1" >{second}; chgrp trader {second}; chmod 640 {second}', "sh", text)
    trader.systemctl("start", "trader", "trader@second")
    environment = {"TRADER_CONFIG": second, "TRADER_DATA_DIR": "/var/lib/trader-second"}
    status = json.loads(trader.box.run("trader", "status", "--json", env=environment).stdout)
    assert (status["instance"], status["state"]) == ("second", "running")
    trader.box.run("test", "-e", "/var/lib/trader-second/data/ledger.db")
    pids = worker_pids(trader)
    trader.systemctl("stop", "trader@second")
    assert worker_pids(trader) == pids
    trader.box.run("rm", "-rf", second, "/var/lib/trader-second")


def test_keys_come_from_the_credential_store(trader):
    """A token in /etc/credstore reaches the dashboard; without it the service starts all the same (other tests)."""
    trader.box.run(
        "sh", "-c", "install -d -m 700 /etc/credstore; printf sesame-sesame-1234 >/etc/credstore/trader.token"
    )
    trader.configure(DEFAULT.replace("token: null", "token: {credential: trader.token}"))
    try:
        trader.systemctl("start", "trader")
        url = f"http://127.0.0.1:{trader.port}/api/control/pause"
        for token, allowed in (("wrong", False), ("sesame-sesame-1234", True)):
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            asked = urllib.request.Request(url, b"{}", headers)
            try:
                status = urllib.request.urlopen(asked, timeout=10).status
            except urllib.error.HTTPError as error:
                status = error.code
            assert (status == 200) is allowed
        assert "sesame" not in trader.journal()
    finally:
        trader.box.run("rm", "/etc/credstore/trader.token")


def test_first_start_compiles_beside_the_engine_and_the_next_one_loads(trader):
    """`systemctl start` to READY, cold and warm: 15 s and 2.5 s on a quiet machine, which `make bench` measures."""
    trader.box.run("rm", "-rf", "/var/cache/trader/kernels")
    since, begun = trader.now(), time.monotonic()
    trader.systemctl("start", "trader")
    print(f"\ncold start to READY: {time.monotonic() - begun:.2f} s")
    told = trader.journal("--since", since)
    assert "kernels compiled in" in told
    assert "in the engine itself" not in told
    trader.systemctl("stop", "trader")
    since = trader.now()
    took_s = []
    for _ in range(3):
        begun = time.monotonic()
        trader.systemctl("start", "trader")
        took_s.append(time.monotonic() - begun)
        trader.systemctl("stop", "trader")
    print(f"warm start to READY: {', '.join(f'{one:.2f}' for one in took_s)} s")
    assert min(took_s) < 10.0  # tests share their cores
    assert "kernels" not in trader.journal("--since", since)


def test_events_are_searched_for_in_the_journal(trader):
    """`journalctl TRADER_EVENT=worker.restarted` finds the death that was, with who it was."""
    since = trader.now()
    trader.systemctl("start", "trader")
    trader.box.run("kill", "-KILL", str(worker_pids(trader)["dashboard"]))

    def restarted():
        found = trader.journal("--since", since, "TRADER_EVENT=worker.restarted", "WORKER=dashboard")
        return "dashboard started as process" in found and found

    assert "generation 2" in eventually(restarted, "the event")
    died = trader.journal("--since", since, "TRADER_EVENT=worker.died", "-o", "json")
    assert '"REASON":"killed by SIGKILL"' in died
    assert trader.journal("--since", since, "TRADER_EVENT=service.ready", "MODE=paper")
