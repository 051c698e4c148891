"""Commands about the language model: does it answer, and what was it thinking."""

from __future__ import annotations

import asyncio
import json
import time
from argparse import Namespace
from decimal import Decimal
from typing import Any

from trader.cli.output import emit, pairs, table
from trader.cli.place import config_path, instance_paths
from trader.clock import format_utc, utc_ns
from trader.config.loading import load
from trader.config.sections import Config, LlmConfig
from trader.errors import EXIT_FAILED, EXIT_OK, LedgerMissing, TraderError, UsageError
from trader.state.paths import InstancePaths

#: what a check asks for: as little as shows that the form is kept
_FORM = {
    "type": "object",
    "properties": {"ready": {"type": "boolean"}},
    "required": ["ready"],
    "additionalProperties": False,
}
_WORDS = 'Answer with the JSON object {"ready": true} and nothing else.'
_MAX_TOKENS = 64

_VERDICT_COLUMNS = {
    "symbol": "SYMBOL",
    "action": "ACTION",
    "check": "CHECK",
    "ok": "PASSED",
    "observed": "SEEN",
    "limit": "LIMIT",
}
_FINAL_COLUMNS = {
    "symbol": "SYMBOL",
    "action": "ACTION",
    "reason_code": "REASON",
    "confidence": "CONFIDENCE",
    "stop_price": "STOP",
    "target_price": "TARGET",
    "invalidations": "INVALIDATIONS",
    "justification": "WHY",
}
_OUTCOME_COLUMNS = {
    "decision_id": "DECISION",
    "time": "TIME",
    "symbol": "SYMBOL",
    "decided": "DECIDED",
    "order_id": "ORDER",
    "state": "STATE",
    "result": "RESULT",
}


def check(arguments: Namespace) -> int:
    """Make one cheap call and say what it has cost."""
    config = load(config_path(arguments))
    document = asyncio.run(_check(config.llm, instance_paths(arguments)))
    emit(document, _check_text(document), as_json=arguments.json)
    return EXIT_OK if document["ok"] else EXIT_FAILED


async def _check(settings: LlmConfig, paths: InstancePaths) -> dict[str, Any]:
    from trader.strategy.llm.budget import BUDGET_FILE, Budget
    from trader.strategy.llm.client import Client
    from trader.strategy.llm.request import chat, cost_usd, worst_cost_usd
    from trader.strategy.llm.strategy import find_key
    from trader.strategy.llm.vocabulary import Hold
    from trader.units import exact, plain

    body = chat(settings, [{"role": "user", "content": _WORDS}], _FORM, _MAX_TOKENS)
    client = Client(settings.base_url, find_key(settings))
    budget = Budget(paths.data_dir / BUDGET_FILE, settings.max_calls_per_day, exact(settings.max_usd_per_day))
    try:
        models = await client.models(settings.deadline_s)
        reservation = budget.reserve(utc_ns(), "check", worst_cost_usd(body, settings))
        if isinstance(reservation, Hold):
            raise TraderError(f"nothing was asked: {reservation.value}: the day's calls or dollars are used up")
        began_s = time.monotonic()
        attempt = await client.ask(body, settings.deadline_s)
        latency_s = time.monotonic() - began_s
        answer = attempt.answer
        cost = Decimal(0)
        if answer.usage is not None:
            said = answer.usage.cost_usd
            cost = said if said is not None else cost_usd(
                answer.usage.prompt_tokens, answer.usage.completion_tokens, settings
            )  # fmt: skip
        if answer.usage is not None or answer.free:
            tokens = (answer.usage.prompt_tokens, answer.usage.completion_tokens) if answer.usage else (0, 0)
            budget.settle(reservation, cost, *tokens)
        spent = budget.today(utc_ns())
    finally:
        client.close()
        budget.close()
    form_kept = answer.reason is Hold.NONE and _form_kept(answer.content)
    listed = None if models is None else settings.model in models
    return {
        "ok": form_kept and listed is not False,
        "base_url": settings.base_url,
        "model": settings.model,
        "model_listed": listed,
        "price": None if not models or not listed else models[settings.model].get("pricing"),
        "model_used": answer.model or None,
        "provider": answer.provider or None,
        "status": attempt.status,
        "reason": answer.reason.value or None,
        "message": answer.message or None,
        "form_kept": form_kept,
        "cost_said": bool(answer.usage and answer.usage.cost_usd is not None),
        "cost_usd": plain(cost),
        "cost_known": answer.usage is not None or answer.free,
        "latency_s": round(latency_s, 3),
        "spent_today_usd": plain(spent.spent_usd),
        "reserved_today_usd": plain(spent.reserved_usd),
        "max_usd_per_day": plain(exact(settings.max_usd_per_day)),
    }


def _form_kept(content: str) -> bool:
    try:
        return bool(json.loads(content) == {"ready": True})
    except ValueError:
        return False


