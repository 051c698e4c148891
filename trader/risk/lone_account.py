"""A lone account: what risk works on where no engine has prepared it, in a script or a notebook."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trader.config.sections import Config
from trader.core.records import fund, new_desk, new_slots
from trader.risk.exit_plan import write_costs, write_limits

Records = npt.NDArray[np.void]

#: price and quantity step where nobody has told one: fine enough to change no number
_STEP = 1e-8


def lone_account(symbols: Sequence[str], capital: float, config: Config) -> tuple[Records, Records]:
    """Return a desk with cash and limits, and an empty slot for each symbol.

    Parameters
    ----------
    symbols : sequence of str
        What may be held.
    capital : float
        Cash [quote].
    config : Config
        Whose exits, limits and costs are in force.
    """
    desk, slots = new_desk(), new_slots(len(symbols))
    fund(desk, capital)
    write_limits(desk, config, 0)
    write_costs(slots, config)
    slots["tick_size"] = slots["lot_size"] = _STEP
    return desk, slots
