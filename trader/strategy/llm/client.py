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
        self._http = SimpleAsyncHTTPClient(force_instance=True, max_clients=1, max_body_size=MAX_BODY_BYTES)

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
        response, failed = await self._fetch("/chat/completions", data, timeout_s)
        if response is None:
            return Attempt(failed, None, failed.message)
        text = self._shown(response.body or b"")
        if response.code != 200:
            return Attempt(read_error(response.code, response.body or b""), response.code, text, _retry_after(response))
        return Attempt(read_answer(response.body or b"", str(body["model"])), 200, text)

    async def models(self, timeout_s: float) -> dict[str, Any] | None:
        """Return the server's list of models by name; None when it has no such list or does not answer."""
        response, _ = await self._fetch("/models", None, timeout_s)
        if response is None or response.code != 200:
            return None
        try:
            rows = json.loads(response.body or b"")["data"]
            return {str(row["id"]): row for row in rows}
        except (ValueError, KeyError, TypeError):
            return None

    async def _fetch(self, path: str, data: bytes | None, timeout_s: float) -> tuple[HTTPResponse | None, Answer]:
        request = HTTPRequest(
            self._base_url + path,
            method="GET" if data is None else "POST",
            headers=self._headers(),
            body=data,
            connect_timeout=timeout_s,
            request_timeout=timeout_s,
            follow_redirects=False,  # the key is for this host alone
            decompress_response=False,
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
        except (OSError, ValueError) as error:
            # tornado reports a body above the bound as a broken message
            reason = Hold.OVERSIZED if "too long" in str(error) or "too large" in str(error) else Hold.CONNECTION
            return None, Answer(reason, retry=reason is Hold.CONNECTION, message=f"{type(error).__name__}: {error}")

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "trader"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.reveal()}"
        return headers

    def _shown(self, body: bytes) -> str:
        text = body.decode("utf-8", "replace")
        return text.replace(self._key.reveal(), "***") if self._key is not None else text


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
