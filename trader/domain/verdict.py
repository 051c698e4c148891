"""Verdicts: risk answers with values; a refused order has no type that a venue accepts."""

from __future__ import annotations

from dataclasses import dataclass

from trader.codes import LIMIT_TEXT, Limit
from trader.domain.order import OrderRequest


@dataclass(frozen=True, slots=True)
class Broken:
    """One limit that a request would break, with both numbers."""

    limit: Limit
    observed: float
    bound: float

    def __str__(self) -> str:
        return f"{LIMIT_TEXT[self.limit]} ({self.observed:.6g} against {self.bound:.6g})"


@dataclass(frozen=True, slots=True)
class Approved:
    """A request that broke no limit; made in `trader.risk.manager` only."""

    request: OrderRequest


@dataclass(frozen=True, slots=True)
class Refused:
    """A request denied by our own risk, with every limit that it broke."""

    request: OrderRequest
    broken: tuple[Broken, ...]

    @property
    def mask(self) -> int:
        """The broken limits as a bit mask of `Limit`."""
        total = 0
        for item in self.broken:
            total |= int(item.limit)
        return total


Verdict = Approved | Refused
