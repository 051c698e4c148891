"""Alerts against webhooks on the loopback: grouped, rationed, ended; a dead receiver disturbs nobody."""

from __future__ import annotations

import asyncio
import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.serving import config_of, context_of, eventually
from tests.staging import Stage, paths_in
from tests.unit.monitor.test_health import FINE, _book, _venue, _worker
from trader.clock import boottime_ns, utc_ns
from trader.codes import Halt, Level, Role, ServiceState, WorkerState
from trader.config.sections import NotificationsConfig
from trader.monitor import alerts as alerts_module
from trader.monitor import news as news_module
from trader.monitor.alerts import MOST_LINES, MOST_WAITING, Alert, Alerts, compose
from trader.monitor.health import Observed, check_all
from trader.monitor.news import News
from trader.monitor.worker import MonitorService
from trader.process.worker import Beat
from trader.state.dtypes import SERVICE
from trader.state.reader import StateReader

# apprise reads an old module when it loads its plugins
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


class Webhook:
    """Takes JSON messages as apprise sends them; answers what it is told to."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        self.status = 200
        self.tries = 0
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.tries += 1
                if hook.status == 200:
                    hook.messages.append(json.loads(body))
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        """Where apprise finds it."""
        return f"json://127.0.0.1:{self.server.server_address[1]}/hook"

    def text(self) -> str:
        """Return all that was told."""
        return "\n".join(message["message"] for message in self.messages)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """Listen on the loopback."""
    hook = Webhook()
    yield hook
    hook.server.shutdown()
    hook.server.server_close()


@pytest.fixture
def dead() -> Iterator[str]:
    """Return the URL of a receiver that accepts and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"json://127.0.0.1:{listener.getsockname()[1]}/"


def told_by(webhook: Webhook, *more: str, **config: object) -> Alerts:
    """Return alerts to a webhook and others."""
    values = {"urls": [webhook.url, *more], "group_seconds": 0.05, **config}
    return Alerts(NotificationsConfig.model_validate(values), "trader main")


def alert(
    text: str, key: str = "", level: Level = Level.WARNING, *, recovered: bool = False, kind: str = "halt"
) -> Alert:
    """Return an alert."""
    return Alert(kind, key, level, text, recovered)


def test_alert_reaches_a_webhook_with_title_and_kind(webhook: Webhook) -> None:
    """As apprise's JSON service says it."""
    alerts = told_by(webhook)
    assert alerts.tell(alert("entries are halted: drawdown", "halt:drawdown", Level.GRAVE))
    eventually(lambda: webhook.messages, "a message", 30)
    (message,) = webhook.messages
    assert (message["title"], message["type"]) == ("trader main", "failure")
    assert message["message"].endswith("GRAVE: entries are halted: drawdown")
    alerts.close()


def test_alerts_that_come_together_travel_as_one_message(webhook: Webhook) -> None:
    """Fifty within the group's time: twenty lines and a count."""
    alerts = told_by(webhook, group_seconds=0.5)
    for number in range(50):
        alerts.tell(alert(f"number {number}", f"key {number}"))
    eventually(lambda: webhook.messages, "a message", 30)
    alerts.close()
    assert len(webhook.messages) == 1
    lines = webhook.messages[0]["message"].splitlines()
    assert len(lines) == MOST_LINES + 1
    assert lines[-1] == "... and 30 more"


def test_alert_that_lasts_is_told_once_and_its_end_too(webhook: Webhook) -> None:
    """A hundred looks at the same cause: one message; an end without a beginning: none."""
    alerts = told_by(webhook)
    assert not alerts.tell(alert("never began", "b", recovered=True))
    assert [alerts.tell(alert("halted", "a")) for _ in range(100)].count(True) == 1
    eventually(lambda: "halted" in webhook.text(), "the alert", 30)
    assert alerts.tell(alert("over", "a", recovered=True))
    eventually(lambda: "OVER: over" in webhook.text(), "the end", 30)
    assert webhook.messages[-1]["type"] == "success"
    assert alerts.tell(alert("halted again", "a"))
    alerts.close()


