"""The client: one request, with a deadline, a bound on what it reads, and no second host.

Nothing is streamed: a decision is used whole or not at all.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import time
from dataclasses import dataclass
from typing import Any

from tornado.httpclient import HTTPError, HTTPRequest, HTTPResponse
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError, SimpleAsyncHTTPClient

from trader.config.secrets import Secret
from trader.strategy.llm.answer import Answer, read_answer, read_error
from trader.strategy.llm.vocabulary import Hold

#: a decision has a few kilobytes; what is much longer is none
MAX_BODY_BYTES = 512 * 1024

#: how much of a body that is too long is looked at before its connection is closed
_MOST_READ_BYTES = 4 * MAX_BODY_BYTES


class _Body:
    """What has come of a body; a longer one than any decision is not kept."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.bytes = 0

    def take_header(self, line: str) -> None:
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-length" and value.strip().isdecimal():
            self.bytes = max(self.bytes, int(value) if int(value) > MAX_BODY_BYTES else 0)

    def take(self, chunk: bytes) -> None:
        self.bytes += len(chunk)
        if not self.is_oversized:
            self.chunks.append(chunk)

    @property
    def is_oversized(self) -> bool:
        return self.bytes > MAX_BODY_BYTES


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request and what came of it."""

    answer: Answer
    status: int | None  #: None: no status came
    body: str  #: as it came, cut
    retry_after_s: float | None = None


class Client:
    """Asks one server.

    Parameters
    ----------
    base_url : str
        Of its API, without `/chat/completions`.
    key : Secret or None
        Sent as a bearer token; None: none.
    """

    def __init__(self, base_url: str, key: Secret | None) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = key
        self._http = SimpleAsyncHTTPClient(force_instance=True, max_clients=1, max_body_size=_MOST_READ_BYTES)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    async def ask(self, body: dict[str, Any], timeout_s: float) -> Attempt:
        """Send one request for a chat completion.

        Parameters
        ----------
        body : dict
            The request.
        timeout_s : float
            For all of it, from the connection to the last byte [s].

        Returns
        -------
        Attempt
            Whatever goes wrong is in it; nothing is raised for it.
        """
        data = json.dumps(body).encode()
        found = _Body()
        response, failed = await self._fetch("/chat/completions", data, timeout_s, found)
        if found.is_oversized:
            answer = Answer(Hold.OVERSIZED, message=f"the answer is longer than {MAX_BODY_BYTES} bytes")
            return Attempt(answer, response.code if response is not None else None, "")
        if response is None:
            return Attempt(failed, None, failed.message)
        # a server that repeats the key must not bring it into a record
        content = self._scrubbed(b"".join(found.chunks))
        text = content.decode("utf-8", "replace")
        if response.code != 200:
            return Attempt(read_error(response.code, content), response.code, text, _retry_after(response))
        return Attempt(read_answer(content, str(body["model"])), 200, text)

    async def models(self, timeout_s: float) -> dict[str, Any] | None:
        """Return the server's list of models by name; None when it has no such list or does not answer."""
        found = _Body()
        response, _ = await self._fetch("/models", None, timeout_s, found)
        if response is None or response.code != 200 or found.is_oversized:
            return None
        try:
            rows = json.loads(b"".join(found.chunks))["data"]
            return {str(row["id"]): row for row in rows}
        except (ValueError, KeyError, TypeError):
            return None

    async def _fetch(
        self, path: str, data: bytes | None, timeout_s: float, found: _Body
    ) -> tuple[HTTPResponse | None, Answer]:
        request = HTTPRequest(
            self._base_url + path,
            method="GET" if data is None else "POST",
            headers=self._headers(),
            body=data,
            connect_timeout=timeout_s,
            request_timeout=timeout_s,
            follow_redirects=False,  # the key is for this host alone
            decompress_response=False,
            header_callback=found.take_header,
            streaming_callback=found.take,
        )
        try:
            async with asyncio.timeout(timeout_s):
                return await self._http.fetch(request, raise_error=False), Answer(Hold.NONE)
        except (HTTPTimeoutError, TimeoutError):
            return None, Answer(Hold.TIMEOUT, retry=True, message=f"no answer within {timeout_s:.1f} s")
        except HTTPStreamClosedError:
            return None, Answer(Hold.CONNECTION, retry=True, message="the connection was closed before an answer")
        except HTTPError as error:
            return None, Answer(Hold.CONNECTION, retry=True, message=f"no answer: {error}")
        except ConnectionRefusedError as error:
            return None, Answer(Hold.CONNECTION, free=True, retry=True, message=f"nobody listens there: {error}")
        except (OSError, ValueError) as error:
            return None, Answer(Hold.CONNECTION, retry=True, message=f"{type(error).__name__}: {error}")

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "trader"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.reveal()}"
        return headers

    def _scrubbed(self, body: bytes) -> bytes:
        return body.replace(self._key.reveal().encode(), b"***") if self._key is not None else body


def _retry_after(response: HTTPResponse) -> float | None:
    text = response.headers.get("Retry-After")
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
