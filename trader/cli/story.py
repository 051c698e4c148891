"""`explain`: one decision as a story, from the candles that it saw to the money that it made or lost."""

from __future__ import annotations

import asyncio
import math
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from trader.cli import documents
from trader.cli.documents import Document, moment
from trader.cli.output import duration, emit, number, plain_values, table
from trader.cli.place import config_path, instance_paths
from trader.codes import LIMIT_TEXT, Decided, Direction, Limit
from trader.errors import EXIT_OK, TraderError

if TYPE_CHECKING:
    from trader.config.sections import Config
    from trader.domain.decision import Decision
    from trader.domain.fill import Fill
    from trader.domain.market import Candles
    from trader.domain.order import Order
    from trader.domain.round_trip import RoundTrip
    from trader.ledger.reader import LedgerReader

#: candles that a story begins with
CANDLES = 5
CANDLE_COLUMNS = {"open": "OPENED", "o": "OPEN", "h": "HIGH", "l": "LOW", "c": "CLOSE", "v": "VOLUME"}

_OUTCOMES = {
    Decided.HOLD: "It had no opinion; everything stayed as it was.",
    Decided.NOT_CHOSEN: "Another signal was more confident and took this cycle's entry.",
    Decided.NOTHING_TO_EXIT: "There was nothing to close.",
    Decided.WARMING_UP: "It had too few candles yet to say anything.",
    Decided.NO_NEW_CANDLE: "No strategy had a new candle to judge in this cycle.",
}


def explain(arguments: Namespace) -> int:
    """Tell the story of a decision."""
    from trader.ledger.reader import LedgerReader

    with LedgerReader(instance_paths(arguments).ledger) as reader, reader.snapshot():
        decision = reader.decision(arguments.decision_id)
        if decision is None:
            raise TraderError(f"there is no decision {arguments.decision_id}: `trader decisions` lists them")
        document = plain_values(_document(reader, decision, _config_or_none(arguments)))
    emit(document, _text(document), as_json=arguments.json)
    return EXIT_OK


def _document(reader: LedgerReader, decision: Decision, config: Config | None) -> Document:
    order = reader.order(decision.order_id) if decision.order_id else None
    trip = _trip(reader, decision, order)
    held = next((one for one in reader.positions() if order is not None and _opened_by(one.holding, order)), None)
    entry, closing = _orders(reader, order, trip)
    found: Document = {
        "decision": documents.decisions([decision])[0],
        "candles": _candles(config, decision) if config is not None else [],
        "entry": _order(reader, entry) if entry is not None else None,
        "position": documents.positions([held], {})[0] if held is not None else None,
        "exit": _order(reader, closing) if closing is not None else None,
        "result": _result(trip) if trip is not None else None,
    }
    return found | {"story": list(_story(decision, plain_values(found)))}


# ------------------------------------------------------------------------------- from the ledger


def _trip(reader: LedgerReader, decision: Decision, order: Order | None) -> RoundTrip | None:
    from trader.ledger import rows

    if order is None:
        return None
    which = "WHERE entry_order_id = ? OR exit_order_id = ?"
    found = reader.query(rows.select("round_trips", which), (order.order_id, order.order_id))
    if not found and decision.decided == Decided.ORDERED:
        found = reader.query(rows.select("round_trips", "WHERE decision_id = ?"), (decision.decision_id,))
    return rows.round_trip_from(found[0]) if found else None


def _opened_by(holding: Any, order: Order) -> bool:
    return bool(holding.entry_order_id == order.order_id)


def _orders(reader: LedgerReader, order: Order | None, trip: RoundTrip | None) -> tuple[Order | None, Order | None]:
    """Return the order that opened the position and the one that closed it, as far as there are any."""
    if trip is not None:
        return reader.order(trip.entry_order_id), reader.order(trip.exit_order_id)
    if order is not None and order.reduce_only:
        return None, order
    return order, None


def _order(reader: LedgerReader, order: Order) -> Document:
    from trader.ledger import rows

    fills = [
        rows.fill_from(row)
        for row in reader.query(rows.select("fills", "WHERE order_id = ? ORDER BY fill_id"), (order.order_id,))
    ]
    steps = [
        {"event": step.event.value, "state": step.state.value, "time": moment(step.time_ns)}
        for step in reader.order_steps(order.order_id)
    ]
    return documents.orders([order], reader)[0] | {"life": steps, "fills": [_fill(fill) for fill in fills]}


def _fill(fill: Fill) -> Document:
    return {
        "trade_id": fill.trade_id,
        "time": moment(fill.time_ns),
        "price": fill.price,
        "quantity": fill.quantity,
        "fee": fill.fee,
        "fee_currency": fill.fee_currency,
        "reason": fill.reason,
    }


def _result(trip: RoundTrip) -> Document:
    return {
        "position_id": trip.position_id,
        "entry_price": trip.entry_price,
        "exit_price": trip.exit_price,
        "entry_time": moment(trip.entry_ns),
        "exit_time": moment(trip.exit_ns),
        "held_s": (trip.exit_ns - trip.entry_ns) / 1e9,
        "exit_reason": trip.exit_reason,
        "exit_note": trip.exit_note,
        "decision_id": trip.decision_id or None,
        "gross_pnl": trip.gross_pnl,
        "fees": trip.fees,
        "pnl": trip.pnl,
    }


# ------------------------------------------------------------------------------- from the market


def _config_or_none(arguments: Namespace) -> Config | None:
    from trader.config.loading import load

    try:
        return load(config_path(arguments))
    except TraderError:
        return None