def _check_text(document: dict[str, Any]) -> str:
    listed = {None: "unknown: the server has no list", True: "yes", False: "no: llm.model is not offered there"}
    rows = {
        "server": document["base_url"],
        "model": document["model"],
        "offered": listed[document["model_listed"]],
        "answered by": f"{document['model_used'] or '-'} at {document['provider'] or '-'}",
        "status": document["status"] if document["status"] is not None else "none",
        "form kept": "yes" if document["form_kept"] else "no",
        "cost": f"{document['cost_usd']} USD" if document["cost_known"] else "unknown; its reservation stays",
        "latency": f"{document['latency_s']:.2f} s",
        "today": f"{document['spent_today_usd']} of {document['max_usd_per_day']} USD spent, "
        f"{document['reserved_today_usd']} reserved",
    }
    if document["reason"]:
        rows["failed"] = f"{document['reason']}: {document['message'] or 'no message'}"
    return pairs(list(rows.items())) + ("\nthe model is ready" if document["ok"] else "\nthe model is not ready")


def show(arguments: Namespace) -> int:
    """Tell of one decision: question, reply, checks, outcome."""
    from trader.strategy.llm.status import find_record

    config, paths = load(config_path(arguments)), instance_paths(arguments)

    folder = paths.data_dir / config.llm.record_path
    name = _record_name(arguments.decision, paths)
    record = find_record(folder, name)
    if record is None:
        raise UsageError(f"{folder} has no decision {name!r}; the notes of `trader decisions` begin with such names")
    record["outcome"] = _outcome(name, paths)
    record["order_ids"] = [row["order_id"] for row in record["outcome"] if row["order_id"]]
    emit(record, _show_text(record, config), as_json=arguments.json)
    return EXIT_OK


def _record_name(given: str, paths: InstancePaths) -> str:
    """Return the name of a record: given itself, or in the note of a decision of the ledger."""
    if not given.isdecimal():
        return given
    from trader.ledger.reader import LedgerReader

    with LedgerReader(paths.ledger) as reader:
        rows = reader.query("SELECT note FROM decisions WHERE decision_id = ?", (int(given),))
    name = str(rows[0][0] or "").partition(":")[0] if rows else ""
    if not name.startswith("llm-"):
        raise UsageError(f"decision {given} of the ledger was not made by the model")
    return name


def _outcome(name: str, paths: InstancePaths) -> list[dict[str, Any]]:
    """Return what became of a decision in the ledger: decisions, orders, results."""
    from trader.codes import Decided
    from trader.ledger.reader import LedgerReader

    statement = (
        "SELECT d.decision_id, d.time_ns, n.name, d.decided, o.order_id, o.state, "
        "(SELECT r.pnl FROM round_trips r WHERE o.order_id IN (r.entry_order_id, r.exit_order_id) LIMIT 1) "
        "FROM decisions d LEFT JOIN names n ON n.name_id = d.symbol_id "
        "LEFT JOIN orders o ON o.order_id = d.order_id AND d.order_id > 0 "
        "WHERE d.note >= ? AND d.note < ? ORDER BY d.decision_id"
    )
    try:
        with LedgerReader(paths.ledger) as reader:
            rows = reader.query(statement, (f"{name}:", f"{name};"))
    except LedgerMissing:
        return []
    return [
        {
            "decision_id": number,
            "time": format_utc(time_ns),
            "symbol": symbol,
            "decided": Decided(decided).name.lower(),
            "order_id": order,
            "state": state,
            "result": result,
        }
        for number, time_ns, symbol, decided, order, state, result in rows
    ]


def _show_text(record: dict[str, Any], config: Config) -> str:
    from trader.strategy.llm.reply import printable

    question = "\n\n".join(f"[{one['role']}]\n{one['content']}" for one in record["request"]["messages"])
    head = {
        "decision": record["decision_id"],
        "asked": format_utc(record["market_ns"]),
        "in force": format_utc(record["effective_ns"]),
        "model": f"{record['model_used'] or config.llm.model} at {record['provider'] or '-'}",
        "attempts": ", ".join(f"{one['status'] or one['error_type']}" for one in record["attempts"]) or "none",
        "cost": f"{record['cost_usd']} USD, {record['reserved_usd']} of unknown outcome",
        "latency": f"{record['latency_s']:.2f} s",
    }
    if record["message"]:
        head["message"] = printable(record["message"])
    parts = [
        pairs(list(head.items())),
        "QUESTION\n" + question,
        "REPLY\n" + (printable(record["raw_body"], 20_000) or "none"),
        "CHECKS\n" + table(record["verdicts"], _VERDICT_COLUMNS, "none applied"),
        "DECIDED\n" + table(record["final"], _FINAL_COLUMNS, "nothing"),
        "OUTCOME\n" + table(record["outcome"], _OUTCOME_COLUMNS, "no cycle has taken it"),
    ]
    return "\n\n".join(parts)
