"""Listening sockets, closed again when one of them can't be had."""

from __future__ import annotations

import errno
import socket

BACKLOG = 128


def listen(host: str, port: int) -> list[socket.socket]:
    """Listen on every address that a host name has.

    Parameters
    ----------
    host : str
        Address or name.
    port : int
        0: any free one, the same for all addresses.

    Returns
    -------
    list of socket
        Non-blocking, at least one.

    Raises
    ------
    OSError
        When an address can't be had; no socket is left open then.
    """
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            same_port = sockets[0].getsockname()[1] if sockets else port
            if (line := _listen_on(family, (address[0], same_port, *address[2:]))) is not None:
                sockets.append(line)
    except BaseException:
        for line in sockets:
            line.close()
        raise
    if not sockets:
        raise OSError(errno.EADDRNOTAVAIL, f"this machine has no address {host}")
    return sockets


def _listen_on(family: int, address: tuple[str | int, ...]) -> socket.socket | None:
    """Return a socket that listens, or None where the machine lacks the address (IPv6 is off, say)."""
    line = None
    try:
        line = socket.socket(family, socket.SOCK_STREAM)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            line.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        line.setblocking(False)  # noqa: FBT003 - the standard library's signature
        line.bind(address)
        line.listen(BACKLOG)
    except OSError as error:
        if line is not None:
            line.close()
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return None
        raise
    return line
