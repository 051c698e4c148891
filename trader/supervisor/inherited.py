"""The dashboard's port when systemd holds it (trader.socket): taken over, and handed to each dashboard.

systemd goes on listening while the service restarts, so whoever connects meanwhile waits instead of being refused.
"""

from __future__ import annotations

import logging
import os
import socket

from trader.config.sections import Config

_FIRST = 3  # what systemd hands over begins here
_NAMES = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")

log = logging.getLogger(__name__)


def take_sockets() -> tuple[socket.socket, ...]:
    """Return the listening sockets that systemd handed to this process, and let nobody else take them for theirs."""
    count, pid = os.environ.get("LISTEN_FDS", ""), os.environ.get("LISTEN_PID", "")
    for name in _NAMES:
        os.environ.pop(name, None)
    if not count.isdigit() or pid != str(os.getpid()):
        return ()
    taken = []
    for descriptor in range(_FIRST, _FIRST + int(count)):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the standard library's signature
        line = socket.socket(fileno=descriptor)
        line.setblocking(False)  # noqa: FBT003 - the standard library's signature
        taken.append(line)
    return tuple(taken)


def for_dashboard(held: tuple[socket.socket, ...], config: Config) -> tuple[socket.socket, ...]:
    """Return those sockets that listen where the configuration wants the dashboard.

    Parameters
    ----------
    held : tuple of socket
        From `take_sockets`.
    config : Config
        Its section `dashboard` names host and port.
    """
    if not held or not config.dashboard.enable:
        return ()
    wanted = _addresses(config.dashboard.host, config.dashboard.port)
    fitting = tuple(line for line in held if line.getsockname()[:2] in wanted)
    if not fitting:
        there = ", ".join(f"{host} port {port}" for host, port, *_ in (line.getsockname() for line in held))
        log.info(
            "trader.socket holds %s, and dashboard.host and dashboard.port say %s port %d: the port is not held over "
            "restarts; `systemctl edit trader.socket` can name it",
            there,
            config.dashboard.host,
            config.dashboard.port,
        )
    return fitting


def _addresses(host: str, port: int) -> set[tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return set()
    return {(str(address[0]), int(address[1])) for *_, address in found}
