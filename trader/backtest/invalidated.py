"""Which rule ended a position: what the core says by number, in the words of the rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trader.backtest.opinions import Columns
from trader.codes import CoreEvent
from trader.config.sections import Config
from trader.core.history import opinion_of
from trader.domain.invalidation import parse


def exit_notes(events: npt.NDArray[np.void], columns: Sequence[Columns], config: Config) -> dict[int, str]:
    """Return by a position's number the invalidation that asked for its end.

    Parameters
    ----------
    events : ndarray of CORE_EVENT
        All of a run.
    columns : sequence of Columns
        What each strategy said, with the rules that came along.
    config : Config
        Whose own rules follow behind those.
    """
    asked = events[(events["kind"] == int(CoreEvent.EXIT_REQUESTED)) & (events["rule"] > 0)]
    if not len(asked):
        return {}
    entries = events[events["kind"] == int(CoreEvent.ENTRY_FILLED)]
    order_of = dict(zip(entries["position_id"].tolist(), entries["order"].tolist(), strict=True))
    own = tuple(parse(text) for text in config.exits.invalidations)
    notes = {}
    for number, rule in zip(asked["position_id"].tolist(), asked["rule"].tolist(), strict=True):
        row, strategy = opinion_of(order_of[number], len(columns))
        notes[number] = str((*columns[strategy].rules.get(row, ()), *own)[rule - 1])
    return notes
