"""Client order ids: deterministic, legal everywhere, and never the same for two ledgers.

`main` + six letters + the order's number: letters and digits only (OKX takes nothing else) and at most 18 characters
(Kraken takes no more) up to order 99,999,999. The six letters are drawn once, when a ledger begins: a new ledger on an
old account must not find the old ledger's orders under its own ids.
"""

from __future__ import annotations

import re

MAX_LENGTH = 18
_NAME = 4


class ClientIds:
    """Makes client order ids, and knows its own.

    Parameters
    ----------
    instance : str
        Name of the instance; its first letters are for people's eyes.
    mark : str
        The ledger's letters.
    """

    def __init__(self, instance: str, mark: str) -> None:
        name = re.sub(r"[^a-z0-9]", "", instance.lower())[:_NAME]
        self.prefix = f"{name}{mark}"

    def make(self, order_id: int) -> str:
        """Return the client order id of an order: the same for the same number, always."""
        return f"{self.prefix}{order_id}"

    def number(self, client_order_id: str | None) -> int | None:
        """Return the order id that is in a client order id; None when it isn't one of ours."""
        # some venues put something of their own in front ("t-" at Gate)
        text = (client_order_id or "").rpartition("-")[2]
        rest = text[len(self.prefix) :]
        return int(rest) if text.startswith(self.prefix) and rest.isdecimal() and rest.isascii() else None
