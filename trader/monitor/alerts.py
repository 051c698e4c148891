"""Alerts: what an owner wants to be told, grouped and rationed, sent by threads that nothing waits for.

Each receiver has a thread and a bounded queue of its own: one that is dead costs its own messages, is tried ever more
rarely, and shows up as a health check. What happens within `group_seconds` travels as one message. A
cause that lasts is told once, and again every `remind_seconds`; when it is over, that is told, too.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from trader.clock import NS_PER_S, format_utc, utc_ns
from trader.codes import Level
from trader.config.secrets import resolve
from trader.config.sections import NotificationsConfig, SecretConfig
from trader.errors import ConfigError
from trader.logs import hide
from trader.logs.redaction import one_line, redact

#: alerts that wait for one receiver; the oldest go first
MOST_WAITING: Final = 200
#: lines of one message; more are counted
MOST_LINES: Final = 20
#: pauses after failed tries [s]
FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 600.0
#: how long a stopping monitor waits for what is on its way [s]
FAREWELL_S: Final = 2.0

log = logging.getLogger(__name__)

#: sends one message: title, text, kind (info, warning, failure, success); returns whether it was taken
Send = Callable[[str, str, str], bool]


@dataclass(frozen=True, slots=True)
class Alert:
    """Something to tell."""

    kind: str  #: one of `notifications.events`
    key: str  #: what it is about: a recovery ends the alert with the same key
    level: Level
    text: str
    recovered: bool = False
    time_ns: int = 0  #: wall clock [ns UTC]; 0: now


_SIGNS = {Level.OK: "info", Level.WARNING: "warning", Level.GRAVE: "failure"}


class Receiver:
    """One receiver: its queue, and the thread that empties it.

    Parameters
    ----------
    name : str
        For logs and health: its place in the configuration, never its URL.
    connect : callable
        Returns what sends; called in the thread, because libraries take their time.
    title : str
        Begins every message.
    config : NotificationsConfig
        How to group and ration.
    """

    def __init__(self, name: str, connect: Callable[[], Send], title: str, config: NotificationsConfig) -> None:
        self.name = name
        self.lost = 0  #: alerts that did not fit
        self.sent = 0  #: messages that were taken
        self.error: str | None = None  #: why nothing gets through
        self._connect = connect
        self._title = title
        self._config = config
        self._waiting: deque[Alert] = deque()
        self._times: deque[float] = deque()  # of messages within the last hour
        self._news = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name=f"alerts-{name}", daemon=True)
        self._thread.start()

    def offer(self, alert: Alert) -> None:
        """Queue an alert; never waits."""
        with self._news:
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                self.lost += 1
            self._waiting.append(alert)
            self._news.notify()

    def end(self) -> None:
        """Send what waits once more, and stop."""
        with self._news:
            self._ending = True
            self._news.notify()

    def join(self, timeout_s: float) -> None:
        """Wait for that; a receiver that hangs is left behind."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        send: Send | None = None
        pause_s = FIRST_PAUSE_S
        while (alerts := self._next_group()) is not None:
            try:
                send = send or self._connect()
                taken = send(self._title, compose(alerts), _kind_of(alerts))
            except Exception as error:  # noqa: BLE001 - whatever a library raises, trading must not notice
                taken, self.error = False, f"{self.name}: {type(error).__name__}"
                log.debug("%s could not be told: %s", self.name, error)
            if taken:
                self.error, pause_s = None, FIRST_PAUSE_S
                self.sent += 1
                self._times.append(time.monotonic())
                continue
            self.error = self.error or f"{self.name}: not delivered"
            self._put_back(alerts)
            self._rest(pause_s)
            if self._ending:
                return
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _next_group(self) -> list[Alert] | None:
        """Return what happened within a group's time, once the ration allows a message; None at the end."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._ending)
            if not self._waiting:
                return None
            self._news.wait_for(lambda: self._ending, self._config.group_seconds)
            while not self._ending and (wait_s := self._until_allowed_s()) > 0:
                self._news.wait_for(lambda: self._ending, wait_s)
            alerts = list(self._waiting)
            self._waiting.clear()
            return alerts

    def _until_allowed_s(self) -> float:
        now_s = time.monotonic()
        while self._times and now_s - self._times[0] >= 3600.0:
            self._times.popleft()
        return self._times[0] + 3600.0 - now_s if len(self._times) >= self._config.most_per_hour else 0.0

    def _put_back(self, alerts: Sequence[Alert]) -> None:
        with self._news:
            room = max(0, MOST_WAITING - len(self._waiting))
            kept = list(alerts)[-room:] if room else []
            self.lost += len(alerts) - len(kept)
            self._waiting.extendleft(reversed(kept))

    def _rest(self, pause_s: float) -> None:
        with self._news:
            self._news.wait_for(lambda: self._ending, pause_s)


def compose(alerts: Sequence[Alert]) -> str:
    """Return one message about some alerts: a line each, without secrets and control characters."""
    lines = []
    for alert in alerts[:MOST_LINES]:
        sign = "OVER: " if alert.recovered else {Level.GRAVE: "GRAVE: ", Level.WARNING: ""}.get(alert.level, "")
        when = format_utc(alert.time_ns or utc_ns(), "seconds")
        lines.append(f"{when} {sign}{one_line(redact(alert.text))}")
    if len(alerts) > MOST_LINES:
        lines.append(f"... and {len(alerts) - MOST_LINES} more")
    return "\n".join(lines)


def _kind_of(alerts: Sequence[Alert]) -> str:
    if all(alert.recovered for alert in alerts):
        return "success"
    return _SIGNS[max(alert.level for alert in alerts if not alert.recovered)]


class Alerts:
    """Takes alerts, leaves out what was told already, and hands the rest to every receiver.

    Parameters
    ----------
    config : NotificationsConfig
        Section `notifications`.
    title : str
        Begins every message: which instance speaks.
    """

    def __init__(self, config: NotificationsConfig, title: str) -> None:
        self._config = config
        self._told: dict[str, int] = {}  # key of what lasts: when it was told [ns UTC]
        self._problems: list[str] = []
        self._receivers: list[Receiver] = []
        for index, place in enumerate(config.urls):
            name = f"notifications.urls.{index}"
            try:
                url = _url(place, name)
            except ConfigError as error:
                self._problems.append(str(error))
                log.warning("an alert receiver can not be used: %s", error)
                continue
            self._receivers.append(Receiver(name, lambda url=url, name=name: connect(url, name), title, config))  # type: ignore[misc]

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        return bool(self._receivers)

    @property
    def error(self) -> str | None:
        """Receivers that can't be reached, or None."""
        found = [*self._problems, *(one.error for one in self._receivers if one.error is not None)]
        return f"alerts do not get through: {'; '.join(found)}" if found else None

    @property
    def lost(self) -> int:
        """Alerts that no queue had room for."""
        return sum(receiver.lost for receiver in self._receivers)

    def tell(self, alert: Alert) -> bool:
        """Tell an alert, unless it was told already, nobody wants its kind, or it ends nothing that was told.

        Returns
        -------
        bool
            Whether it is on its way.
        """
        now_ns = alert.time_ns or utc_ns()
        if alert.kind not in self._config.events or not self._receivers:
            return False
        if alert.recovered:
            if self._told.pop(alert.key, None) is None:
                return False
        elif alert.key:
            before_ns = self._told.get(alert.key)
            remind_s = self._config.remind_seconds
            if before_ns is not None and (remind_s is None or now_ns - before_ns < remind_s * NS_PER_S):
                return False
            self._told[alert.key] = now_ns
        for receiver in self._receivers:
            receiver.offer(alert)
        return True

    def close(self) -> None:
        """Give what is on its way a moment."""
        for receiver in self._receivers:
            receiver.end()
        until_s = time.monotonic() + FAREWELL_S
        for receiver in self._receivers:
            receiver.join(max(0.0, until_s - time.monotonic()))


def connect(url: str, name: str) -> Send:
    """Return what sends to a URL, as apprise reads it.

    Raises
    ------
    ConfigError
        When apprise knows no such service; the URL is not told.
    """
    import apprise

    sender = apprise.Apprise()
    if not sender.add(url):
        raise ConfigError(f"{name} is no URL that apprise knows: see https://github.com/caronc/apprise/wiki")

    def send(title: str, text: str, kind: str) -> bool:
        return bool(sender.notify(body=text, title=title, notify_type=kind, body_format="text"))

    return send


def _url(place: str | SecretConfig, name: str) -> str:
    if isinstance(place, str):
        return place
    url = resolve(place, name).reveal()
    hide(url)
    # what a library may say of it: everything behind the scheme
    hide(url.partition("://")[2])
    return url
