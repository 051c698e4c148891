"""The websockets: each push is encoded once and goes to everybody; who can't keep up is let go."""

from __future__ import annotations

import asyncio
from typing import Protocol

#: pushes that a client may fall behind before it is dropped
MOST_BEHIND = 10
MOST_CLIENTS = 2000


class Client(Protocol):
    """What the hub needs of a websocket."""

    def write_message(self, message: bytes | str, binary: bool = False) -> asyncio.Future[None]:
        """Send a frame; the future is done once it has left."""

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Close the connection."""


class Hub:
    """Keeps the clients and what is still on its way to each."""

    def __init__(self) -> None:
        self._waiting: dict[Client, asyncio.Future[None] | None] = {}
        self._missed: dict[Client, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether no further client is taken."""
        return len(self._waiting) >= MOST_CLIENTS

    def join(self, client: Client, snapshot: str) -> None:
        """Take a client and send it everything."""
        self._waiting[client] = None
        self._missed[client] = 0
        self._send(client, snapshot)

    def leave(self, client: Client) -> None:
        """Forget a client."""
        self._waiting.pop(client, None)
        self._missed.pop(client, None)

    def lagging(self) -> bool:
        """Return whether someone has missed a push and gets a snapshot with the next one."""
        return any(self._missed.values())

    def push(self, update: str, snapshot: str | None = None) -> None:
        """Send an update to everybody.

        Parameters
        ----------
        update : str
            The encoded update.
        snapshot : str, optional
            For whoever missed an update and is ready again.
        """
        for client in list(self._waiting):
            pending = self._waiting[client]
            if pending is not None and not pending.done():
                self._missed[client] += 1
                if self._missed[client] > MOST_BEHIND:
                    self.leave(client)
                    client.close(1008, "too slow")
                continue
            if self._missed[client] and snapshot is not None:
                self._missed[client] = 0
                self._send(client, snapshot)
            else:
                self._send(client, update)

    def close(self) -> None:
        """Say goodbye to everybody."""
        for client in list(self._waiting):
            client.close(1001, "the dashboard stops")
        self._waiting.clear()
        self._missed.clear()

    def _send(self, client: Client, message: str) -> None:
        try:
            pending = asyncio.ensure_future(client.write_message(message))
        except Exception:  # noqa: BLE001 - closed, closing or broken: in any case no longer a client
            self.leave(client)
            return
        pending.add_done_callback(_look_at)
        self._waiting[client] = pending


def _look_at(future: asyncio.Future[None]) -> None:
    # a client that left while a frame was on its way is nothing to report
    if not future.cancelled():
        future.exception()
