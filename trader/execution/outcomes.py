"""What an error means for the request that it answered: refused, not accepted yet, standing already, or unknown.

Told by the names of ccxt's classes, so that nothing here has to import it. What is not listed is unknown: the order may
stand, and is looked up.
"""

from __future__ import annotations

from enum import StrEnum

from trader.execution.capabilities import Capabilities


class Outcome(StrEnum):
    """What an error says about a request."""

    REFUSED = "refused"  #: a definite no
    NOT_YET = "not_yet"  #: it was not accepted, and may be made again
    STANDS = "stands"  #: the venue has had it before
    ABSENT = "absent"  #: there is no such order
    UNKNOWN = "unknown"  #: nobody knows


#: classes whose error is a definite no to a submit; a plain ExchangeError is none: a truncated answer raises it as well
_REFUSED = frozenset(
    {
        "InsufficientFunds",
        "InvalidOrder",
        "BadRequest",
        "BadSymbol",
        "ArgumentsRequired",
        "NotSupported",
        "OperationRejected",
        "MarketClosed",
        "RestrictedLocation",
        "ManualInteractionNeeded",
        "AuthenticationError",
        "PermissionDenied",
        "AccountNotEnabled",
        "AccountSuspended",
        "ContractUnavailable",
        "OrderImmediatelyFillable",
        "OrderNotFillable",
    }
)
_ABSENT = frozenset({"OrderNotFound", "OrderNotCached"})


def of_submit(error: BaseException, capabilities: Capabilities) -> Outcome:
    """Return what an error says about an order that was submitted.

    Parameters
    ----------
    error : BaseException
        As ccxt raised it.
    capabilities : Capabilities
        Of the venue.
    """
    names = _names(error)
    if "DuplicateOrderId" in names:
        return Outcome.STANDS
    if capabilities.duplicate is not None and capabilities.duplicate.search(str(error)):
        return Outcome.STANDS
    if names & capabilities.refused_before:
        return Outcome.NOT_YET
    # the class itself, not its parents: what a venue raises as its parent says less
    return Outcome.REFUSED if type(error).__name__ in _REFUSED else Outcome.UNKNOWN


def of_replace(error: BaseException, capabilities: Capabilities) -> Outcome:
    """Return what an error says about an order that was to replace another one.

    Parameters
    ----------
    error : BaseException
        As ccxt raised it.
    capabilities : Capabilities
        Of the venue.
    """
    outcome = of_submit(error, capabilities)
    refused = capabilities.replace_refused
    if outcome is Outcome.UNKNOWN and refused is not None and refused.search(str(error)):
        return Outcome.REFUSED
    return outcome


def of_lookup(error: BaseException) -> Outcome:
    """Return what an error says about an order that was asked for: absent, or unknown."""
    return Outcome.ABSENT if type(error).__name__ in _ABSENT else Outcome.UNKNOWN


def _names(error: BaseException) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}