def _candles(config: Config, decision: Decision) -> list[Document]:
    """Return the last candles that the decision saw, where the market can be asked again and says the same."""
    if config.market.source == "exchange" or not decision.candle_ns or decision.symbol not in config.market.symbols:
        return []
    try:
        found = asyncio.run(_history(config, decision))
    except TraderError:
        return []
    if not len(found) or not math.isclose(float(found.close[-1]), decision.price, rel_tol=1e-12):
        return []  # other candles than those of that time: better none than wrong ones
    return [
        {
            "open": moment(int(found.open_ns[index])),
            **{name[0]: float(getattr(found, name)[index]) for name in ("open", "high", "low", "close", "volume")[1:]},
            "o": float(found.open[index]),
        }
        for index in range(len(found))
    ]


async def _history(config: Config, decision: Decision) -> Candles:
    from trader.market.factory import open_feed

    # the one symbol is enough, and quicker
    only = config.model_copy(update={"market": config.market.model_copy(update={"symbols": (decision.symbol,)})})
    feed = open_feed(only)
    await feed.open()
    try:
        found: Candles = feed.history(0, decision.candle_ns, CANDLES)
        return found
    finally:
        feed.close()


# ------------------------------------------------------------------------------- in words


def _story(decision: Decision, found: Document) -> Any:
    """Yield the story, a sentence or a few for each chapter."""
    told = found["decision"]
    if decision.symbol:
        price = f" at {number(told['price'])}" if told["price"] is not None else ""
        candle = f"the candle of {told['symbol']} that closed {told['candle_time']}{price}"
        yield f"In cycle {told['cycle']} ({told['time']}) {told['strategy']} looked at {candle}."
        yield _opinion(told)
    yield from _verdict(decision, told)
    if found["entry"] is not None and decision.decided != Decided.EXIT_ORDERED:
        yield from _sent(found["entry"], "entry")
    elif found["result"] is not None and found["result"]["decision_id"]:
        yield f"It closed what decision {found['result']['decision_id']} had opened."
    if found["exit"] is not None:
        yield from _sent(found["exit"], "exit")
    if found["position"] is not None:
        yield _open(found["position"])
    if found["result"] is not None:
        yield _end(found["result"])


def _opinion(told: Document) -> str:
    wants = {"hold": "to leave everything as it was", "long": "to be long", "short": "to be short", "flat": "to be out"}
    parts = [f"It wanted {wants[told['direction']]}"]
    if told["confidence"] is not None and told["direction"] != Direction.HOLD.name.lower():
        parts.append(f"with confidence {told['confidence']:.3f}")
    if told["value"] is not None:
        parts.append(f"on a reading of {told['value']:.6g}")
    return " ".join(parts) + (f': "{told["note"]}".' if told["note"] else ".")


def _verdict(decision: Decision, told: Document) -> Any:
    kind = Decided(decision.decided)
    if kind in _OUTCOMES:
        yield _OUTCOMES[kind]
    elif kind is Decided.FAILED:
        yield f"The strategy failed: {told['detail']}."
    elif kind is Decided.DENIED:
        yield f"Risk denied the entry for {len(told['limits'])} reason{'s' if len(told['limits']) != 1 else ''}:"
        seen = {item["limit"]: item for item in told["broken"]}
        for name in told["limits"]:
            item = seen.get(name, {})
            numbers = f" ({_short(item.get('observed'))} against {_short(item.get('bound'))})" if item else ""
            yield f"  {LIMIT_TEXT[Limit[name.upper()]]}{numbers}"
    elif kind is Decided.ORDERED:
        yield "No limit stood against it."


def _sent(order: Document, what: str) -> Any:
    amount = f"{order['side']} {number(order['quantity'])} {order['symbol']}"
    yield (
        f"The {what} order {order['order_id']} ({order['client_order_id']}): {amount}, {order['kind']}, "
        f"{order['state']}; reason {order['reason']}."
    )
    if what == "entry":
        plan = [
            *([f"stop {number(order['stop_price'])}"] if order["stop_price"] is not None else []),
            *([f"target {number(order['target_price'])}"] if order["target_price"] is not None else []),
            *order.get("invalidations", ()),
        ]
        if plan:
            yield f"  Its exit plan: {', '.join(plan)}."
    for fill in order["fills"]:
        yield (
            f"  Filled {fill['time']}: {number(fill['quantity'])} at {number(fill['price'])}, "
            f"fee {number(fill['fee'])} {fill['fee_currency']}."
        )


def _open(position: Document) -> str:
    result = position["unrealised_pnl"]
    words = f", {result:+,.2f} at {number(position['mark_price'])}" if result is not None else ""
    plan = [
        *([f"stop {number(position['stop_price'])}"] if position["stop_price"] is not None else []),
        *([f"target {number(position['target_price'])}"] if position["target_price"] is not None else []),
        *position.get("invalidations", ()),
    ]
    return f"The position is open{words}; its exit plan now: {', '.join(plan) or 'none'}."


def _end(result: Document) -> str:
    why = result["exit_reason"] + (f" ({result['exit_note']})" if result["exit_note"] else "")
    prices = f"from {number(result['entry_price'])} to {number(result['exit_price'])}"
    return (
        f"Closed {result['exit_time']} by {why} after {duration(result['held_s'])}: {prices}, "
        f"{result['gross_pnl']:+,.4f} less {result['fees']:,.4f} fees: {result['pnl']:+,.4f}."
    )


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _text(document: Document) -> str:
    parts = [f"decision {document['decision']['decision_id']}"]
    if document["candles"]:
        parts.append(table(document["candles"], CANDLE_COLUMNS, ""))
    return "\n\n".join((*parts, "\n".join(document["story"])))
