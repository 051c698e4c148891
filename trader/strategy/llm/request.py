"""The request: what goes over the wire, what it can cost at worst, and the name of the question."""

from __future__ import annotations

import hashlib
import json
from decimal import ROUND_CEILING, Decimal
from typing import Any

from trader.config.sections import LlmConfig
from trader.domain.view import MarketView
from trader.strategy.llm.prompt import Messages, messages
from trader.strategy.llm.schema import reply_schema
from trader.strategy.llm.vocabulary import PROMPT_VERSION, SCHEMA_VERSION, rule_timeframes
from trader.units import exact

#: tokens that a server may add around what it is sent
_TOKENS_AROUND = 200

#: US dollars are kept to this
_MICRO_USD = Decimal("0.000001")


def request_body(view: MarketView, settings: LlmConfig) -> dict[str, Any]:
    """Return the body of the request about a view.

    Parameters
    ----------
    view : MarketView
        What is asked about.
    settings : LlmConfig
        Model, sampling and routing.
    """
    symbols = [one.symbol for one in view.symbols]
    schema = reply_schema(symbols, rule_timeframes(view.timeframe), allow_short=view.allow_short)
    return chat(settings, messages(view), schema, settings.max_tokens)


def chat(settings: LlmConfig, asked: Messages, schema: dict[str, Any], max_tokens: int) -> dict[str, Any]:
    """Return the body of a chat completion that must answer in a form."""
    body: dict[str, Any] = {
        "model": settings.model,
        "messages": asked,
        "max_tokens": max_tokens,
        "temperature": settings.temperature,
        "stream": False,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "decisions", "strict": True, "schema": schema},
        },
    }
    if settings.seed is not None:
        body["seed"] = settings.seed
    if settings.routing:
        body["provider"] = _provider(settings)
        body["reasoning"] = {"enabled": settings.reasoning_enabled}
    return body


def question_key(body: dict[str, Any]) -> str:
    """Return the name of a question: the same model, prompt, form and sampling have the same one."""
    named = {name: body.get(name) for name in ("model", "messages", "max_tokens", "temperature", "seed", "reasoning")}
    named |= {"prompt_version": PROMPT_VERSION, "schema_version": SCHEMA_VERSION}
    return hashlib.sha256(_canonical(named)).hexdigest()


def snapshot_hash(body: dict[str, Any]) -> str:
    """Return the name of what the model was shown."""
    return hashlib.sha256(str(body["messages"][-1]["content"]).encode()).hexdigest()


def worst_cost_usd(body: dict[str, Any], settings: LlmConfig) -> Decimal:
    """Return the most that a request can cost [USD].

    A token of the prompt is at least one byte of it, so its bytes bound its tokens; the price is bounded by
    `provider.max_price`, which is part of the request.
    """
    tokens = len(_canonical(body)) + _TOKENS_AROUND
    return cost_usd(tokens, int(body["max_tokens"]), settings)


def cost_usd(prompt_tokens: int, completion_tokens: int, settings: LlmConfig) -> Decimal:
    """Return what tokens cost at the highest prices that are allowed [USD], rounded up to a millionth."""
    cost = prompt_tokens * exact(settings.max_price_prompt_usd_per_mtok)
    cost += completion_tokens * exact(settings.max_price_completion_usd_per_mtok)
    return (cost * _MICRO_USD).quantize(_MICRO_USD, rounding=ROUND_CEILING)


def _provider(settings: LlmConfig) -> dict[str, Any]:
    provider: dict[str, Any] = {
        # a provider that ignores the form or the seed must not answer
        "require_parameters": True,
        "max_price": {
            "prompt": settings.max_price_prompt_usd_per_mtok,
            "completion": settings.max_price_completion_usd_per_mtok,
        },
    }
    if settings.provider_order:
        provider |= {"order": list(settings.provider_order), "allow_fallbacks": False}
    if settings.quantizations:
        provider["quantizations"] = list(settings.quantizations)
    return provider


def _canonical(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
