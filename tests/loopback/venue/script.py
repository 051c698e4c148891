"""The faults that a venue makes on purpose: what, where, and how often."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

OPERATIONS = (
    "submit", "cancel", "replace", "query", "open_orders", "orders", "trades", "account", "markets", "time", "klines",
    "ticker", "depth", "permissions", "currencies", "token", "other",
)  # fmt: skip
BEFORE = frozenset({
    "drop_before", "delay", "rate_limited", "clock_error_1021", "maintenance", "lot_size_changed", "fee_in_bnb",
    "fill_races_cancel", "partial_fills", "call",
})  # fmt: skip
AFTER = frozenset(
    {
        "drop_after",
        "delay_after",
        "error_5xx_accepted",
        "error_5xx",
        "garbage_json",
        "truncated_body",
        "slow_body",
        "reset",
    }
)
STREAM = frozenset({"ws_duplicate", "ws_reorder", "ws_missing", "ws_mute", "ws_drop", "ws_garbage"})
ACTIONS = BEFORE | AFTER | STREAM


@dataclass
class Fault:
    """One fault: an action at the nth to nth+times-1st occurrence of what it is addressed to.

    Parameters
    ----------
    at
        An operation ("submit", "cancel", "query", "account", "klines", ...: see OPERATIONS), a method and path
        ("POST /api/v3/order"), "*" for any request, or "ws_market" and "ws_user" for the messages of the streams.
    action
        What happens, see the package's table.
    nth
        The first occurrence that is hit, counted from 1 after the fault was added.
    times
        How many occurrences are hit; None: all from then on.
    when
        A condition on the request's parameters, or on the message: all values equal, or a function.

    """

    at: str
    action: str
    nth: int = 1
    times: int | None = 1
    when: dict[str, Any] | Callable[[dict[str, Any]], bool] | None = None
    params: dict[str, Any] = field(default_factory=dict)
    seen: int = 0
    hits: int = 0

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"no fault {self.action!r}; known: {', '.join(sorted(ACTIONS))}")

    def strikes(self, names: Iterable[str], values: dict[str, Any]) -> bool:
        """Count an occurrence and tell whether the fault hits it."""
        if self.at not in names or not self._applies(values):
            return False
        self.seen += 1
        hit = self.seen >= self.nth and (self.times is None or self.seen < self.nth + self.times)
        self.hits += hit
        return hit

    def _applies(self, values: dict[str, Any]) -> bool:
        if self.when is None:
            return True
        if callable(self.when):
            return self.when(values)
        return all(str(values.get(name)) == str(value) for name, value in self.when.items())


class Script:
    """All faults of a venue; add to it and take away while the venue runs."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self.faults = list(faults)
        self.made: Counter[str] = Counter()  # action -> how often it happened

    def add(
        self,
        at: str,
        action: str,
        *,
        nth: int = 1,
        times: int | None = 1,
        when: dict[str, Any] | Callable[[dict[str, Any]], bool] | None = None,
        **params: Any,
    ) -> Fault:
        """Add a fault and return it; its `hits` tell whether it has happened."""
        fault = Fault(at, action, nth, times, when, params)
        self.faults.append(fault)
        return fault

    def clear(self) -> None:
        """Forget all faults."""
        self.faults.clear()

    def due(self, names: Sequence[str], values: dict[str, Any]) -> list[Fault]:
        """Return the faults that hit this request or message."""
        struck = [fault for fault in self.faults if fault.strikes(names, values)]
        for fault in struck:
            self.made[fault.action] += 1
        return struck

    @classmethod
    def random(cls, seed: int, requests: int = 2000, each: int = 40, actions: Sequence[str] | None = None) -> Script:
        """Return a script that strikes about every `each`-th request, always the same for a seed."""
        draw, script = random.Random(seed), cls()
        chosen = actions if actions is not None else sorted(RANDOM)
        position = 0
        while position < requests:
            position += 1 + int(draw.expovariate(1 / each))
            action = draw.choice(chosen)
            at, params = RANDOM[action]
            nth = position if at == "*" else max(1, position // 10)
            script.add(at, action, nth=nth, **params)
        return script


RANDOM: dict[str, tuple[str, dict[str, Any]]] = {
    "drop_before": ("*", {}),
    "drop_after": ("*", {}),
    "delay": ("*", {"seconds": 0.2}),
    "error_5xx_accepted": ("*", {"status": 504}),
    "error_5xx": ("*", {"status": 502}),
    "rate_limited": ("*", {"retry_after": 1}),
    "clock_error_1021": ("submit", {}),
    "garbage_json": ("*", {}),
    "truncated_body": ("*", {}),
    "slow_body": ("*", {"seconds": 0.3}),
    "reset": ("*", {}),
    "partial_fills": ("submit", {"pieces": 3}),
    "fill_races_cancel": ("cancel", {}),
    "ws_duplicate": ("ws_user", {}),
    "ws_reorder": ("ws_user", {}),
    "ws_missing": ("ws_user", {}),
    "ws_drop": ("ws_user", {}),
}
