"""Orders: requests, what the venue made of them, and the table of legal steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from trader.codes import Reason, Side
from trader.domain.invalidation import Invalidation
from trader.errors import IllegalTransition


class OrderState(StrEnum):
    """Where an order is in its life."""

    INTENDED = "intended"  #: on disk here, not yet sent
    SUBMITTED = "submitted"  #: sent, no answer yet
    UNKNOWN = "unknown"  #: sent, and the answer was lost: look it up
    OPEN = "open"  #: acknowledged by the venue
    PARTIAL = "partial"  #: some of it is filled
    CANCELING = "canceling"  #: cancel sent, not yet confirmed
    FILLED = "filled"  #: all of it is filled
    CANCELED = "canceled"  #: the venue confirmed the cancel
    REJECTED = "rejected"  #: the venue refused it
    EXPIRED = "expired"  #: the venue dropped it
    LOST = "lost"  #: never reached the venue, as the venue itself has said


class OrderEvent(StrEnum):
    """What can happen to an order."""

    SUBMIT = "submit"
    LOSE_ANSWER = "lose_answer"
    ACKNOWLEDGE = "acknowledge"
    FILL_PART = "fill_part"
    FILL_REST = "fill_rest"
    AMEND = "amend"  # its stop price moves in place: wanted, or found at the venue
    REQUEST_CANCEL = "request_cancel"
    CANCEL = "cancel"
    REJECT = "reject"
    EXPIRE = "expire"
    NOT_FOUND = "not_found"


class OrderKind(StrEnum):
    """How the venue is to execute an order."""

    MARKET = "market"
    STOP = "stop"  #: market once the stop price was touched
    TARGET = "target"  #: limit at the target price
    PROTECT = "protect"  #: stop that rests at the venue behind a position


_S, _E = OrderState, OrderEvent
_FILLS = {_E.FILL_PART: _S.PARTIAL, _E.FILL_REST: _S.FILLED}

#: every legal step is here and nowhere else
TRANSITIONS: Mapping[OrderState, Mapping[OrderEvent, OrderState]] = {
    # an exit waits here until the stop that holds its quantity is gone; when that stop fills, it is not needed any more
    _S.INTENDED: {
        _E.SUBMIT: _S.SUBMITTED,
        _E.CANCEL: _S.CANCELED,
        _E.REJECT: _S.REJECTED,
        _E.NOT_FOUND: _S.LOST,
    },
    _S.SUBMITTED: {
        _E.ACKNOWLEDGE: _S.OPEN,
        _E.LOSE_ANSWER: _S.UNKNOWN,
        _E.REJECT: _S.REJECTED,
        _E.EXPIRE: _S.EXPIRED,
        _E.CANCEL: _S.CANCELED,
        **_FILLS,
    },
    _S.UNKNOWN: {
        _E.SUBMIT: _S.SUBMITTED,  # again, with the same id, once the venue has said that it never came
        _E.ACKNOWLEDGE: _S.OPEN,
        _E.NOT_FOUND: _S.LOST,
        _E.REJECT: _S.REJECTED,
        _E.EXPIRE: _S.EXPIRED,
        _E.CANCEL: _S.CANCELED,
        **_FILLS,
    },
    _S.OPEN: {
        _E.AMEND: _S.OPEN,
        _E.REQUEST_CANCEL: _S.CANCELING,
        _E.CANCEL: _S.CANCELED,
        _E.EXPIRE: _S.EXPIRED,
        _E.REJECT: _S.REJECTED,
        **_FILLS,
    },
    _S.PARTIAL: {
        _E.AMEND: _S.PARTIAL,
        _E.REQUEST_CANCEL: _S.CANCELING,
        _E.CANCEL: _S.CANCELED,
        _E.EXPIRE: _S.EXPIRED,
        **_FILLS,
    },
    _S.CANCELING: {
        _E.CANCEL: _S.CANCELED,
        _E.EXPIRE: _S.EXPIRED,
        _E.FILL_PART: _S.CANCELING,
        _E.FILL_REST: _S.FILLED,
    },
    # a fill that raced the cancel is still a fill
    _S.CANCELED: {_E.FILL_PART: _S.CANCELED, _E.FILL_REST: _S.FILLED},
    _S.EXPIRED: {_E.FILL_PART: _S.EXPIRED, _E.FILL_REST: _S.FILLED},
    _S.FILLED: {},
    # the venue took back what it had said: it knows the order after all
    _S.REJECTED: {_E.ACKNOWLEDGE: _S.OPEN},
    _S.LOST: {_E.ACKNOWLEDGE: _S.OPEN},
}

#: states that an order leaves only when a fill raced its end, or the venue takes back what it said
TERMINAL = frozenset({_S.FILLED, _S.CANCELED, _S.REJECTED, _S.EXPIRED, _S.LOST})


def advance(state: OrderState, event: OrderEvent) -> OrderState:
    """Return the state that an event leads to.

    Parameters
    ----------
    state : OrderState
        Where the order is.
    event : OrderEvent
        What has happened.

    Returns
    -------
    OrderState
        Where the order is now.

    Raises
    ------
    IllegalTransition
        When the table lists no such step; nothing has changed then.
    """
    following = TRANSITIONS[state].get(event)
    if following is None:
        raise IllegalTransition(f"an order in state {state} can not take the event {event}")
    return following


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What is wanted; not an order until risk has approved it."""

    symbol: str
    side: Side
    quantity: Decimal  #: [base], > 0
    reference_price: float  #: last price when it was made [quote per base]
    reason: Reason
    strategy: str
    confidence: float  #: 0..1; 1 for what reduces risk
    stop_price: float  #: of the exit plan; NaN: none
    target_price: float  #: of the exit plan; NaN: none
    reduce_only: bool  #: only closes what is open
    decision_id: int  #: the decision that it follows from; 0: an owner or an exit plan
    invalidations: tuple[Invalidation, ...] = ()  #: of the exit plan that an entry brings


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the ledger knows it."""

    order_id: int  #: rising number, the ledger's key
    client_order_id: str  #: deterministic, known to the venue
    symbol: str
    side: Side
    kind: OrderKind
    quantity: Decimal  #: ordered [base]
    filled_quantity: Decimal  #: filled so far [base]
    state: OrderState
    reason: Reason
    strategy: str
    reduce_only: bool
    decision_id: int
    created_ns: int  #: market time [ns UTC]
    updated_ns: int  #: market time [ns UTC]
    stop_price: float = float("nan")  #: of the exit plan that an entry brings; of PROTECT, where it triggers
    target_price: float = float("nan")
    invalidations: tuple[Invalidation, ...] = ()
    venue_order_id: str | None = None
    note: str = ""
