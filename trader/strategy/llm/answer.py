"""What a server has answered: a status that says yes proves nothing, and every no has its own name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from trader.strategy.llm.vocabulary import Hold


@dataclass(frozen=True, slots=True)
class Usage:
    """What the server says it has used."""

    prompt_tokens: int
    completion_tokens: int
    cost_usd: Decimal | None  #: None: it did not say


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the server, good or not."""

    reason: Hold  #: NONE: there is a reply to read
    content: str = ""
    usage: Usage | None = None  #: None: unknown
    free: bool = False  #: certainly not billed
    retry: bool = False  #: another try can help
    error_type: str = ""
    message: str = ""  #: what the server said about it, for people
    generation_id: str = ""
    model: str = ""
    provider: str = ""


#: status -> reason, certainly not billed, another try can help
_STATUS: dict[int, tuple[Hold, bool, bool]] = {
    400: (Hold.HTTP_400, True, False),
    401: (Hold.HTTP_401, True, False),
    402: (Hold.HTTP_402, True, False),
    403: (Hold.HTTP_403, True, False),
    404: (Hold.HTTP_404, True, False),
    408: (Hold.HTTP_408, False, True),
    429: (Hold.HTTP_429, True, True),
    500: (Hold.HTTP_500, False, True),
    502: (Hold.HTTP_502, False, True),
    503: (Hold.HTTP_503, False, True),
    504: (Hold.HTTP_504, False, True),
    524: (Hold.HTTP_524, False, True),
}

#: what no answer has used or cost
_MOST_TOKENS, _MOST_USD = 10**9, 10**6

#: the one shortage of credit that passes by itself
_IN_FLIGHT = "openrouter_in_flight_budget"


def read_error(status: int, body: bytes) -> Answer:
    """Return what a status other than 200 means.

    Parameters
    ----------
    status : int
        HTTP status.
    body : bytes
        Whatever came with it; a page of HTML says nothing more.
    """
    reason, free, retry = _STATUS.get(status, (Hold.HTTP_OTHER, 400 <= status < 500, status >= 500))
    try:
        error = _object(_object(_json(body)).get("error"))
    except _Unreadable:
        error = {}
    metadata = error.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    if reason is Hold.HTTP_402 and metadata.get("limit_source") == _IN_FLIGHT:
        reason, retry = Hold.HTTP_429, True
    return Answer(
        reason,
        free=free,
        retry=retry,
        error_type=_short(metadata.get("error_type")),
        message=_short(error.get("message")),
    )


def read_answer(body: bytes, model: str) -> Answer:
    """Return what a body with status 200 says.

    Parameters
    ----------
    body : bytes
        The whole of it.
    model : str
        The one that was asked: another one's answer is another strategy's.
    """
    try:
        document = _object(_json(body))
    except _Unreadable as error:
        return Answer(Hold.NOT_JSON, message=str(error))
    usage = _usage(document.get("usage"))
    answered = _short(document.get("model"))
    reason, message, content = _content(document)
    if reason is Hold.NONE and not _same_model(answered, model):
        reason, message = Hold.OTHER_MODEL, f"asked {model}, answered by {answered or 'nobody'}"
    if reason is Hold.NONE and usage is None:
        reason, message = Hold.NO_USAGE, "the server did not say what it has used"
    return Answer(
        reason,
        content,
        usage,
        message=message,
        generation_id=_short(document.get("id")),
        model=answered,
        provider=_short(document.get("provider")),
    )


def _content(document: dict[str, Any]) -> tuple[Hold, str, str]:
    if document.get("error") is not None:
        error = document["error"]
        return Hold.ERROR_BODY, _short(error.get("message") if isinstance(error, dict) else error), ""
    choices = document.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return Hold.NO_CHOICES, "there is no choice in the answer", ""
    choice = choices[0]
    reason, words = _finish(choice)
    if reason is not Hold.NONE:
        return reason, words, ""
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return (Hold.NONE, "", content) if isinstance(content, str) else (Hold.REPLY_NOT_JSON, "there is no text", "")


def _finish(choice: dict[str, Any]) -> tuple[Hold, str]:
    finish = choice.get("finish_reason")
    if finish == "error" or choice.get("error") is not None:
        return Hold.FINISH_ERROR, "the model broke off"
    if finish == "length":
        return Hold.TRUNCATED, "the reply was cut at max_tokens"
    return (Hold.NONE, "") if finish == "stop" else (Hold.FINISH_OTHER, f"the reply ended with {_short(finish)}")


def _usage(value: Any) -> Usage | None:
    if not isinstance(value, dict):
        return None
    prompt_tokens, completion_tokens = _count(value.get("prompt_tokens")), _count(value.get("completion_tokens"))
    if prompt_tokens is None or completion_tokens is None:
        return None
    cost = value.get("cost")
    if cost is None:
        return Usage(prompt_tokens, completion_tokens, None)
    if isinstance(cost, bool) or not isinstance(cost, int | Decimal):
        return None
    exact = Decimal(cost)
    return Usage(prompt_tokens, completion_tokens, exact) if 0 <= exact < _MOST_USD else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_TOKENS else None


# variants of one model are written behind a colon, as in :nitro
def _same_model(answered: str, asked: str) -> bool:
    return answered == asked or answered.partition(":")[0] == asked.partition(":")[0]


class _Unreadable(Exception):
    """A body that is no JSON object."""


def _json(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"), parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise _Unreadable(f"the body is no JSON: {error}") from None


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"holds {name}")


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Unreadable("the body is no JSON object")
    return value


def _short(value: Any) -> str:
    return "" if value is None else str(value)[:300]
