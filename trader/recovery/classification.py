"""What each kind of error means, in one table.

Errors of ccxt are told by the names of their classes, from the class itself upwards, so that nothing here imports ccxt
and a class that a later version adds falls under its parent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Kinds of errors that are treated alike."""

    FATAL = "fatal"  #: going on makes no sense
    AUTHENTICATION = "authentication"  #: the venue refuses our keys
    NETWORK = "network"  #: nobody knows whether the other side heard us
    RATE_LIMIT = "rate_limit"  #: we ask too much
    MAINTENANCE = "maintenance"  #: the venue is closed for now, which is normal
    API = "api"  #: the venue answered with an error
    ANSWER = "answer"  #: the venue said no to one request, as venues do; not an error of the connection
    OTHER = "other"  #: anything else


class Action(StrEnum):
    """What follows from an error."""

    NONE = "none"  #: it is counted
    PAUSE = "pause"  #: entries pause
    STOP = "stop"  #: the engine ends


@dataclass(frozen=True, slots=True)
class Rule:
    """When a kind of error pauses entries."""

    stops: bool = False
    pauses_after: int | None = None  #: errors of this kind in a row; None: `max_consecutive_errors` of any kind
    counts: bool = True  #: whether it counts as an error at all


#: the errors in a row after which a network that fails pauses entries
NETWORK_ERRORS = 3

#: what follows from each kind
RULES: Mapping[Kind, Rule] = {
    Kind.FATAL: Rule(stops=True),
    Kind.AUTHENTICATION: Rule(stops=True),
    Kind.NETWORK: Rule(pauses_after=NETWORK_ERRORS),
    Kind.RATE_LIMIT: Rule(pauses_after=1),
    Kind.MAINTENANCE: Rule(pauses_after=1),
    Kind.API: Rule(pauses_after=1),
    Kind.ANSWER: Rule(counts=False),
    Kind.OTHER: Rule(),
}

#: class names to kinds; the nearest ancestor that is listed counts
KINDS: Mapping[str, Kind] = {
    # Python
    "MemoryError": Kind.FATAL,
    "SystemExit": Kind.FATAL,
    "KeyboardInterrupt": Kind.FATAL,
    "ConnectionError": Kind.NETWORK,
    "TimeoutError": Kind.NETWORK,
    "gaierror": Kind.NETWORK,
    "SSLError": Kind.NETWORK,
    # aiohttp and websockets, when ccxt lets one through
    "ClientError": Kind.NETWORK,
    "WebSocketError": Kind.NETWORK,
    # ours
    "Transient": Kind.NETWORK,
    "OutcomeUnknown": Kind.NETWORK,
    "Permanent": Kind.API,
    # ccxt: definite answers
    "AuthenticationError": Kind.AUTHENTICATION,
    "ExchangeError": Kind.API,
    "InsufficientFunds": Kind.ANSWER,
    "InvalidOrder": Kind.ANSWER,
    "MarketClosed": Kind.ANSWER,
    "NoChange": Kind.ANSWER,
    # ccxt: an answer that failed on its way
    "OperationFailed": Kind.NETWORK,
    "NetworkError": Kind.NETWORK,
    "DDoSProtection": Kind.RATE_LIMIT,
    "RateLimitExceeded": Kind.RATE_LIMIT,
    "OnMaintenance": Kind.MAINTENANCE,
    "BadResponse": Kind.API,
    "CancelPending": Kind.ANSWER,
}


def classify(error: BaseException) -> Kind:
    """Return what kind of error this is.

    Parameters
    ----------
    error : BaseException
        Any error.

    Returns
    -------
    Kind
        Of the nearest class that the table lists, from the error's own class upwards.
    """
    for cls in type(error).__mro__:
        kind = KINDS.get(cls.__name__)
        if kind is not None:
            return kind
    return Kind.OTHER


def retry_after_s(error: BaseException) -> float | None:
    """Return how long the other side asked us to wait [s]; None when it did not say.

    Looks at `retry_after_s` of our own errors, then at the headers that ccxt may have attached to its error.
    """
    told = getattr(error, "retry_after_s", None)
    if told is None:
        headers = getattr(error, "headers", None)
        if isinstance(headers, Mapping):
            told = next((value for name, value in headers.items() if str(name).lower() == "retry-after"), None)
    try:
        seconds = float(told) if told is not None else None
    except (TypeError, ValueError):
        return None
    return seconds if seconds is not None and 0 <= seconds <= 86_400 else None