def test_alert_is_repeated_when_it_is_time_to_remind(webhook: Webhook) -> None:
    """The wall clock of the alerts decides, a clock that steps back repeats nothing."""
    alerts = told_by(webhook, remind_seconds=60)
    begun = utc_ns()
    told = [alerts.tell(replace(alert("x", "a"), time_ns=begun + s * 10**9)) for s in (0, 30, -3600, 61, 100, 122)]
    assert told == [True, False, False, True, False, True]
    alerts.close()


def test_rate_limit_holds_back_and_puts_together(webhook: Webhook) -> None:
    """Two messages an hour: what comes later waits, and nothing of it is lost."""
    alerts = told_by(webhook, most_per_hour=2)
    for number in range(5):
        alerts.tell(alert(f"number {number}", f"key {number}"))
        if number < 2:
            eventually(lambda n=number: len(webhook.messages) == n + 1, "a message", 30)
    time.sleep(0.3)  # a third would have had the time to come
    assert len(webhook.messages) == 2
    alerts.close()  # at the end what waits is sent after all
    assert [f"number {number}" in webhook.text() for number in range(5)] == [True] * 5


def test_dead_receiver_costs_neither_the_caller_nor_the_others(
    webhook: Webhook, dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that never answers, one that nobody listens at, one that is no service: a thousand alerts cost no time."""
    monkeypatch.setattr(alerts_module, "FAREWELL_S", 0.2)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"json://127.0.0.1:{closed.getsockname()[1]}/"
    alerts = told_by(webhook, dead, nobody, "ntfy://a/b/c:d")
    started = time.thread_time()
    for number in range(1000):
        alerts.tell(alert(f"number {number}", f"key {number}"))
    assert time.thread_time() - started < 2.0
    eventually(lambda: "more" in webhook.text(), "a message about all of them", 60)
    eventually(lambda: alerts.error is not None, "an error", 60)
    assert "notifications.urls." in str(alerts.error)
    assert "127.0.0.1" not in str(alerts.error)
    assert 0 < alerts.lost <= 4 * (1000 - MOST_WAITING)
    begun = time.monotonic()
    alerts.close()
    assert time.monotonic() - begun < 10


def test_receiver_that_fails_is_tried_again_and_told_everything(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it answers 500 it is an error that health shows; afterwards nothing is missing."""
    monkeypatch.setattr(alerts_module, "FIRST_PAUSE_S", 0.05)
    webhook.status = 500
    alerts = told_by(webhook)
    alerts.tell(alert("first", "a"))
    eventually(lambda: webhook.tries >= 2, "a second try", 30)
    assert alerts.error == "alerts do not get through: notifications.urls.0: not delivered"
    alerts.tell(alert("second", "b"))
    webhook.status = 200
    eventually(lambda: "first" in webhook.text() and "second" in webhook.text(), "both", 30)
    eventually(lambda: alerts.error is None, "no error", 30)
    alerts.close()


def test_alert_text_holds_no_secret_and_no_control_character() -> None:
    """What is named like a secret is hidden, a line stays a line."""
    text = compose([alert("api_key=hunter2hunter2 and\nforged\x1b[31m https://u:hunter2hunter2@x/")])
    assert "hunter2" not in text
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text


def test_secret_url_is_never_told(webhook: Webhook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A token that comes from the environment appears in no message, log and error, even when it can't be used."""
    monkeypatch.setenv("BOT", "nosuchservice://t0ken-t0ken-t0ken/12345")
    from trader.logs import setup_logging

    with setup_logging("monitor", tmp_path, "DEBUG"):
        config = NotificationsConfig.model_validate({"urls": [{"env": "BOT"}, webhook.url], "group_seconds": 0.05})
        alerts = Alerts(config, "trader main")
        alerts.tell(alert("look at nosuchservice://t0ken-t0ken-t0ken/12345", "a"))
        eventually(lambda: webhook.messages, "a message", 30)
        eventually(lambda: alerts.error is not None, "an error", 30)
        alerts.close()
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "t0ken" not in webhook.text() + str(alerts.error) + written


# ------------------------------------------------------------------------------------- what is told


def service(**fields: int) -> np.void:
    """Return what the supervisor says of a running service."""
    record = np.zeros(1, SERVICE)[0]
    record["state"], record["started_boot_ns"] = ServiceState.RUNNING, boottime_ns()
    for name, value in fields.items():
        record[name] = value
    return record


def looks(news: News, *observations: Observed) -> list[tuple[str, bool]]:
    """Return kind, and whether it is an end, of everything that a row of looks begins or ends."""
    found, open_keys = [], set()
    for observed in observations:
        for one in news.look(observed, check_all(observed), service()):
            if one.recovered and one.key not in open_keys:
                continue
            (open_keys.discard if one.recovered else open_keys.add)(one.key)
            found.append((one.kind, one.recovered))
    return found


def halted(mask: int) -> Observed:
    """Return an observation with halts."""
    return replace(FINE, book=_book(8_000.0, 8_000.0, halts=mask))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (halted(Halt.DAILY_LOSS), [("halt", False), ("halt", True)]),
        (halted(Halt.BREAKER), [("breaker", False), ("breaker", True)]),
        (
            replace(FINE, venue=_venue(differences=1), reconcile_age_s=1.0),
            [("difference", False), ("difference", True)],
        ),
        (replace(FINE, workers=(_worker(restarts=1),)), [("restart", False), ("restart", True)]),
        (replace(FINE, workers=(_worker(state=WorkerState.FATAL),)), [("restart", False), ("restart", True)]),
        (replace(FINE, free_bytes=1000), [("health", False), ("health", True)]),
        (replace(FINE, fsync_s=9.0), [("health", False), ("health", True)]),
    ],
)
def test_news_begins_and_ends(
    change: Observed, expected: list[tuple[str, bool]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each cause is told when it comes and when it is gone."""
    monkeypatch.setattr(news_module, "LASTS_S", dict.fromkeys(Level, 0.0))
    fine = replace(FINE, workers=(_worker(),))
    restarts = max((worker.restarts for worker in change.workers), default=0)
    found = looks(News(paths_in(tmp_path)), fine, change, replace(fine, workers=(_worker(restarts=restarts),)))
    assert found[0] == ("service", False)
    kind = expected[0][0]
    assert [item for item in found if item[0] == kind] == expected
    assert {item[0] for item in found} <= {"service", "health", kind}


def test_news_of_a_day_is_its_summary(tmp_path: Path) -> None:
    """From the ledger: result, round trips, the best and the worst."""
    stage = Stage(paths_in(tmp_path)).start()
    try:
        stage.commit()
        news = News(stage.paths)
        today = replace(FINE, book=StateReader(stage.paths).book())
        assert news.from_ledger(today) == []
        tomorrow = _book(8_000.0, 8_000.0)
        tomorrow.account["day"] = int(today.book.account["day"]) + 1
        (summary,) = news.from_ledger(replace(FINE, book=tomorrow))
        assert summary.kind == "daily"
        assert "round trips" in summary.text
        assert summary.text.startswith("day ")
    finally:
        stage.stop()


def test_monitor_with_a_dead_receiver_clears_in_time(tmp_path: Path, dead: str, webhook: Webhook) -> None:
    """The clearance is renewed each second whatever becomes of alerts; the one that listens hears of the halt."""
    stage = Stage(paths_in(tmp_path)).start()
    segment = stage.segments[Role.MONITOR]
    segment.word("clear_until_ns").set(0)
    notifications = {"urls": [dead, webhook.url], "group_seconds": 0.1}
    monitor = MonitorService(
        context_of(stage, "monitor", config_of(notifications=notifications)), segment, Beat(segment)
    )
    reader = StateReader(stage.paths)

    async def scenario() -> None:
        await monitor.start()
        running = asyncio.create_task(monitor.run())
        try:
            async with asyncio.timeout(60):
                while reader.clear_until_ns() < boottime_ns():
                    await asyncio.sleep(0.02)
                stage.desk["account"]["halt_mask"] = int(Halt.DRAWDOWN)
                stage.publish()
                while "drawdown limit reached" not in webhook.text():
                    assert reader.clear_until_ns() > boottime_ns()
                    await asyncio.sleep(0.02)
        finally:
            await monitor.stop()
            await asyncio.wait_for(running, 30)

    asyncio.run(scenario())
    stage.stop()
